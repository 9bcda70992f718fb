"""The messages of each version that one central system or charge point supports: checks and writes them.

The schemas of a version are loaded when it is first needed: a program that only uses 1.6 never loads those of 2.x.
"""

from __future__ import annotations

import functools
import logging
import re
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import ValidationError, Violation
from ..json_text import write
from ..lenient import Lenient, Validation
from ..throttled_log import LogThrottle
from ..validation.catalogue import SUBPROTOCOLS, Catalogue, Kind, Role, Version, catalogue, unknown_action
from ..validation.formats import FORMATS, RFC_3339_LONG
from ..validation.predicates import Predicate, compile_predicate
from ..validation.tolerance import Normalizer, check_places, with_limits
from ..validation.validators import Validator, validator
from ..vendor import VendorAction
from .frame_codec import FrameCodec
from .route import OwnAction, OwnActions, always_sure, never_sure

__all__ = ["MessageSet", "MessageSets"]

_logger = logging.getLogger(__name__)

# A number with more than six decimals, or a text that looks like one.
_LONG_FRACTION = re.compile(r"\.\d{7}|\d[eE]-")
_MAX_DECIMALS = 6
# The vendor defines what these fields hold.
_FREE_FIELDS = frozenset({"customData", "data"})


class MessageSet:
    """The messages of one version, for one end of a connection.

    Args:
        entries: the actions of the version.
        role: this end.
        lenient: which violations are accepted.
        validation: what happens to a payload that violates its schema.

    Attributes:
        version: the version.
        role: this end.
        catalogue: the actions of the version.
        codec: reads and writes the frames of the version.
        calls, sends: what this end sends as CALLs, and as SENDs; raise what `check_sender` raises.
    """

    def __init__(self, entries: Catalogue, role: Role, lenient: Lenient, validation: Validation) -> None:
        self.version: Version = entries.version
        self.role: Role = role
        self.catalogue = entries
        self.codec = FrameCodec(entries.version, lenient)
        self._validation = validation
        self._validator = _validator(entries, lenient)
        self._normalize = Normalizer(entries, lenient).normalize if lenient.normalizes else None
        self._is_send = {name: entries.is_send(name) for name in entries.actions if entries.may_send(role, name)}
        self.calls = OwnActions(functools.partial(self._own_action, send=False))
        self.sends = OwnActions(functools.partial(self._own_action, send=True))
        # Decimals for charge points have at most six digits (2/201 §2.1.4).
        self._throttle = LogThrottle()
        self._rounds = role == "central_system" and entries.version != "1.6"

    def __repr__(self) -> str:
        return f"<MessageSet of OCPP {self.version}: {len(self.catalogue.actions)} actions>"

    # Checking.

    def inbound_test(self, action: str, kind: Kind) -> Predicate:
        """Return a test; `check_inbound` returns a payload that passes it as it is, and without a fault."""
        if self._normalize is not None:
            return never_sure
        return self._test(self._validation.inbound_actions.get(action, self._validation.inbound), action, kind)

    def outbound_test(self, action: str, kind: Kind) -> Predicate:
        """Return a test; `check_outbound` finds no fault in a payload that passes it."""
        return self._test(self._validation.outbound_actions.get(action, self._validation.outbound), action, kind)

    def _test(self, mode: str, action: str, kind: Kind) -> Predicate:
        return always_sure if mode == "off" else self._validator.predicate(action, kind)

    def check_inbound(self, action: str, kind: Kind, payload: Any) -> tuple[Any, ValidationError | None, bool]:
        """Check a payload of the peer.

        Returns:
            The payload, changed as `Lenient` says; the fault, or None if there is none or validation is off; and
            whether the message is refused for that fault.
        """
        if self._normalize is not None:
            payload = self._normalize(action, kind, payload)
        mode = self._validation.inbound_actions.get(action, self._validation.inbound)
        fault = None if mode == "off" else self._validator.check(action, kind, payload)
        return payload, fault, fault is not None and not self._tolerated(mode, fault)

    def check_outbound(self, action: str, kind: Kind, payload: Any) -> ValidationError | None:
        """Return why a payload must not be sent, or None."""
        mode = self._validation.outbound_actions.get(action, self._validation.outbound)
        fault = None if mode == "off" else self._validator.check(action, kind, payload)
        return None if fault is None or self._tolerated(mode, fault) else fault

    def _tolerated(self, mode: str, fault: ValidationError) -> bool:
        if mode == "warn":
            self._throttle.log(_logger, "", fault.action, "let through: %s", fault)
        return mode != "strict"

    def unknown(self, action: str, catalogues: Sequence[Catalogue]) -> ValidationError:
        """Return the error for an action that none of ``catalogues`` has."""
        text = unknown_action(catalogues, action)
        code = self.codec.code("NotImplemented")
        return ValidationError(text, action=action, errors=[Violation("", text, "action")], error_code=code)

    def check_sender(self, action: str, *, send: bool) -> None:
        """Raise ValidationError unless this end may send the action, as a SEND or as a CALL."""
        if self._is_send.get(action) is send:
            return
        entries, role = self.catalogue, self.role
        if not entries.known(action):
            raise self.unknown(action, [entries])
        if not entries.may_send(role, action):
            text, code = f"a {role.replace('_', ' ')} does not send {action}; its peer does", "NotSupported"
        else:
            text = f"{action} gets {'an' if send else 'no'} answer; {'send_request' if send else 'send'} sends it"
            code = "NotSupported"
        raise ValidationError(
            text, action=action, errors=[Violation("", text, "action")], error_code=self.codec.code(code)
        )

    def _own_action(self, action: str, *, send: bool) -> OwnAction:
        self.check_sender(action, send=send)
        takes = never_sure if send else self.inbound_test(action, "response")
        return OwnAction(gives=self.outbound_test(action, "request"), takes=takes)

    # Writing.

    def text(self, frame: list[Any]) -> str:
        """Return the text of a message with a payload, which is the last element of its array.

        The decimals in the payload are rounded where the specification limits them (2/201 §2.1.4).

        Raises:
            TypeError, ValueError: JSON cannot represent the payload.
        """
        text = write(frame)
        if self._rounds and _LONG_FRACTION.search(text):
            try:
                text = write([*frame[:-1], _rounded(frame[-1])])
            except RecursionError:
                raise ValueError("the payload is nested too deeply to round its decimals") from None
        return text


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, _MAX_DECIMALS)
    if isinstance(value, Mapping):
        return {name: part if name in _FREE_FIELDS else _rounded(part) for name, part in value.items()}
    return [_rounded(part) for part in value] if isinstance(value, (list, tuple)) else value


def _validator(entries: Catalogue, lenient: Lenient) -> Validator:
    if entries is catalogue(entries.version) and not lenient.long_fractions:
        return validator(entries.version)  # shared, with the predicates that it has compiled
    formats = FORMATS[entries.version]
    if lenient.long_fractions and entries.version != "1.6":  # 1.6 has no limit
        formats = {**formats, "date-time": RFC_3339_LONG}
    return Validator(entries, formats)


class MessageSets:
    """The messages of all versions that one central system or charge point supports.

    Args:
        role: this end.
        protocols: the subprotocols.
        vendor_actions: actions beyond those of OCPP.
        lenient: which violations are accepted.
        validation: what happens to a payload that violates its schema.

    Raises:
        ValueError: a vendor action cannot be used, or a place in ``lenient`` does not exist; the text names it.

    Attributes:
        role: this end.
        versions: the versions of the subprotocols, in the same order.
    """

    def __init__(
        self,
        role: Role,
        protocols: Sequence[str] = tuple(SUBPROTOCOLS),
        *,
        vendor_actions: Sequence[VendorAction] = (),
        lenient: Lenient | None = None,
        validation: Validation | None = None,
    ) -> None:
        self.role: Role = role
        self.versions: tuple[Version, ...] = tuple(SUBPROTOCOLS[name] for name in protocols)
        self._vendor_actions = tuple(vendor_actions)
        self._lenient = lenient or Lenient()
        self._validation = validation or Validation()
        self._lock = threading.Lock()  # each version is created once
        self._messages: dict[str, MessageSet] = {}
        self._check()

    def _check(self) -> None:
        # All versions now if there is something to check; otherwise each when it is needed.
        for action in self._vendor_actions:
            _check_schemas(action)
        if self._vendor_actions:
            for version in self.versions:
                self.messages(version)
        if self._lenient.max_lengths or self._lenient.spellings:
            check_places(self._lenient, [self.messages(version).catalogue for version in self.versions])

    def __repr__(self) -> str:
        return f"<MessageSets of a {self.role}: {', '.join(self.versions)}>"

    def messages(self, version: str) -> MessageSet:
        """Return the messages of a version; raises ValueError for an unsupported version."""
        found = self._messages.get(version)
        if found is not None:
            return found
        if version not in self.versions:
            raise ValueError(f"unsupported OCPP version {version!r}; supported: {', '.join(self.versions)}")
        with self._lock:
            if version not in self._messages:
                self._messages[version] = MessageSet(self._entries(version), self.role, self._lenient, self._validation)
            return self._messages[version]

    def _entries(self, version: str) -> Catalogue:
        entries = catalogue(version)
        for action in self._vendor_actions:
            if action.exists_in(entries.version):
                if entries.known(action.name):
                    raise ValueError(f"OCPP {version} has an action {action.name} already")
                entries = entries.extended({action.name: _entry(action)})
        return with_limits(entries, self._lenient.max_lengths) if self._lenient.max_lengths else entries

    def check_sender(self, action: str, version: str | None, *, send: bool) -> None:
        """Raise ValidationError unless this end may send the action, in ``version`` or, if None, in any version.

        Raises ValueError for an unsupported version.
        """
        wanted = sorted(self.versions) if version is None else [version]
        for candidate in wanted:
            # One after the other: schemas of a version that is not needed are not loaded.
            if self.messages(candidate).catalogue.known(action):
                self.messages(candidate).check_sender(action, send=send)
                return
        catalogues = [self.messages(candidate).catalogue for candidate in wanted]
        raise self.messages(wanted[0]).unknown(action, catalogues)


def _entry(action: VendorAction) -> dict[str, Any]:
    senders = {"charge_point": "station", "central_system": "csms", "both": "both"}
    entry = {"initiator": senders[action.sender], "block": "Vendor", "request": action.request}
    return entry if action.response is None else {**entry, "response": action.response}


def _check_schemas(action: VendorAction) -> None:
    for what, schema in (("request", action.request), ("response", action.response)):
        if schema is None:
            continue
        try:
            compile_predicate(schema, FORMATS["1.6"])
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise ValueError(f"the schema of the {what} of {action.name} cannot be used: {error}") from None
        if schema.get("type") != "object":
            raise ValueError(f"the schema of the {what} of {action.name} must have the type object")
