"""A simulated charge point of any version at a central system, spoken to by the names that all versions share.

Settings have the names of the configuration keys of 1.6.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from simulated import RecordingCentralSystem, recording_central_system, simulated

from ocppsync.answers.variables_2x import VARIABLE_OF_KEY
from ocppsync.simulator import SimulatedChargePoint

V16, V2X, ALL = ("1.6",), ("2.0.1", "2.1"), ("1.6", "2.0.1", "2.1")
TAG = "TAG-1"
ENERGY = "Energy.Active.Import.Register"


class Bench:
    """A charge point, and the central system that it is connected to."""

    def __init__(self, central_system: RecordingCentralSystem, station: SimulatedChargePoint) -> None:
        self.central_system = central_system
        self.station = station
        self.version = station.version
        self.is_16 = self.version == "1.6"
        self.answers = central_system.answers

    # Requests.

    def ask(self, action: Any, payload: Any) -> Any:
        return self.central_system.cs.send_request("SIM-1", action, payload)

    def status(self, action: Any, payload: Any) -> str:
        return str(self.ask(action, payload)["status"])

    def set(self, key: str, value: str) -> str:
        """Write a setting; return the status."""
        if self.is_16:
            return self.status("ChangeConfiguration", {"key": key, "value": value})
        (result,) = self.ask("SetVariables", {"setVariableData": [{**named(key), "attributeValue": value}]})[
            "setVariableResult"
        ]
        return str(result["attributeStatus"])

    def get(self, key: str) -> str:
        """Read a setting."""
        if self.is_16:
            return str(self.ask("GetConfiguration", {"key": [key]})["configurationKey"][0]["value"])
        (result,) = self.ask("GetVariables", {"getVariableData": [named(key)]})["getVariableResult"]
        return str(result["attributeValue"])

    def change_availability(self, kind: str, connector_id: int = 0) -> str:
        """Take the connector out of service or back; 0: the whole charge point."""
        if self.is_16:
            return self.status("ChangeAvailability", {"connectorId": connector_id, "type": kind})
        evse = {"evse": {"id": 1, "connectorId": connector_id}} if connector_id else {}
        return self.status("ChangeAvailability", {"operationalStatus": kind, **evse})

    def trigger(self, message: str, connector_id: int | None = None) -> str:
        """Ask for a message, for a connector of 1.6 or an EVSE of 2.x."""
        where = {"connectorId": connector_id} if self.is_16 else {"evse": {"id": connector_id}}
        return self.status("TriggerMessage", {"requestedMessage": message, **({} if connector_id is None else where)})

    def start_remotely(self) -> str:
        if self.is_16:
            return self.status("RemoteStartTransaction", {"idTag": TAG, "connectorId": 1})
        token = {"idToken": TAG, "type": "ISO14443"}
        return self.status("RequestStartTransaction", {"idToken": token, "remoteStartId": 1, "evseId": 1})

    def stop_remotely(self) -> str:
        transaction_id = self.station.answers.transaction_id
        return self.status(
            "RemoteStopTransaction" if self.is_16 else "RequestStopTransaction", {"transactionId": transaction_id}
        )

    def reset(self) -> str:
        return self.status("Reset", {"type": "Soft" if self.is_16 else "OnIdle"})

    def send_list(self, version: int, update: str, *tags: str, status: str | None = "Accepted") -> str:
        """Send a local list; with the status None each entry is to be removed."""
        info = None if status is None else {"status": status}
        entries = [entry(self.version, tag, info) for tag in tags]
        number = "listVersion" if self.is_16 else "versionNumber"
        listed = {"localAuthorizationList": entries} if entries else {}
        return self.status("SendLocalList", {number: version, "updateType": update, **listed})

    def list_version(self) -> int:
        answer = self.ask("GetLocalListVersion", {})
        return int(answer["listVersion" if self.is_16 else "versionNumber"])

    # What the charge point sends.

    def start(self) -> None:
        """Start the scenario, and wait until the charge point has reported its state."""
        self.station.start()
        self.central_system.wait("StatusNotification", len(self.station._version_driver.connectors))

    def charge(self, **options: Any) -> Any:
        return self.station.charge(**{"energy_wh": 1000, "samples": 4, "id_tag": TAG, **options})

    def wait(self, action: str, count: int = 1, **fields: Any) -> Any:
        return self.central_system.wait(action, count, **fields)

    def sent(self, action: str) -> list[Any]:
        return self.central_system.payloads(action)

    def wait_for_status(self, status: str, count: int = 1) -> None:
        self.wait("StatusNotification", count, **{"status" if self.is_16 else "connectorStatus": status})

    def statuses(self, connector_id: int = 1) -> list[str]:
        name = "status" if self.is_16 else "connectorStatus"
        return [one[name] for one in self.sent("StatusNotification") if one["connectorId"] == connector_id]

    def wait_for_transaction(self) -> None:
        """Wait until the vehicle charges."""
        if self.is_16:
            self.wait_for_status("Charging")
        else:
            self.wait("TransactionEvent", triggerReason="ChargingStateChanged")

    def begun(self) -> list[Any]:
        """Return the messages that begin a transaction."""
        events = [one for one in self.sent("TransactionEvent") if one["eventType"] == "Started"]
        return self.sent("StartTransaction") + events

    def ended(self) -> list[Any]:
        """Return the messages that end a transaction."""
        events = [one for one in self.sent("TransactionEvent") if one["eventType"] == "Ended"]
        return self.sent("StopTransaction") + events

    def periodic(self, context: str = "Sample.Periodic") -> list[list[str]]:
        """Return the measurands of each message with meter values of a context."""
        messages = [
            one["meterValue"]
            for name in ("MeterValues", "TransactionEvent")
            for one in self.sent(name)
            if "meterValue" in one and one.get("eventType") != "Ended"
        ]
        samples = [values[0]["sampledValue"] for values in messages]
        return [[one["measurand"] for one in some] for some in samples if some[0]["context"] == context]

    def answer_to_start(self, answer: Callable[[], Any]) -> None:
        """Answer the message that begins a transaction with the status that a function returns."""

        def started(payload: Any) -> Any:
            if payload.get("eventType", "Started") != "Started":
                return {}
            return self.start_answer(answer())

        self.answers["StartTransaction" if self.is_16 else "TransactionEvent"] = started

    def start_answer(self, status: str) -> Any:
        if self.is_16:
            return {"transactionId": 7, "idTagInfo": {"status": status}}
        return {"idTokenInfo": {"status": status}}

    def answer_authorize(self, answer: Callable[[], str]) -> None:
        self.answers["Authorize"] = lambda payload: {"idTagInfo" if self.is_16 else "idTokenInfo": {"status": answer()}}


def named(key: str) -> dict[str, Any]:
    """Return the component and the variable of a setting."""
    component, variable, *instance = VARIABLE_OF_KEY[key]
    return {
        "component": {"name": component},
        "variable": {"name": variable, **({"instance": instance[0]} if instance else {})},
    }


def entry(version: str, tag: str, info: Any) -> Any:
    if version == "1.6":
        return {"idTag": tag, **({} if info is None else {"idTagInfo": info})}
    token = {"idToken": tag, "type": "ISO14443"}
    return {"idToken": token, **({} if info is None else {"idTokenInfo": info})}


@contextlib.contextmanager
def bench(version: str, *, boot: bool = True, **options: Any) -> Iterator[Bench]:
    """A charge point that has booted; it charges only on request."""
    with (
        recording_central_system() as central_system,
        simulated(central_system, version=version, **{"sessions": 0, **options}) as station,
    ):
        here = Bench(central_system, station)
        if boot:
            station.boot()
        yield here


@dataclass(frozen=True)
class Rule:
    """A requirement, and the test of it."""

    requirement: str
    version: str
    check: Callable[[str], None]

    @property
    def name(self) -> str:
        """Such as ``G03.FR.04-2.0.1`` or ``C16-5.2-1.6``."""
        return f"{self.requirement}-{self.version}".replace(" §", "-").replace(" ", "-")


class Rules:
    """The table of a test file: its rows are tests, named by requirement and version."""

    def __init__(self) -> None:
        self.rows: list[Rule] = []

    def __call__(self, versions: Sequence[str], *requirements: str) -> Callable[[Any], Any]:
        """Add a test of requirements; ``requirements`` are those of 1.6 and of 2.x, if the versions have both."""

        def add(check: Any) -> Any:
            for version in versions:
                requirement = requirements[-1 if version != "1.6" else 0]
                self.rows.append(Rule(requirement, version, check))
            return check

        return add

    @property
    def parametrized(self) -> Any:
        return pytest.mark.parametrize("rule", [pytest.param(row, id=row.name) for row in self.rows])
