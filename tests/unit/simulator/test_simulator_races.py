"""Threads of a simulated charge point that meet: the session, requests of the central system, and `stop`."""

from __future__ import annotations

import threading
import time
from typing import Any, cast

import pytest
from station_bench import ALL, V2X, bench
from support import DEADLINE, WatchedLock, wait_until

from ocppsync import CallError, Request, RequestMetadata
from ocppsync.answers.availability import CONNECTOR


@pytest.mark.parametrize("version", ALL)
def test_a_change_that_comes_at_the_end_of_a_session_is_reported(version: str) -> None:
    with bench(version) as here:
        driver = here.station._version_driver
        rest = driver.rest

        def rest_then_change() -> None:
            driver.rest = rest  # type: ignore[method-assign]
            rest()
            # The session has reported that the connector is available, and still holds it.
            assert here.station.answers.change_availability([CONNECTOR], operative=False) == "Accepted"
            effect = threading.Thread(target=here.station._settle)
            effect.start()
            effect.join(DEADLINE)
            assert here.statuses()[-1] == "Available"

        driver.rest = rest_then_change  # type: ignore[method-assign]
        assert here.charge(samples=1) is not None
        assert here.statuses()[-1] == "Unavailable"


@pytest.mark.parametrize("version", ALL)
def test_stop_ends_a_session_at_once(version: str) -> None:
    with bench(version, boot=False, pace=5) as here:
        here.start()
        assert here.start_remotely() == "Accepted"
        here.wait_for_transaction()
        here.station._waiting._pace = 0.01  # what is left takes minutes
        here.station._signal()
        began = time.monotonic()
        here.station.stop()
        assert time.monotonic() - began < 3
        assert not here.station._thread.is_alive()


@pytest.mark.parametrize("version", ALL)
def test_a_request_that_meets_stop_leaves_no_thread(version: str) -> None:
    far, location = "2099-01-01T00:00:00Z", "http://127.0.0.1:1/"
    log = {"requestId": 1, "logType": "DiagnosticsLog", "log": {"remoteLocation": location}}
    requests: dict[str, Any] = {"GetLog": log}
    if version == "1.6":
        requests["ReserveNow"] = {"connectorId": 1, "expiryDate": far, "idTag": "T", "reservationId": 1}
        requests["UpdateFirmware"] = {"location": location, "retrieveDate": far}
        requests["GetDiagnostics"] = {"location": location}
    else:
        requests["ReserveNow"] = {"id": 1, "expiryDateTime": far, "idToken": {"idToken": "T", "type": "Central"}}
        requests["UpdateFirmware"] = {"requestId": 1, "firmware": {"location": location, "retrieveDateTime": far}}
    before = set(threading.enumerate())
    with bench(version) as here:
        here.station.stop()
        for action, payload in requests.items():
            # The handler thread has got this far when the program calls `stop`.
            here.station.answers(Request(action, payload), cast("RequestMetadata", None))
            here.station._requests._effects[action](payload)
        names = [thread.name for thread in set(threading.enumerate()) - before]
        assert not [name for name in names if name.startswith("ocppsync-simulator-")]


@pytest.mark.parametrize("version", ALL)
def test_the_last_status_that_is_sent_is_the_last_one(version: str) -> None:
    with bench(version) as here:
        driver: Any = here.station._version_driver
        lock = driver._reporting = WatchedLock()
        with lock:
            report = lock.meanwhile(lambda: driver.report_status(1))
            driver.phase = "Preparing"
        report.result(DEADLINE)
        assert here.statuses()[-1] == ("Preparing" if here.is_16 else "Occupied")


@pytest.mark.parametrize("version", V2X)
def test_a_triggered_event_waits_for_those_before_it(version: str) -> None:
    taken: list[Any] = []

    def take(payload: Any) -> Any:
        if payload["seqNo"] == 2 and len(here.sent("TransactionEvent")) == 3:
            raise CallError("InternalError")
        taken.append((payload["seqNo"], payload["triggerReason"]))
        return {}

    with bench(version, boot=False, pace=50) as here:
        here.answers["TransactionEvent"] = take
        here.start()
        assert here.start_remotely() == "Accepted"
        here.wait("TransactionEvent", seqNo=2)
        assert here.trigger("TransactionEvent") == "Accepted"
        here.central_system.cs.close_connection("SIM-1")
        here.wait("TransactionEvent", eventType="Ended")
        wait_until(lambda: taken[-1][1] == "StopAuthorized")
        assert [number for number, _ in taken] == list(range(len(taken)))
        assert taken[3] == (3, "Trigger")


@pytest.mark.parametrize("version", V2X)
def test_an_event_that_was_triggered_before_the_end_is_sent_before_it(version: str) -> None:
    with bench(version) as here:
        driver: Any = here.station._version_driver
        enter = driver.enter

        def enter_then_trigger(phase: Any) -> None:
            enter(phase)
            if phase == "Charging":
                here.station._waiting.interruption = "Remote"
                assert here.trigger("TransactionEvent") == "Accepted"
                wait_until(lambda: driver._triggered)

        driver.enter = enter_then_trigger
        assert here.charge().reason == "Remote"
        assert [one["triggerReason"] for one in here.sent("TransactionEvent")[-2:]] == ["Trigger", "RemoteStop"]


@pytest.mark.parametrize("version", V2X)
def test_an_event_that_is_triggered_just_before_the_session_waits_is_sent_at_once(version: str) -> None:
    with bench(version, boot=False, pace=1) as here:
        driver: Any = here.station._version_driver
        send_triggered = driver.send_triggered

        def send_then_trigger() -> None:
            driver.send_triggered = send_triggered
            send_triggered()
            here.station._requests._effects["TriggerMessage"]({"requestedMessage": "TransactionEvent"})

        driver.send_triggered = send_then_trigger
        here.start()
        assert here.set("MeterValueSampleInterval", "0") == "Accepted"  # nothing else wakes the session
        assert here.start_remotely() == "Accepted"
        here.wait("TransactionEvent", triggerReason="Trigger")
