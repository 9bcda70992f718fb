"""The simulated charge point over real connections: its scenario, and how it obeys; the messages are those of 1.6."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from simulated import PACE, DemoCentralSystem, refuse, serving_desk, simulated
from support import DEADLINE, Recorder, connected, serving

from ocppsync import CallError, CallErrorReceived, CentralSystem, HandshakeError, NotConnectedError
from ocppsync.answers import CentralSystemAnswers
from ocppsync.simulator import Session, SimulatedChargePoint

pytestmark = pytest.mark.slow


@pytest.fixture
def desk() -> Iterator[DemoCentralSystem]:
    with serving_desk() as desk:
        yield desk


def registers(payloads: list[Any]) -> list[int]:
    return [int(payload["meterValue"][0]["sampledValue"][0]["value"]) for payload in payloads]


# Driven by hand.


def test_boot_connects_registers_and_reports(desk: DemoCentralSystem) -> None:
    events = connected(desk.cs)
    with simulated(desk) as station:
        assert station.boot()["status"] == "Accepted"
        assert desk.actions() == ["BootNotification", "StatusNotification", "StatusNotification"]
        statuses = [(payload["connectorId"], payload["status"]) for payload in desk.payloads("StatusNotification")]
        assert statuses == [(0, "Available"), (1, "Available")]
        assert station.answers.registered
    assert events.wait(2) == [("SIM-1", "connected"), ("SIM-1", "disconnected")]
    assert desk.cs.charge_points == []


def test_a_session_has_every_message_and_its_energy(desk: DemoCentralSystem) -> None:
    with simulated(desk) as station:
        station.boot()
        desk.calls.items.clear()
        session = station.charge(energy_wh=1000, samples=4, id_tag="TAG")
    assert session is not None
    start = desk.payloads("StartTransaction")[0]
    assert session == Session(1, "TAG", start["meterStart"], start["meterStart"] + 1000, "Local")
    assert desk.actions() == [
        *("StatusNotification", "Authorize", "StartTransaction", "StatusNotification"),
        *["MeterValues"] * 4,
        *("StopTransaction", "StatusNotification", "StatusNotification"),
    ]
    assert [payload["status"] for payload in desk.payloads("StatusNotification")] == [
        *("Preparing", "Charging", "Finishing", "Available")
    ]
    stop = desk.payloads("StopTransaction")[0]
    assert (stop["transactionId"], stop["meterStop"], stop["reason"]) == (1, session.meter_stop, "Local")
    values = desk.payloads("MeterValues")
    assert {payload["transactionId"] for payload in values} == {1}
    rising = registers(values)
    assert rising == sorted(set(rising))
    assert rising[-1] == session.meter_stop
    measurands = {sample["measurand"] for sample in values[0]["meterValue"][0]["sampledValue"]}
    assert measurands == {*("Energy.Active.Import.Register", "Power.Active.Import", "Current.Import", "Voltage", "SoC")}


def test_the_register_goes_on_with_the_next_session(desk: DemoCentralSystem) -> None:
    with simulated(desk) as station:
        station.boot()
        first, second = station.charge(samples=1), station.charge(samples=1)
    assert first is not None
    assert second is not None
    assert second.meter_start == first.meter_stop
    assert second.transaction_id != first.transaction_id


def test_an_id_tag_that_is_not_accepted_does_not_charge(desk: DemoCentralSystem) -> None:
    desk.answers["Authorize"] = lambda payload: {"idTagInfo": {"status": "Blocked"}}
    with simulated(desk) as station:
        station.boot()
        assert station.charge(id_tag="STOLEN") is None
    assert "StartTransaction" not in desk.actions()
    assert desk.payloads("StatusNotification")[-1]["status"] == "Available"


def test_a_transaction_whose_id_tag_is_not_accepted_is_stopped(desk: DemoCentralSystem) -> None:
    desk.answers["StartTransaction"] = lambda payload: {"transactionId": 9, "idTagInfo": {"status": "Invalid"}}
    with simulated(desk) as station:
        station.boot()
        session = station.charge(authorize=False)
    assert session is not None
    assert (session.transaction_id, session.reason) == (9, "DeAuthorized")
    assert session.meter_stop == session.meter_start
    assert not {"Authorize", "MeterValues"} & set(desk.actions())


def test_the_same_seed_makes_the_same_station(desk: DemoCentralSystem) -> None:
    def charge_twice() -> list[Session | None]:
        desk.answers["StartTransaction"] = lambda payload: {"transactionId": 1, "idTagInfo": {"status": "Accepted"}}
        with simulated(desk, random=Random(7)) as station:
            station.boot()
            return [station.charge(), station.charge()]

    assert charge_twice() == charge_twice()


def test_one_vehicle_charges_at_a_time(desk: DemoCentralSystem) -> None:
    began, go_on = threading.Event(), threading.Event()

    def authorize(payload: Any) -> Any:
        began.set()
        assert go_on.wait(DEADLINE)
        return {"idTagInfo": {"status": "Accepted"}}

    desk.answers["Authorize"] = authorize
    with simulated(desk) as station:
        station.boot()
        first = threading.Thread(target=station.charge, kwargs={"samples": 1})
        first.start()
        assert began.wait(DEADLINE)
        with pytest.raises(RuntimeError, match="charging already"):
            station.charge()
        go_on.set()
        first.join(DEADLINE)
        assert station.charge(samples=1) is not None


def test_what_fails_is_raised_to_who_drives_it(desk: DemoCentralSystem) -> None:
    with simulated(desk) as station:
        with pytest.raises(NotConnectedError):
            station.charge()
        station.boot()
        desk.answers["MeterValues"] = refuse("InternalError")
        with pytest.raises(CallErrorReceived):
            station.charge(samples=3)
        station.boot()
    stop = desk.payloads("StopTransaction")[0]
    assert stop["reason"] == "Other"
    assert stop["meterStop"] == registers(desk.payloads("MeterValues"))[0]


def test_a_stop_that_was_refused_is_not_repeated(desk: DemoCentralSystem) -> None:
    desk.answers["StopTransaction"] = refuse("InternalError")
    with simulated(desk) as station:
        station.boot()
        with pytest.raises(CallErrorReceived):
            station.charge(samples=1)
        station.boot()
    assert desk.actions().count("StopTransaction") == 1


def test_nobody_resets_one_that_is_driven_by_hand(desk: DemoCentralSystem) -> None:
    with simulated(desk) as station:
        station.boot()
        assert desk.cs.send_request("SIM-1", "Reset", {"type": "Hard"}) == {"status": "Rejected"}
        assert desk.cs.send_request("SIM-1", "RemoteStartTransaction", {"idTag": "X"}) == {"status": "Rejected"}


def test_it_shows_its_password() -> None:
    with serving(
        CentralSystemAnswers(), authorize=lambda request, name: request.basic_credentials == (b"S", b"p")
    ) as cs:
        url = f"ws://127.0.0.1:{cs.port}"
        with SimulatedChargePoint("S", url, pace=PACE, password="p") as station:
            assert station.boot()["status"] == "Accepted"
        with SimulatedChargePoint("S", url, pace=PACE, password="q") as station, pytest.raises(HandshakeError):
            station.boot()


@pytest.mark.parametrize("pace", [0, -1, float("inf")])
def test_the_pace_is_above_zero(pace: float) -> None:
    with pytest.raises(ValueError, match="pace"):
        SimulatedChargePoint("SIM-1", pace=pace)


def test_the_version_is_one_that_is_known() -> None:
    unknown: Any = "1.5"
    with pytest.raises(ValueError, match=r"unsupported OCPP version '1\.5'; supported: 1\.6, 2\.0\.1, 2\.1"):
        SimulatedChargePoint("SIM-1", version=unknown)


def test_its_repr_tells_its_state(desk: DemoCentralSystem) -> None:
    with simulated(desk) as station:
        station.boot()
        assert repr(station).startswith("<SimulatedChargePoint SIM-1 Available ")


# The scenario.


def test_the_scenario_charges_again_and_again(desk: DemoCentralSystem) -> None:
    with simulated(desk) as station:
        station.start()
        desk.wait("StopTransaction", 2)
        with pytest.raises(RuntimeError):
            station.start()
    assert desk.actions().count("BootNotification") == 1


def test_it_begins_no_more_sessions_than_it_is_told_to(desk: DemoCentralSystem) -> None:
    desk.answers["BootNotification"] = lambda payload: {
        **{"status": "Accepted", "currentTime": "2026-01-01T00:00:00Z"},
        "interval": 1,
    }
    with simulated(desk, sessions=2) as station:
        station.start()
        # Having nothing else to do, it reaches the Heartbeats, a second apart.
        desk.wait("Heartbeat", 2)
    assert desk.actions().count("StartTransaction") == 2


def test_stop_waits_for_nothing(desk: DemoCentralSystem) -> None:
    with simulated(desk, pace=0.001) as station:
        station.start()
        desk.wait("BootNotification")
        began = time.monotonic()
        station.stop()
        assert time.monotonic() - began < 2
        # The central system's reader of the same name may take a moment longer.
        names = [thread.name for thread in threading.enumerate() if "SIM-1" in thread.name]
        assert [name for name in names if name != "ocppsync-reader-SIM-1"] == []


@pytest.fixture
def warnings() -> Iterator[Recorder]:
    """What the simulator logs."""
    logger, handler, texts = logging.getLogger("ocppsync.simulator"), logging.Handler(), Recorder()
    handler.emit = lambda record: texts(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(handler)
    yield texts
    logger.removeHandler(handler)


def test_a_central_system_that_comes_late_is_found(warnings: Recorder) -> None:
    with serving() as cs:
        port = cs.port
    desk = DemoCentralSystem()
    with SimulatedChargePoint("SIM-1", f"ws://127.0.0.1:{port}", pace=PACE) as station:
        station.start()
        assert "cannot connect" in warnings.wait()[0]
        with CentralSystem(port, desk, host="127.0.0.1") as desk.cs:
            desk.wait("BootNotification")


def test_it_waits_for_its_registration(desk: DemoCentralSystem) -> None:
    verdicts = iter(["Pending", "Rejected", "Accepted"])
    desk.answers["BootNotification"] = lambda payload: {
        **{"status": next(verdicts), "currentTime": "2026-01-01T00:00:00Z"},
        "interval": 1,
    }
    began = time.monotonic()
    with simulated(desk) as station:
        station.start()
        desk.wait("StatusNotification")
    assert time.monotonic() - began >= 2
    assert desk.actions()[:3] == ["BootNotification"] * 3


def test_a_lost_connection_is_made_again_and_the_transaction_ended(desk: DemoCentralSystem) -> None:
    events = connected(desk.cs)
    lose = threading.Event()

    def meter_values(payload: Any) -> Any:
        if not lose.is_set():
            lose.set()
            desk.cs.close_connection("SIM-1")
        return {}

    desk.answers["MeterValues"] = meter_values
    with simulated(desk) as station:
        station.start()
        desk.wait("StopTransaction", transactionId=1)
        desk.wait("StartTransaction", 2)
    stops = [payload for payload in desk.payloads("StopTransaction") if payload["transactionId"] == 1]
    assert [payload["reason"] for payload in stops] == ["Other"]
    assert desk.actions().count("BootNotification") == 1
    assert events.items[:3] == [("SIM-1", "connected"), ("SIM-1", "disconnected"), ("SIM-1", "connected")]


def test_one_that_the_central_system_does_not_know_boots_again(desk: DemoCentralSystem) -> None:
    def authorize(payload: Any) -> Any:
        del desk.answers["Authorize"]
        raise CallError("SecurityError")

    desk.answers["Authorize"] = authorize
    with simulated(desk) as station:
        station.start()
        desk.wait("BootNotification", 2)
        desk.wait("StopTransaction")


# What the central system asks for.


@pytest.fixture
def waiting(desk: DemoCentralSystem) -> Iterator[SimulatedChargePoint]:
    """A station that charges only when it is told to, and then until it is told to stop."""
    with simulated(desk, sessions=0) as station:
        station.start()
        desk.wait("StatusNotification", 2)
        yield station


def start_remotely(desk: DemoCentralSystem) -> int:
    assert desk.cs.send_request("SIM-1", "RemoteStartTransaction", {"idTag": "APP"}) == {"status": "Accepted"}
    desk.wait("StatusNotification", status="Charging")
    return int(desk.wait("MeterValues")["transactionId"])


@pytest.fixture
def slow(desk: DemoCentralSystem) -> Iterator[int]:
    """The id of a transaction that would run for some seconds."""
    with simulated(desk, sessions=0, pace=3) as station:
        station.start()
        desk.wait("StatusNotification", 2)
        yield start_remotely(desk)


def test_a_remote_start_charges_without_authorize(desk: DemoCentralSystem, waiting: SimulatedChargePoint) -> None:
    start_remotely(desk)
    assert desk.payloads("StartTransaction")[0]["idTag"] == "APP"
    assert "Authorize" not in desk.actions()
    desk.wait("StopTransaction", reason="Local")


def test_a_remote_start_asks_first_where_it_is_set_to(desk: DemoCentralSystem, waiting: SimulatedChargePoint) -> None:
    setting: Any = {"key": "AuthorizeRemoteTxRequests", "value": "true"}
    assert desk.cs.send_request("SIM-1", "ChangeConfiguration", setting) == {"status": "Accepted"}
    start_remotely(desk)
    assert desk.payloads("Authorize") == [{"idTag": "APP"}]


def test_a_remote_stop_ends_the_transaction(desk: DemoCentralSystem, slow: int) -> None:
    answer = desk.cs.send_request("SIM-1", "RemoteStopTransaction", {"transactionId": slow})
    assert answer == {"status": "Accepted"}
    assert desk.wait("StopTransaction")["reason"] == "Remote"


def test_unlocking_ends_the_transaction(desk: DemoCentralSystem, slow: int) -> None:
    assert desk.cs.send_request("SIM-1", "UnlockConnector", {"connectorId": 1}) == {"status": "Unlocked"}
    assert desk.wait("StopTransaction")["reason"] == "UnlockCommand"


def test_a_reset_ends_the_transaction_and_boots(desk: DemoCentralSystem, slow: int) -> None:
    events = connected(desk.cs)
    assert desk.cs.send_request("SIM-1", "Reset", {"type": "Hard"}) == {"status": "Accepted"}
    assert desk.wait("StopTransaction")["reason"] == "HardReset"
    desk.wait("BootNotification", 2)
    assert events.wait(2)[:2] == [("SIM-1", "disconnected"), ("SIM-1", "connected")]


def test_availability_changes_at_once_where_nothing_runs(
    desk: DemoCentralSystem, waiting: SimulatedChargePoint
) -> None:
    down: Any = {"connectorId": 1, "type": "Inoperative"}
    assert desk.cs.send_request("SIM-1", "ChangeAvailability", down) == {"status": "Accepted"}
    desk.wait("StatusNotification", status="Unavailable")
    assert desk.cs.send_request("SIM-1", "RemoteStartTransaction", {"idTag": "X"}) == {"status": "Rejected"}
    up: Any = {"connectorId": 1, "type": "Operative"}
    assert desk.cs.send_request("SIM-1", "ChangeAvailability", up) == {"status": "Accepted"}
    desk.wait("StatusNotification", 3, status="Available")


def test_availability_changes_after_the_transaction_that_runs(desk: DemoCentralSystem, slow: int) -> None:
    down: Any = {"connectorId": 1, "type": "Inoperative"}
    assert desk.cs.send_request("SIM-1", "ChangeAvailability", down) == {"status": "Scheduled"}
    desk.cs.send_request("SIM-1", "RemoteStopTransaction", {"transactionId": slow})
    desk.wait("StatusNotification", status="Unavailable")
    statuses = [payload["status"] for payload in desk.payloads("StatusNotification")]
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
def test_what_is_triggered_is_sent(
    desk: DemoCentralSystem, waiting: SimulatedChargePoint, wanted: Any, expected: dict[str, Any]
) -> None:
    desk.calls.items.clear()
    assert desk.cs.send_request("SIM-1", "TriggerMessage", {"requestedMessage": wanted}) == {"status": "Accepted"}
    desk.wait(wanted, **expected)


def test_the_extension_triggers_its_own_message(desk: DemoCentralSystem, waiting: SimulatedChargePoint) -> None:
    payload: Any = {"requestedMessage": "LogStatusNotification"}
    assert desk.cs.send_request("SIM-1", "ExtendedTriggerMessage", payload) == {"status": "Accepted"}
    assert desk.wait("LogStatusNotification") == {"status": "Idle"}


def test_a_pending_station_boots_when_it_is_triggered(desk: DemoCentralSystem) -> None:
    def boot(payload: Any) -> Any:
        del desk.answers["BootNotification"]
        return {"status": "Pending", "currentTime": "2026-01-01T00:00:00Z", "interval": 3600}

    desk.answers["BootNotification"] = boot
    with simulated(desk) as station:
        station.boot()
        payload: Any = {"requestedMessage": "BootNotification"}
        assert desk.cs.send_request("SIM-1", "TriggerMessage", payload) == {"status": "Accepted"}
        desk.wait("StatusNotification", 2)
        assert desk.cs.send_request("SIM-1", "TriggerMessage", payload) == {"status": "Rejected"}


def test_a_firmware_update_ends_in_a_failure_that_is_reported(
    desk: DemoCentralSystem, waiting: SimulatedChargePoint
) -> None:
    update: Any = {"location": "https://example.com/fw.bin", "retrieveDate": "2026-01-01T00:00:00Z"}
    assert desk.cs.send_request("SIM-1", "UpdateFirmware", update) == {}
    assert desk.wait("FirmwareStatusNotification") == {"status": "DownloadFailed"}


def test_heartbeats_follow_the_interval_that_is_set(desk: DemoCentralSystem, waiting: SimulatedChargePoint) -> None:
    setting: Any = {"key": "HeartbeatInterval", "value": "1"}
    assert desk.cs.send_request("SIM-1", "ChangeConfiguration", setting) == {"status": "Accepted"}
    desk.wait("Heartbeat")


def test_a_fixed_answer_has_no_effect(desk: DemoCentralSystem) -> None:
    with simulated(desk, sessions=0, answers={"Reset": {"status": "Rejected"}}) as station:
        station.start()
        desk.wait("StatusNotification", 2)
        assert desk.cs.send_request("SIM-1", "Reset", {"type": "Soft"}) == {"status": "Rejected"}
        start_remotely(desk)
        assert desk.wait("StopTransaction")["reason"] == "Local"
    assert desk.actions().count("BootNotification") == 1
