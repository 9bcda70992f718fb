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
from collections.abc import Mapping
from dataclasses import replace
from random import Random
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..answers import Answer, ChargePointAnswers, ChargingStationAnswers
from ..charge_point import ChargePoint
from ..errors import CallErrorReceived, ConnectionLostError, InvalidResponseError, NotConnectedError, OCPPError
from ..faults.log_lines import log_line
from ..options import check_positive
from ..rpc.requester import not_connected
from ..validation.catalogue import SUBPROTOCOL_OF, Version
from .accepted_requests import AcceptedRequests
from .delivery import Delivery
from .driver import Controls, EVDriver, Session, VersionDriver
from .driver_2x import Driver2x
from .driver_16 import Driver16
from .energy_flow import Demand, EnergyFlow
from .features import Features
from .heartbeats import Heartbeats
from .link import Link
from .meter import Meter, power_curve
from .reconnection import Reconnection
from .timetable import Timetable, seconds_of_the_day
from .waiting import Waiting

if TYPE_CHECKING:
    from .. import v16, v201

__all__ = ["Session", "SimulatedChargePoint"]

_logger = logging.getLogger(__name__)

# Seconds at pace 1, chosen so that a person can follow: a session takes about 20, and messages come one at a time.
_STEP = 0.7
_SAMPLE_PAUSE = 2.0  # the default of MeterValueSampleInterval
_SAMPLES = 8
_IDLE = (2.0, 6.0)
_CONNECT_TIMEOUT = 10.0
_DEFAULT_INTERVAL = 30
_MAX_INTERVAL = 86_400  # Condition.wait does not accept infinity


class SimulatedChargePoint:
    """A charge point with one connector (7.4 kW, one phase) over a real connection.

    `start` runs the scenario until `stop`: boot and report the status, then authorize, start a transaction, send meter
    values and stop the transaction, again and again. Failures are logged and retried after increasing pauses. For a
    test with its own steps, call `boot` and `charge` instead of `start`. Timestamps are real, but energy flows faster:
    that of an hour within seconds. The settings that count seconds are obeyed: at pace 1 as they are, at pace 10 ten
    times as fast. Heartbeats, the wait for the next BootNotification, dates and charging schedules keep real time.

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
        self._waiting = Waiting(pace)
        self._pause = self._waiting.pause
        self._sessions_left = math.inf if sessions is None else sessions
        self._random = random or Random()  # noqa: S311 (nothing secret)
        self._meter = Meter(self._random)
        self.answers = ChargePointAnswers(answers) if version == "1.6" else ChargingStationAnswers(answers)
        delivery = Delivery(charge_point_id, self._send, self._wait_to_repeat, self._reconnect, self.answers)
        parts = (charge_point_id, self._send, delivery, self._meter, self._random)
        self._version_driver: VersionDriver
        if isinstance(self.answers, ChargePointAnswers):
            self._version_driver = Driver16(*parts, self.answers)
        else:
            self._version_driver = Driver2x(*parts, self.answers)
        self._unfinished: Session | None = None
        self._heartbeats = Heartbeats(lambda: self.answers.number("HeartbeatInterval"))
        self._connector = threading.Lock()  # held by the thread that charges, or reports the state of the connector
        # Guards the fields below; notified when the thread that charges or waits has to check them.
        self._changed = self._waiting.changed
        self._charging = False
        self._resetting = False
        self._boot_requested = False
        self._remote_driver: EVDriver | None = None
        self._link = Link(
            charge_point_id=charge_point_id,
            is_16=version == "1.6",
            pace=pace,
            state=self.answers,
            send=self._send,
            signal=self._signal,
            wait_until=self._waiting.until,
            is_busy=lambda: self._charging,
            settle=self._settle,
            restart=self._restart,
            is_stopping=lambda: self._waiting.stopping,
            ssl_context=ssl_context,
        )
        self._features = Features(self._link, self.answers)
        controls = Controls(self._signal, self._settle, self._boot_on_request, self._features.status_notification)
        effects = {**self._version_driver.effects(controls), **self._features.effects}
        self._reconnection = Reconnection(
            charge_point_id, self._connect, self._waiting, lambda: self._version_driver.back_off, self._random
        )
        self._aligned = Timetable(self._version_driver.aligned(), lambda: seconds_of_the_day() * self._pace)
        self._requests = AcceptedRequests(self.answers, effects)
        self._charge_point = ChargePoint(
            charge_point_id,
            self._requests,
            url,
            protocols=[SUBPROTOCOL_OF[version]],
            password=password,
            ssl_context=ssl_context,
            websocket_ping_interval=30.0,
            observers=[self._link.messages],
        )
        self._charge_point.add_connection_listener(lambda status: self._signal())
        self._requests.carry_out_for(self._charge_point)
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
        self._waiting.stop()
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
            if answer["interval"] > 0:
                self._version_driver.keep_heartbeat_interval(answer["interval"])
            self._heartbeats.restart()
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
        """Charge one vehicle, and return the finished session.

        None if the idTag is not accepted, or if the connector is out of service or reserved for another one. A charging
        profile makes the session longer, since the vehicle takes all of its energy; while it allows none, it waits.

        Args:
            energy_wh: the energy in Wh; by default a random 6000 to 12000.
            samples: the number of meter reports, if their interval is the default of 2 seconds. The vehicle charges for
                ``2 * samples`` seconds at pace 1.
            id_tag: the idTag; by default a random one.
            authorize: whether to authorize the idTag first.

        Raises:
            OCPPRequestError: a message got no usable answer; the next `boot` stops the transaction. MeterValues,
                StopTransaction and TransactionEvent are repeated instead, and discarded after the last attempt.
            RuntimeError: another thread is already charging.
        """
        check_positive(samples=samples, energy_wh=1 if energy_wh is None else energy_wh)
        driver = None if id_tag is None else EVDriver(id_tag)
        return self._charge_for(driver, energy_wh, samples, authorize)

    # A session.

    def _charge_for(
        self, driver: EVDriver | None, energy_wh: int | None, samples: int, authorize: bool
    ) -> Session | None:
        with self._changed:
            if self._charging:
                raise RuntimeError(f"{self.charge_point_id} is already charging")
            self._charging = True
        try:
            with self._connector:
                energy = self._random.randrange(6_000, 12_000) if energy_wh is None else energy_wh
                driver = driver or EVDriver(f"{self._random.getrandbits(56):014X}")
                return self._charge(driver, energy, samples, authorize)
        finally:
            with self._changed:
                self._charging = False
            self._settle()

    def _charge(self, driver: EVDriver, energy_wh: int, samples: int, authorize: bool) -> Session | None:
        with self._changed:
            if not self._resetting:
                self._waiting.interruption = None
        if self.answers.registered:
            self._version_driver.rest_if_due()  # a reservation may have ended just now
        reservations = self._features.reservations
        admission = reservations.admit(driver, self._version_driver.group_of) if self.answers.operative else None
        if admission is None:
            return None
        began = False
        try:
            self._version_driver.enter("Preparing")
            self._prepare()
            known = not authorize or admission.authorized
            accepted = known or (self.answers.operative and self._version_driver.authorize(driver))
            if accepted:
                self._prepare()
            began = accepted and self.answers.begin_transaction()
        finally:
            if not began:
                reservations.give_back(admission.reservation)
        session = self._transact(admission.admitted(driver), energy_wh, samples) if began else None
        if began or not self.answers.operative:
            # C16 §4.9: from Preparing it does not go straight to Unavailable.
            self._version_driver.enter("Finishing")
        self._pause(2 * _STEP)
        self._version_driver.rest()
        return session

    def _transact(self, driver: EVDriver, energy_wh: int, samples: int) -> Session:
        self._meter.plug_in()
        start = self._meter.register
        try:
            with self._features.smart_charging.transaction(driver.charging_profile):
                accepted = self._version_driver.begin(driver)
        except BaseException:
            self.answers.end_transaction()
            raise
        transaction_id = self.answers.transaction_id
        assert transaction_id is not None
        self._unfinished = Session(transaction_id, driver.id_tag, start, start, "Other")
        # CE16 3.17: a transaction with an idTag that is not accepted exists all the same, and must be stopped.
        reason: v16.Reason | v201.ReasonEnumType = "DeAuthorized"
        if accepted or not self.answers.flag("StopTransactionOnInvalidId"):
            self._pause(_STEP)
            reason = self._draw(energy_wh if accepted else 0, samples)
        session = Session(transaction_id, driver.id_tag, start, self._meter.register, reason)
        self._pause(_STEP)
        self._stop_transaction(session)
        self._pause(_STEP)
        return session

    def _draw(self, energy_wh: int, samples: int) -> v16.Reason | v201.ReasonEnumType:
        demand = Demand(energy_wh, power_curve(samples, self._random))
        driver = self._version_driver
        flow = EnergyFlow(demand, self._meter, self._features.smart_charging, driver, _SAMPLE_PAUSE)
        samples_due = Timetable(driver.samples(), lambda: flow.elapsed)
        while not demand.satisfied:
            news = self._waiting.news
            driver.send_triggered()
            change = flow.follow() * self._pace
            wait = min(flow.seconds_left, samples_due.seconds_left(), self._aligned.seconds_left(), change)
            flow.advance(self._waiting.for_news(min(wait, _MAX_INTERVAL), news))
            self._check_running("MeterValues")
            if self._waiting.interruption is not None:
                return self._waiting.interruption
            for job in (*samples_due.due(), *self._aligned.due()):
                job.run()
        return "Local"

    def _stop_transaction(self, session: Session) -> None:
        # After most errors the next boot repeats it, but not if it was processed, or discarded.
        try:
            self._version_driver.end(session)
        except InvalidResponseError:
            self._forget_transaction()
            raise
        self._forget_transaction()

    def _forget_transaction(self) -> None:
        self._unfinished = None
        self.answers.end_transaction()
        self._features.smart_charging.end_transaction()

    # The scenario.

    def _run(self) -> None:
        # Ends: every wait checks _stopping, and close() fails every pending request.
        failures = 0
        while not self._waiting.stopping:
            try:
                self._get_ready()
                failures = 0
                self._work()
            except (OCPPError, RuntimeError) as error:
                # RuntimeError: closed between two steps.
                if not self._waiting.stopping:
                    log_line(_logger, logging.WARNING, "%s: %s; retrying", self.charge_point_id, error)
                if isinstance(error, CallErrorReceived) and error.code == "SecurityError":
                    self.answers.registered = False  # it has to boot again: J16 table 7
            self._reconnection.pause(failures)
            failures += 1

    def _get_ready(self) -> None:
        # After a reconnection, an accepted charge point sends no BootNotification, only its status (J16 §5.4).
        self._connect()
        if self.answers.registered:
            self._report()
        while not self.answers.registered and not self._waiting.stopping:
            self._boot_requested = False
            answer = self.boot()
            if answer["status"] != "Accepted":
                interval = answer["interval"] if answer["interval"] > 0 else _DEFAULT_INTERVAL
                self._pause(min(interval, _MAX_INTERVAL) * self._pace, until=lambda: self._boot_requested)

    def _work(self) -> None:
        while self._charge_point.connected and not self._waiting.stopping:
            self._idle(self._random.uniform(*_IDLE) / self._pace if self._sessions_left > 0 else math.inf)
            with self._changed:
                driver, self._remote_driver = self._remote_driver, None
            if self._resetting:
                self._shut_down()
                return
            if self._waiting.stopping:
                return
            if driver is not None:
                self._charge_for(driver, None, _SAMPLES, self._version_driver.authorizes_remote_starts)
            elif self._sessions_left > 0 and self._version_driver.resting_phase == "Available":
                self._sessions_left -= 1
                self.charge()

    def _idle(self, seconds: float) -> None:
        """Wait for the next driver, and send the Heartbeats and the clock-aligned data that are due."""
        until = time.monotonic() + seconds
        while self._charge_point.connected and (now := time.monotonic()) < until:
            if self._heartbeats.are_due():
                self._send("Heartbeat", {})
            for job in self._aligned.due():
                job.run()
            aligned_at = now + self._aligned.seconds_left() / self._pace
            with self._changed:
                if self._waiting.stopping or self._resetting or self._remote_driver is not None:
                    return
                wait = min(until, self._heartbeats.next_at, aligned_at) - now
                self._changed.wait(max(0.0, min(wait, _MAX_INTERVAL)))

    def _shut_down(self) -> None:
        self._link.messages.add_security_event("ResetOrReboot")
        self._charge_point.disconnect()
        self.answers.registered = False
        with self._changed:
            self._resetting, self._waiting.interruption = False, None

    # Execution of accepted requests.

    def _signal(
        self, *, interruption: Any = None, driver: EVDriver | None = None, resetting: bool | None = None
    ) -> None:
        with self._changed:
            self._waiting.interruption = interruption or self._waiting.interruption
            self._remote_driver = driver or self._remote_driver
            self._resetting = resetting or self._resetting
            self._waiting.news += 1
            self._changed.notify_all()

    def _boot_on_request(self) -> None:
        """Send a triggered BootNotification; the scenario does that itself, and goes on at once if it is accepted."""
        if not self._thread.is_alive():
            self.boot()
            return
        self._boot_requested = True
        self._signal()

    def _settle(self) -> None:
        """Report the state of the connector if it has changed, unless a vehicle charges; then later, at its end."""
        self._features.reservations.end_if_out_of_service()
        self._signal()
        while self._is_due_to_settle() and self._connector.acquire(blocking=False):
            try:
                self._version_driver.rest_if_due()
            finally:
                self._connector.release()

    def _restart(self, version: str) -> None:
        """Reboot with a firmware version; the scenario does that itself if it runs."""
        self._version_driver.install_firmware(version)
        if self._thread.is_alive():
            self._signal(resetting=True)
        else:
            self._shut_down()
            self.boot()

    def _is_due_to_settle(self) -> bool:
        able = self.answers.registered and self._charge_point.connected and not self._waiting.stopping
        return able and self._unfinished is None and not self._version_driver.is_resting

    # Messages.

    def _connect(self) -> None:
        if not self._charge_point.connected:
            self._requests.forget()
            self._charge_point.connect(_CONNECT_TIMEOUT)

    def _send(self, action: Any, payload: Any) -> Any:
        while True:
            self._check_running(action)
            try:
                return self._charge_point.send_request(action, payload)
            except (ConnectionLostError, NotConnectedError):
                # A status of a session waits for the next connection, as its transaction messages do.
                if action != "StatusNotification" or not self._reconnect(report=False):
                    raise

    def _reconnect(self, *, report: bool = True) -> bool:
        """Connect again if a vehicle charges; return False without one, and on other threads than the scenario's."""
        own = threading.current_thread() is self._thread
        connected = own and self.answers.in_use and self._reconnection.run()
        if connected and report:
            self._version_driver.report_all()
        return connected

    def _check_running(self, action: str) -> None:
        if self._waiting.stopping:
            raise not_connected("charge_point", self.charge_point_id, action)

    def _report(self) -> None:
        if self._unfinished is not None:
            self._stop_transaction(replace(self._unfinished, meter_stop=self._meter.register))
        self._version_driver.phase = self._version_driver.resting_phase
        self._version_driver.report_all(lambda: self._pause(_STEP))

    def _wait_to_repeat(self, seconds: float) -> None:
        self._pause(seconds, until=lambda: not self._charge_point.connected)

    def _prepare(self) -> None:
        self._pause(_STEP, until=lambda: not self.answers.operative)
