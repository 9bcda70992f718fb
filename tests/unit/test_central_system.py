"""The central system over real connections: handlers, answers, hooks, listeners, identities."""

from __future__ import annotations

import logging
import socket
import threading
from typing import Any

import pytest
from support import BOOT, DEADLINE, Recorder, accept_boots, connected, raw, serving
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from ocppsync import CallError, CentralSystem, ChargePoint, HandshakeError, Limits, Request, ValidationError, utc_now

ACCEPTED = {"status": "Accepted", "currentTime": "2026-01-01T00:00:00Z", "interval": 300}


# Handlers.


def test_a_handler_of_one_action_answers_with_a_dict() -> None:
    with serving() as cs:
        seen = Recorder()

        @cs.on("BootNotification")
        def boot(payload: Any, metadata: Any) -> Any:
            seen((payload, metadata))
            return ACCEPTED

        with raw(cs, "ocpp/CP%201") as peer:
            assert peer.call("17", "BootNotification", BOOT) == [3, "17", ACCEPTED]
        payload, metadata = seen.items[0]
        assert payload == BOOT
        assert (metadata.charge_point_id, metadata.message_id, metadata.ocpp_version) == ("CP 1", "17", "1.6")
        assert metadata.http_request.path == "/ocpp/CP%201"
        assert metadata.http_request.remote_address[0] == "127.0.0.1"
        assert metadata.http_request.peer_certificate is None
        assert metadata.validation_error is None


def test_the_single_handler_gets_every_action() -> None:
    def handler(request: Request[Any, Any], metadata: Any) -> Any:
        return ACCEPTED if request.action == "BootNotification" else None

    with serving(handler) as cs, raw(cs) as peer:
        assert peer.call("1", "BootNotification", BOOT) == [3, "1", ACCEPTED]
        assert peer.call("2", "Heartbeat", {}) == [4, "2", "NotImplemented", "", {}]


def test_a_handler_of_one_action_comes_before_the_single_one() -> None:
    with serving(lambda request, metadata: {"status": "Rejected"}) as cs:
        cs.on("DataTransfer")(lambda payload, metadata: {"status": "Accepted"})
        with raw(cs) as peer:
            assert peer.call("1", "DataTransfer", {"vendorId": "x"}) == [3, "1", {"status": "Accepted"}]


@pytest.mark.parametrize(
    ("action", "payload", "code"),
    [
        ("Bogus", {}, "NotImplemented"),
        ("heartbeat", {}, "NotImplemented"),
        ("Heartbeat", {}, "NotSupported"),
        ("Reset", {"type": "Soft"}, "NotSupported"),
    ],
)
def test_an_action_without_handler_is_refused(action: str, payload: Any, code: str) -> None:
    with serving() as cs, raw(cs) as peer:
        assert peer.call("1", action, payload)[:3] == [4, "1", code]


def test_data_transfer_without_handler_knows_no_vendor() -> None:
    with serving() as cs, raw(cs) as peer:
        assert peer.call("1", "DataTransfer", {"vendorId": "com.x"}) == [3, "1", {"status": "UnknownVendorId"}]


def test_none_from_a_handler_is_an_empty_answer() -> None:
    with serving() as cs:
        cs.on("StatusNotification")(lambda payload, metadata: None)
        with raw(cs) as peer:
            status = {"connectorId": 0, "errorCode": "NoError", "status": "Available"}
            assert peer.call("1", "StatusNotification", status) == [3, "1", {}]


def test_a_null_payload_is_an_empty_one() -> None:
    with serving() as cs:
        cs.on("Heartbeat")(lambda payload, metadata: {"currentTime": utc_now()})
        with raw(cs) as peer:
            assert peer.call("1", "Heartbeat", None)[:2] == [3, "1"]


def test_a_call_error_goes_out_in_the_spelling_of_the_version() -> None:
    def handler(request: Any, metadata: Any) -> Any:
        raise CallError("FormatViolation", "no good", {"field": "x"})

    with serving(handler) as cs, raw(cs) as peer:
        assert peer.call("1", "Heartbeat", {}) == [4, "1", "FormationViolation", "no good", {"field": "x"}]


@pytest.mark.parametrize("error", [RuntimeError("secret"), SystemExit("secret"), KeyError("secret")])
def test_a_failing_handler_is_an_internal_error_without_its_text(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    failed = threading.Event()

    def handler(request: Any, metadata: Any) -> Any:
        if request.action == "Heartbeat":
            failed.set()
            raise error
        return ACCEPTED

    with serving(handler, handler_threads=1) as cs, raw(cs) as peer:
        answer = peer.call("1", "Heartbeat", {})
        assert answer[:3] == [4, "1", "InternalError"]
        assert "secret" not in str(answer)
        assert "secret" in caplog.text
        # The only thread of the pool is still at work.
        assert peer.call("2", "BootNotification", BOOT) == [3, "2", ACCEPTED]


@pytest.mark.parametrize("answer", [{"status": "Maybe"}, {}, [], "Accepted", {"currentTime": float("nan")}, object()])
def test_an_answer_that_breaks_its_schema_is_an_internal_error(answer: Any, caplog: pytest.LogCaptureFixture) -> None:
    with serving() as cs:
        cs.on("BootNotification")(lambda payload, metadata: answer)
        with raw(cs) as peer:
            assert peer.call("1", "BootNotification", BOOT)[:3] == [4, "1", "InternalError"]
    assert "BootNotification" in caplog.text


def test_an_invalid_request_is_rejected_before_the_handler() -> None:
    with serving() as cs:
        calls = Recorder()
        cs.on("BootNotification")(lambda payload, metadata: calls(payload))
        with raw(cs) as peer:
            kind, message_id, code, description, details = peer.call("1", "BootNotification", {})
            assert (kind, message_id, code, details) == (4, "1", "ProtocolError", {})
            assert "chargePoint" in description
            wrong_type = {**BOOT, "iccid": 5}
            assert peer.call("2", "BootNotification", wrong_type)[2] == "TypeConstraintViolation"
            assert peer.call("3", "BootNotification", [])[2] == "FormationViolation"
        assert not calls.items


def test_invalid_requests_may_reach_the_handler() -> None:
    seen: list[Any] = []

    def handler(request: Any, metadata: Any) -> Any:
        seen.append((request.payload, metadata.validation_error))
        return ACCEPTED

    with serving(handler, reject_invalid_requests=False) as cs, raw(cs) as peer:
        assert peer.call("1", "BootNotification", {"junk": 1}) == [3, "1", ACCEPTED]
        assert peer.call("2", "BootNotification", BOOT) == [3, "2", ACCEPTED]
    payload, error = seen[0]
    assert payload == {"junk": 1}
    assert isinstance(error, ValidationError)
    assert error.action == "BootNotification"
    assert seen[1][1] is None


def test_calls_of_one_charge_point_are_handled_one_at_a_time_in_order() -> None:
    busy = threading.Lock()
    order = Recorder()

    def handler(request: Any, metadata: Any) -> Any:
        assert busy.acquire(blocking=False)
        order(metadata.message_id)
        busy.release()
        return {"currentTime": utc_now()}

    with serving(handler) as cs, raw(cs) as peer:
        for number in range(50):
            peer.send([2, str(number), "Heartbeat", {}])
        assert [peer.read()[1] for _ in range(50)] == [str(number) for number in range(50)]
    assert order.items == [str(number) for number in range(50)]


def test_a_blocking_handler_holds_up_no_other_charge_point() -> None:
    release = threading.Event()

    def handler(request: Any, metadata: Any) -> Any:
        if metadata.charge_point_id == "slow":
            assert release.wait(DEADLINE)
        return {"currentTime": utc_now()}

    with serving(handler) as cs, raw(cs, "slow") as slow, raw(cs, "quick") as quick:
        slow.send([2, "1", "Heartbeat", {}])
        assert quick.call("1", "Heartbeat", {})[:2] == [3, "1"]
        release.set()
        assert slow.read()[:2] == [3, "1"]


def test_too_many_waiting_calls_are_answered_with_an_error() -> None:
    started = threading.Event()
    release = threading.Event()

    def handler(request: Any, metadata: Any) -> Any:
        started.set()
        release.wait(DEADLINE)
        return {"currentTime": utc_now()}

    with serving(handler, limits=Limits(queued_calls=3)) as cs, raw(cs) as peer:
        peer.send([2, "0", "Heartbeat", {}])
        assert started.wait(DEADLINE)
        for number in range(1, 10):
            peer.send([2, str(number), "Heartbeat", {}])
        errors = [peer.read() for _ in range(6)]
        assert all(answer[0] == 4 and answer[2] == "GenericError" for answer in errors)
        release.set()
        answered = [peer.read() for _ in range(4)]
        assert all(answer[0] == 3 for answer in answered)
        assert {answer[1] for answer in errors + answered} == {str(number) for number in range(10)}


def test_what_runs_after_an_answer_runs_once_it_is_on_the_wire() -> None:
    with serving() as cs:
        accept_boots(cs)
        answers = Recorder()

        @cs.after("BootNotification")
        def configure(payload: Any, metadata: Any) -> None:
            answers(cs.send_request(metadata.charge_point_id, "GetConfiguration", {}))

        with raw(cs) as peer:
            peer.send([2, "1", "BootNotification", BOOT])
            assert peer.read()[:2] == [3, "1"]
            kind, message_id, action, payload = peer.read()
            assert (kind, action, payload) == (2, "GetConfiguration", {})
            # The charge point may be answered meanwhile: the hook holds up nothing.
            assert peer.call("2", "BootNotification", BOOT)[:2] == [3, "2"]
            peer.send([3, message_id, {"unknownKey": ["x"]}])
            assert answers.wait()[0] == {"unknownKey": ["x"]}


def test_nothing_runs_after_an_error_answer_and_a_failing_hook_harms_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with serving() as cs:
        ran = Recorder()

        @cs.on("Heartbeat")
        def heartbeat(payload: Any, metadata: Any) -> Any:
            if metadata.message_id == "1":
                raise CallError("InternalError")
            return {"currentTime": utc_now()}

        @cs.after("Heartbeat")
        def fail(payload: Any, metadata: Any) -> None:
            raise RuntimeError("the hook broke")

        @cs.after("Heartbeat")
        def note(payload: Any, metadata: Any) -> None:
            ran(metadata.message_id)

        with raw(cs) as peer:
            assert peer.call("1", "Heartbeat", {})[0] == 4
            assert peer.call("2", "Heartbeat", {})[0] == 3
            assert ran.wait() == ["2"]
    assert "the hook broke" in caplog.text


def test_handlers_are_checked_when_they_are_registered() -> None:
    with serving() as cs:
        with pytest.raises(ValueError, match="no action 'BootNotificaton'"):
            cs.on("BootNotificaton")  # type: ignore[call-overload]
        with pytest.raises(ValueError, match="never sends Reset"):
            cs.on("Reset")  # type: ignore[call-overload]
        with pytest.raises(ValueError, match="never sends Reset"):
            cs.after("Reset")  # type: ignore[call-overload]
        accept_boots(cs)
        with pytest.raises(ValueError, match="has a handler already"):
            accept_boots(cs)
        with pytest.raises(TypeError, match="must be callable"):
            CentralSystem(None, "handler")  # type: ignore[arg-type]


# Repeats.


def test_an_identical_repeat_gets_the_stored_answer() -> None:
    numbers = iter(range(100))

    def handler(request: Any, metadata: Any) -> Any:
        return {"transactionId": next(numbers), "idTagInfo": {"status": "Accepted"}}

    start = {"connectorId": 1, "idTag": "T", "meterStart": 0, "timestamp": "2026-01-01T00:00:00Z"}
    with serving(handler) as cs:
        with raw(cs) as peer:
            first = peer.call("7", "StartTransaction", start)
            assert first[2]["transactionId"] == 0
            assert peer.call("7", "StartTransaction", start) == first
            assert peer.call("8", "StartTransaction", start)[2]["transactionId"] == 1
            other = {**start, "connectorId": 2}
            assert peer.call("7", "StartTransaction", other)[:3] == [4, "7", "GenericError"]
        # The station lost the answer with its connection, and asks again over the next one.
        with raw(cs) as peer:
            assert peer.call("8", "StartTransaction", start)[2]["transactionId"] == 1
            # Another CALL under an old id is no repeat: ids are unique within one connection only.
            assert peer.call("7", "StartTransaction", other)[2]["transactionId"] == 2


# Listeners, identities.


def test_listeners_see_each_change_once() -> None:
    with serving() as cs:
        accept_boots(cs)
        events = connected(cs)
        with raw(cs, "A"):
            assert events.wait(1) == [("A", "connected")]
            assert cs.charge_points == ["A"]
            assert (cs.ocpp_version("A"), cs.ocpp_version("B")) == ("1.6", None)
        assert events.wait(2)[1:] == [("A", "disconnected")]
        assert cs.charge_points == []


def test_a_listener_that_raises_harms_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with serving() as cs:
        cs.add_connection_listener(lambda charge_point_id, status: 1 / 0)
        events = connected(cs)
        with raw(cs):
            events.wait(1)
        events.wait(2)
    assert "ZeroDivisionError" in caplog.text


def test_a_listener_may_send_requests_and_be_removed() -> None:
    with serving() as cs:
        answers = Recorder()

        def greet(charge_point_id: str, status: str) -> None:
            if status == "connected":
                answers(cs.send_request(charge_point_id, "ClearCache"))

        cs.add_connection_listener(greet)
        with raw(cs) as peer:
            _, message_id, action, _ = peer.read()
            assert action == "ClearCache"
            peer.send([3, message_id, {"status": "Accepted"}])
            assert answers.wait() == [{"status": "Accepted"}]
        cs.remove_connection_listener(greet)
        with pytest.raises(ValueError, match="was not added as a listener"):
            cs.remove_connection_listener(greet)


def test_the_newest_connection_of_an_identity_counts() -> None:
    with serving() as cs:
        accept_boots(cs)
        events = connected(cs)
        with raw(cs) as old:
            events.wait(1)
            pending = cs.submit_request("CP1", "ClearCache")
            assert old.read()[2] == "ClearCache"
            with raw(cs) as new:
                assert new.call("1", "BootNotification", BOOT)[0] == 3
                with pytest.raises(Exception, match="taken over") as lost:
                    pending.result(DEADLINE)
                assert type(lost.value).__name__ == "ConnectionLostError"
                with pytest.raises(ConnectionClosed) as closed:
                    old.websocket.recv(DEADLINE)
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 1008
                old.websocket.close()
                # The old connection has closed last; the charge point is still there, over the new one.
                future = cs.submit_request("CP1", "ClearCache")
                message_id = new.read()[1]
                new.send([3, message_id, {"status": "Accepted"}])
                assert future.result(DEADLINE) == {"status": "Accepted"}
                assert cs.charge_points == ["CP1"]
                assert events.items == [("CP1", "connected")]
        assert events.wait(2) == [("CP1", "connected"), ("CP1", "disconnected")]


def test_a_client_without_common_subprotocol_is_upgraded_and_closed() -> None:
    with serving() as cs:
        for offer in (["ocpp0.1"], None):
            with connect(f"ws://127.0.0.1:{cs.port}/CP1", subprotocols=offer) as websocket:
                assert websocket.subprotocol is None
                with pytest.raises(ConnectionClosed) as closed:
                    websocket.recv(DEADLINE)
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 1002
        assert cs.charge_points == []


def test_a_default_protocol_serves_clients_that_name_none() -> None:
    with serving(default_protocol="ocpp1.6") as cs:
        accept_boots(cs)
        with raw(cs, subprotocols=None) as peer:
            assert peer.websocket.subprotocol is None
            assert peer.call("1", "BootNotification", BOOT)[0] == 3


def test_the_clients_order_of_subprotocols_decides() -> None:
    with serving() as cs, raw(cs, subprotocols=["ocpp9", "ocpp1.6", "ocpp1.5"]) as peer:
        assert peer.websocket.subprotocol == "ocpp1.6"


def test_identify_may_name_the_charge_point() -> None:
    with serving(identify=lambda request: request.headers.get("x-serial")) as cs:
        events = connected(cs)
        with raw(cs, "whatever", additional_headers={"X-Serial": "SN-1"}):
            assert events.wait(1) == [("SN-1", "connected")]


def test_authorize_decides_before_the_upgrade() -> None:
    asked = Recorder()

    def authorize(request: Any, charge_point_id: str) -> bool | int:
        asked((charge_point_id, request.basic_credentials))
        return request.basic_credentials == (b"good", b"pass:word")

    with serving(authorize=authorize) as cs:
        with ChargePoint("good", url=f"ws://127.0.0.1:{cs.port}", password="pass:word") as cp:
            assert cp.connected
        with pytest.raises(HandshakeError) as refused:
            ChargePoint("bad", url=f"ws://127.0.0.1:{cs.port}").connect()
        assert refused.value.status == 401
    assert asked.items == [("good", (b"good", b"pass:word")), ("bad", None)]


# Hooks and options.


def test_raw_hooks_see_everything_and_harm_nothing(caplog: pytest.LogCaptureFixture) -> None:
    data = Recorder()
    messages = Recorder()

    def on_message(text: str, metadata: Any) -> None:
        messages((text, metadata.charge_point_id))
        raise RuntimeError("hook broke")

    with serving(on_raw_socket_data=data, on_raw_websocket_data=on_message) as cs:
        accept_boots(cs)
        with raw(cs) as peer:
            assert peer.call("1", "BootNotification", BOOT)[0] == 3
            peer.send("garbage")
            messages.wait(2)
    assert messages.items[1] == ("garbage", "CP1")
    assert b"".join(data.items).startswith(b"GET /CP1 HTTP/1.1\r\n")
    assert "hook broke" in caplog.text


def test_a_raw_hook_cannot_wait_for_what_it_reads() -> None:
    errors = Recorder()
    box: list[CentralSystem] = []

    def hook(text: str, metadata: Any) -> None:
        try:
            box[0].send_request(metadata.charge_point_id, "ClearCache")
        except RuntimeError as error:
            errors(str(error))

    with serving(on_raw_websocket_data=hook) as cs, raw(cs) as peer:
        box.append(cs)
        peer.send([2, "1", "Heartbeat", {}])
        assert "this thread reads the answer" in errors.wait()[0]


def test_a_charge_point_that_answers_no_pings_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    with serving(websocket_ping_interval=0.1) as cs:
        events = connected(cs)
        with socket.create_connection(("127.0.0.1", cs.port or 0), timeout=DEADLINE) as silent:
            silent.sendall(
                b"GET /CP1 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                b"Sec-WebSocket-Protocol: ocpp1.6\r\n\r\n"
            )
            assert events.wait(2) == [("CP1", "connected"), ("CP1", "disconnected")]
    assert "CP1 does not answer pings" in caplog.text


def test_a_charge_point_that_answers_pings_stays() -> None:
    received = Recorder()
    with serving(websocket_ping_interval=0.4, on_raw_socket_data=received) as cs:
        events = connected(cs)
        with raw(cs):
            # The upgrade request, then nothing but pongs.
            pongs = received.wait(4)[1:]
            assert all(pong[0] == 0x8A for pong in pongs)
            assert events.items == [("CP1", "connected")]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"request_timeout": 0}, "request_timeout"),
        ({"handler_threads": -1}, "handler_threads"),
        ({"handler_threads": 1.5}, "handler_threads must be a whole number above 0, not 1.5"),
        ({"websocket_ping_interval": 0}, "websocket_ping_interval"),
        ({"protocols": ["ocpp9"]}, "ocpp9"),
        ({"protocols": "ocpp1.6"}, "protocols"),
        ({"protocols": []}, "protocols"),
        ({"default_protocol": "ocpp1.5"}, "ocpp1.5"),
    ],
)
def test_a_bad_option_is_named(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        CentralSystem(None, **options)


def test_a_busy_port_is_found_by_the_constructor() -> None:
    with serving() as cs, pytest.raises(OSError, match=rf"cannot listen on 127\.0\.0\.1:{cs.port}"):
        CentralSystem(cs.port, host="127.0.0.1")


def test_connections_can_be_closed_with_a_code() -> None:
    with serving() as cs:
        events = connected(cs)
        assert cs.close_connection("CP1") is False
        with raw(cs) as peer:
            events.wait(1)
            for code in (999, 1005, 1006, 1015, 2000, 5000):
                with pytest.raises(ValueError, match=str(code)):
                    cs.close_connection("CP1", code)
            assert cs.close_connection("CP1", 4001, "go away") is True
            with pytest.raises(ConnectionClosed) as closed:
                peer.websocket.recv(DEADLINE)
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "go away")
        events.wait(2)


def test_repr_shows_the_state() -> None:
    cs = CentralSystem(0, host="127.0.0.1")
    assert "NEW" in repr(cs)
    with cs:
        assert f"127.0.0.1:{cs.port} STARTED" in repr(cs)
    assert "CLOSED" in repr(cs)
    assert "no port" in repr(CentralSystem(None))


def test_connections_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ocppsync")
    with serving() as cs:
        events = connected(cs)
        with raw(cs):
            events.wait(1)
        events.wait(2)
    assert "CP1 connected from 127.0.0.1" in caplog.text
    assert "CP1 disconnected (close code 1000)" in caplog.text


@pytest.mark.parametrize(("default", "version"), [("ocpp1.6", "1.6"), ("ocpp2.0.1", "2.0.1"), ("ocpp2.1", "2.1")])
def test_the_default_protocol_need_not_be_one_that_is_offered(default: str, version: str) -> None:
    with serving(protocols=["ocpp2.1"], default_protocol=default) as cs:
        versions = Recorder()
        cs.on("DataTransfer")(lambda payload, metadata: versions(metadata.ocpp_version))
        with raw(cs, subprotocols=None) as peer:
            peer.call("1", "DataTransfer", {"vendorId": "x"})
        assert versions.wait() == [version]


@pytest.mark.parametrize(
    ("served", "offered", "chosen"),
    [
        (None, ["ocpp2.1", "ocpp2.0.1", "ocpp1.6"], "ocpp2.1"),
        (None, ["ocpp1.6", "ocpp2.1"], "ocpp1.6"),
        (["ocpp2.1", "ocpp1.6"], ["ocpp1.6", "ocpp2.1"], "ocpp1.6"),
        (["ocpp1.6", "ocpp2.0.1"], ["ocpp2.1", "ocpp2.0.1", "ocpp1.6"], "ocpp2.0.1"),
        (["ocpp1.6"], ["ocpp2.1", "ocpp1.6"], "ocpp1.6"),
        (["ocpp2.0.1"], ["ocpp2.1", "ocpp1.6"], None),
    ],
)
def test_the_versions_that_are_served(served: Any, offered: Any, chosen: str | None) -> None:
    with serving(**({} if served is None else {"protocols": served})) as cs, raw(cs, subprotocols=offered) as peer:
        assert peer.websocket.subprotocol == chosen
        cs.on("DataTransfer")(lambda payload, metadata: {"status": "Accepted", "data": metadata.ocpp_version})
        if chosen is not None:
            answer = peer.call("1", "DataTransfer", {"vendorId": "x"})
            assert answer[2]["data"] == chosen.removeprefix("ocpp")


def test_an_answer_that_a_charge_point_cannot_use_is_reported() -> None:
    reports = Recorder()
    with serving(on_call_result_error=reports) as cs, raw(cs, subprotocols=["ocpp2.1"]) as peer:
        cs.on("Heartbeat")(lambda payload, metadata: {"currentTime": utc_now()})
        peer.call("1", "Heartbeat", {})
        peer.send([5, "1", "OccurenceConstraintViolation", "why", {"a": 1}])
        [report] = reports.wait(1)
        assert (report.charge_point_id, report.action, report.message_id) == ("CP1", "Heartbeat", "1")
        assert (report.code, report.raw_code) == ("OccurrenceConstraintViolation", "OccurenceConstraintViolation")
        assert (report.description, report.details) == ("why", {"a": 1})
        assert peer.call("2", "Heartbeat", {})[:2] == [3, "2"], "nothing came back"
