"""Decides which messages may be sent before BootNotification was accepted (C16 §4.2; 2/201 B01-B03).

The answer to the last BootNotification is kept per identity and outlives connections, since a charge point does not
boot again after a reconnect (J16 §5.4). Without a BootNotification since this process started, nothing is restricted.

status     the charge point may send                   a CALL of the central system is
---------  ------------------------------------------  -------------------------------------------------------
unknown    everything; at the charge point itself      handled
           only BootNotification
pending    BootNotification, and what was triggered    1.6: handled, except RemoteStart and RemoteStop
                                                       2.x: handled; answered with Rejected if it starts or stops a
                                                       transaction (B02.FR.02, .05)
rejected   BootNotification; the central system also   1.6: not answered (C16 §4.2)
           accepts what it has triggered               2.x: refused (B03.FR.08)
accepted   everything                                  handled

A refused CALL gets SecurityError (JE16 3.8; B01.FR.10, B02.FR.09, B03.FR.07), whether or not it has a handler. A
refused SEND is dropped.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, Literal

__all__ = [
    "REGISTERING",
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
"""What happens to a CALL of the peer: it is handled, gets SecurityError, is answered with the status Rejected, or gets
no answer."""
OutcomeListener = Callable[[Any], object]
"""Called with the outcome of one of our CALLs before its future is done: the payload of the answer, or the
`OCPPRequestError`."""

_BOOT = "BootNotification"
_STATUSES: Mapping[str, RegistrationStatus] = {"Accepted": "accepted", "Pending": "pending", "Rejected": "rejected"}

_REPORTS = frozenset({"GetBaseReport", "GetReport"})
_TRIGGERS = frozenset({"TriggerMessage", "ExtendedTriggerMessage"})
# The messages that a trigger brings, if they are not the action of the same name.
_TRIGGERED: Mapping[str, frozenset[str]] = {
    "FirmwareStatusNotification": frozenset({"FirmwareStatusNotification", "SignedFirmwareStatusNotification"}),
    "SignChargePointCertificate": frozenset({"SignCertificate"}),
    "SignChargingStationCertificate": frozenset({"SignCertificate"}),
    "SignV2GCertificate": frozenset({"SignCertificate"}),
    "SignV2G20Certificate": frozenset({"SignCertificate"}),
    "SignCombinedCertificate": frozenset({"SignCertificate"}),
}
REGISTERING = frozenset({_BOOT, *_REPORTS, *_TRIGGERS})
"""The actions with answers that a policy notes."""
_TRANSACTS = frozenset({"RequestStartTransaction", "RequestStopTransaction"})
_TRANSACTS_16 = frozenset({"RemoteStartTransaction", "RemoteStopTransaction"})


class Registration:
    """The answer to a charge point's last BootNotification, and the messages that were triggered since then.

    Safe from any thread: a handler may answer a BootNotification while the reader reads an answer.

    Attributes:
        status: the status of the last answer; "unknown" before the first.
        restricted: whether that was Pending or Rejected.
    """

    __slots__ = ("_lock", "_triggered", "restricted", "status")

    def __init__(self) -> None:
        self._lock = threading.Lock()  # one thread changes the fields; they are read without it
        self.status: RegistrationStatus = "unknown"
        self.restricted = False
        self._triggered: frozenset[str] | None = frozenset()  # None: a vendor's trigger, which may bring any message

    def __repr__(self) -> str:
        return f"<Registration {self.status}>"

    def on_boot_response(self, answer: Any) -> None:
        """Note the answer to a BootNotification."""
        told = answer.get("status") if isinstance(answer, Mapping) else None
        if isinstance(told, str) and told in _STATUSES:
            with self._lock:
                self.status, self._triggered = _STATUSES[told], frozenset()
                self.restricted = self.status != "accepted"

    def on_trigger_accepted(self, action: str, payload: Any, answer: Any) -> None:
        """Note the answer to a CALL of the central system: a restricted charge point may now send what it triggered."""
        if not isinstance(answer, Mapping) or answer.get("status") != "Accepted":
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
        """Return whether a message was triggered since the last BootNotification."""
        triggered = self._triggered
        return triggered is None or action in triggered


class MessagePolicy:
    """Decides which messages may be sent before the charge point is registered. This class allows all.

    Attributes:
        restricts_requests: whether it is asked for an `outbound_error` at all.
    """

    restricts_requests = False

    def decide_inbound(self, action: str) -> InboundDecision:
        """Return what happens to a CALL or SEND of the peer."""
        return "handle"

    def outbound_error(self, action: str) -> str | None:
        """Return why one of our CALLs or SENDs must not be sent now, or None."""
        return None

    def before_answer(self, action: str, payload: Any, answer: Any) -> None:
        """Note the CALLRESULT for a CALL of the peer before it is sent; called if the action is `REGISTERING`."""

    def on_answer(self, action: str, payload: Any, answer: Any) -> None:
        """Note the CALLRESULT for one of our CALLs; called if the action is `REGISTERING`."""


class CentralSystemPolicy(MessagePolicy):
    """The policy of a central system."""

    def __init__(self, registration: Registration) -> None:
        self._registration = registration

    def decide_inbound(self, action: str) -> InboundDecision:
        """Return what happens to a CALL or SEND of the charge point."""
        registration = self._registration
        if not registration.restricted or action == _BOOT or registration.was_asked_for(action):
            return "handle"
        return "refuse"

    def before_answer(self, action: str, payload: Any, answer: Any) -> None:
        """Note the CALLRESULT that is about to be sent for a CALL of the charge point."""
        if action == _BOOT:
            self._registration.on_boot_response(answer)

    def on_answer(self, action: str, payload: Any, answer: Any) -> None:
        """Note the CALLRESULT for one of our CALLs."""
        if self._registration.restricted:
            self._registration.on_trigger_accepted(action, payload, answer)


class ChargePointPolicy(MessagePolicy):
    """The policy of a charge point."""

    restricts_requests = True

    def __init__(self, registration: Registration, version: str) -> None:
        self._registration = registration
        self._old = version == "1.6"

    def decide_inbound(self, action: str) -> InboundDecision:
        """Return what happens to a CALL of the central system."""
        status = self._registration.status
        if status == "rejected":
            return "ignore" if self._old else "refuse"
        if status != "pending":
            return "handle"
        # What serves to get it accepted is not a closed list (B02.FR.01).
        if self._old:
            return "refuse" if action in _TRANSACTS_16 else "handle"
        return "reject" if action in _TRANSACTS else "handle"

    def outbound_error(self, action: str) -> str | None:
        """Return why one of our CALLs or SENDs must not be sent now, or None."""
        registration = self._registration
        if registration.status == "accepted" or action == _BOOT:
            return None
        if registration.status == "pending" and registration.was_asked_for(action):
            return None
        found = "was not sent" if registration.status == "unknown" else f"is {registration.status}"
        return f"the BootNotification {found}, and nothing else may be sent before it is accepted"

    def before_answer(self, action: str, payload: Any, answer: Any) -> None:
        """Note the CALLRESULT that is about to be sent for a CALL of the central system."""
        if self._registration.restricted:
            self._registration.on_trigger_accepted(action, payload, answer)

    def on_answer(self, action: str, payload: Any, answer: Any) -> None:
        """Note the CALLRESULT for one of our CALLs."""
        if action == _BOOT:
            self._registration.on_boot_response(answer)
