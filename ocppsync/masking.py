"""The fields of OCPP messages that hold secrets, and the masking of them for people and files."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from .json_text import read, rewrite

__all__ = ["is_secret", "masked", "masked_text"]

_MASK = "***"
_MAX_DEPTH = 12
_USERINFO = re.compile(r"(?<=://)[^/@\s]+@")
_SECRET_NAME = re.compile(r"password|passphrase|^simpin$|^authorizationkey$", re.IGNORECASE)
_SECRET_VARIABLE = re.compile(r"password|vpnkey|simpin", re.IGNORECASE)
# In a text that is neither JSON nor only a name: what stands beside one of these may be the secret.
_MARKER = re.compile(r"password|passphrase|sim_?pin|vpn_?key|authorization_?key|key_?code", re.IGNORECASE)
_NAMES = re.compile(r"[\w.,;/-]*")
_PUNCTUATION = re.compile(r"[\W_]+")

_Fields = Mapping[str, Any]


def _get(fields: _Fields, name: str) -> Any:
    """Return the field with this name in lower case, however it is spelled; None if there is none."""
    return next((item for key, item in fields.items() if str(key).casefold() == name), None)


def _is_authorization_key(fields: _Fields) -> bool:
    return str(_get(fields, "key")).casefold() == "authorizationkey"


def _is_secret_variable(fields: _Fields) -> bool:
    variable = _get(fields, "variable")
    name = _get(variable, "name") if isinstance(variable, dict) else variable
    return isinstance(name, str) and bool(_SECRET_VARIABLE.search(name))


def _is_vpn(fields: _Fields) -> bool:
    return _get(fields, "password") is not None


def _never(fields: _Fields) -> bool:
    return False


class _SecretField(NamedTuple):
    actions: frozenset[str]
    """The actions in which a validation error does not quote the field: it may hold a secret."""
    is_masked: Callable[[_Fields], bool]
    """Whether `masked` hides the field, given the object that contains it: it does hold a secret."""


def _field(actions: str, is_masked: Callable[[_Fields], bool]) -> _SecretField:
    return _SecretField(frozenset(actions.split()), is_masked)


# The secret fields beside those with a name like "basicAuthPassword" or "simPin", which are secret in every message,
# and beside idTokens. Validation errors go to logs and to the peer, so they quote no field that may hold a password, a
# URL with a password or a ticket, customer data, or a vendor's data. Masking keeps as much readable as it can.
_SECRET_FIELDS: Mapping[str, _SecretField] = {
    "actualValue": _field("NotifyEvent", _is_secret_variable),
    "attributeValue": _field("GetVariables SetVariables", _is_secret_variable),
    "data": _field("DataTransfer NotifyCustomerInformation", _never),
    "key": _field("SetNetworkProfile", _is_vpn),
    "location": _field(
        "GetDiagnostics PublishFirmware PublishFirmwareStatusNotification SignedUpdateFirmware UpdateFirmware", _never
    ),
    "ocppCsmsUrl": _field("SetNetworkProfile", _never),
    "receiptUrl": _field("NotifySettlement", _never),
    "remoteLocation": _field("GetLog", _never),
    "v": _field("NotifyPeriodicEventStream", _never),
    "value": _field("ChangeConfiguration GetConfiguration NotifyReport", _is_authorization_key),
    # Holds the "value" of NotifyReport.
    "variableAttribute": _field("", _is_secret_variable),
}
_FOLDED: Mapping[str, _SecretField] = {name.casefold(): listed for name, listed in _SECRET_FIELDS.items()}


# Errors.


def is_secret(action: str, payload: Any, path: Sequence[str | int]) -> bool:
    """Return whether the value at a place of a payload may be secret, so that errors must not quote it."""
    holder = payload
    for part in path:
        if isinstance(part, str) and (_is_secret_name(action, part) or _says_key_code(holder)):
            return True
        holder = holder[part]
    return False


def _is_secret_name(action: str, field: str) -> bool:
    # An idToken of any type: a PIN whose type is misspelled must not reach a log either.
    listed = _SECRET_FIELDS.get(field)
    return bool(_SECRET_NAME.search(field)) or _is_token(field) or (listed is not None and action in listed.actions)


def _is_token(field: str) -> bool:
    return "token" in (folded := field.casefold()) and not folded.endswith("info")


# Payloads.


def masked(value: Any, names: Collection[str] = ()) -> Any:
    """Return a copy of a payload with its secrets replaced by ``***``.

    Secrets are the value of the configuration key AuthorizationKey, the values of variables such as BasicAuthPassword,
    the passwords, PIN and key of a SetNetworkProfile, passwords in URLs, and idTokens of type KeyCode, which are the
    PINs of drivers (2/201 C04.FR.04). The case of names does not matter. JSON within a text is masked as well. Anything
    nested deeper than in a message of OCPP becomes ``…``.

    Args:
        value: a payload, or any part of a message.
        names: further fields to mask, wherever they are. Of an object, the names of its fields and its type remain.
    """
    return _Masker(value, names).mask(value, 0)


class _Masker:
    """Masks one message."""

    def __init__(self, message: Any, names: Collection[str]) -> None:
        self._message = message
        self._names = frozenset(name.casefold() for name in names)
        self._has_key_code: bool | None = None  # None: not known yet

    def mask(self, value: Any, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            return "…"
        if isinstance(value, str):
            return self._text(value, depth)
        if not isinstance(value, (dict, list)):
            return value
        if _says_key_code(value):
            # The type and the PIN may have changed places, or the PIN may be in another field.
            if isinstance(value, list):
                return [item if _is_key_code(item) else _MASK for item in value]
            return {name: item if _is_key_code(item) else _MASK for name, item in value.items()}
        if isinstance(value, list):
            return [self.mask(item, depth + 1) for item in value]
        return {name: self._field(str(name), item, value, depth) for name, item in value.items()}

    def _field(self, name: str, item: Any, fields: _Fields, depth: int) -> Any:
        folded = name.casefold()
        if folded in self._names:
            return _shape(item)
        listed = _FOLDED.get(folded)
        if _SECRET_NAME.search(name) or (listed is not None and listed.is_masked(fields)):
            return _MASK
        # A token without a type beside it, in a message that has the type somewhere: it may belong to the token.
        if "token" in folded and not _has_type(item) and not _has_type(fields) and self._mentions_key_code():
            return _MASK
        return self.mask(item, depth + 1)

    def _text(self, text: str, depth: int) -> str:
        text = _USERINFO.sub(f"{_MASK}@", text)
        first = text.lstrip()[:1]
        if first in ("{", "[", '"'):
            try:
                value = read(text, repeats=False)
            except ValueError:
                if first == "{":
                    return _outline(text)
            else:
                safe = _Masker(value, self._names).mask(value, depth + 1)
                return text if safe == value else rewrite(safe)
        return _MASK if _MARKER.search(text) and not _NAMES.fullmatch(text) else text

    def _mentions_key_code(self) -> bool:
        if self._has_key_code is None:
            self._has_key_code = _contains(self._message, _is_key_code)
        return self._has_key_code


def _is_key_code(value: Any) -> bool:
    """Return whether a value is the type of a PIN, in any spelling."""
    return isinstance(value, str) and len(value) < 50 and _PUNCTUATION.sub("", value).casefold() == "keycode"


def _is_type(name: Any, item: Any) -> bool:
    """Return whether a field is a type that says that the object is a PIN: ``"type": "KeyCode (PIN)"``."""
    if isinstance(item, list):
        return any(_is_type(name, part) for part in item if isinstance(part, str))
    is_text = isinstance(item, str) and str(name)[-4:].casefold() == "type"
    return is_text and "keycode" in _PUNCTUATION.sub("", item).casefold()


def _says_key_code(value: Any) -> bool:
    """Return whether an object or an array has the type of a PIN directly in it."""
    if isinstance(value, dict):
        return any(_is_key_code(item) or _is_type(name, item) for name, item in value.items())
    return isinstance(value, list) and any(map(_is_key_code, value))


def _has_type(value: Any) -> bool:
    """Return whether an idToken says that it is of another type."""
    if isinstance(value, list):
        return bool(value) and all(map(_has_type, value))
    return isinstance(value, dict) and isinstance(kind := _get(value, "type"), str) and kind[:1].isalpha()


def _contains(value: Any, predicate: Callable[[Any], bool]) -> bool:
    waiting = [value]
    while waiting:
        current = waiting.pop()
        if isinstance(current, dict):
            waiting.extend(current.values())
        elif isinstance(current, list):
            waiting.extend(current)
        elif predicate(current):
            return True
    return False


def _shape(value: Any) -> Any:
    if not isinstance(value, dict):
        return _MASK
    kind = value.get("type")
    is_kind = isinstance(kind, str) and kind[:1].isalpha() and kind.isalnum()
    return {name: kind if name == "type" and is_kind else _MASK for name in value}


# Texts.

# A message that cannot be read is shown without any value: which of them are secret cannot be told. Its type, id and
# action are, if they are what they should be.
_ID = r'\s*,\s*(?:"[\w.:-]{1,36}"|\d{1,36})\s*'
_HEAD = re.compile(rf'\s*\[\s*(?:[2456]{_ID},\s*"[A-Z][A-Za-z]{{1,49}}"(?=\s*[,\]])|[2-6]{_ID}(?=[,\]]))')
_PART = re.compile(r'[\[\]{},:]|"(?:[^"\\]|\\.)*"?|[^\s\[\]{},:"]+', re.DOTALL)
_COLON = re.compile(r"\s*:")
_NAME = re.compile(r'"[A-Za-z]{1,50}\d?"')
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_KEPT = frozenset({*"[]{},:", "true", "false", "null"})


def masked_text(text: str, names: Collection[str] = ()) -> str:
    """Return the text of a message with its secrets replaced by ``***``, unchanged if it has none; see `masked`.

    Of a text that is not an OCPP-J message, all values are replaced: ``[3,"1",{"key":"***","val***``.
    """
    try:
        message = read(text, repeats=False)
    except ValueError:
        return _outline(text)
    if not _is_frame(message):
        return _outline(text)
    safe = masked(message, names)
    # A text without secrets stays byte for byte as it is on the wire.
    return text if safe == message else rewrite(safe)


def _is_frame(message: Any) -> bool:
    if not isinstance(message, list) or len(message) < 3 or not isinstance(message[1], (str, int)):
        return False
    kind, elements = message[0], message[2:]
    if kind == 3:
        return len(elements) == 1 and _is_payload(elements[0])
    if kind in (2, 6):
        return len(elements) == 2 and isinstance(elements[0], str) and _is_payload(elements[1])
    is_error = kind in (4, 5) and len(elements) <= 3 and all(isinstance(part, str) for part in elements[:2])
    return is_error and _is_payload(elements[2] if len(elements) == 3 else None)


def _is_payload(value: Any) -> bool:
    return value is None or isinstance(value, dict)


def _outline(text: str) -> str:
    head = _HEAD.match(text)
    start = head.end() if head else 0
    rest, before = text[start:], ","

    def part(found: re.Match[str]) -> str:
        nonlocal before
        token, last, before = found[0], before, found[0]
        is_name = last in ("{", ",") and _NAME.fullmatch(token) and _COLON.match(rest, found.end())
        if is_name or token in _KEPT:
            return token
        if token.startswith('"'):
            return f'"{_MASK}"' if len(token) > 1 and token.endswith('"') else f'"{_MASK}'
        return f'"{_MASK}"' if _NUMBER.fullmatch(token) else _MASK

    return text[:start] + _PART.sub(part, rest)
