"""A simulated charge point: it boots, charges one vehicle after another, and does what the central system tells it.

Threads: the scenario has one of its own, which alone boots and charges; `SimulatedChargePoint.boot` and `charge` are
for those who drive it themselves instead. What the central system asks for is answered on the handler pool of the
`ChargePoint` and then left to the scenario, or where it is one message, sent from there.
"""

from __future__ import annotations

import logging
import math
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from random import Random
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .answers import Answer, ChargePointAnswers
from .charge_point import ChargePoint
from .clock import utc_now
from .errors import CallErrorReceived, OCPPError, OCPPRequestError
from .meter import Meter, power_curve
from .options import check_positive
from .outgoing import not_connected
from .request import Request, RequestMetadata

if TYPE_CHECKING:
    from .v16 import BootNotificationResponse, ChargePointStatus, ReadingContext, Reason

__all__ = ["Session", "SimulatedChargePoint"]

_logger = logging.getLogger("ocppsync.simulator")

# Seconds at pace 1, chosen for a person who looks on: a session takes about 20, and no two messages come at once.
_STEP = 0.7
_SAMPLE_PAUSE = 1.8
_IDLE = (2.0, 6.0)
_SHORTEST_WAIT = 1.0
_LONGEST_DOUBLING = 5
_CONNECT_TIMEOUT = 10.0
_DEFAULT_INTERVAL = 30
_LONGEST_INTERVAL = 86_400  # Condition.wait takes no infinity

_AGREED = frozenset({"Accepted", "Scheduled", "Unlocked"})

# What TriggerMessage makes it send, where that does not depend on its state: nothing is ever under way.
_TRIGGERED: Mapping[str, Answer] = {
    "DiagnosticsStatusNotification": {"status": "Idle"},
    "FirmwareStatusNotification": {"status": "Idle"},
    "Heartbeat": {},
    "LogStatusNotification": {"status": "Idle"},
}


@dataclass(frozen=True)
class Session:
    """A transaction that has ended; the meter's readings are in Wh."""

    transaction_id: int
    id_tag: str
    meter_start: int
    meter_stop: int
    reason: Reason


class SimulatedChargePoint:
    """A charge point of one connector (7.4 kW, one phase) over a real connection.

    `start` runs its scenario: boot, report status, then authorize, start a transaction, send MeterValues and stop, over
    and over, until `stop`. Whatever fails is logged, and tried again after a pause that grows. A test that wants to
    decide itself leaves `start` out and calls `boot` and `charge`. The clock is the real one, but energy flows faster:
    an hour's worth within seconds.

    Args:
        charge_point_id: its identity.
        url: the central system's endpoint without the identity.
        pace: how fast it lives; a session takes about 20 seconds at 1 and two at 10.
        sessions: how many sessions it begins by itself; None: no end of them, 0: only those that
            RemoteStartTransaction asks for.
        random: decides over idTags, energies and pauses; a seeded one makes the same station again.
        answers: fixed answers to requests, by action: ``{"Reset": {"status": "Rejected"}}``.
        password, ssl_context: as with `ChargePoint`.

    Attributes:
        charge_point_id: its identity.
        answers: the `ChargePointAnswers` with its configuration and state.
    """

    def __init__(
        self,
        charge_point_id: str,
        url: str = "ws://127.0.0.1:9000",
        *,
        pace: float = 1.0,
        sessions: int | None = None,
        random: Random | None = None,
        answers: Mapping[str, Answer] | None = None,
        password: str | bytes | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        check_positive(pace=pace)
        self.charge_point_id = charge_point_id
        self.answers = ChargePointAnswers(answers)
        self._pace = pace
        self._sessions_left = math.inf if sessions is None else sessions
        self._random = random or Random()  # noqa: S311 (nothing secret)
        self._meter = Meter(self._random)
        self._status: ChargePointStatus = "Available"
        self._unfinished: Session | None = None
        self._heartbeat_at = 0.0
        self._connector = threading.Lock()  # held by the one thread that charges
        # Guards all below; notified whenever the thread that charges or waits should look up.
        self._changed = threading.Condition()
        self._stopping = False
        self._resetting = False
        self._interruption: Reason | None = None
        self._remote_tag: str | None = None
        self._agreed: set[str] = set()
        self._effects: Mapping[str, Callable[[Any], object]] = {
            "ChangeAvailability": self._change_availability,
            "ChangeConfiguration": lambda payload: self._look_up(),
            "ExtendedTriggerMessage": self._trigger,
            "RemoteStartTransaction": lambda payload: self._look_up(remote_tag=payload["idTag"]),
            "RemoteStopTransaction": lambda payload: self._look_up(interruption="Remote"),
            "Reset": lambda payload: self._look_up(interruption=f"{payload['type']}Reset", resetting=True),
            "TriggerMessage": self._trigger,
            "UnlockConnector": lambda payload: self._look_up(interruption="UnlockCommand"),
            "UpdateFirmware": lambda payload: self._send("FirmwareStatusNotification", {"status": "DownloadFailed"}),
        }
        self._charge_point = ChargePoint(
            charge_point_id, self._handle, url, password=password, ssl_context=ssl_context, websocket_ping_interval=30.0
        )
        self._charge_point.add_connection_listener(lambda status: self._look_up())
        for action in self._effects:
            self._watch(action)
        self._thread = threading.Thread(target=self._live, name=f"ocppsync-simulator-{charge_point_id}", daemon=True)

    def __repr__(self) -> str:
        return f"<SimulatedChargePoint {self.charge_point_id} {self._status} {self._meter.register} Wh>"

    # Life.

    def start(self) -> SimulatedChargePoint:
        """Begin the scenario on a thread of its own; return this object.

        Raises:
            RuntimeError: it was started before.
        """
        self.answers.attended = True
        self._thread.start()
        return self

    def stop(self) -> None:
        """End the scenario and the connection at once, whatever is going on, and end all threads."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._charge_point.close()
        if self._thread.is_alive():
            self._thread.join(_CONNECT_TIMEOUT + 1)

    def __enter__(self) -> SimulatedChargePoint:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    # What it can be told to do from here.

    def boot(self) -> BootNotificationResponse:
        """Connect where need be, send BootNotification, and once accepted the status; return the answer (C16 §4.2).

        Raises:
            HandshakeError: the central system does not let it in.
            OCPPRequestError: a message brought no usable answer.
        """
        self._connect()
        self.answers.registered = False
        answer: BootNotificationResponse = self._send(
            "BootNotification",
            {
                "chargePointVendor": "ocppsync",
                "chargePointModel": "Simulator",
                "chargePointSerialNumber": self.charge_point_id[:25],
                "firmwareVersion": "1.0",
            },
        )
        if answer["status"] == "Accepted":
            self.answers.registered = True
            self._keep_interval(answer["interval"])
            self._report()
        return answer

    def charge(
        self, *, energy_wh: int | None = None, samples: int = 8, id_tag: str | None = None, authorize: bool = True
    ) -> Session | None:
        """Charge one vehicle, and return the session once it has ended; None when the idTag is not accepted.

        Args:
            energy_wh: how much it takes, in Wh; by default 6000 to 12000.
            samples: how many MeterValues are sent.
            id_tag: whose; by default a new one.
            authorize: send Authorize first.

        Raises:
            OCPPRequestError: a message brought no usable answer; the transaction is stopped by the next `boot`.
            RuntimeError: another thread has it charge already.
        """
        check_positive(samples=samples, energy_wh=1 if energy_wh is None else energy_wh)
        if not self._connector.acquire(blocking=False):
            raise RuntimeError(f"{self.charge_point_id} is charging already")
        try:
            wanted = self._random.randrange(6_000, 12_000) if energy_wh is None else energy_wh
            tag = f"{self._random.getrandbits(56):014X}" if id_tag is None else id_tag
            return self._charge(tag, wanted, samples, authorize)
        finally:
            self._connector.release()

    # A session.

    def _charge(self, id_tag: str, energy_wh: int, samples: int, authorize: bool) -> Session | None:
        with self._changed:
            if not self._resetting:
                self._interruption = None
        self._tell_status("Preparing")
        self._pause(_STEP)
        session = None
        if not authorize or self._send("Authorize", {"idTag": id_tag})["idTagInfo"]["status"] == "Accepted":
            self._pause(_STEP)
            session = self._transact(id_tag, energy_wh, samples)
            self._tell_status("Finishing")
        self._pause(2 * _STEP)
        self._tell_status(self._resting_status())
        return session

    def _transact(self, id_tag: str, energy_wh: int, samples: int) -> Session:
        self._meter.plug_in()
        start = self._meter.register
        answer = self._send(
            "StartTransaction", {"connectorId": 1, "idTag": id_tag, "meterStart": start, "timestamp": utc_now()}
        )
        transaction_id = self.answers.transaction_id = answer["transactionId"]
        self._unfinished = Session(transaction_id, id_tag, start, start, "Other")
        # CE16 3.17: a transaction whose idTag is not accepted exists all the same, and has to be stopped.
        reason: Reason = "DeAuthorized"
        if answer["idTagInfo"]["status"] == "Accepted":
            self._pause(_STEP)
            self._tell_status("Charging")
            reason = self._draw(energy_wh, samples)
        session = Session(transaction_id, id_tag, start, self._meter.register, reason)
        self._pause(_STEP)
        self._stop_transaction(session)
        self._pause(_STEP)
        return session

    def _draw(self, energy_wh: int, samples: int) -> Reason:
        curve = power_curve(samples, self._random)
        start, total = self._meter.register, sum(curve)
        for index, share in enumerate(curve):
            self._pause(_SAMPLE_PAUSE, interruptible=True)
            if self._interruption is not None:
                return self._interruption
            self._meter.advance(start + round(energy_wh * sum(curve[: index + 1]) / total), share)
            self._send_meter_values("Sample.Periodic")
        return "Local"

    def _stop_transaction(self, session: Session) -> None:
        payload = {
            "transactionId": session.transaction_id,
            "idTag": session.id_tag,
            "meterStop": session.meter_stop,
            "timestamp": utc_now(),
            "reason": session.reason,
        }
        try:
            self._send("StopTransaction", payload)
        except OCPPRequestError as error:
            # What did not arrive is sent again by the next boot; what was refused is not.
            if error.delivery == "answered":
                self._unfinished = self.answers.transaction_id = None
            raise
        self._unfinished = self.answers.transaction_id = None

    # The scenario.

    def _live(self) -> None:
        # Ends: every wait looks at _stopping, and close() fails every request that waits.
        failures = 0
        while not self._stopping:
            try:
                self._get_ready()
                failures = 0
                self._work()
            except (OCPPError, RuntimeError) as error:
                # RuntimeError: it was closed between two steps.
                if not self._stopping:
                    _logger.warning("%s: %s; it tries again", self.charge_point_id, error)
                if isinstance(error, CallErrorReceived) and error.code == "SecurityError":
                    self.answers.registered = False  # the central system does not know it: J16 table 7
            wait = _SHORTEST_WAIT * 2 ** min(failures, _LONGEST_DOUBLING) + self._random.uniform(0, _SHORTEST_WAIT)
            self._pause(wait)
            failures += 1

    def _get_ready(self) -> None:
        # One that was accepted says nothing but its status when it comes back (J16 §5.4).
        self._connect()
        if self.answers.registered:
            self._report()
        while not self.answers.registered and not self._stopping:
            answer = self.boot()
            if answer["status"] != "Accepted":
                interval = answer["interval"] if answer["interval"] > 0 else _DEFAULT_INTERVAL
                self._pause(min(interval, _LONGEST_INTERVAL) * self._pace)

    def _work(self) -> None:
        while self._charge_point.connected and not self._stopping:
            self._idle(self._random.uniform(*_IDLE) / self._pace if self._sessions_left > 0 else math.inf)
            with self._changed:
                tag, self._remote_tag = self._remote_tag, None
            if self._resetting:
                self._shut_down()
                return
            if tag is not None:
                asks = self.answers.configuration["authorizeremotetxrequests"].value.lower() == "true"
                self.charge(id_tag=tag, authorize=asks)
            elif self._sessions_left > 0 and self.answers.operative and not self._stopping:
                self._sessions_left -= 1
                self.charge()

    def _idle(self, seconds: float) -> None:
        """Wait for the next driver, and send the Heartbeats that fall due meanwhile."""
        until = time.monotonic() + seconds
        while self._charge_point.connected and (now := time.monotonic()) < until:
            if now >= self._heartbeat_at + self._interval:
                self._heartbeat_at = now
                self._send("Heartbeat", {})
            with self._changed:
                if self._stopping or self._resetting or self._remote_tag is not None:
                    return
                self._changed.wait(max(0.0, min(until, self._heartbeat_at + self._interval) - now))

    def _shut_down(self) -> None:
        self._charge_point.disconnect()
        self.answers.registered = False
        with self._changed:
            self._resetting, self._interruption = False, None

    # What the central system asks, on the handler pool.

    def _handle(self, request: Request[str, Any], metadata: RequestMetadata) -> Answer | None:
        answer = self.answers(request, metadata)
        agreed = answer is not None and answer.get("status", "Accepted") in _AGREED
        if agreed and request.action in self._effects:
            with self._changed:
                self._agreed.add(metadata.message_id)
        return answer

    def _watch(self, action: Any) -> None:
        @self._charge_point.after(action)
        def carry_out(payload: Any, metadata: RequestMetadata) -> None:
            with self._changed:
                agreed = metadata.message_id in self._agreed
                self._agreed.discard(metadata.message_id)
            if agreed:
                self._effects[action](payload)

    def _look_up(
        self, *, interruption: Any = None, remote_tag: str | None = None, resetting: bool | None = None
    ) -> None:
        with self._changed:
            self._interruption = interruption or self._interruption
            self._remote_tag = remote_tag or self._remote_tag
            self._resetting = resetting or self._resetting
            self._changed.notify_all()

    def _change_availability(self, payload: Any) -> None:
        self.answers.operative = payload["type"] == "Operative"
        if not self._connector.locked():
            self._tell_status(self._resting_status())

    def _trigger(self, payload: Any) -> None:
        wanted = payload["requestedMessage"]
        if wanted == "BootNotification":
            self.boot()
        elif wanted == "MeterValues":
            self._send_meter_values("Trigger")
        elif wanted == "StatusNotification":
            for connector_id in [payload["connectorId"]] if "connectorId" in payload else [0, 1]:
                self._send_status(connector_id)
        elif wanted in _TRIGGERED:
            self._send(wanted, _TRIGGERED[wanted])

    # Messages.

    def _connect(self) -> None:
        if not self._charge_point.connected:
            with self._changed:
                self._agreed.clear()
            self._charge_point.connect(_CONNECT_TIMEOUT)

    def _send(self, action: Any, payload: Any) -> Any:
        if self._stopping:
            raise not_connected(self.charge_point_id, action)
        return self._charge_point.send_request(action, payload)

    def _report(self) -> None:
        if self._unfinished is not None:
            self._stop_transaction(replace(self._unfinished, meter_stop=self._meter.register))
        self._status = self._resting_status()
        for connector_id in (0, 1):
            self._pause(_STEP)
            self._send_status(connector_id)

    def _tell_status(self, status: ChargePointStatus) -> None:
        self._status = status
        self._send_status(1)

    def _send_status(self, connector_id: int) -> None:
        # C16 §6.47: connector 0 is the charge point itself, which knows fewer states.
        status = self._status if connector_id else "Available"
        payload = {"connectorId": connector_id, "status": status, "errorCode": "NoError", "timestamp": utc_now()}
        self._send("StatusNotification", payload)

    def _send_meter_values(self, context: ReadingContext) -> None:
        transaction_id = self.answers.transaction_id
        transaction = {} if transaction_id is None else {"transactionId": transaction_id}
        value = {"timestamp": utc_now(), "sampledValue": self._meter.sample(context)}
        self._send("MeterValues", {"connectorId": 1, **transaction, "meterValue": [value]})

    def _resting_status(self) -> ChargePointStatus:
        return "Available" if self.answers.operative else "Unavailable"

    # Time.

    def _pause(self, seconds: float, *, interruptible: bool = False) -> None:
        with self._changed:
            self._changed.wait_for(
                lambda: self._stopping or (interruptible and self._interruption is not None), seconds / self._pace
            )

    @property
    def _interval(self) -> float:
        interval = int(self.answers.configuration["heartbeatinterval"].value)
        return min(interval or math.inf, _LONGEST_INTERVAL)

    def _keep_interval(self, interval: int) -> None:
        self._heartbeat_at = time.monotonic()
        if interval > 0:
            self.answers.configuration["heartbeatinterval"].value = str(interval)
