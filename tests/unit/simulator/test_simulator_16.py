"""The simulated charge point of OCPP 1.6 over real connections: its scenario, and requests to it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from simulated import PACE, RecordingCentralSystem, refuse, simulated
from support import DEADLINE, Recorder, connected, serving, wait_until

from ocppsync import (
    CallError,
    CallErrorReceived,
    CentralSystem,
    HandshakeError,
    NotConnectedError,
    OCPPRequestError,
    Request,
)
from ocppsync.answers import CentralSystemAnswers
from ocppsync.simulator import Session, SimulatedChargePoint

pytestmark = pytest.mark.slow


def registers(payloads: list[Any]) -> list[int]:
    return [int(payload["meterValue"][0]["sampledValue"][0]["value"]) for payload in payloads]


# Step by step.


def test_boot_connects_registers_and_reports(central_system: RecordingCentralSystem) -> None:
    events = connected(central_system.cs)
    with simulated(central_system) as station:
        assert station.boot()["status"] == "Accepted"
        assert central_system.actions() == ["BootNotification", "StatusNotification", "StatusNotification"]
        statuses = [
            (payload["connectorId"], payload["status"]) for payload in central_system.payloads("StatusNotification")
        ]
        assert statuses == [(0, "Available"), (1, "Available")]
        assert station.answers.registered
    assert events.wait(2) == [("SIM-1", "connected"), ("SIM-1", "disconnected")]
    assert central_system.cs.charge_points == []


def test_a_session_has_all_messages_and_the_requested_energy(central_system: RecordingCentralSystem) -> None:
    with simulated(central_system) as station:
        station.boot()
        central_system.calls.items.clear()
        session = station.charge(energy_wh=1000, samples=4, id_tag="TAG")
    assert session is not None
    start = central_system.payloads("StartTransaction")[0]
    assert session == Session(1, "TAG", start["meterStart"], start["meterStart"] + 1000, "Local")
    assert central_system.actions() == [
        *("StatusNotification", "Authorize", "StartTransaction", "StatusNotification"),
        *["MeterValues"] * 4,
        *("StopTransaction", "StatusNotification", "StatusNotification"),
    ]
    assert [payload["status"] for payload in central_system.payloads("StatusNotification")] == [
        *("Preparing", "Charging", "Finishing", "Available")
    ]
    stop = central_system.payloads("StopTransaction")[0]
    assert (stop["transactionId"], stop["meterStop"], stop["reason"]) == (1, session.meter_stop, "Local")
    values = central_system.payloads("MeterValues")
    assert {payload["transactionId"] for payload in values} == {1}
    rising = registers(values)
    assert rising == sorted(set(rising))
    assert rising[-1] == session.meter_stop
    measurands = {sample["measurand"] for sample in values[0]["meterValue"][0]["sampledValue"]}
    assert measurands == {*("Energy.Active.Import.Register", "Power.Active.Import", "Current.Import", "Voltage", "SoC")}


def test_the_register_continues_in_the_next_session(central_system: RecordingCentralSystem) -> None:
    with simulated(central_system) as station:
        station.boot()
        first, second = station.charge(samples=1), station.charge(samples=1)
    assert first is not None
    assert second is not None
    assert second.meter_start == first.meter_stop
    assert second.transaction_id != first.transaction_id


def test_an_id_tag_that_is_not_accepted_does_not_charge(central_system: RecordingCentralSystem) -> None:
    central_system.answers["Authorize"] = lambda payload: {"idTagInfo": {"status": "Blocked"}}
    with simulated(central_system) as station:
        station.boot()
        assert station.charge(id_tag="STOLEN") is None
    assert "StartTransaction" not in central_system.actions()
    assert central_system.payloads("StatusNotification")[-1]["status"] == "Available"


def test_a_transaction_whose_id_tag_is_not_accepted_is_stopped(central_system: RecordingCentralSystem) -> None:
    central_system.answers["StartTransaction"] = lambda payload: {
        "transactionId": 9,
        "idTagInfo": {"status": "Invalid"},
    }
    with simulated(central_system) as station:
        station.boot()
        session = station.charge(authorize=False)
    assert session is not None
    assert (session.transaction_id, session.reason) == (9, "DeAuthorized")
    assert session.meter_stop == session.meter_start
    assert not {"Authorize", "MeterValues"} & set(central_system.actions())


def test_the_same_seed_gives_the_same_charge_point(central_system: RecordingCentralSystem) -> None:
    def charge_twice() -> list[Session | None]:
        central_system.answers["StartTransaction"] = lambda payload: {
            "transactionId": 1,
            "idTagInfo": {"status": "Accepted"},
        }
        with simulated(central_system, random=Random(7)) as station:
            station.boot()
            return [station.charge(), station.charge()]

    assert charge_twice() == charge_twice()


def test_only_one_vehicle_charges_at_a_time(central_system: RecordingCentralSystem) -> None:
    began, go_on = threading.Event(), threading.Event()

    def authorize(payload: Any) -> Any:
        began.set()
        assert go_on.wait(DEADLINE)
        return {"idTagInfo": {"status": "Accepted"}}

    central_system.answers["Authorize"] = authorize
    with simulated(central_system) as station:
        station.boot()
        first = threading.Thread(target=station.charge, kwargs={"samples": 1})
        first.start()
        assert began.wait(DEADLINE)
        with pytest.raises(RuntimeError, match="already charging"):
            station.charge()
        go_on.set()
        first.join(DEADLINE)
        assert station.charge(samples=1) is not None


def test_failures_are_raised_to_the_caller(central_system: RecordingCentralSystem) -> None:
    with simulated(central_system) as station:
        with pytest.raises(NotConnectedError):
            station.charge()
        station.boot()
        central_system.answers["StartTransaction"] = refuse("InternalError")
        with pytest.raises(CallErrorReceived):
            station.charge()
        assert station.answers.operative
        assert not station.answers.in_use
        del central_system.answers["StartTransaction"]
        assert station.charge(samples=1) is not None
    assert "StopTransaction" in central_system.actions()


def test_the_next_boot_stops_an_interrupted_transaction(central_system: RecordingCentralSystem) -> None:
    def meter_values(payload: Any) -> Any:
        del central_system.answers["MeterValues"]
        central_system.cs.close_connection("SIM-1")
        return {}

    central_system.answers["MeterValues"] = meter_values
    with simulated(central_system) as station:
        station.boot()
        with pytest.raises(OCPPRequestError):
            station.charge(samples=3)
        assert station.answers.in_use
        wait_until(lambda: not station._charge_point.connected)
        station.boot()
        assert not station.answers.in_use
    stop = central_system.payloads("StopTransaction")[0]
    assert stop["reason"] == "Other"
    assert stop["meterStop"] == registers(central_system.payloads("MeterValues"))[0]


def test_without_the_scenario_a_reset_is_rejected(central_system: RecordingCentralSystem) -> None:
    with simulated(central_system) as station:
        station.boot()
        assert central_system.cs.send_request("SIM-1", "Reset", {"type": "Hard"}) == {"status": "Rejected"}
        assert central_system.cs.send_request("SIM-1", "RemoteStartTransaction", {"idTag": "X"}) == {
            "status": "Rejected"
        }


def test_it_sends_its_password() -> None:
    with serving(
        CentralSystemAnswers(), authorize=lambda request, name: request.basic_credentials == (b"S", b"p")
    ) as cs:
        url = f"ws://127.0.0.1:{cs.port}"
        with SimulatedChargePoint("S", url, pace=PACE, password="p") as station:
            assert station.boot()["status"] == "Accepted"
        with SimulatedChargePoint("S", url, pace=PACE, password="q") as station, pytest.raises(HandshakeError):
            station.boot()


@pytest.mark.parametrize("pace", [0, -1, float("inf")])
def test_the_pace_must_be_above_zero(pace: float) -> None:
    with pytest.raises(ValueError, match="pace"):
        SimulatedChargePoint("SIM-1", pace=pace)


def test_the_version_must_be_supported() -> None:
    unknown: Any = "1.5"
    with pytest.raises(ValueError, match=r"unsupported OCPP version '1\.5'; supported: 1\.6, 2\.0\.1, 2\.1"):
        SimulatedChargePoint("SIM-1", version=unknown)


def test_repr_shows_the_state(central_system: RecordingCentralSystem) -> None:
    with simulated(central_system) as station:
        station.boot()
        assert repr(station).startswith("<SimulatedChargePoint SIM-1 Available ")


# The scenario.


def test_the_scenario_charges_repeatedly(central_system: RecordingCentralSystem) -> None:
    with simulated(central_system) as station:
        station.start()
        central_system.wait("StopTransaction", 2)
        with pytest.raises(RuntimeError):
            station.start()
    assert central_system.actions().count("BootNotification") == 1


def test_the_number_of_sessions_is_limited(central_system: RecordingCentralSystem) -> None:
    central_system.answers["BootNotification"] = lambda payload: {
        **{"status": "Accepted", "currentTime": "2026-01-01T00:00:00Z"},
        "interval": 1,
    }
    with simulated(central_system, sessions=2) as station:
        station.start()
        # After the sessions it only sends Heartbeats, a second apart.
        central_system.wait("Heartbeat", 2)
    assert central_system.actions().count("StartTransaction") == 2


def test_stop_does_not_wait(central_system: RecordingCentralSystem) -> None:
    with simulated(central_system, pace=0.001) as station:
        station.start()
        central_system.wait("BootNotification")
        began = time.monotonic()
        station.stop()
        assert time.monotonic() - began < 2
        # The central system has a reader with the same name, which may end later.
        names = [thread.name for thread in threading.enumerate() if "SIM-1" in thread.name]
        assert [name for name in names if name != "ocppsync-reader-SIM-1"] == []


@pytest.fixture
def warnings() -> Iterator[Recorder]:
    """The log lines of the simulator."""
    logger, handler, texts = logging.getLogger("ocppsync.simulator"), logging.Handler(), Recorder()
    handler.emit = lambda record: texts(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(handler)
    yield texts
    logger.removeHandler(handler)


def test_it_retries_until_the_central_system_listens(warnings: Recorder) -> None:
    with serving() as cs:
        port = cs.port
    central_system = RecordingCentralSystem()
    with SimulatedChargePoint("SIM-1", f"ws://127.0.0.1:{port}", pace=PACE) as station:
        station.start()
        assert "cannot connect" in warnings.wait()[0]
        with CentralSystem(port, central_system, host="127.0.0.1") as central_system.cs:
            central_system.wait("BootNotification")


def test_it_waits_for_its_registration(central_system: RecordingCentralSystem) -> None:
    statuses = iter(["Pending", "Rejected", "Accepted"])
    central_system.answers["BootNotification"] = lambda payload: {
        **{"status": next(statuses), "currentTime": "2026-01-01T00:00:00Z"},
        "interval": 1,
    }
    began = time.monotonic()
    with simulated(central_system) as station:
        station.start()
        central_system.wait("StatusNotification")
    assert time.monotonic() - began >= 2
    assert central_system.actions()[:3] == ["BootNotification"] * 3


@pytest.mark.parametrize(
    ("action", "fields"),
    [
        ("StatusNotification", {"status": "Charging"}),
        ("MeterValues", {}),
        ("StopTransaction", {}),
        ("StatusNotification", {"status": "Finishing"}),
    ],
)
def test_it_reconnects_and_goes_on_with_the_session(
    central_system: RecordingCentralSystem, action: str, fields: Any
) -> None:
    events = connected(central_system.cs)
    usual = CentralSystemAnswers()

    def lose(payload: Any) -> Any:
        if fields.items() <= payload.items() and len(events.items) == 1:
            central_system.cs.close_connection("SIM-1")
            events.wait(2)
        return usual(Request(action, payload, "1.6"), None)  # type: ignore[arg-type]

    central_system.answers[action] = lose
    with simulated(central_system, sessions=1) as station:
        station.start()
        events.wait(3)
        central_system.wait("StopTransaction", transactionId=1)
        central_system.calls.wait_until(
            lambda items: (
                [payload.get("status") for name, payload in items if name == "StatusNotification"][-1] == "Available"
                and any(name == "StopTransaction" for name, _ in items)
            )
        )
    starts, stops = central_system.payloads("StartTransaction"), central_system.payloads("StopTransaction")
    assert len(starts) == 1
    assert {(stop["transactionId"], stop["reason"]) for stop in stops} == {(1, "Local")}
    values = central_system.payloads("MeterValues")
    assert len({str(payload) for payload in values}) == 8, "none is lost"
    assert central_system.actions().count("BootNotification") == 1
    assert events.items[:3] == [("SIM-1", "connected"), ("SIM-1", "disconnected"), ("SIM-1", "connected")]


def test_it_waits_for_a_central_system_that_is_away(caplog: pytest.LogCaptureFixture) -> None:
    first, second = RecordingCentralSystem(), RecordingCentralSystem()
    seen = Recorder()
    refused = "a vehicle is charging, so it tries again"

    def see(record: logging.LogRecord) -> bool:
        seen(record.getMessage())
        return True

    with serving(first) as first.cs:
        port = first.cs.port
        with simulated(first, sessions=1) as station:
            logger = logging.getLogger("ocppsync.simulator.reconnection")
            logger.addFilter(see)
            station.start()
            first.wait("MeterValues", 2)
            first.cs.close()
            seen.wait_until(lambda items: sum(refused in text for text in items) >= 2)
            second.cs = CentralSystem(port, second, host="127.0.0.1")
            with second.cs:
                second.wait("StopTransaction", transactionId=1, reason="Local")
            logger.removeFilter(see)
    values = {str(payload) for side in (first, second) for payload in side.payloads("MeterValues")}
    assert len(values) == 8, "none is lost"
    assert "BootNotification" not in second.actions()


def test_a_central_system_that_has_forgotten_it_gets_the_end_after_a_boot(
    central_system: RecordingCentralSystem,
) -> None:
    events = connected(central_system.cs)

    def meter_values(payload: Any) -> Any:
        if len(events.items) == 1:
            central_system.cs.close_connection("SIM-1")
            return {}
        if len(central_system.payloads("BootNotification")) == 1:
            raise CallError("SecurityError")
        return {}

    central_system.answers["MeterValues"] = meter_values
    with simulated(central_system) as station:
        station.start()
        central_system.wait("StartTransaction", 2)
    stops = [payload for payload in central_system.payloads("StopTransaction") if payload["transactionId"] == 1]
    assert [payload["reason"] for payload in stops] == ["Other"]
    assert central_system.actions().count("BootNotification") == 2


def test_it_boots_again_after_a_security_error(central_system: RecordingCentralSystem) -> None:
    def authorize(payload: Any) -> Any:
        del central_system.answers["Authorize"]
        raise CallError("SecurityError")

    central_system.answers["Authorize"] = authorize
    with simulated(central_system) as station:
        station.start()
        central_system.wait("BootNotification", 2)
        central_system.wait("StopTransaction")


# Requests of the central system.


@pytest.fixture
def waiting(central_system: RecordingCentralSystem) -> Iterator[SimulatedChargePoint]:
    """A charge point that charges only on request, until it is told to stop."""
    with simulated(central_system, sessions=0) as station:
        station.start()
        central_system.wait("StatusNotification", 2)
        yield station


def start_remotely(central_system: RecordingCentralSystem) -> int:
    assert central_system.cs.send_request("SIM-1", "RemoteStartTransaction", {"idTag": "APP"}) == {"status": "Accepted"}
    central_system.wait("StatusNotification", status="Charging")
    return int(central_system.wait("MeterValues")["transactionId"])


@pytest.fixture
def slow(central_system: RecordingCentralSystem) -> Iterator[int]:
    """The id of a transaction that runs for some seconds."""
    with simulated(central_system, sessions=0, pace=3) as station:
        station.start()
        central_system.wait("StatusNotification", 2)
        yield start_remotely(central_system)


def test_a_remote_start_charges_without_authorize(
    central_system: RecordingCentralSystem, waiting: SimulatedChargePoint
) -> None:
    start_remotely(central_system)
    assert central_system.payloads("StartTransaction")[0]["idTag"] == "APP"
    assert "Authorize" not in central_system.actions()
    central_system.wait("StopTransaction", reason="Local")


def test_a_remote_start_authorizes_first_if_configured(
    central_system: RecordingCentralSystem, waiting: SimulatedChargePoint
) -> None:
    setting: Any = {"key": "AuthorizeRemoteTxRequests", "value": "true"}
    assert central_system.cs.send_request("SIM-1", "ChangeConfiguration", setting) == {"status": "Accepted"}
    start_remotely(central_system)
    assert central_system.payloads("Authorize") == [{"idTag": "APP"}]


def test_a_remote_stop_ends_the_transaction(central_system: RecordingCentralSystem, slow: int) -> None:
    answer = central_system.cs.send_request("SIM-1", "RemoteStopTransaction", {"transactionId": slow})
    assert answer == {"status": "Accepted"}
    assert central_system.wait("StopTransaction")["reason"] == "Remote"


def test_unlocking_ends_the_transaction(central_system: RecordingCentralSystem, slow: int) -> None:
    assert central_system.cs.send_request("SIM-1", "UnlockConnector", {"connectorId": 1}) == {"status": "Unlocked"}
    assert central_system.wait("StopTransaction")["reason"] == "UnlockCommand"


def test_a_reset_ends_the_transaction_and_boots(central_system: RecordingCentralSystem, slow: int) -> None:
    events = connected(central_system.cs)
    assert central_system.cs.send_request("SIM-1", "Reset", {"type": "Hard"}) == {"status": "Accepted"}
    assert central_system.wait("StopTransaction")["reason"] == "HardReset"
    central_system.wait("BootNotification", 2)
    assert events.wait(2)[:2] == [("SIM-1", "disconnected"), ("SIM-1", "connected")]


def test_availability_changes_at_once_without_a_transaction(
    central_system: RecordingCentralSystem, waiting: SimulatedChargePoint
) -> None:
    down: Any = {"connectorId": 1, "type": "Inoperative"}
    assert central_system.cs.send_request("SIM-1", "ChangeAvailability", down) == {"status": "Accepted"}
    central_system.wait("StatusNotification", status="Unavailable")
    assert central_system.cs.send_request("SIM-1", "RemoteStartTransaction", {"idTag": "X"}) == {"status": "Rejected"}
    up: Any = {"connectorId": 1, "type": "Operative"}
    assert central_system.cs.send_request("SIM-1", "ChangeAvailability", up) == {"status": "Accepted"}
    central_system.wait("StatusNotification", 3, status="Available")


def test_availability_changes_after_the_running_transaction(central_system: RecordingCentralSystem, slow: int) -> None:
    down: Any = {"connectorId": 1, "type": "Inoperative"}
    assert central_system.cs.send_request("SIM-1", "ChangeAvailability", down) == {"status": "Scheduled"}
    central_system.cs.send_request("SIM-1", "RemoteStopTransaction", {"transactionId": slow})
    central_system.wait("StatusNotification", status="Unavailable")
    statuses = [payload["status"] for payload in central_system.payloads("StatusNotification")]
    assert statuses[-2:] == ["Finishing", "Unavailable"]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("Heartbeat", {}),
        ("DiagnosticsStatusNotification", {"status": "Idle"}),
        ("FirmwareStatusNotification", {"status": "Idle"}),
        ("MeterValues", {"connectorId": 1}),
        ("StatusNotification", {"connectorId": 1, "status": "Available"}),
    ],
)
def test_a_triggered_message_is_sent(
    central_system: RecordingCentralSystem, waiting: SimulatedChargePoint, wanted: Any, expected: dict[str, Any]
) -> None:
    central_system.calls.items.clear()
    assert central_system.cs.send_request("SIM-1", "TriggerMessage", {"requestedMessage": wanted}) == {
        "status": "Accepted"
    }
    central_system.wait(wanted, **expected)


def test_extended_trigger_message_triggers_its_messages(
    central_system: RecordingCentralSystem, waiting: SimulatedChargePoint
) -> None:
    payload: Any = {"requestedMessage": "LogStatusNotification"}
    assert central_system.cs.send_request("SIM-1", "ExtendedTriggerMessage", payload) == {"status": "Accepted"}
    assert central_system.wait("LogStatusNotification") == {"status": "Idle"}


def test_a_pending_charge_point_boots_when_triggered(central_system: RecordingCentralSystem) -> None:
    def boot(payload: Any) -> Any:
        del central_system.answers["BootNotification"]
        return {"status": "Pending", "currentTime": "2026-01-01T00:00:00Z", "interval": 3600}

    central_system.answers["BootNotification"] = boot
    with simulated(central_system) as station:
        station.boot()
        payload: Any = {"requestedMessage": "BootNotification"}
        assert central_system.cs.send_request("SIM-1", "TriggerMessage", payload) == {"status": "Accepted"}
        central_system.wait("StatusNotification", 2)
        assert central_system.cs.send_request("SIM-1", "TriggerMessage", payload) == {"status": "Rejected"}


def test_heartbeats_follow_the_configured_interval(
    central_system: RecordingCentralSystem, waiting: SimulatedChargePoint
) -> None:
    setting: Any = {"key": "HeartbeatInterval", "value": "1"}
    assert central_system.cs.send_request("SIM-1", "ChangeConfiguration", setting) == {"status": "Accepted"}
    central_system.wait("Heartbeat")


def test_a_fixed_answer_has_no_effect(central_system: RecordingCentralSystem) -> None:
    with simulated(central_system, sessions=0, answers={"Reset": {"status": "Rejected"}}) as station:
        station.start()
        central_system.wait("StatusNotification", 2)
        assert central_system.cs.send_request("SIM-1", "Reset", {"type": "Soft"}) == {"status": "Rejected"}
        start_remotely(central_system)
        assert central_system.wait("StopTransaction")["reason"] == "Local"
    assert central_system.actions().count("BootNotification") == 1
