"""The reservation of a simulated charge point (C16 §5.13, §5.3; 2/201 H01-H04)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..answers.table import Answer, Table, status
from ..clock import milliseconds, now_ms
from .driver import Effects, EVDriver
from .jobs import Job
from .link import Link

__all__ = ["Admission", "Reservation", "Reservations", "Reservations2x", "Reservations16"]

_CONNECTOR = 1
_CONNECTOR_TYPE = "cType2"


@dataclass(frozen=True)
class Reservation:
    """The connector is kept for one token, or for those of a group."""

    id: int
    connector_id: int
    """0: it is for any connector of the charge point."""
    expires_at: int
    """The moment in milliseconds since 1970."""
    id_tag: str = field(repr=False)
    group: str | None = field(default=None, repr=False)
    """The parentIdTag or groupIdToken."""

    def fits(self, id_tag: str, group: str | None = None) -> bool:
        """Return whether it is for a token; tokens do not differ in case (C16 §7.28; 2/201 §2.1.4)."""
        return id_tag.casefold() == self.id_tag.casefold() or (
            None not in (group, self.group) and str(group).casefold() == str(self.group).casefold()
        )


@dataclass(frozen=True)
class Admission:
    """A driver may charge."""

    reservation: Reservation | None = None
    """The reservation that the session uses up."""
    authorized: bool = False
    """Whether the driver was authorized to find out the group."""

    def admitted(self, driver: EVDriver) -> EVDriver:
        """Return the driver with the id of the reservation."""
        return driver if self.reservation is None else replace(driver, reservation_id=self.reservation.id)


class Reservations:
    """The reservation of the one connector; its two subclasses answer the requests. Thread-safe.

    It ends when it expires, on a job of its own; when its driver begins to charge; and when the connector goes out of
    service.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._lock = threading.Lock()  # guards both
        self._reservation: Reservation | None = None
        self._expiry: Job | None = None

    @property
    def current(self) -> Reservation | None:
        """The reservation; None if there is none."""
        with self._lock:
            return self._reservation

    # Requests.

    def table(self) -> Table:
        """Return the answers to the messages of reservations."""
        return {
            "CancelReservation": lambda payload: status(
                "Accepted" if self._remove(payload["reservationId"]) else "Rejected"
            ),
            "ReserveNow": lambda payload: status(self._reserve(payload)),
        }

    def effects(self) -> Effects:
        """Return the functions that carry out accepted requests."""
        settle = self._link.settle
        return {"CancelReservation": lambda payload: settle(), "ReserveNow": lambda payload: settle()}

    def refusal(self, payload: Any) -> Answer | None:
        """Return the answer to a remote start by a driver for whom the connector is not reserved; None if it is free.

        If it is reserved for a group, a token may belong to that: only Authorize can tell (C16 §5.13).
        """
        reservation = self.current
        if reservation is None or reservation.group is not None or reservation.fits(*self._token_of(payload)):
            return None
        return status("Rejected")

    # Sessions.

    def take(self, id_tag: str, group: str | None = None) -> Reservation | None:
        """Use the reservation up for a driver, and return it; None if there is none for that driver."""
        reservation = self.current
        if reservation is None or not reservation.fits(id_tag, group) or self._remove(reservation.id) is None:
            return None
        return reservation

    def admit(self, driver: EVDriver, authorize: Callable[[EVDriver], str | None]) -> Admission | None:
        """Return how a driver may charge; None if the connector is reserved for others.

        Args:
            driver: the driver.
            authorize: authorizes the driver; returns the group, and None if there is none or the driver is refused.
        """
        current = self.current
        if current is None:
            return Admission()
        reservation = self.take(driver.id_tag, driver.group)
        if reservation is not None:
            return Admission(reservation)
        # C16 §5.13; 2/201 H03.FR.08.
        reservation = None if current.group is None else self.take(driver.id_tag, authorize(driver))
        return None if reservation is None else Admission(reservation, authorized=True)

    def give_back(self, reservation: Reservation | None) -> None:
        """Keep a reservation, if there is one, that was taken for a session which did not begin.

        Its expiry ends it as usual, also if it has come meanwhile.
        """
        with self._lock:
            if reservation is not None and self._reservation is None:
                self._keep(reservation)

    def end_if_out_of_service(self) -> None:
        """End the reservation if the connector is out of service (C16 §5.13; 2/201 H01.FR.17)."""
        reservation = self.current
        if reservation is not None and not self._link.state.operative and self._remove(reservation.id) is not None:
            self._tell(reservation, "Removed")

    def stop(self) -> None:
        """Cancel the wait for the expiry."""
        with self._lock:
            job = self._expiry
        if job is not None:
            job.cancel()
            job.join(1.0)

    def _reserve(self, payload: Mapping[str, Any]) -> str:
        """Store the reservation of a request, if the connector is free; return the status."""
        reservation = self._read(payload)
        if reservation is None or reservation.expires_at <= now_ms():
            return "Rejected"
        if not self._link.state.operative:
            return "Unavailable"
        with self._lock:
            other = self._reservation
            # The same id replaces (C16 §5.13; 2/201 H01.FR.02).
            if self._link.is_busy() or (other is not None and other.id != reservation.id):
                return "Occupied"
            self._forget()
            self._keep(reservation)
        return "Accepted"

    def _remove(self, reservation_id: int) -> Reservation | None:
        """Remove the reservation with that id, and return it; None if there is none."""
        with self._lock:
            reservation = self._reservation
            if reservation is None or reservation.id != reservation_id:
                return None
            self._forget()
        self._link.signal()
        return reservation

    def _forget(self) -> None:
        assert self._lock.locked()
        self._reservation, self._link.state.reserved = None, False
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None

    def _keep(self, reservation: Reservation) -> None:
        assert self._lock.locked()
        self._reservation, self._link.state.reserved = reservation, True
        self._expiry = Job(self._link.thread_name("reservation"), lambda job: self._expire(job, reservation))
        if not self._link.is_stopping():  # `stop` does not look for later jobs
            self._expiry.start()

    def _expire(self, job: Job, reservation: Reservation) -> None:
        while (left := reservation.expires_at - now_ms()) > 0:
            if job.wait(left / 1000):
                return
        with self._lock:
            if self._reservation is not reservation:  # it has ended meanwhile
                return
            self._reservation, self._expiry, self._link.state.reserved = None, None, False
        self._link.signal()
        self._tell(reservation, "Expired")
        self._link.settle()

    def _tell(self, reservation: Reservation, update: str) -> None:
        """Tell the central system that a reservation has ended by itself."""

    def _read(self, payload: Mapping[str, Any]) -> Reservation | None:
        """Return the reservation of a request; None if it asks for what there is not."""
        raise NotImplementedError

    def _token_of(self, payload: Mapping[str, Any]) -> tuple[str, str | None]:
        """Return the token of a remote start, and its group if it says so."""
        raise NotImplementedError


class Reservations16(Reservations):
    """The reservation of 1.6.

    Args:
        link: the connection to the charge point.
        allows_any: whether ReserveConnectorZeroSupported is true.
    """

    def __init__(self, link: Link, allows_any: Callable[[], bool]) -> None:
        super().__init__(link)
        self._allows_any = allows_any

    def _read(self, payload: Mapping[str, Any]) -> Reservation | None:
        connector_id = payload["connectorId"]
        if connector_id != _CONNECTOR and (connector_id != 0 or not self._allows_any()):
            return None
        return Reservation(
            payload["reservationId"],
            connector_id,
            milliseconds(payload["expiryDate"]),
            payload["idTag"],
            payload.get("parentIdTag"),
        )

    def _token_of(self, payload: Mapping[str, Any]) -> tuple[str, str | None]:
        return payload["idTag"], None


class Reservations2x(Reservations):
    """The reservation of 2.0.1 and 2.1.

    Args:
        link: the connection to the charge point.
        allows_any: whether ReservationCtrlr.NonEvseSpecific is true.
        enabled: whether ReservationCtrlr.Enabled is true.
    """

    def __init__(self, link: Link, allows_any: Callable[[], bool], enabled: Callable[[], bool]) -> None:
        super().__init__(link)
        self._allows_any = allows_any
        self._enabled = enabled

    def _read(self, payload: Mapping[str, Any]) -> Reservation | None:
        evse = payload.get("evseId", 0)
        wrong_type = payload.get("connectorType", _CONNECTOR_TYPE) != _CONNECTOR_TYPE
        # 2/201 H01.FR.01, .18, .19.
        if not self._enabled() or wrong_type or (evse != _CONNECTOR and (evse != 0 or not self._allows_any())):
            return None
        return Reservation(
            payload["id"],
            evse,
            milliseconds(payload["expiryDateTime"]),
            payload["idToken"]["idToken"],
            payload.get("groupIdToken", {}).get("idToken"),
        )

    def _token_of(self, payload: Mapping[str, Any]) -> tuple[str, str | None]:
        return payload["idToken"]["idToken"], payload.get("groupIdToken", {}).get("idToken")

    def _tell(self, reservation: Reservation, update: str) -> None:
        # 2/201 H01.FR.17, H04.FR.01; after CancelReservation or use there is none (H02).
        self._link.notify(
            "ReservationStatusUpdate", {"reservationId": reservation.id, "reservationUpdateStatus": update}
        )
