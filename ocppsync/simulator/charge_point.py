"""A simulated charge point: it boots, charges one vehicle after another, and obeys the central system.

Threads: the scenario has its own thread, the only one that boots and charges. `SimulatedChargePoint.boot` and `charge`
replace the scenario, on the caller's thread. The handler pool of the `ChargePoint` answers the requests of the central
system, then leaves their execution to the scenario, or sends the message itself if a single message is enough.
"""

from __future__ import annotations

import logging
import math
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..answers import Answer, ChargePointAnswers, ChargingStationAnswers
from ..charge_point import ChargePoint
from ..errors import CallErrorReceived, OCPPError, OCPPRequestError
from ..faults.log_lines import log_line
from ..options import check_positive
from ..rpc.requester import not_connected
from ..throttled_log import ThrottledLog
from ..validation.catalogue import SUBPROTOCOL_OF, Version
from .driver import Controls, EVDriver, Phase, Session, VersionDriver
from .driver_2x import Driver2x
from .driver_16 import Driver16
from .energy_flow import Demand, EnergyFlow
from .execution import Execution
from .features import Features
from .jobs import Job
from .link import Link
from .message_log import MessageLog
from .meter import Meter, power_curve

if TYPE_CHECKING:
    from .. import v16, v201

__all__ = ["Session", "SimulatedChargePoint"]

_logger = logging.getLogger(__name__)

# Seconds at pace 1, chosen so that a person can follow: a session takes about 20, and messages come one at a time.
_STEP = 0.7
_SAMPLE_PAUSE = 1.8
_SAMPLES = 8
_IDLE = (2.0, 6.0)
_MIN_WAIT = 1.0
_MAX_DOUBLINGS = 5
_CONNECT_TIMEOUT = 10.0
_DEFAULT_INTERVAL = 30
_MAX_INTERVAL = 86_400  # Condition.wait does not accept infinity


class SimulatedChargePoint:
    """A charge point with one connector (7.4 kW, one phase) over a real connection.

    `start` runs the scenario until `stop`: boot and report the status, then authorize, start a transaction, send meter
    values and stop the transaction, again and again. Failures are logged and retried after increasing pauses. For a
    test with its own steps, call `boot` and `charge` instead of `start`. Timestamps are real, but energy flows faster:
    that of an hour within seconds.

    Args:
        charge_point_id: the charge point's identity.
        url: the central system's endpoint without the identity.
        version: the version of OCPP.
        pace: the speed; a session takes about 20 seconds at 1 and two at 10.
        sessions: the number of sessions that the scenario begins by itself; None: unlimited, 0: only those that the
            central system requests.
        random: the source of idTags, energies and pauses; the same seed gives the same charge point.
        answers: fixed answers to requests, by action: ``{"Reset": {"status": "Rejected"}}``.
        password, ssl_context: as for `ChargePoint`.

    Raises:
        ValueError: the pace is not above 0, or the version is not supported.

    Attributes:
        charge_point_id: the charge point's identity.
        version: the version of OCPP.
        answers: the state, with the configuration of 1.6 or the device model of 2.x.
    """

    def __init__(
        self,
        charge_point_id: str,
        url: str = "ws://127.0.0.1:9000",
        *,
        version: Version = "1.6",
        pace: float = 1.0,
        sessions: int | None = None,
        random: Random | None = None,
        answers: Mapping[str, Answer] | None = None,
        password: str | bytes | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        check_positive(pace=pace)
        if version not in SUBPROTOCOL_OF:
            raise ValueError(f"unsupported OCPP version {version!r}; supported: {', '.join(SUBPROTOCOL_OF)}")
        self.charge_point_id = charge_point_id
        self.version = version
        self._pace = pace
        self._sessions_left = math.inf if sessions is None else sessions
        self._random = random or Random()  # noqa: S311 (nothing secret)
        self._meter = Meter(self._random)
        self.answers: ChargePointAnswers | ChargingStationAnswers
        self._version_driver: VersionDriver
        if version == "1.6":
            self.answers = ChargePointAnswers(answers)
            self._version_driver = Driver16(charge_point_id, self._send, self._meter, self._random, self.answers)
        else:
            self.answers = ChargingStationAnswers(answers)
            self._version_driver = Driver2x(charge_point_id, self._send, self._meter, self._random, self.answers)
        self._unfinished: Session | None = None
        self._heartbeat_at = 0.0
        self._connector = threading.Lock()  # held by the thread that charges
        # Guards the fields below; notified when the thread that charges or waits has to check them.
        self._changed = threading.Condition()
        self._stopping = False
        self._resetting = False
        self._interruption: v16.Reason | v201.ReasonEnumType | None = None
        self._remote_driver: EVDriver | None = None
        self._log = ThrottledLog(charge_point_id)
        self._messages = MessageLog()
        self._messages.add_security_event("StartupOfTheDevice")
        self._features = Features(self._link(ssl_context), self.answers)
        controls = Controls(self._signal, self._change_availability, self.boot, self._features.status_notification)
        effects = {**self._version_driver.effects(controls), **self._features.effects}
        self._execution = Execution(self.answers, effects)
        self._charge_point = ChargePoint(
            charge_point_id,
            self._execution,
            url,
            protocols=[SUBPROTOCOL_OF[version]],
            password=password,
            ssl_context=ssl_context,
            websocket_ping_interval=30.0,
            observers=[self._messages],
        )
        self._charge_point.add_connection_listener(lambda status: self._signal())
        self._execution.watch(self._charge_point)
        self._thread = threading.Thread(target=self._run, name=f"ocppsync-simulator-{charge_point_id}", daemon=True)

    def __repr__(self) -> str:
        return f"<SimulatedChargePoint {self.charge_point_id} {self._version_driver.phase} {self._meter.register} Wh>"

    # Lifecycle.

    def start(self) -> SimulatedChargePoint:
        """Start the scenario on its own thread; return this object.

        Raises:
            RuntimeError: the scenario was started before.
        """
        self.answers.attended = True
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop the scenario at once, close the connection, and end all threads."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._features.stop()
        self._charge_point.close()
        if self._thread.is_alive():
            self._thread.join(_CONNECT_TIMEOUT + 1)

    def __enter__(self) -> SimulatedChargePoint:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    # Steps for callers.

    def boot(self) -> v16.BootNotificationResponse | v201.BootNotificationResponse:
        """Connect if not connected, send BootNotification and, once accepted, the status; return the answer (C16 §4.2).

        Raises:
            HandshakeError: the central system refused the connection.
            OCPPRequestError: a message got no usable answer.
        """
        self._connect()
        self.answers.registered = False
        answer: v16.BootNotificationResponse | v201.BootNotificationResponse = self._version_driver.boot()
        if answer["status"] == "Accepted":
            self.answers.registered = True
            self._keep_interval(answer["interval"])
            self._signal()
            self._report()
        return answer

    def charge(
        self,
        *,
        energy_wh: int | None = None,
        samples: int = _SAMPLES,
        id_tag: str | None = None,
        authorize: bool = True,
    ) -> Session | None:
        """Charge one vehicle and return the finished session.

        None if the idTag is not accepted, the connector is reserved for another one, or it is out of service. Under a
        charging profile the vehicle takes longer to get its energy; while that allows none, it waits.

        Args:
            energy_wh: the energy in Wh; by default a random 6000 to 12000.
            samples: the number of meter reports without a charging profile.
            id_tag: the idTag; by default a random one.
            authorize: whether to send Authorize first.

        Raises:
            OCPPRequestError: a message got no usable answer; the next `boot` stops the transaction.
            RuntimeError: another thread is already charging.
        """
        check_positive(samples=samples, energy_wh=1 if energy_wh is None else energy_wh)
        driver = None if id_tag is None else EVDriver(id_tag)
        return self._charge_for(driver, energy_wh, samples, authorize)

    # A session.

    def _charge_for(
        self, driver: EVDriver | None, energy_wh: int | None, samples: int, authorize: bool
    ) -> Session | None:
        if not self._connector.acquire(blocking=False):
            raise RuntimeError(f"{self.charge_point_id} is already charging")
        try:
            energy = self._random.randrange(6_000, 12_000) if energy_wh is None else energy_wh
            driver = driver or EVDriver(f"{self._random.getrandbits(56):014X}")
            return self._charge(driver, energy, samples, authorize)
        finally:
            self._connector.release()
            self._signal()

    def _charge(self, driver: EVDriver, energy_wh: int, samples: int, authorize: bool) -> Session | None:
        with self._changed:
            if not self._resetting:
                self._interruption = None
        admission = self._features.reservations.admit(driver, self._group_of) if self._features.in_service() else None
        if admission is None:
            return None
        reservation = admission.reservation
        self._version_driver.enter("Preparing")
        self._pause(_STEP)
        session = None
        if not authorize or admission.authorized or self._version_driver.authorize(driver):
            self._pause(_STEP)
            if reservation is not None:
                driver = replace(driver, reservation_id=reservation.id)
            session = self._transact(driver, energy_wh, samples)
            self._version_driver.enter("Finishing")
        elif reservation is not None:
            self._features.reservations.give_back(reservation)
        self._pause(2 * _STEP)
        self._version_driver.enter(self._resting_phase())
        return session

    def _group_of(self, driver: EVDriver) -> str | None:
        return self._version_driver.group if self._version_driver.authorize(driver) else None

    def _transact(self, driver: EVDriver, energy_wh: int, samples: int) -> Session:
        self._meter.plug_in()
        start = self._meter.register
        with self._features.smart_charging.transaction(driver.charging_profile):
            accepted = self._version_driver.begin(driver)
        transaction_id = self.answers.transaction_id
        assert transaction_id is not None
        self._unfinished = Session(transaction_id, driver.id_tag, start, start, "Other")
        # CE16 3.17: a transaction with an idTag that is not accepted exists all the same, and must be stopped.
        reason: v16.Reason | v201.ReasonEnumType = "DeAuthorized"
        if accepted:
            self._pause(_STEP)
            reason = self._draw(energy_wh, samples)
        session = Session(transaction_id, driver.id_tag, start, self._meter.register, reason)
        self._pause(_STEP)
        self._stop_transaction(session)
        self._pause(_STEP)
        return session

    def _draw(self, energy_wh: int, samples: int) -> v16.Reason | v201.ReasonEnumType:
        EnergyFlow(
            Demand(energy_wh, power_curve(samples, self._random)),
            self._meter,
            self._features.smart_charging,
            self._version_driver,
            sample=_SAMPLE_PAUSE / self._pace,
            wait=self._wait_in_session,
        ).run()
        return self._interruption or "Local"

    def _stop_transaction(self, session: Session) -> None:
        try:
            self._version_driver.end(session)
        except OCPPRequestError as error:
            # The next boot repeats a stop that did not arrive, but not one that was refused.
            if error.delivery == "answered":
                self._forget_transaction()
            raise
        self._forget_transaction()

    def _forget_transaction(self) -> None:
        self._unfinished = self.answers.transaction_id = None
        self._features.smart_charging.end_transaction()

    # The scenario.

    def _run(self) -> None:
        # Ends: every wait checks _stopping, and close() fails every pending request.
        failures = 0
        while not self._stopping:
            try:
                self._get_ready()
                failures = 0
                self._work()
            except (OCPPError, RuntimeError) as error:
                # RuntimeError: closed between two steps.
                if not self._stopping:
                    log_line(_logger, logging.WARNING, "%s: %s; retrying", self.charge_point_id, error)
                if isinstance(error, CallErrorReceived) and error.code == "SecurityError":
                    self.answers.registered = False  # it has to boot again: J16 table 7
            wait = _MIN_WAIT * 2 ** min(failures, _MAX_DOUBLINGS) + self._random.uniform(0, _MIN_WAIT)
            self._pause(wait)
            failures += 1

    def _get_ready(self) -> None:
        # After a reconnection, an accepted charge point sends no BootNotification, only its status (J16 §5.4).
        self._connect()
        if self.answers.registered:
            self._report()
        while not self.answers.registered and not self._stopping:
            answer = self.boot()
            if answer["status"] != "Accepted":
                interval = answer["interval"] if answer["interval"] > 0 else _DEFAULT_INTERVAL
                self._pause(min(interval, _MAX_INTERVAL) * self._pace)

    def _work(self) -> None:
        while self._charge_point.connected and not self._stopping:
            self._idle(self._random.uniform(*_IDLE) / self._pace if self._sessions_left > 0 else math.inf)
            with self._changed:
                driver, self._remote_driver = self._remote_driver, None
            if self._resetting:
                self._shut_down()
                return
            if driver is not None:
                self._charge_for(driver, None, _SAMPLES, self._version_driver.authorizes_remote_starts)
            elif self._sessions_left > 0 and self._resting_phase() == "Available" and not self._stopping:
                self._sessions_left -= 1
                self.charge()

    def _idle(self, seconds: float) -> None:
        """Wait for the next driver, and send the Heartbeats that are due."""
        until = time.monotonic() + seconds
        while self._charge_point.connected and (now := time.monotonic()) < until:
            if now >= self._heartbeat_at + self._interval:
                self._heartbeat_at = now
                self._send("Heartbeat", {})
            with self._changed:
                if self._stopping or self._resetting or self._remote_driver is not None:
                    return
                self._changed.wait(max(0.0, min(until, self._heartbeat_at + self._interval) - now))

    def _shut_down(self) -> None:
        self._messages.add_security_event("ResetOrReboot")
        self._charge_point.disconnect()
        self.answers.registered = False
        with self._changed:
            self._resetting, self._interruption = False, None

    # Execution of accepted requests.

    def _signal(
        self, *, interruption: Any = None, driver: EVDriver | None = None, resetting: bool | None = None
    ) -> None:
        with self._changed:
            self._interruption = interruption or self._interruption
            self._remote_driver = driver or self._remote_driver
            self._resetting = resetting or self._resetting
            self._changed.notify_all()

    def _change_availability(self, operative: bool) -> None:
        self.answers.operative = operative
        self._settle()

    def _settle(self) -> None:
        """Report the state of the connector if it has changed, unless a vehicle is there; then that is done later."""
        self._features.reservations.end_if_out_of_service()
        resting = self._resting_phase()
        if not self._connector.locked() and self.answers.registered and self._version_driver.phase != resting:
            self._version_driver.enter(resting)

    def _restart(self, version: str) -> None:
        """Reboot with a firmware version; the scenario does that itself if it runs."""
        self._version_driver.install_firmware(version)
        if self._thread.is_alive():
            self._signal(resetting=True)
            return
        self._shut_down()
        try:
            self.boot()
        except (OCPPError, RuntimeError) as error:
            # The caller may call `boot`.
            self._log.log(_logger, "restart", "cannot boot with the new firmware: %s", type(error).__name__)

    # Messages.

    def _connect(self) -> None:
        if not self._charge_point.connected:
            self._execution.forget()
            self._charge_point.connect(_CONNECT_TIMEOUT)

    def _send(self, action: Any, payload: Any) -> Any:
        if self._stopping:
            raise not_connected("charge_point", self.charge_point_id, action)
        return self._charge_point.send_request(action, payload)

    def _report(self) -> None:
        if self._unfinished is not None:
            self._stop_transaction(replace(self._unfinished, meter_stop=self._meter.register))
        self._version_driver.phase = self._resting_phase()
        for connector_id in self._version_driver.connectors:
            self._pause(_STEP)
            self._version_driver.report_status(connector_id)

    def _resting_phase(self) -> Phase:
        if not self._features.in_service():
            return "Unavailable"
        return "Available" if self._features.reservations.current is None else "Reserved"

    def _link(self, ssl_context: ssl.SSLContext | None) -> Link:
        return Link(
            charge_point_id=self.charge_point_id,
            is_16=self.version == "1.6",
            pace=self._pace,
            state=self.answers,
            log=self._log,
            messages=self._messages,
            send=self._send,
            signal=self._signal,
            wait_until=self._wait_until,
            is_busy=self._connector.locked,
            settle=self._settle,
            restart=self._restart,
            is_stopping=lambda: self._stopping,
            ssl_context=ssl_context,
        )

    # Time.

    def _pause(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping, seconds / self._pace)

    def _wait_in_session(self, seconds: float, changed: Callable[[], bool]) -> bool:
        """Wait for so many real seconds, or until ``changed``; return whether the session is to end."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._stopping or self._interruption is not None or changed(),
                min(seconds, threading.TIMEOUT_MAX),
            )
            return self._interruption is not None

    def _wait_until(self, job: Job, predicate: Callable[[], bool]) -> bool:
        """Wait until a function of the state returns True; return whether it did before the job was cancelled."""
        with job.on_cancel(self._signal), self._changed:
            self._changed.wait_for(lambda: self._stopping or job.cancelled or predicate())
            return not (self._stopping or job.cancelled)

    @property
    def _interval(self) -> float:
        return min(self._version_driver.heartbeat_interval or math.inf, _MAX_INTERVAL)

    def _keep_interval(self, interval: int) -> None:
        self._heartbeat_at = time.monotonic()
        if interval > 0:
            self._version_driver.heartbeat_interval = interval
