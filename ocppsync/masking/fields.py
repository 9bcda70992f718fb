"""The fields of OCPP messages that hold secrets, and how the PIN of a driver is recognised."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

__all__ = [
    "FOLDED_FIELDS",
    "SECRET_FIELDS",
    "SECRET_NAME",
    "SECRET_WORD",
    "has_type",
    "is_key_code",
    "is_plain_name",
    "is_secret",
    "says_key_code",
]

_S = r"[\W_]?"  # a separator
_WORDS = rf"pass{_S}(?:word|wd|phrase)|pwd|secret|sim{_S}pin|(?:pin|key){_S}code|(?:vpn|private|authorization){_S}key"
SECRET_WORD = re.compile(_WORDS, re.IGNORECASE)
SECRET_NAME = re.compile(rf"{_WORDS}|^\s*pin\s*$", re.IGNORECASE)
"""The name of a secret: of a field, of a configuration key or of a variable."""
_PLAIN_NAME = re.compile(r"[A-Za-z_]{1,50}\d?")
_PUNCTUATION = re.compile(r"[\W_]+")

Fields = Mapping[str, Any]


def _values(fields: Fields, name: str) -> Iterator[Any]:
    """Return the fields with this name in lower case, however they are spelled."""
    return (item for key, item in fields.items() if str(key).casefold() == name)


def _is_secret_key(fields: Fields) -> bool:
    # AuthorizationKey, and a vendor's own, such as WifiPassword; in a vendor's data, "name" is the usual word.
    return any(map(_names_secret, (*_values(fields, "key"), *_values(fields, "name"))))


def _is_secret_variable(fields: Fields) -> bool:
    return any(map(_names_secret, _values(fields, "variable")))


def _names_secret(name: Any) -> bool:
    """Return whether a name, or what stands in its place, names a secret: ``{"name": "BasicAuthPassword"}``."""
    if isinstance(name, (dict, list)):
        return any(map(_names_secret, name.values() if isinstance(name, dict) else name))
    return isinstance(name, str) and bool(SECRET_NAME.search(name))


def _is_vpn(fields: Fields) -> bool:
    return any(password is not None for password in _values(fields, "password"))


def _never(fields: Fields) -> bool:
    return False


class SecretField(NamedTuple):
    actions: frozenset[str]
    """The actions in which a validation error does not quote the field: it may hold a secret."""
    is_masked: Callable[[Fields], bool]
    """Whether `masked` hides the field, given the object that contains it: it does hold a secret."""


def _field(actions: str, is_masked: Callable[[Fields], bool]) -> SecretField:
    return SecretField(frozenset(actions.split()), is_masked)


# The secret fields beside those with a name like "basicAuthPassword" or "simPin", which are secret in every message,
# and beside idTokens. Validation errors go to logs and to the peer, so they quote no field that may hold a password, a
# URL with a password or a ticket, customer data, or a vendor's data. Masking keeps as much readable as it can.
SECRET_FIELDS: Mapping[str, SecretField] = {
    "actualValue": _field("NotifyEvent", _is_secret_variable),
    "attributeValue": _field("GetVariables SetVariables", _is_secret_variable),
    # Beside a password, these may quote it.
    "attributeStatusInfo": _field("", _is_secret_variable),
    "customData": _field("", _is_secret_variable),
    "techInfo": _field("", _is_secret_variable),
    "data": _field("DataTransfer NotifyCustomerInformation", _never),
    "key": _field("SetNetworkProfile", _is_vpn),
    "location": _field(
        "GetDiagnostics PublishFirmware PublishFirmwareStatusNotification SignedUpdateFirmware UpdateFirmware", _never
    ),
    "ocppCsmsUrl": _field("SetNetworkProfile", _never),
    "receiptUrl": _field("NotifySettlement", _never),
    "remoteLocation": _field("GetLog", _never),
    "v": _field("NotifyPeriodicEventStream", _never),
    "value": _field("ChangeConfiguration GetConfiguration NotifyReport", _is_secret_key),
    # Holds the "value" of NotifyReport.
    "variableAttribute": _field("", _is_secret_variable),
}
FOLDED_FIELDS: Mapping[str, SecretField] = {name.casefold(): listed for name, listed in SECRET_FIELDS.items()}


# Errors.


def is_secret(action: str, payload: Any, path: Sequence[str | int]) -> bool:
    """Return whether the value at a place of a payload may be secret, so that errors must not quote it."""
    holder = payload
    for part in path:
        if isinstance(part, str) and (_is_secret_name(action, part) or says_key_code(holder)):
            return True
        holder = holder[part]
    return False


def _is_secret_name(action: str, field: str) -> bool:
    # An idToken of any type: a PIN must not reach a log even if its type is misspelled.
    listed = SECRET_FIELDS.get(field)
    return bool(SECRET_NAME.search(field)) or _is_token(field) or (listed is not None and action in listed.actions)


def _is_token(field: str) -> bool:
    return "token" in (folded := field.casefold()) and not folded.endswith("info")


def is_plain_name(name: object) -> bool:
    """Return whether a name could be that of a field; any other in a secret place may be the secret itself."""
    return isinstance(name, str) and bool(_PLAIN_NAME.fullmatch(name))


# PINs.


def is_key_code(value: Any) -> bool:
    """Return whether a value is the type of a PIN, in any spelling."""
    return isinstance(value, str) and len(value) < 50 and _PUNCTUATION.sub("", value).casefold() == "keycode"


def _is_type(name: Any, item: Any) -> bool:
    """Return whether a field is a type that says that the object is a PIN: ``"type": "KeyCode (PIN)"``."""
    if isinstance(item, list):
        return any(_is_type(name, part) for part in item if isinstance(part, str))
    is_text = isinstance(item, str) and str(name)[-4:].casefold() == "type"
    return is_text and "keycode" in _PUNCTUATION.sub("", item).casefold()


def says_key_code(value: Any) -> bool:
    """Return whether an object or an array has the type of a PIN directly in it."""
    if isinstance(value, dict):
        return any(is_key_code(item) or _is_type(name, item) for name, item in value.items())
    return isinstance(value, list) and any(map(is_key_code, value))


def has_type(value: Any) -> bool:
    """Return whether an idToken says that it is of another type."""
    if isinstance(value, list):
        return bool(value) and all(map(has_type, value))
    kinds = list(_values(value, "type")) if isinstance(value, dict) else []
    return bool(kinds) and all(isinstance(kind, str) and kind[:1].isalpha() for kind in kinds)
