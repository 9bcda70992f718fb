"""Who may send what before BootNotification was accepted (C16 §4.2; 2/201 B01-B03).

What a station's last BootNotification came to is kept per identity and outlives its connections, since a station does
not boot again after a mere reconnect (J16 §5.4). One that this process never saw booting is let through.

status     the station may send                        the central system's CALL is
---------  ------------------------------------------  -------------------------------------------------------
unknown    everything; seen from the station itself    handled
           BootNotification alone
pending    BootNotification, what was triggered        1.6: handled, but for RemoteStart and RemoteStop
                                                       2.x: handled if it serves to set the station up, answered
                                                       Rejected if it starts or stops a transaction (B02.FR.05)
rejected   BootNotification; the central system also   1.6: not answered (C16 §4.2)
           takes what it has triggered                 2.x: refused (B03.FR.08)
accepted   everything                                  handled

What is refused gets SecurityError (JE16 3.8; B01.FR.10, B02.FR.09, B03.FR.07), whether or not there is a handler for
it; a SEND is dropped.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, Literal

__all__ = [
    "CentralSystemPolicy",
    "ChargePointPolicy",
    "InboundDecision",
    "MessagePolicy",
    "OutcomeListener",
    "Registration",
    "RegistrationStatus",
]

RegistrationStatus = Literal["unknown", "pending", "rejected", "accepted"]
InboundDecision = Literal["handle", "refuse", "reject", "ignore"]
"""What becomes of a peer's CALL: it is handled, gets a SecurityError, is answered with the status Rejected, or gets
no answer at all."""
OutcomeListener = Callable[[Any], object]
"""Called with the outcome of a CALL of ours before anybody else learns of it: the payload of its answer, or the
`OCPPRequestError` that it ended with."""

_BOOT = "BootNotification"
_STATUSES: Mapping[str, RegistrationStatus] = {"Accepted": "accepted", "Pending": "pending", "Rejected": "rejected"}

_REPORTS = frozenset({"GetBaseReport", "GetReport"})
_TRIGGERS = frozenset({"TriggerMessage", "ExtendedTriggerMessage"})
# What a trigger brings, where that is not the action of the same name.
_TRIGGERED: Mapping[str, frozenset[str]] = {
    "FirmwareStatusNotification": frozenset({"FirmwareStatusNotification", "SignedFirmwareStatusNotification"}),
    "SignChargePointCertificate": frozenset({"SignCertificate"}),
    "SignChargingStationCertificate": frozenset({"SignCertificate"}),
    "SignV2GCertificate": frozenset({"SignCertificate"}),
    "SignV2G20Certificate": frozenset({"SignCertificate"}),
    "SignCombinedCertificate": frozenset({"SignCertificate"}),
}
# What sets a pending station up (B02.FR.01), and renews its credentials (A00.FR.806).
_SETS_UP = frozenset(
    {"GetVariables", "SetVariables", "GetBaseReport", "GetReport", "TriggerMessage", "CertificateSigned"}
)
_TRANSACTS = frozenset({"RequestStartTransaction", "RequestStopTransaction"})
_TRANSACTS_16 = frozenset({"RemoteStartTransaction", "RemoteStopTransaction"})


class Registration:
    """What a station's last BootNotification came to, and which messages it was asked for since.

    Safe from any thread: a handler answers a BootNotification while a reader takes an answer.
    """

    __slots__ = ("_lock", "_triggered", "status")

    def __init__(self) -> None:
        self._lock = threading.Lock()  # serialises the changes; both fields are replaced whole, and read without it
        self.status: RegistrationStatus = "unknown"
        self._triggered: frozenset[str] | None = frozenset()  # None: a vendor's trigger, which may bring anything

    def __repr__(self) -> str:
        return f"<Registration {self.status}>"

    @property
    def restricted(self) -> bool:
        """Whether the last answer was another than Accepted."""
        return self.status in ("pending", "rejected")

    def on_boot_response(self, answer: Any) -> None:
        """Take note of the answer to a BootNotification."""
        told = answer.get("status") if isinstance(answer, Mapping) else None
        if isinstance(told, str) and told in _STATUSES:
            with self._lock:
                self.status, self._triggered = _STATUSES[told], frozenset()

    def on_trigger_accepted(self, action: str, payload: Any, answer: Any) -> None:
        """Take note of an answer to the central system's CALL: what it asked for may come now."""
        if not self.restricted or not isinstance(answer, Mapping) or answer.get("status") != "Accepted":
            return
        if action in _REPORTS:
            self._trigger(frozenset({"NotifyReport"}))
        elif action in _TRIGGERS:
            wanted = payload.get("requestedMessage") if isinstance(payload, Mapping) else None
            if isinstance(wanted, str):
                self._trigger(None if wanted == "CustomTrigger" else _TRIGGERED.get(wanted, frozenset({wanted})))

    def _trigger(self, actions: frozenset[str] | None) -> None:
        with self._lock:
            self._triggered = None if actions is None or self._triggered is None else self._triggered | actions

    def was_asked_for(self, action: str) -> bool:
        """Return whether a message was triggered since the station's last BootNotification."""
        triggered = self._triggered
        return triggered is None or action in triggered


class MessagePolicy:
    """Decides which messages may pass before the charge point is registered; this one lets everything pass."""

    def decide_inbound(self, action: str) -> InboundDecision:
        """Return what becomes of a CALL or SEND that the peer sent."""
        return "handle"

    def outbound_error(self, action: str) -> str | None:
        """Return why a CALL or SEND of ours must not go now, or None."""
        return None

    def before_answer(self, action: str, payload: Any, answer: Any) -> None:
        """Take note of the CALLRESULT that the peer's CALL is about to get."""

    def on_answer(self, action: str, payload: Any, answer: Any) -> None:
        """Take note of the CALLRESULT that our CALL has got."""


class CentralSystemPolicy(MessagePolicy):
    """The central system's view of a station's registration."""

    def __init__(self, registration: Registration) -> None:
        self._registration = registration

    def decide_inbound(self, action: str) -> InboundDecision:
        """Return what becomes of a CALL or SEND that the station sent."""
        registration = self._registration
        if not registration.restricted or action == _BOOT or registration.was_asked_for(action):
            return "handle"
        return "refuse"

    def before_answer(self, action: str, payload: Any, answer: Any) -> None:
        """Take note of the CALLRESULT that the station's CALL is about to get."""
        if action == _BOOT:
            self._registration.on_boot_response(answer)

    def on_answer(self, action: str, payload: Any, answer: Any) -> None:
        """Take note of the CALLRESULT that our CALL has got."""
        self._registration.on_trigger_accepted(action, payload, answer)


class ChargePointPolicy(MessagePolicy):
    """The station's own view."""

    def __init__(self, registration: Registration, version: str) -> None:
        self._registration = registration
        self._old = version == "1.6"

    def decide_inbound(self, action: str) -> InboundDecision:
        """Return what becomes of a CALL that the central system sent."""
        status = self._registration.status
        if status == "rejected":
            return "ignore" if self._old else "refuse"
        if status != "pending":
            return "handle"
        if self._old:
            return "refuse" if action in _TRANSACTS_16 else "handle"
        if action in _TRANSACTS:
            return "reject"
        return "handle" if action in _SETS_UP else "refuse"

    def outbound_error(self, action: str) -> str | None:
        """Return why a CALL or SEND of ours must not go now, or None."""
        registration = self._registration
        if registration.status == "accepted" or action == _BOOT:
            return None
        if registration.status == "pending" and registration.was_asked_for(action):
            return None
        found = "was not sent" if registration.status == "unknown" else f"is {registration.status}"
        return f"the BootNotification {found}, so that nothing else may be sent yet"

    def before_answer(self, action: str, payload: Any, answer: Any) -> None:
        """Take note of the CALLRESULT that the central system's CALL is about to get."""
        self._registration.on_trigger_accepted(action, payload, answer)

    def on_answer(self, action: str, payload: Any, answer: Any) -> None:
        """Take note of the CALLRESULT that our CALL has got."""
        if action == _BOOT:
            self._registration.on_boot_response(answer)
