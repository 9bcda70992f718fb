"""Central systems of other projects see whole sessions of the simulator, with a line that breaks in the middle.

Of ocpp-rpc, the strict mode knows 1.6 and 2.0.1: its schemas of 2.1 have no ids, so it refuses every message.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from cut_line import CutLine, cut_line
from foreign import PACKAGES
from foreign_central_systems import OCPP_RPC, ForeignCentralSystem, ocpp_package, ocpp_rpc
from support import DEADLINE

from ocppsync.simulator import SimulatedChargePoint
from ocppsync.validation.catalogue import Version

pytestmark = pytest.mark.slow

PACE = 100.0
SAMPLES = 8
KINDS = ("local", "remote", "reserved", "limited", "reset", "deauthorized")


@pytest.fixture(scope="session")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of ocpp-rpc, which OCPP_RPC_MODULES names, or into which npm installs it."""
    known = os.environ.get("OCPP_RPC_MODULES")
    if known:
        return Path(known)
    npm, folder = shutil.which("npm"), tmp_path_factory.mktemp("npm")
    assert npm is not None
    subprocess.run([npm, "install", "--no-save", "--no-audit", "--no-fund", OCPP_RPC], cwd=folder, check=True)
    return folder / "node_modules"


Run = Callable[[], contextlib.AbstractContextManager[ForeignCentralSystem]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("version", PACKAGES)
def test_the_ocpp_package(version: Version, kind: str) -> None:
    play(version, kind, lambda: ocpp_package(version))


@pytest.mark.node
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("version", ["1.6", "2.0.1"])
def test_ocpp_rpc_strict(version: Version, kind: str, node_modules: Path) -> None:
    play(version, kind, lambda: ocpp_rpc(version, node_modules))


def play(version: Version, kind: str, run: Run) -> None:
    """Run one session of a kind, and check what the central system saw of it."""
    with run() as cs, cut_line(cs.port) as line:
        site = Site(cs, line, version)
        with station(line, version, sessions=1 if kind == "local" else 0) as point:
            site.wait_booted()
            getattr(site, f"begin_{kind}")()
            site.wait_ended()
            # What comes after the session shows that it goes on.
            site.wait_for_status("Available")
            assert point.answers.transaction_id is None
        site.check(kind)


@contextlib.contextmanager
def station(line: CutLine, version: Version, **options: Any) -> Iterator[SimulatedChargePoint]:
    url = f"ws://127.0.0.1:{line.port}"
    with SimulatedChargePoint("SIM", url, version=version, pace=PACE, random=Random(1), **options) as point:
        yield point.start()


class Site:
    """A foreign central system, which cuts the line as the third sample of a session comes."""

    def __init__(self, cs: ForeignCentralSystem, line: CutLine, version: Version) -> None:
        self._cs = cs
        self._line = line
        self._old = version == "1.6"
        self._samples = 0
        self._cut = False
        self._well_past = threading.Event()
        """Set once samples have come over the next connection."""
        cs.on_call = self._see

    def _see(self, action: str, payload: Any) -> None:
        if is_sample(action, payload):
            self._samples += 1
            if self._samples == 3:
                self._cut = True
                self._line.cut()
            elif self._samples == 5:
                self._well_past.set()
        elif is_end(action, payload) and not self._cut:
            # A session without samples: its end has to be sent again.
            self._cut = True
            self._line.cut()

    # The kinds of sessions.

    def begin_local(self) -> None:
        pass

    def begin_remote(self) -> None:
        self._start("REMOTE")
        assert self._well_past.wait(DEADLINE)
        self._stop()

    def begin_reserved(self) -> None:
        expiry = "2099-01-01T00:00:00Z"
        if self._old:
            reservation = {"connectorId": 1, "expiryDate": expiry, "idTag": "RESERVED", "reservationId": 7}
        else:
            token = {"idToken": "RESERVED", "type": "Central"}
            reservation = {"id": 7, "evseId": 1, "expiryDateTime": expiry, "idToken": token}
        assert self._cs.ask("ReserveNow", reservation) == {"status": "Accepted"}
        self.wait_for_status("Reserved")
        self._start("RESERVED")

    def begin_limited(self) -> None:
        """A limit of 0 holds the vehicle up, over the broken line, until it is removed."""
        schedule = {"chargingRateUnit": "A", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 0}]}
        profile = {"stackLevel": 0, "chargingProfilePurpose": "TxDefaultProfile", "chargingProfileKind": "Absolute"}
        start = {"startSchedule": "2020-01-01T00:00:00Z"}
        if self._old:
            profile |= {"chargingProfileId": 1, "chargingSchedule": schedule | start}  # type: ignore[operator]
            set_profile = {"connectorId": 1, "csChargingProfiles": profile}
        else:
            profile |= {"id": 1, "chargingSchedule": [{"id": 1, **schedule, **start}]}  # type: ignore[dict-item]
            set_profile = {"evseId": 1, "chargingProfile": profile}
        assert self._cs.ask("SetChargingProfile", set_profile) == {"status": "Accepted"}
        self._start("LIMITED")
        if not self._old:
            self._cs.history.wait_until(lambda items: any(state_of(payload) == "SuspendedEVSE" for _, payload in items))
        else:
            self.wait_for_status("SuspendedEVSE")
        assert self._well_past.wait(DEADLINE)
        clear = {"id": 1} if self._old else {"chargingProfileId": 1}
        assert self._cs.ask("ClearChargingProfile", clear) == {"status": "Accepted"}

    def begin_reset(self) -> None:
        self._start("RESET")
        assert self._well_past.wait(DEADLINE)
        assert self._cs.ask("Reset", {"type": "Hard" if self._old else "Immediate"}) == {"status": "Accepted"}
        self._cs.wait("BootNotification", 2)

    def begin_deauthorized(self) -> None:
        answer = self._cs.answer

        def refuse(action: str, payload: Any) -> dict[str, Any]:
            known = answer(action, payload)
            if action == "StartTransaction":
                return {**known, "idTagInfo": {"status": "Invalid"}}
            if payload.get("eventType") == "Started":
                return {"idTokenInfo": {"status": "Invalid"}}
            return known

        self._cs.answer = refuse  # type: ignore[method-assign]
        self._start("UNKNOWN")

    def _start(self, name: str) -> None:
        if self._old:
            answer = self._cs.ask("RemoteStartTransaction", {"idTag": name})
        else:
            start = {"remoteStartId": 5, "evseId": 1, "idToken": {"idToken": name, "type": "Central"}}
            answer = self._cs.ask("RequestStartTransaction", start)
        assert answer["status"] == "Accepted"

    def _stop(self) -> None:
        ids = [transaction_of(action, payload) for action, payload in self._cs.history.items]
        number = next(name for name in ids if name is not None)
        action = "RemoteStopTransaction" if self._old else "RequestStopTransaction"
        assert self._cs.ask(action, {"transactionId": number})["status"] == "Accepted"

    # Waiting.

    def wait_booted(self) -> None:
        self.wait_for_status("Available")

    def wait_ended(self) -> None:
        self._cs.history.wait_until(lambda items: any(is_end(*item) for item in items))

    def wait_for_status(self, status: str) -> None:
        """Wait until this is the last status of the connector."""

        def is_last(items: list[Any]) -> bool:
            return [status_of(*item) for item in items if status_of(*item)][-1:] == [status]

        self._cs.history.wait_until(is_last)

    # What was seen.

    def check(self, kind: str) -> None:
        """Check that the history of the session is complete and in order."""
        assert self._cut
        history = self._cs.history.items
        session = [item for item in history if transaction_of(*item) is not None or item[0] == "StartTransaction"]
        seen = without_repeats(session)
        assert len(session) > len(seen), "the answer to one was lost, so it came again"
        (self._check_16 if self._old else self._check_2x)(kind, seen)
        times = [time_of(payload) for _, payload in seen]
        assert times == sorted(times)
        registers = [reading for _, payload in seen for reading in registers_of(payload)]
        assert registers == sorted(registers)
        if kind in ("local", "remote", "reserved", "reset"):
            assert registers[-1] > registers[0]
        if kind in ("local", "reserved"):
            assert sum(is_sample(*item) for item in seen) == SAMPLES, "none is lost"

    def _check_16(self, kind: str, seen: list[Any]) -> None:
        actions = [action for action, _ in seen]
        middle = actions.count("MeterValues")
        assert actions == ["StartTransaction", *["MeterValues"] * middle, "StopTransaction"]
        assert {transaction_of(*item) for item in seen[1:]} == {1}
        start, stop = seen[0][1], seen[-1][1]
        assert stop["idTag"] == start["idTag"]
        assert start.get("reservationId") == (7 if kind == "reserved" else None)
        reasons = {"remote": "Remote", "reset": "HardReset", "deauthorized": "DeAuthorized"}
        assert stop["reason"] == reasons.get(kind, "Local")

    def _check_2x(self, kind: str, seen: list[Any]) -> None:
        events = [payload for _, payload in seen]
        assert [event["seqNo"] for event in events] == list(range(len(events)))
        kinds = [event["eventType"] for event in events]
        assert kinds == ["Started", *["Updated"] * (len(events) - 2), "Ended"]
        assert len({event["transactionInfo"]["transactionId"] for event in events}) == 1
        assert events[0].get("reservationId") == (7 if kind == "reserved" else None)
        reasons = {"remote": "Remote", "reset": "ImmediateReset", "deauthorized": "DeAuthorized"}
        assert events[-1]["transactionInfo"]["stoppedReason"] == reasons.get(kind, "Local")
        assert any(payload["offline"] for action, payload in self._cs.history.items if action == "TransactionEvent")


def without_repeats(session: list[Any]) -> list[Any]:
    """Return the messages without those that came again, which a central system knows by their content."""
    found: list[Any] = []
    for action, payload in session:
        same = {**payload, "offline": False}
        if (action, same) not in found:
            found.append((action, same))
    return found


def is_sample(action: str, payload: Any) -> bool:
    return action == "MeterValues" or payload.get("triggerReason") == "MeterValuePeriodic"


def is_end(action: str, payload: Any) -> bool:
    return action == "StopTransaction" or payload.get("eventType") == "Ended"


def transaction_of(action: str, payload: Any) -> Any:
    return payload.get("transactionInfo", payload).get("transactionId")


def state_of(payload: Any) -> Any:
    return payload.get("transactionInfo", {}).get("chargingState")


def status_of(action: str, payload: Any) -> Any:
    if action != "StatusNotification" or payload["connectorId"] == 0:
        return None
    return payload.get("status") or payload["connectorStatus"]


def time_of(payload: Any) -> str:
    return str(payload.get("timestamp") or payload["meterValue"][0]["timestamp"])


def registers_of(payload: Any) -> list[float]:
    """Return the readings of the energy register in a message."""
    single = [float(payload[name]) for name in ("meterStart", "meterStop") if name in payload]
    values = payload.get("meterValue", ())
    # The event that ends a transaction repeats the reading of its begin.
    samples = [sample for value in (values[-1:] if is_end("", payload) else values) for sample in value["sampledValue"]]
    named = [sample for sample in samples if sample.get("measurand", REGISTER) == REGISTER]
    return single + [float(sample["value"]) for sample in named]


REGISTER = "Energy.Active.Import.Register"
