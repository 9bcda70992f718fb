"""The fake charge point, over each kind of link."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support import DEADLINE, accept_boots, connected

from ocppsync import (
    CallErrorReceived,
    CentralSystem,
    ConnectionLostError,
    HandshakeError,
    InvalidResponseError,
    NotConnectedError,
    RequestTimeoutError,
)
from ocppsync.errors import CallError
from ocppsync.testing import Clock, fake_charge_point, inline
from ocppsync.testing.fake_charge_point import FakeChargePoint

LINKS = ["inline", "threads", "socket"]

Start = Callable[..., CentralSystem]


@pytest.fixture(params=LINKS)
def link(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def start(link: str) -> Iterator[Start]:
    """Make a central system for a kind of link, and start it."""
    with contextlib.ExitStack() as running:

        def make(prepare: Callable[[CentralSystem], object] = accept_boots, **options: Any) -> CentralSystem:
            cs = CentralSystem(0 if link == "socket" else None, host="127.0.0.1", **options)
            prepare(cs)
            running.enter_context(inline(cs) if link == "inline" else cs)
            return cs

        yield make


@pytest.fixture
def connect(link: str) -> Iterator[Callable[..., FakeChargePoint]]:
    with contextlib.ExitStack() as running:

        def make(cs: CentralSystem, charge_point_id: str = "CP1", **options: Any) -> FakeChargePoint:
            over = "socket" if link == "socket" else "memory"
            cp = FakeChargePoint(cs, charge_point_id, over=over, **options)
            running.callback(cp.close)
            return cp.connect()

        yield make


Connect = Callable[..., FakeChargePoint]


def test_calls_are_answered(start: Start, connect: Connect) -> None:
    cp = connect(start())
    assert cp.boot()["status"] == "Accepted"
    assert cp.boot(chargePointVendor="Acme")["interval"] == 300
    assert repr(cp) == "<FakeChargePoint CP1 OCPP 1.6 connected received=0>"


@pytest.mark.parametrize("version", ["1.6", "2.0.1", "2.1"])
def test_it_boots_in_each_version(start: Start, connect: Connect, version: str) -> None:
    def prepare(cs: CentralSystem) -> None:
        @cs.on("BootNotification")
        def boot(payload: Any, metadata: Any) -> Any:
            assert metadata.ocpp_version == version
            return {"status": "Accepted", "currentTime": "2024-01-01T00:00:00Z", "interval": 1}

    assert connect(start(prepare), version=version).boot()["status"] == "Accepted"


def test_refused_calls_raise(start: Start, connect: Connect) -> None:
    cp = connect(start())
    with pytest.raises(CallErrorReceived) as caught:
        cp.call("Heartbeat")
    assert (caught.value.code, caught.value.action) == ("NotSupported", "Heartbeat")
    with pytest.raises(CallErrorReceived) as caught:
        cp.call("BootNotification", {"chargePointVendor": 1})
    assert caught.value.charge_point_id == "CP1"


def test_requests_are_answered_by_the_script(start: Start, connect: Connect) -> None:
    cs = start()
    cp = connect(cs)
    cp.expect("Reset", {"status": "Accepted"}, payload={"type": "Soft"})
    cp.expect("Reset", lambda payload: {"status": "Rejected"}, payload=lambda payload: payload["type"] == "Hard")
    cp.refuse("ClearCache", "GenericError", "not now")
    assert cs.send_request("CP1", "Reset", {"type": "Hard"}) == {"status": "Rejected"}
    assert cs.send_request("CP1", "Reset", {"type": "Soft"}) == {"status": "Accepted"}
    with pytest.raises(CallErrorReceived, match="GenericError: not now"):
        cs.send_request("CP1", "ClearCache")
    cp.assert_script_done()
    assert [call.action for call in cp.received] == ["Reset", "Reset", "ClearCache"]
    cp.assert_received("Reset", {"type": "Hard"}, times=1)
    cp.assert_not_received("ChangeAvailability")


def test_a_silent_charge_point_lets_requests_time_out(start: Start, connect: Connect) -> None:
    cs = start(request_timeout=0.05)
    cp = connect(cs)
    cp.stay_silent("Reset")
    with pytest.raises(RequestTimeoutError):
        cs.send_request("CP1", "Reset", {"type": "Soft"})


def test_a_late_answer_is_an_answer(start: Start, connect: Connect) -> None:
    cs = start()
    cp = connect(cs)
    cp.expect("Reset", {"status": "Accepted"}, delay=0.05)
    assert cs.send_request("CP1", "Reset", {"type": "Soft"}) == {"status": "Accepted"}


def test_an_answer_is_held_back_until_it_is_released(start: Start, connect: Connect) -> None:
    cs = start()
    cp = connect(cs)
    reset = cp.expect("Reset", {"status": "Accepted"}, hold=True)
    future = cs.submit_request("CP1", "Reset", {"type": "Soft"})
    assert cp.wait_for("Reset") == {"type": "Soft"}
    assert not future.done()
    reset.release()
    assert future.result(DEADLINE) == {"status": "Accepted"}
    assert [call.payload for call in reset.calls] == [{"type": "Soft"}]


def test_a_connection_that_drops_fails_the_request(start: Start, connect: Connect) -> None:
    cs = start()
    events = connected(cs)
    cp = connect(cs)
    cp.drop_on("Reset")
    with pytest.raises(ConnectionLostError):
        cs.send_request("CP1", "Reset", {"type": "Soft"})
    assert cp.wait_closed() == 1006
    assert events.wait(2) == [("CP1", "connected"), ("CP1", "disconnected")]


def test_a_malformed_answer(start: Start, connect: Connect) -> None:
    cs = start()
    cp = connect(cs)
    cp.answer_malformed("Reset")
    with pytest.raises(InvalidResponseError):
        cs.send_request("CP1", "Reset", {"type": "Soft"})


def test_it_reconnects_after_a_drop(start: Start, connect: Connect) -> None:
    cs = start()
    events = connected(cs)
    cp = connect(cs)
    cp.drop()
    assert not cp.connected
    assert cp.close_code == 1006
    events.wait(2)
    with pytest.raises(NotConnectedError):
        cp.boot()
    cp.connect()
    with pytest.raises(RuntimeError, match="CP1 is already connected"):
        cp.connect()
    assert cp.boot()["status"] == "Accepted"
    assert cp.close_code is None


def test_the_central_system_closes(start: Start, connect: Connect) -> None:
    cs = start()
    cp = connect(cs)
    cp.boot()
    cs.close_connection("CP1", 3000, "go")
    assert cp.wait_closed() == 3000
    cp.connect()
    cs.close()
    assert cp.wait_closed() == 1001


def test_it_closes(start: Start, connect: Connect) -> None:
    cs = start()
    cp = connect(cs)
    cp.boot()
    cp.close(3001, "bye")
    assert cp.close_code == 3001
    cp.close()


def test_raw_messages(start: Start, connect: Connect) -> None:
    cs = start()
    cp = connect(cs, version="2.0.1")
    cp.send_malformed()
    cp.send_raw('[2,"x","Heartbeat",{}]')
    with pytest.raises(CallErrorReceived):
        cp.call("Heartbeat")
    assert [text[:8] for text in cp.texts[:2]] == ['[4,"-1",', '[4,"x","']
    cp.send_raw(b"\x00\x01")
    assert cp.wait_closed() == 1003


def test_a_call_that_loses_its_connection(start: Start, connect: Connect) -> None:
    def prepare(cs: CentralSystem) -> None:
        @cs.on("Heartbeat")
        def heartbeat(payload: Any, metadata: Any) -> Any:
            cs.close_connection("CP1")
            raise CallError("GenericError")

    cp = connect(start(prepare))
    with pytest.raises(ConnectionLostError):
        cp.call("Heartbeat")


def test_sends(start: Start, connect: Connect) -> None:
    came = threading.Event()

    def prepare(cs: CentralSystem) -> None:
        @cs.on("NotifyPeriodicEventStream")
        def notify(payload: Any, metadata: Any) -> None:
            came.set()

    cp = connect(start(prepare), version="2.1")
    stream = {"id": 1, "pending": 0, "basetime": "2024-01-01T00:00:00Z", "data": [{"t": 1, "v": "2"}]}
    cp.send("NotifyPeriodicEventStream", stream)
    assert came.wait(DEADLINE)


# The script.


def test_an_unexpected_request_is_refused_and_fails_the_script(start: Start, connect: Connect) -> None:
    cs = start()
    cp = connect(cs)
    cp.expect("Reset", payload={"type": "Hard"})
    cp.expect("ClearCache", {"status": "Accepted"})
    with pytest.raises(CallErrorReceived, match="NotImplemented"):
        cs.send_request("CP1", "Reset", {"type": "Soft"})
    with pytest.raises(AssertionError) as caught:
        cp.assert_script_done()
    assert str(caught.value) == (
        "the script of CP1 is not done:\n"
        '  - Reset {"type": "Soft"} was not expected\n'
        '      does not match Reset with {"type": "Hard"}: type is "Soft", not "Hard"\n'
        '  - Reset with {"type": "Hard"} was expected, but not received\n'
        "  - ClearCache was expected, but not received\n"
        "  received:\n"
        '  1. Reset {"type": "Soft"}'
    )


def test_an_answer_that_fails_fails_the_script(start: Start, connect: Connect) -> None:
    cs = start()
    cp = connect(cs)
    cp.expect("ClearCache", lambda payload: payload["nothing"])
    with pytest.raises(CallErrorReceived, match="InternalError"):
        cs.send_request("CP1", "ClearCache")
    with pytest.raises(AssertionError, match=r"the answer to ClearCache \{\} failed: KeyError\('nothing'\)"):
        cp.assert_script_done()


@pytest.mark.parametrize(
    ("action", "text"),
    [
        ("Rest", "OCPP 1.6 has no action 'Rest'; did you mean 'Reset'?"),
        ("Heartbeat", "a central system does not send Heartbeat"),
    ],
)
def test_actions_that_a_central_system_does_not_send_cannot_be_expected(action: str, text: str) -> None:
    cp = FakeChargePoint(CentralSystem(None))
    with pytest.raises(ValueError, match=re.escape(text)):
        cp.expect(action)


# What came.


def test_failures_list_the_received_calls(start: Start, connect: Connect) -> None:
    cs = start()
    cp = connect(cs)
    with pytest.raises(AssertionError) as caught:
        cp.wait_for("Reset", {"type": "Hard"}, timeout=0.01)
    assert str(caught.value) == 'Reset with {"type": "Hard"} was not received within 0.01 s\n  received: nothing'
    cp.expect("Reset", {"status": "Accepted"})
    cs.send_request("CP1", "Reset", {"type": "Soft"})
    with pytest.raises(AssertionError, match=r"Reset was not received 2 times within 0\.01 s"):
        cp.wait_for("Reset", count=2, timeout=0.01)
    with pytest.raises(AssertionError) as caught:
        cp.assert_received("Reset", {"type": "Hard"})
    assert str(caught.value) == (
        'Reset with {"type": "Hard"} was received 0 times, expected at least once\n'
        '  Reset {"type": "Soft"}: type is "Soft", not "Hard"\n'
        "  received:\n"
        '  1. Reset {"type": "Soft"}'
    )
    with pytest.raises(AssertionError, match="Reset was received once, expected 0 times"):
        cp.assert_not_received("Reset")
    with pytest.raises(AssertionError, match=r"did not end within 0\.01 s"):
        cp.wait_closed(0.01)


def test_what_another_thread_sends_can_be_waited_for(start: Start, connect: Connect) -> None:
    cs = start()
    cp = connect(cs)
    cp.expect("ClearCache", {"status": "Accepted"}, times=2)
    thread = threading.Thread(target=lambda: [cs.send_request("CP1", "ClearCache") for _ in range(2)])
    thread.start()
    assert cp.wait_for("ClearCache", count=2) == {}
    thread.join(DEADLINE)
    cp.assert_script_done()


# Arrival.


def test_it_is_admitted_as_over_a_socket(start: Start, connect: Connect) -> None:
    seen: list[Any] = []

    def authorize(request: Any, charge_point_id: str) -> bool | int:
        seen.append((charge_point_id, request.path, request.query, request.headers["x-site"]))
        if charge_point_id == "CP3":
            return 403
        return bool(request.basic_credentials == (charge_point_id.encode(), b"secret"))

    cs = start(authorize=authorize)
    options: dict[str, Any] = {"path": "/ocpp?a=1", "headers": [("X-Site", "north")]}
    cp = connect(cs, "CP 1", password="secret", **options)
    assert seen == [("CP 1", "/ocpp/CP%201", "a=1", "north")]
    assert cp.boot()["status"] == "Accepted"
    assert cs.charge_points == ["CP 1"]
    for charge_point_id, status in (("CP2", 401), ("CP3", 403)):
        with pytest.raises(HandshakeError) as caught:
            connect(cs, charge_point_id, password="wrong", **options)
        assert caught.value.status == status


def test_a_version_that_is_not_spoken(start: Start, connect: Connect) -> None:
    cs = start(protocols=["ocpp1.6", "ocpp2.0.1"], default_protocol=None)
    with pytest.raises(ValueError, match=r"unsupported OCPP version '2\.1'"):
        connect(cs, version="2.1")


def test_the_newest_connection_counts(start: Start, connect: Connect) -> None:
    cs = start()
    first, second = connect(cs), connect(cs)
    assert first.wait_closed() == 1008
    assert second.boot()["status"] == "Accepted"


def test_a_socket_needs_a_port_and_threads() -> None:
    with pytest.raises(ValueError, match="needs a central system with a port"):
        FakeChargePoint(CentralSystem(None), over="socket")
    cs = CentralSystem(0, host="127.0.0.1")
    with inline(cs), pytest.raises(RuntimeError, match="needs handler threads"):
        FakeChargePoint(cs, over="socket").connect()


def test_a_call_that_is_not_answered_in_time() -> None:
    go_on = threading.Event()
    cs = CentralSystem(None)

    @cs.on("Heartbeat")
    def heartbeat(payload: Any, metadata: Any) -> Any:
        assert go_on.wait(DEADLINE)
        return {"currentTime": "2024-01-01T00:00:00Z"}

    with cs, fake_charge_point(cs) as cp:
        with pytest.raises(RequestTimeoutError, match=r"no answer within 0\.01 s"):
            cp.call("Heartbeat", timeout=0.01)
        go_on.set()


# In memory, without threads.


@pytest.fixture
def cs() -> CentralSystem:
    return CentralSystem(None)


@pytest.fixture
def clock(cs: CentralSystem) -> Iterator[Clock]:
    accept_boots(cs)
    with inline(cs) as clock:
        yield clock


def test_handlers_hooks_and_listeners_run_on_the_thread_of_the_test(cs: CentralSystem, clock: Clock) -> None:
    threads: list[tuple[str, int]] = []

    @cs.on("Heartbeat")
    def heartbeat(payload: Any, metadata: Any) -> Any:
        threads.append(("handler", threading.get_ident()))
        return {"currentTime": "2024-01-01T00:00:00Z"}

    @cs.after("Heartbeat")
    def after(payload: Any, metadata: Any) -> None:
        threads.append(("hook", threading.get_ident()))

    cs.add_connection_listener(lambda name, status: threads.append((status, threading.get_ident())))
    with fake_charge_point(cs) as cp:
        cp.call("Heartbeat")
    assert threads == [(what, threading.get_ident()) for what in ("connected", "handler", "hook", "disconnected")]


def test_a_handler_asks_its_own_charge_point(cs: CentralSystem, clock: Clock) -> None:
    answers: list[Any] = []

    @cs.on("Heartbeat")
    def heartbeat(payload: Any, metadata: Any) -> Any:
        answers.append(cs.send_request(metadata.charge_point_id, "ClearCache"))
        return {"currentTime": "2024-01-01T00:00:00Z"}

    with fake_charge_point(cs) as cp:
        cp.expect("ClearCache", {"status": "Accepted"})
        cp.call("Heartbeat")
    assert answers == [{"status": "Accepted"}]


def test_a_triggered_call_is_sent_before_the_trigger_is_answered(cs: CentralSystem, clock: Clock) -> None:
    cs.on("Heartbeat")(lambda payload, metadata: {"currentTime": "2024-01-01T00:00:00Z"})
    with fake_charge_point(cs) as cp:

        def trigger(payload: Any) -> dict[str, str]:
            assert "currentTime" in cp.call("Heartbeat")
            return {"status": "Accepted"}

        cp.expect("TriggerMessage", trigger)
        answer = cs.send_request("CP1", "TriggerMessage", {"requestedMessage": "Heartbeat"})
        assert answer == {"status": "Accepted"}


def test_a_timeout_in_a_handler_takes_no_time(cs: CentralSystem, clock: Clock) -> None:
    errors: list[RequestTimeoutError] = []

    @cs.on("Heartbeat")
    def heartbeat(payload: Any, metadata: Any) -> Any:
        try:
            cs.send_request(metadata.charge_point_id, "ClearCache", timeout=40)
        except RequestTimeoutError as error:
            errors.append(error)
        return {"currentTime": "2024-01-01T00:00:00Z"}

    with fake_charge_point(cs) as cp:
        cp.stay_silent("ClearCache")
        cp.call("Heartbeat")
    assert [error.delivery for error in errors] == ["unknown"]
    assert clock.now() == 40


def test_a_request_times_out_by_the_clock(cs: CentralSystem, clock: Clock) -> None:
    with fake_charge_point(cs) as cp:
        cp.stay_silent("ClearCache")
        future = cs.submit_request("CP1", "ClearCache", timeout=20)
        clock.advance(19)
        assert not future.done()
        clock.advance(1)
        assert isinstance(future.exception(0), RequestTimeoutError)


def test_requests_wait_for_their_turn(cs: CentralSystem, clock: Clock) -> None:
    with fake_charge_point(cs) as cp:
        held = cp.expect("ClearCache", {"status": "Accepted"}, hold=True)
        cp.expect("Reset", {"status": "Rejected"})
        done: list[Any] = []
        futures = [cs.submit_request("CP1", "ClearCache"), cs.submit_request("CP1", "Reset", {"type": "Hard"})]
        for future in futures:
            future.add_done_callback(lambda future: done.append(future.result()))
        cp.assert_not_received("Reset")
        held.release()
        assert done == [{"status": "Accepted"}, {"status": "Rejected"}]


def test_a_delay_is_on_the_clock(cs: CentralSystem, clock: Clock) -> None:
    with fake_charge_point(cs) as cp:
        cp.expect("ClearCache", {"status": "Accepted"}, delay=25, times=2)
        assert cs.send_request("CP1", "ClearCache") == {"status": "Accepted"}
        assert clock.now() == 25
        with pytest.raises(RequestTimeoutError):
            cs.send_request("CP1", "ClearCache", timeout=20)


def test_pings_keep_a_connection_and_their_lack_ends_it(cs: CentralSystem, clock: Clock) -> None:
    cp = FakeChargePoint(cs).connect()
    clock.advance(1000)
    assert cp.connected
    cp.ignore_pings()
    clock.advance(29)
    assert cp.connected
    clock.advance(60)
    assert cp.wait_closed() == 1006
    assert cs.charge_points == []


def test_pings_over_a_socket_are_not_ours_to_ignore() -> None:
    with (
        CentralSystem(0, host="127.0.0.1") as cs,
        fake_charge_point(cs, over="socket") as cp,
        pytest.raises(RuntimeError, match="always answered"),
    ):
        cp.ignore_pings()


def test_a_context_manager_checks_the_script(cs: CentralSystem, clock: Clock) -> None:
    with pytest.raises(AssertionError, match="Reset was expected, but not received"), fake_charge_point(cs) as cp:
        cp.expect("Reset")
    with pytest.raises(ZeroDivisionError), fake_charge_point(cs) as cp:
        cp.expect("Reset")
        raise ZeroDivisionError
    assert not cp.connected


def test_many_charge_points_and_threads_at_once(cs: CentralSystem, clock: Clock) -> None:
    points = [FakeChargePoint(cs, f"CP{number}").connect() for number in range(8)]
    answers: list[str] = []

    def work(cp: FakeChargePoint) -> None:
        cp.expect("ClearCache", {"status": "Accepted"}, times=20)
        for _ in range(20):
            answers.append(cp.boot()["status"])
            answers.append(cs.send_request(cp.charge_point_id, "ClearCache")["status"])

    threads = [threading.Thread(target=work, args=(cp,)) for cp in points]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert answers == ["Accepted"] * 320
    for cp in points:
        cp.assert_script_done()
        cp.close()


def test_no_thread_is_left(cs: CentralSystem) -> None:
    before = set(threading.enumerate())
    with inline(cs):
        FakeChargePoint(cs, "CP1").connect().drop()
        FakeChargePoint(cs, "CP2").connect()
    assert set(threading.enumerate()) - before == set()
