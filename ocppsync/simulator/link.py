"""What the functions of a simulated charge point use of it."""

from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..answers.station_state import StationState
from ..clock import utc_now
from ..errors import ConnectionLostError, NotConnectedError, OCPPError
from ..throttled_log import ThrottledLog
from .jobs import Job
from .message_log import MessageLog

__all__ = ["Link"]

_logger = logging.getLogger(__name__)
_RETRY_PAUSE = 1.0


@dataclass(frozen=True)
class Link:
    """The connection of a function to its charge point; thread-safe."""

    charge_point_id: str
    is_16: bool
    pace: float
    state: StationState
    send: Callable[[Any, Any], Any]
    """Sends a request and returns the answer."""
    signal: Callable[[], object]
    """Tells the thread that charges to look at the functions again."""
    wait_until: Callable[[Job, Callable[[], bool]], bool]
    """Waits until a function of the state returns True; returns whether it did before the job was cancelled."""
    is_busy: Callable[[], bool]
    """Whether a vehicle is at the connector."""
    is_away: Callable[[], bool]
    """Whether it has no connection, or no boot that was accepted; then nothing can be sent."""
    settle: Callable[[], object]
    """Reports the state of the connector, unless a vehicle is there."""
    restart: Callable[[str], object]
    """Reboots with a firmware version; returns before the reboot is complete."""
    is_stopping: Callable[[], bool]
    """Whether the charge point was stopped."""
    ssl_context: ssl.SSLContext | None = None
    messages: MessageLog = field(default_factory=MessageLog)
    log: ThrottledLog = field(init=False)
    """The log of what the central system causes."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "log", ThrottledLog(self.charge_point_id))
        self.messages.add_security_event("StartupOfTheDevice")

    def notify(self, action: str, payload: Any) -> None:
        """Send a message that nothing else depends on; if that fails, only log it."""
        self.attempt(f"send {action}", lambda: self.send(action, payload))

    def report(self, job: Job, action: str, payload: Any) -> None:
        """Send a message of a job, as `notify` does; while the charge point is away, wait for it.

        A message that meets a lost connection is sent again: the central system gets every status, some of them twice.
        """
        while self.wait_until(job, lambda: not self.is_away()):
            try:
                self.send(action, payload)
                return
            except (ConnectionLostError, NotConnectedError):
                self.pause(job, _RETRY_PAUSE)  # until its end is known, the connection still seems to be there
            except (OCPPError, RuntimeError) as error:
                self._log_failure(f"send {action}", error)
                return
        self.notify(action, payload)  # the job was cancelled

    def attempt(self, what: str, work: Callable[[], object]) -> None:
        """Do work that nothing else depends on; if a message of it fails, only log that.

        Args:
            what: what it is, for the log: ``"send Heartbeat"``.
            work: the work.
        """
        try:
            work()
        except (OCPPError, RuntimeError) as error:
            self._log_failure(what, error)

    def report_security_event(self, name: str) -> None:
        """Keep a security event in the log, and send it."""
        self.messages.add_security_event(name)
        self.notify("SecurityEventNotification", {"type": name, "timestamp": utc_now()})

    def _log_failure(self, what: str, error: Exception) -> None:
        if not self.is_stopping():
            self.log.log(_logger, "attempt", "cannot %s: %s", what, type(error).__name__)

    def pause(self, job: Job, seconds: float) -> bool:
        """Wait for some seconds at pace 1; return whether the job was cancelled."""
        return job.wait(min(seconds, threading.TIMEOUT_MAX) / self.pace)

    def thread_name(self, work: str) -> str:
        """Return the name for the thread of a job."""
        return f"ocppsync-simulator-{self.charge_point_id}-{work}"
