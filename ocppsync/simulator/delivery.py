"""Sends the messages about transactions of a simulated charge point again until the central system processes them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from ..answers.station_state import StationState
from ..errors import (
    CallErrorReceived,
    ConnectionLostError,
    NotConnectedError,
    OCPPRequestError,
    RequestTimeoutError,
)
from ..faults.log_lines import log_line

__all__ = ["Delivery"]

_logger = logging.getLogger(__name__)


class Delivery:
    """Repeats messages about transactions after a CALLERROR or a timeout (C16 §3.7.1; 2/201 E13.FR.02-04).

    Before each repetition it waits for the retry interval times the number of earlier transmissions, at the pace of the
    simulator. After SecurityError the charge point has to boot first (J16 table 7).

    A message that meets a lost connection is sent again over the next one, before any later one, so that their order
    holds (C16 §3.7); that is no attempt, and in 2.x it is marked as offline (2/201 E11.FR.07).

    Args:
        charge_point_id: the charge point's identity.
        send: sends a request and returns the answer.
        wait: waits for so many seconds at pace 1; returns early if the charge point stops or loses its connection.
        reconnect: connects again; returns False if the calling thread may not wait for that, or the charge point stops.
        answers: has the settings TransactionMessageAttempts and TransactionMessageRetryInterval.
    """

    def __init__(
        self,
        charge_point_id: str,
        send: Callable[[Any, Any], Any],
        wait: Callable[[float], object],
        reconnect: Callable[[], bool],
        answers: StationState,
    ) -> None:
        self._charge_point_id = charge_point_id
        self._send = send
        self._wait = wait
        self._reconnect = reconnect
        self._answers = answers

    def send(self, action: str, payload: Any) -> Any:
        """Send a message and return the answer.

        Raises:
            OCPPRequestError: the last attempt failed, or the connection was lost on a thread that may not wait.
        """
        failures = 0
        while True:
            try:
                return self._send(action, payload)
            except (CallErrorReceived, RequestTimeoutError) as error:
                failures += 1
                if failures >= self._answers.number("TransactionMessageAttempts") or _needs_boot(error):
                    raise
            except (ConnectionLostError, NotConnectedError):
                if not self._reconnect():
                    raise
                if "offline" in payload:
                    payload = {**payload, "offline": True}
                continue
            self._wait(self._answers.number("TransactionMessageRetryInterval") * failures)

    def post(self, action: str, payload: Any) -> Any | None:
        """Send a message and return the answer; None if the last attempt failed, and the message is discarded.

        Raises:
            OCPPRequestError: as for `send`, or the charge point has to boot first.
        """
        try:
            return self.send(action, payload)
        except (CallErrorReceived, RequestTimeoutError) as error:
            if _needs_boot(error):
                raise
            log_line(_logger, logging.WARNING, "%s: %s; the message is discarded", self._charge_point_id, error)
            return None


def _needs_boot(error: OCPPRequestError) -> bool:
    return isinstance(error, CallErrorReceived) and error.code == "SecurityError"
