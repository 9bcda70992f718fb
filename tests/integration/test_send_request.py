"""send_request and submit_request: from any thread, one outstanding CALL, timeouts, lost connections."""

from __future__ import annotations

import concurrent.futures
import threading
from typing import Any

import pytest
from support import BOOT, DEADLINE, Recorder, connected, raw, serving

from ocppsync import (
    CallErrorReceived,
    CentralSystem,
    ChargePoint,
    ConnectionLostError,
    InvalidResponseError,
    Limits,
    NotConnectedError,
    OCPPError,
    OCPPRequestError,
    RequestTimeoutError,
    Timeouts,
    ValidationError,
    utc_now,
)

ACCEPTED = {"status": "Accepted"}


def test_the_answer_is_returned() -> None:
    with serving() as cs, ChargePoint("CP1", url=f"ws://127.0.0.1:{cs.port}", enforce_registration=False) as cp:
        cp.on("Reset")(lambda payload, metadata: {"status": "Accepted" if payload == {"type": "Soft"} else "Rejected"})
        assert cs.send_request("CP1", "Reset", {"type": "Soft"}) == {"status": "Accepted"}
        assert cs.submit_request("CP1", "Reset", {"type": "Hard"}).result(DEADLINE) == {"status": "Rejected"}


def test_a_call_error_is_raised_with_its_code() -> None:
    with serving() as cs:
        events = connected(cs)
        with raw(cs) as peer:
            events.wait(1)
            for wire, code in (("FormatViolation", "FormationViolation"), ("Odd", "GenericError")):
                future = cs.submit_request("CP1", "ClearCache")
                message_id = peer.read()[1]
                peer.send([4, message_id, wire, "why", {"a": 1}])
                with pytest.raises(CallErrorReceived) as error:
                    future.result(DEADLINE)
                received = error.value
                assert (received.code, received.raw_code) == (code, wire)
                assert (received.description, received.details) == ("why", {"a": 1})
                assert (received.charge_point_id, received.action) == ("CP1", "ClearCache")
                assert (received.message_id, received.delivery) == (message_id, "answered")


@pytest.mark.parametrize("answer", [{"status": "Perhaps"}, {}, [], "x", {"status": "Accepted", "extra": 1}])
def test_an_answer_that_breaks_its_schema_is_raised(answer: Any) -> None:
    with serving() as cs:
        events = connected(cs)
        with raw(cs) as peer:
            events.wait(1)
            future = cs.submit_request("CP1", "ClearCache")
            peer.send([3, peer.read()[1], answer])
            with pytest.raises(InvalidResponseError) as error:
                future.result(DEADLINE)
            assert isinstance(error.value.validation_error, ValidationError)
            assert error.value.payload == answer
            assert error.value.delivery == "answered"


@pytest.mark.parametrize("answer", ["[3,%s]", "[3,%s,{},{}]", '[4,%s,"InternalError"]', '[4,%s,1,"",{}]'])
def test_a_malformed_answer_fails_its_request(answer: str) -> None:
    with serving() as cs:
        events = connected(cs)
        with raw(cs) as peer:
            events.wait(1)
            future = cs.submit_request("CP1", "ClearCache")
            peer.send(answer % f'"{peer.read()[1]}"')
            with pytest.raises(InvalidResponseError, match="malformed"):
                future.result(DEADLINE)
            # No answer went back, and the connection goes on.
            again = cs.submit_request("CP1", "ClearCache")
            kind, message_id, _, _ = peer.read()
            assert kind == 2
            peer.send([3, message_id, ACCEPTED])
            assert again.result(DEADLINE) == ACCEPTED


@pytest.mark.parametrize(
    ("action", "payload", "code"),
    [
        ("Reset", {"type": "Warm"}, "PropertyConstraintViolation"),
        ("Reset", {}, "ProtocolError"),
        ("Reset", {"type": object()}, "TypeConstraintViolation"),
        ("Rest", {}, "NotImplemented"),
        ("Heartbeat", {}, "NotSupported"),
    ],
)
def test_a_request_that_breaks_its_schema_is_never_sent(action: Any, payload: Any, code: str) -> None:
    with serving() as cs:
        events = connected(cs)
        with raw(cs) as peer:
            events.wait(1)
            for send in (cs.send_request, cs.submit_request):
                with pytest.raises(ValidationError) as error:
                    send("CP1", action, payload)
                assert error.value.error_code == code
                assert error.value.action == action
            future = cs.submit_request("CP1", "ClearCache")
            assert peer.read()[2] == "ClearCache"
            future.cancel()


def test_a_charge_point_that_is_not_there() -> None:
    with serving() as cs:
        with pytest.raises(NotConnectedError) as error:
            cs.send_request("nobody", "ClearCache")
        assert (error.value.delivery, error.value.charge_point_id) == ("not_sent", "nobody")
        assert isinstance(error.value, OCPPRequestError)
        assert isinstance(error.value, OCPPError)
        # A future carries it too, so that asking a whole fleet needs no special case.
        assert isinstance(cs.submit_request("nobody", "ClearCache").exception(DEADLINE), NotConnectedError)


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), "1", True])
def test_a_bad_timeout_is_named(timeout: Any) -> None:
    with serving() as cs, pytest.raises(ValueError, match="timeout must be a number above 0"):
        cs.send_request("CP1", "ClearCache", timeout=timeout)


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), "1", True])
def test_a_bad_queue_timeout_is_named(timeout: Any) -> None:
    with serving() as cs, pytest.raises(ValueError, match="queue_timeout must be a number above 0"):
        cs.send_request("CP1", "ClearCache", queue_timeout=timeout)


def test_a_timeout_while_outstanding_and_the_late_answer() -> None:
    with serving(request_timeout=0.1) as cs:
        events = connected(cs)
        with raw(cs) as peer:
            events.wait(1)
            with pytest.raises(RequestTimeoutError) as error:
                cs.send_request("CP1", "ClearCache")
            assert error.value.delivery == "unknown"
            assert isinstance(error.value, TimeoutError)
            late = peer.read()[1]
            # The next CALL may go out; the late answer is dropped and answers nothing.
            future = cs.submit_request("CP1", "GetLocalListVersion", timeout=DEADLINE)
            message_id = peer.read()[1]
            peer.send([3, late, ACCEPTED])
            peer.send([3, message_id, {"listVersion": 3}])
            assert future.result(DEADLINE) == {"listVersion": 3}


@pytest.mark.parametrize("bound", ["timeout", "queue_timeout", "Timeouts.queue"])
def test_a_timeout_while_queued(bound: str) -> None:
    times: dict[str, Any] = {bound: 0.1} if "." not in bound else {}
    with serving(timeouts=Timeouts(queue=0.1 if "." in bound else DEADLINE)) as cs:
        events = connected(cs)
        with raw(cs) as peer:
            events.wait(1)
            first = cs.submit_request("CP1", "ClearCache")
            message_id = peer.read()[1]
            with pytest.raises(RequestTimeoutError, match=r"0\.1 s passed before its turn") as error:
                cs.send_request("CP1", "GetLocalListVersion", **times)
            assert error.value.delivery == "not_sent"
            last = cs.submit_request("CP1", "GetConfiguration", {}, queue_timeout=DEADLINE)
            peer.send([3, message_id, ACCEPTED])
            assert first.result(DEADLINE) == ACCEPTED
            # The one that timed out was never written.
            assert peer.read()[2] == "GetConfiguration"
            last.cancel()


def test_a_timeout_lets_the_queue_behind_it_go_on() -> None:
    with serving(request_timeout=0.1) as cs:
        events = connected(cs)
        with raw(cs) as peer:
            events.wait(1)
            first = cs.submit_request("CP1", "ClearCache")
            second = cs.submit_request("CP1", "GetLocalListVersion", timeout=DEADLINE)
            assert peer.read()[2] == "ClearCache"
            kind, message_id, action, _ = peer.read()
            assert (kind, action) == (2, "GetLocalListVersion")
            assert isinstance(first.exception(DEADLINE), RequestTimeoutError)
            peer.send([3, message_id, {"listVersion": 0}])
            assert second.result(DEADLINE) == {"listVersion": 0}


def test_requests_behind_a_silent_one_have_their_whole_time_and_go_out_one_at_a_time() -> None:
    # Counted from the request, the three would be given a moment each, or none, and be outstanding at once.
    with serving(request_timeout=2.0) as cs:
        events = connected(cs)
        with raw(cs) as peer:
            events.wait(1)
            silent, *others = [cs.submit_request("CP1", "ClearCache") for _ in range(4)]
            assert peer.read()[2] == "ClearCache"
            for future in others:
                message_id = peer.read()[1]
                assert isinstance(silent.exception(DEADLINE), RequestTimeoutError)
                assert not any(other.done() for other in others[others.index(future) :])
                peer.send([3, message_id, ACCEPTED])
                assert future.result(DEADLINE) == ACCEPTED


def test_a_caller_who_gives_up_does_not_open_the_line() -> None:
    with serving() as cs:
        events = connected(cs)
        with raw(cs) as peer:
            events.wait(1)
            with pytest.raises(RequestTimeoutError, match=r"no answer within 0\.1 s") as error:
                cs.send_request("CP1", "ClearCache", timeout=0.1)
            assert error.value.delivery == "unknown"
            with pytest.raises(RequestTimeoutError) as queued:
                cs.send_request("CP1", "GetLocalListVersion", timeout=0.1)
            assert queued.value.delivery == "not_sent", "the first is outstanding"
            following = cs.submit_request("CP1", "GetConfiguration", {})
            peer.send([3, peer.read()[1], ACCEPTED])
            message_id, action = peer.read()[1:3]
            assert action == "GetConfiguration"
            peer.send([3, message_id, {}])
            assert following.result(DEADLINE) == {}


def test_a_request_can_be_cancelled_until_it_is_written() -> None:
    with serving() as cs:
        events = connected(cs)
        with raw(cs) as peer:
            events.wait(1)
            first = cs.submit_request("CP1", "ClearCache")
            second = cs.submit_request("CP1", "GetLocalListVersion")
            third = cs.submit_request("CP1", "GetConfiguration", {})
            message_id = peer.read()[1]
            assert first.cancel() is False
            assert second.cancel() is True
            assert second.cancel() is True
            peer.send([3, message_id, ACCEPTED])
            kind, message_id, action, _ = peer.read()
            assert (kind, action) == (2, "GetConfiguration")
            peer.send([3, message_id, {}])
            assert first.result(DEADLINE) == ACCEPTED
            assert third.result(DEADLINE) == {}
            with pytest.raises(concurrent.futures.CancelledError):
                second.result(DEADLINE)


def test_a_peer_that_vanishes_fails_the_call_at_once() -> None:
    with serving() as cs:
        events = connected(cs)
        with raw(cs) as peer:
            events.wait(1)
            outstanding = cs.submit_request("CP1", "ClearCache")
            queued = cs.submit_request("CP1", "GetLocalListVersion")
            peer.read()
            peer.websocket.socket.shutdown(2)
            errors = [future.exception(1.0) for future in (outstanding, queued)]
        assert [type(error) for error in errors] == [ConnectionLostError, ConnectionLostError]
        assert [error.delivery for error in errors if isinstance(error, OCPPRequestError)] == ["unknown", "not_sent"]
        events.wait(2)
        with pytest.raises(NotConnectedError):
            cs.send_request("CP1", "ClearCache")


def test_callbacks_of_futures_may_send_requests() -> None:
    with serving() as cs, ChargePoint("CP1", url=f"ws://127.0.0.1:{cs.port}", enforce_registration=False) as cp:
        cp.on("ClearCache")(lambda payload, metadata: ACCEPTED)
        cp.on("GetLocalListVersion")(lambda payload, metadata: {"listVersion": 1})
        answers = Recorder()
        future = cs.submit_request("CP1", "ClearCache")
        future.add_done_callback(lambda done: answers(cs.send_request("CP1", "GetLocalListVersion")))
        assert answers.wait() == [{"listVersion": 1}]
        # Also when it is done already.
        future.add_done_callback(lambda done: answers(done.result(0)))
        assert answers.wait(2)[1] == ACCEPTED


# From inside handlers.


def test_a_handler_may_call_its_own_charge_point_and_another() -> None:
    with serving() as cs:
        url = f"ws://127.0.0.1:{cs.port}"

        @cs.on("BootNotification")
        def boot(payload: Any, metadata: Any) -> Any:
            own = cs.send_request(metadata.charge_point_id, "GetLocalListVersion")
            other = cs.send_request("B", "GetLocalListVersion")
            assert (own, other) == ({"listVersion": 1}, {"listVersion": 2})
            return {"status": "Accepted", "currentTime": utc_now(), "interval": 1}

        with (
            ChargePoint("A", url=url, enforce_registration=False) as a,
            ChargePoint("B", url=url, enforce_registration=False) as b,
        ):
            a.on("GetLocalListVersion")(lambda payload, metadata: {"listVersion": 1})
            b.on("GetLocalListVersion")(lambda payload, metadata: {"listVersion": 2})
            assert a.send_request("BootNotification", BOOT)["status"] == "Accepted"


def test_a_charge_points_handler_may_call_back() -> None:
    with serving() as cs:
        cs.on("Heartbeat")(lambda payload, metadata: {"currentTime": utc_now()})
        with ChargePoint("A", url=f"ws://127.0.0.1:{cs.port}", enforce_registration=False) as a:
            beats = Recorder()

            @a.on("TriggerMessage")
            def trigger(payload: Any, metadata: Any) -> Any:
                beats(a.send_request("Heartbeat"))
                return ACCEPTED

            assert cs.send_request("A", "TriggerMessage", {"requestedMessage": "Heartbeat"}) == ACCEPTED
            assert len(beats.items) == 1


def test_calls_that_cross_are_both_answered() -> None:
    with serving(handler_threads=2) as cs:
        cs.on("Heartbeat")(lambda payload, metadata: {"currentTime": utc_now()})
        with ChargePoint("A", url=f"ws://127.0.0.1:{cs.port}", enforce_registration=False) as a:
            a.on("ClearCache")(lambda payload, metadata: ACCEPTED)
            ours = [cs.submit_request("A", "ClearCache") for _ in range(200)]
            theirs = [a.submit_request("Heartbeat") for _ in range(200)]
            assert all(future.result(DEADLINE) == ACCEPTED for future in ours)
            assert all("currentTime" in future.result(DEADLINE) for future in theirs)


def test_every_handler_thread_may_wait_for_the_same_charge_point() -> None:
    # What waits in line must not need a thread of the pool to go on.
    with serving(handler_threads=4) as cs:
        url = f"ws://127.0.0.1:{cs.port}"

        @cs.on("Heartbeat")
        def heartbeat(payload: Any, metadata: Any) -> Any:
            cs.send_request("hub", "ClearCache")
            return {"currentTime": utc_now()}

        with ChargePoint("hub", url=url, enforce_registration=False) as hub:
            hub.on("ClearCache")(lambda payload, metadata: ACCEPTED)
            points = [ChargePoint(f"P{number}", url=url, enforce_registration=False).connect() for number in range(8)]
            futures = [point.submit_request("Heartbeat") for point in points for _ in range(5)]
            assert all(future.result(DEADLINE) for future in futures)
            for point in points:
                point.close()


# One outstanding CALL.


class OneAtATime:
    """A raw charge point that notes whether a CALL came while another was unanswered."""

    def __init__(self, peer: Any, count: int) -> None:
        self.order: list[str] = []
        self.violations = 0
        self._peer = peer
        self._count = count

    def run(self) -> None:
        for _ in range(self._count):
            _, message_id, _, payload = self._peer.read()
            self.order.append(payload["key"][0])
            try:
                self._peer.websocket.recv(timeout=0)
                self.violations += 1
            except TimeoutError:
                pass
            self._peer.send([3, message_id, {"unknownKey": payload["key"]}])


def test_fifty_threads_ask_one_charge_point() -> None:
    with serving() as cs:
        events = connected(cs)
        with raw(cs) as peer:
            events.wait(1)
            station = OneAtATime(peer, 50 * 4)
            reader = threading.Thread(target=station.run)
            reader.start()
            asked: dict[str, list[str]] = {}

            def ask(name: str) -> None:
                asked[name] = [f"{name}-{number}" for number in range(4)]
                for key in asked[name]:
                    assert cs.send_request("CP1", "GetConfiguration", {"key": [key]}) == {"unknownKey": [key]}

            with concurrent.futures.ThreadPoolExecutor(50) as threads:
                list(threads.map(ask, [f"T{number}" for number in range(50)]))
            reader.join(DEADLINE)
            assert station.violations == 0
            assert len(set(station.order)) == 200
            for name, keys in asked.items():
                assert [key for key in station.order if key.startswith(f"{name}-")] == keys


def test_requests_go_out_in_the_order_they_were_submitted() -> None:
    with serving() as cs:
        events = connected(cs)
        with raw(cs) as peer:
            events.wait(1)
            keys = [str(number) for number in range(100)]
            futures = [cs.submit_request("CP1", "GetConfiguration", {"key": [key]}) for key in keys]
            station = OneAtATime(peer, 100)
            station.run()
            assert station.order == keys
            assert station.violations == 0
            assert [future.result(DEADLINE) for future in futures] == [{"unknownKey": [key]} for key in keys]


def test_requests_to_different_charge_points_do_not_wait_for_each_other() -> None:
    with serving() as cs:
        events = connected(cs)
        with raw(cs, "A") as a, raw(cs, "B") as b:
            events.wait(2)
            cs.submit_request("A", "ClearCache")
            future = cs.submit_request("B", "ClearCache")
            assert a.read()[2] == "ClearCache"
            b.send([3, b.read()[1], ACCEPTED])
            assert future.result(DEADLINE) == ACCEPTED


def test_a_large_request_to_a_slow_reader_holds_up_nobody() -> None:
    with serving(limits=Limits(message_size=4 * 1024 * 1024), timeouts=Timeouts(close=0.2)) as cs:
        events = connected(cs)
        with raw(cs, max_size=None) as peer:
            events.wait(1)
            profile = {
                "listVersion": 1,
                "updateType": "Full",
                "localAuthorizationList": [{"idTag": "x" * 20}] * 200_000,
            }
            future: Any = cs.submit_request("CP1", "SendLocalList", profile)  # several MB; the peer is not reading yet
            with pytest.raises(RequestTimeoutError) as error:
                cs.send_request("CP1", "ClearCache", timeout=0.1)
            assert error.value.delivery == "not_sent"
            _, message_id, action, payload = peer.read()
            assert action == "SendLocalList"
            assert len(payload["localAuthorizationList"]) == 200_000
            peer.send([3, message_id, ACCEPTED])
            assert future.result(DEADLINE) == ACCEPTED


def test_a_closed_central_system_refuses_requests() -> None:
    cs = CentralSystem(0, host="127.0.0.1").start()
    cs.close()
    with pytest.raises(NotConnectedError):
        cs.send_request("CP1", "ClearCache")
