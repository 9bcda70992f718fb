"""Who may send what before BootNotification was accepted, as the peer sees it: the table in registration.py."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from payloads import minimal
from support import DEADLINE, RawChargePoint, Recorder, connected, raw, serving
from websockets.sync.server import serve

from ocppsync import CentralSystem, ChargePoint, NotRegisteredError
from ocppsync.validation.catalogue import SUBPROTOCOL_OF, Version, action_names

VERSIONS: tuple[Version, ...] = get_args(Version)
VERSIONS_2: tuple[Version, ...] = ("2.0.1", "2.1")
NOT_ACCEPTED = ("Pending", "Rejected")
ACCEPTED = {"status": "Accepted"}


def boot_answer(status: str) -> dict[str, Any]:
    return {"status": status, "currentTime": "2026-01-01T00:00:00Z", "interval": 60}


# The central system's side.


class Office:
    """A central system that answers BootNotification with ``status``, and whatever else comes.

    Attributes:
        cs: the central system.
        status: of the next answers to BootNotification.
        seen: the other actions, as they are handled.
    """

    def __init__(self) -> None:
        self.cs: Any = None
        self.status = "Pending"
        self.seen = Recorder()

    def handle(self, request: Any, metadata: Any) -> Any:
        if request.action == "BootNotification":
            return boot_answer(self.status)
        self.seen(request.action)
        return minimal(request.version, request.action, "response")


@contextlib.contextmanager
def office(**options: Any) -> Iterator[Office]:
    found = Office()
    with serving(found.handle, **options) as found.cs:
        yield found


@contextlib.contextmanager
def station(cs: CentralSystem, version: Version, charge_point_id: str = "CP1") -> Iterator[RawChargePoint]:
    changes = connected(cs)
    with raw(cs, charge_point_id, subprotocols=[SUBPROTOCOL_OF[version]]) as point:
        changes.wait()
        yield point
    changes.wait_until(lambda items: (charge_point_id, "disconnected") in items)


class MessageSet:
    """Minimal messages of one version, each with an id of its own."""

    def __init__(self, version: Version, point: RawChargePoint) -> None:
        self.version = version
        self.point = point
        self.count = 0

    def ask(self, action: str, payload: Any = None) -> list[Any]:
        """Send a CALL; return the answer without its id and without a description."""
        self.count += 1
        payload = minimal(self.version, action, "request") if payload is None else payload
        kind, message_id, *rest = self.point.call(f"{action}-{self.count}", action, payload)
        assert message_id == f"{action}-{self.count}"
        return [kind, rest[0]]

    def boots(self) -> str:
        kind, answer = self.ask("BootNotification")
        assert kind == 3
        return str(answer["status"])

    def is_let_in(self, action: str) -> bool:
        answer = self.ask(action)
        if answer == [4, "SecurityError"]:
            return False
        assert answer == [3, minimal(self.version, action, "response")]
        return True

    def is_asked(self, cs: Any, action: str, payload: Any, answer: Any) -> None:
        """Let the central system send a CALL, and answer it."""
        future = cs.submit_request("CP1", action, payload)
        kind, message_id, *rest = self.point.read()
        assert (kind, rest) == (2, [action, payload])
        self.point.send([3, message_id, answer])
        assert future.result(DEADLINE) == answer


@pytest.mark.parametrize("status", NOT_ACCEPTED)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_station_that_was_not_accepted_is_refused(version: Version, status: str) -> None:
    with office() as here, station(here.cs, version) as point:
        messages = MessageSet(version, point)
        here.status = status
        assert messages.boots() == status
        assert not messages.is_let_in("StatusNotification")
        assert not messages.is_let_in("DataTransfer")
        assert messages.ask("StatusNotification", {"bad": 1}) == [4, "SecurityError"], "ahead of the validation"
        assert messages.ask("Bogus", {}) == [4, "SecurityError"]
        assert here.seen.items == []
        here.status = "Accepted"
        assert messages.boots() == "Accepted"
        assert messages.is_let_in("StatusNotification")


@pytest.mark.parametrize("status", NOT_ACCEPTED)
@pytest.mark.parametrize("version", VERSIONS)
def test_it_is_refused_as_well_where_nobody_handles_what_it_sends(version: Version, status: str) -> None:
    with serving() as cs, station(cs, version) as point:
        statuses = iter([status, "Accepted"])
        cs.on("BootNotification")(lambda payload, metadata: boot_answer(next(statuses)))
        messages = MessageSet(version, point)
        assert messages.boots() == status
        assert messages.ask("StatusNotification") == [4, "SecurityError"]
        assert messages.boots() == "Accepted"
        assert messages.ask("StatusNotification") == [4, "NotSupported"]
        assert messages.ask("Bogus", {}) == [4, "NotImplemented"]


@pytest.mark.parametrize("version", VERSIONS)
def test_calls_that_wait_behind_a_boot_are_judged_after_it(version: Version) -> None:
    go_on = threading.Event()
    with serving() as cs, station(cs, version) as point:
        statuses = iter(["Pending", "Accepted"])

        @cs.on("BootNotification")
        def boot(payload: Any, metadata: Any) -> Any:
            status = next(statuses)
            assert status == "Pending" or go_on.wait(DEADLINE)
            return boot_answer(status)

        assert MessageSet(version, point).boots() == "Pending"
        point.send([2, "1", "BootNotification", minimal(version, "BootNotification", "request")])
        point.send([2, "2", "StatusNotification", minimal(version, "StatusNotification", "request")])
        point.send([2, "3", "Bogus", {}])
        if version == "2.1":
            point.send([6, "4", "Bogus", {}])
        # The reader itself answers this one: by now it has read the others.
        assert point.call("i" * 37, "Heartbeat", {})[0] == 4
        go_on.set()
        assert point.read() == [3, "1", boot_answer("Accepted")]
        assert point.read()[:3] == [4, "2", "NotSupported"]
        assert point.read()[:3] == [4, "3", "NotImplemented"]
        assert MessageSet(version, point).ask("Heartbeat") == [4, "NotSupported"]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_station_that_was_never_seen_booting_is_let_in(version: Version) -> None:
    with office() as here, station(here.cs, version) as point:
        assert MessageSet(version, point).is_let_in("StatusNotification")


@pytest.mark.parametrize("status", [*NOT_ACCEPTED, "Accepted"])
@pytest.mark.parametrize("version", VERSIONS)
def test_the_registration_outlives_the_connection_and_is_the_stations_own(version: Version, status: str) -> None:
    with office() as here:
        here.status = status
        with station(here.cs, version) as point:
            assert MessageSet(version, point).boots() == status
        with station(here.cs, version) as point, station(here.cs, version, "CP2") as other:
            assert MessageSet(version, point).is_let_in("Heartbeat") is (status == "Accepted")
            assert MessageSet(version, other).is_let_in("Heartbeat")


@pytest.mark.parametrize("status", NOT_ACCEPTED)
@pytest.mark.parametrize("version", VERSIONS)
def test_the_gate_can_be_switched_off(version: Version, status: str) -> None:
    with office(enforce_registration=False) as here, station(here.cs, version) as point:
        here.status = status
        messages = MessageSet(version, point)
        assert messages.boots() == status
        assert messages.is_let_in("StatusNotification")


@pytest.mark.parametrize("status", NOT_ACCEPTED)
@pytest.mark.parametrize("version", VERSIONS)
def test_what_was_triggered_is_let_in_until_the_next_boot(version: Version, status: str) -> None:
    with office() as here, station(here.cs, version) as point:
        here.status = status
        messages = MessageSet(version, point)
        assert messages.boots() == status
        trigger = {"requestedMessage": "StatusNotification"}
        messages.is_asked(here.cs, "TriggerMessage", trigger, {"status": "Rejected"})
        assert not messages.is_let_in("StatusNotification")
        messages.is_asked(here.cs, "TriggerMessage", trigger, ACCEPTED)
        assert messages.is_let_in("StatusNotification")
        assert not messages.is_let_in("Heartbeat")
        messages.is_asked(here.cs, "TriggerMessage", {"requestedMessage": "Heartbeat"}, ACCEPTED)
        assert messages.is_let_in("StatusNotification"), "both were asked for"
        assert messages.is_let_in("Heartbeat")
        assert messages.boots() == status
        assert not messages.is_let_in("Heartbeat")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_triggered_boot_of_a_pending_station_may_be_accepted(version: Version) -> None:
    with office() as here, station(here.cs, version) as point:
        messages = MessageSet(version, point)
        assert messages.boots() == "Pending"
        messages.is_asked(here.cs, "TriggerMessage", {"requestedMessage": "BootNotification"}, ACCEPTED)
        here.status = "Accepted"
        assert messages.boots() == "Accepted"
        assert messages.is_let_in("StatusNotification")


@pytest.mark.parametrize(
    ("version", "asked", "payload", "brought"),
    [
        ("1.6", "ExtendedTriggerMessage", {"requestedMessage": "SignChargePointCertificate"}, "SignCertificate"),
        ("1.6", "ExtendedTriggerMessage", {"requestedMessage": "LogStatusNotification"}, "LogStatusNotification"),
        (
            "1.6",
            "TriggerMessage",
            {"requestedMessage": "FirmwareStatusNotification"},
            "SignedFirmwareStatusNotification",
        ),
        *(
            (version, *row)
            for version in VERSIONS_2
            for row in (
                ("GetBaseReport", {"requestId": 1, "reportBase": "FullInventory"}, "NotifyReport"),
                ("GetReport", {"requestId": 1}, "NotifyReport"),
                ("TriggerMessage", {"requestedMessage": "SignV2GCertificate"}, "SignCertificate"),
            )
        ),
        ("2.1", "TriggerMessage", {"requestedMessage": "CustomTrigger", "customTrigger": "any"}, "NotifyEvent"),
    ],
)
def test_what_a_trigger_brings_under_another_name(version: Version, asked: str, payload: Any, brought: str) -> None:
    with office() as here, station(here.cs, version) as point:
        messages = MessageSet(version, point)
        assert messages.boots() == "Pending"
        assert not messages.is_let_in(brought)
        messages.is_asked(here.cs, asked, payload, ACCEPTED)
        assert messages.is_let_in(brought)


def test_a_send_of_a_station_that_was_not_accepted_is_dropped() -> None:
    streamed = "NotifyPeriodicEventStream"
    with office() as here, station(here.cs, "2.1") as point:
        messages = MessageSet("2.1", point)
        assert messages.boots() == "Pending"
        point.send([6, "1", streamed, minimal("2.1", streamed, "request")])
        assert not messages.is_let_in("StatusNotification"), "the first answer is to this"
        assert here.seen.items == []


# The charge point's side.


class Site:
    """A charge point and the bare end of its connection.

    Attributes:
        cp: the charge point.
        peers: the other ends of its connections, as they come.
        handled: the actions that its handler saw.
        log: the warnings of the library.
    """

    def __init__(self, version: Version, port: int, *, handled: bool = True, **options: Any) -> None:
        self.version = version
        self.handled = Recorder()
        self.peers: queue.Queue[RawChargePoint] = queue.Queue()
        self.log = Recorder()
        url = f"ws://127.0.0.1:{port}"
        handler = self._handle if handled else None
        self.cp: Any = ChargePoint("CP1", handler, url, protocols=[SUBPROTOCOL_OF[version]], **options)

    def _handle(self, request: Any, metadata: Any) -> Any:
        self.handled(request.action)
        return minimal(self.version, request.action, "response")

    def connect(self) -> None:
        self.cp.connect()
        self.peer = self.peers.get(timeout=DEADLINE)

    def boot(self, status: str) -> None:
        future = self.cp.submit_request("BootNotification", minimal(self.version, "BootNotification", "request"))
        kind, message_id, action, _ = self.peer.read()
        assert (kind, action) == (2, "BootNotification"), "nothing was sent before"
        self.peer.send([3, message_id, boot_answer(status)])
        assert future.result(DEADLINE)["status"] == status

    def may_send(self, action: str) -> bool:
        request, answer = (minimal(self.version, action, kind) for kind in ("request", "response"))
        future = self.cp.submit_request(action, request)
        if future.done():
            error = future.exception()
            assert isinstance(error, NotRegisteredError)
            assert error.delivery == "not_sent"
            return False
        kind, message_id, *rest = self.peer.read()
        assert (kind, rest) == (2, [action, request])
        self.peer.send([3, message_id, answer])
        assert future.result(DEADLINE) == answer
        return True

    def asked(self, action: str, message_id: str = "1", **fields: Any) -> Any:
        """Send a CALL to the charge point; return the answer's type and what it says."""
        request = {**minimal(self.version, action, "request"), **fields}
        kind, answered_id, said, *_ = self.peer.call(message_id, action, request)
        assert answered_id == message_id
        return [kind, said]

    def handles(self, action: str, message_id: str = "1", **fields: Any) -> bool:
        """Ask the charge point; return whether its handler saw it, or else SecurityError came."""
        before = len(self.handled.items)
        answer = self.asked(action, message_id, **fields)
        if answer == [4, "SecurityError"]:
            assert len(self.handled.items) == before
            return False
        assert answer == [3, minimal(self.version, action, "response")]
        assert self.handled.items[before:] == [action]
        return True


class LogReader(logging.Handler):
    """Hands what is logged to a recorder."""

    def __init__(self, record: Recorder) -> None:
        super().__init__(logging.WARNING)
        self._record = record

    def emit(self, record: logging.LogRecord) -> None:
        self._record(record.getMessage())


@contextlib.contextmanager
def site(version: Version, **options: Any) -> Iterator[Site]:
    """A charge point with a bare central system, connected; ``handled=False``: one without any handler."""
    over = threading.Event()

    def attend(websocket: Any) -> None:
        found.peers.put(RawChargePoint(websocket))
        over.wait(DEADLINE)

    with serve(attend, "127.0.0.1", 0, subprotocols=[SUBPROTOCOL_OF[version]]) as server:  # type: ignore[list-item]
        found = Site(version, server.socket.getsockname()[1], **options)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        reader, logger = LogReader(found.log), logging.getLogger("ocppsync.rpc")
        logger.addHandler(reader)
        try:
            found.connect()
            yield found
        finally:
            logger.removeHandler(reader)
            over.set()
            found.cp.close()
            server.shutdown()
            thread.join(DEADLINE)


STARTS_16 = ("RemoteStartTransaction", "RemoteStopTransaction")
STARTS = ("RequestStartTransaction", "RequestStopTransaction")


@pytest.mark.parametrize("version", VERSIONS)
def test_before_its_boot_a_charge_point_sends_nothing_and_handles_everything(version: Version) -> None:
    with site(version) as here:
        assert not here.may_send("StatusNotification")
        assert here.handles("ClearCache")
        here.boot("Accepted")
        assert here.may_send("StatusNotification")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_charge_point_waits_for_the_answer_to_its_boot(version: Version) -> None:
    with site(version) as here:
        future = here.cp.submit_request("BootNotification", minimal(version, "BootNotification", "request"))
        _, message_id, action, _ = here.peer.read()
        assert action == "BootNotification"
        assert not here.may_send("StatusNotification")
        here.peer.send([4, message_id, "InternalError", "", {}])
        assert future.exception(DEADLINE) is not None
        assert not here.may_send("StatusNotification")
        here.boot("Accepted")
        assert here.may_send("StatusNotification")


def test_a_pending_charge_point_of_1_6_is_asked_everything_but_to_start_and_stop() -> None:
    with site("1.6") as here:
        here.boot("Pending")
        for number, action in enumerate(("ChangeConfiguration", "ClearCache", "Reset", "UpdateFirmware")):
            assert here.handles(action, str(number))
        for action in STARTS_16:
            assert not here.handles(action, action)
        here.boot("Accepted")
        for action in STARTS_16:
            assert here.handles(action, f"{action} again")


@pytest.mark.parametrize("version", VERSIONS_2)
def test_a_pending_charge_point_is_asked_everything_but_to_start_and_stop(version: Version) -> None:
    with site(version) as here:
        here.boot("Pending")
        for action in sorted({*action_names(version, "central_system")} - {*STARTS}):
            assert here.handles(action, action)
        before = list(here.handled.items)
        for action in STARTS:
            assert here.asked(action, action) == [3, {"status": "Rejected"}]
        assert here.handled.items == before
        here.boot("Accepted")
        for action in (*STARTS, "ClearCache"):
            assert here.handles(action, f"{action} again")


@pytest.mark.parametrize("version", VERSIONS_2)
def test_a_rejected_charge_point_refuses_everything(version: Version) -> None:
    with site(version) as here:
        here.boot("Rejected")
        for action in ("GetVariables", "TriggerMessage", "ClearCache", *STARTS):
            assert not here.handles(action, action)
        assert not here.may_send("StatusNotification")
        here.boot("Accepted")
        assert here.may_send("StatusNotification")


@pytest.mark.parametrize("version", VERSIONS_2)
def test_a_charge_point_without_handlers_answers_by_its_registration(version: Version) -> None:
    with site(version, handled=False) as here:
        here.boot("Pending")
        for action in STARTS:
            assert here.asked(action, action) == [3, {"status": "Rejected"}]
        assert here.asked("GetVariables", "1") == [4, "NotSupported"]
        assert here.asked("ClearCache", "2") == [4, "NotSupported"]
        here.boot("Rejected")
        assert here.asked("GetVariables", "3") == [4, "SecurityError"]
        here.boot("Accepted")
        assert here.asked("ClearCache", "4") == [4, "NotSupported"]


def test_a_rejected_charge_point_of_1_6_does_not_answer() -> None:
    with site("1.6") as here:
        here.boot("Rejected")
        for number, action in enumerate(("ClearCache", "TriggerMessage", "RemoteStartTransaction")):
            here.peer.send([2, str(number), action, minimal("1.6", action, "request")])
        here.peer.send([2, "bogus", "Bogus", {}])
        here.log.wait(4)
        assert not here.may_send("StatusNotification")
        here.boot("Accepted")  # sees that nothing else was sent
        assert here.handled.items == []
        assert here.handles("ClearCache", "another")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_pending_charge_point_sends_what_it_was_triggered_to(version: Version) -> None:
    with site(version) as here:
        here.boot("Pending")
        assert not here.may_send("StatusNotification")
        assert here.handles("TriggerMessage", requestedMessage="StatusNotification")
        assert here.may_send("StatusNotification")
        assert not here.may_send("Heartbeat")
        here.boot("Pending")
        assert not here.may_send("StatusNotification")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_charge_point_stays_registered_when_it_reconnects(version: Version) -> None:
    with site(version) as here:
        here.boot("Accepted")
        here.cp.disconnect()
        here.connect()
        assert here.may_send("StatusNotification")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_charge_point_without_a_gate(version: Version) -> None:
    with site(version, enforce_registration=False) as here:
        assert here.may_send("StatusNotification")
        here.boot("Rejected")
        assert here.may_send("StatusNotification")
        assert here.handles("ClearCache")


def test_a_charge_point_that_was_not_accepted_makes_no_send() -> None:
    streamed = "NotifyPeriodicEventStream"
    request = minimal("2.1", streamed, "request")
    with site("2.1") as here:
        for status in NOT_ACCEPTED:
            with pytest.raises(NotRegisteredError) as caught:
                here.cp.send(streamed, request)
            assert caught.value.delivery == "not_sent"
            here.boot(status)
        here.boot("Accepted")
        here.cp.send(streamed, request)
        kind, _, *rest = here.peer.read()
        assert (kind, rest) == (6, [streamed, request])
