"""The fields of OCPP messages that hold secrets, and the masking of them for people and files."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

__all__ = ["is_secret", "masked"]

_MAX_DEPTH = 12
_USERINFO = re.compile(r"(?<=://)[^/@\s]+@")
_SECRET_NAME = re.compile(r"password$|^simPin$", re.IGNORECASE)
_SECRET_VARIABLE = re.compile(r"password|vpnkey|simpin", re.IGNORECASE)

_Fields = Mapping[str, Any]


def _is_authorization_key(fields: _Fields) -> bool:
    return str(fields.get("key", "")).casefold() == "authorizationkey"


def _is_secret_variable(fields: _Fields) -> bool:
    variable = fields.get("variable")
    return isinstance(variable, dict) and bool(_SECRET_VARIABLE.search(str(variable.get("name", ""))))


def _is_vpn(fields: _Fields) -> bool:
    return "password" in fields


def _never(fields: _Fields) -> bool:
    return False


class _SecretField(NamedTuple):
    actions: frozenset[str]
    """The actions in which a validation error does not quote the field: it may hold a secret."""
    is_masked: Callable[[_Fields], bool]
    """Whether `masked` hides the field, given the object that contains it: it does hold a secret."""


def _field(actions: str, is_masked: Callable[[_Fields], bool]) -> _SecretField:
    return _SecretField(frozenset(actions.split()), is_masked)


# The secret fields beside those with a name like "basicAuthPassword" or "simPin", which are secret in every message.
# Validation errors go to logs and to the peer, so they quote no field that may hold a password, a URL with a password
# or a ticket, customer data, or a vendor's data. Masking keeps as much readable as it can.
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


def is_secret(action: str, field: str) -> bool:
    """Return whether the field of an action's messages may hold a secret, so that errors must not quote its value."""
    listed = _SECRET_FIELDS.get(field)
    return bool(_SECRET_NAME.search(field)) or (listed is not None and action in listed.actions)


def masked(value: Any, depth: int = 0) -> Any:
    """Return a copy of a payload with its secrets replaced by ``***``.

    Secrets are the value of the configuration key AuthorizationKey, the values of variables such as BasicAuthPassword,
    the passwords, PIN and key of a SetNetworkProfile, and passwords in URLs. Anything nested deeper than in a message
    of OCPP becomes ``…``.
    """
    if depth > _MAX_DEPTH:
        return "…"
    if isinstance(value, dict):
        return {name: "***" if _is_masked(name, value) else masked(item, depth + 1) for name, item in value.items()}
    if isinstance(value, list):
        return [masked(item, depth + 1) for item in value]
    return _USERINFO.sub("***@", value) if isinstance(value, str) else value


def _is_masked(name: str, fields: _Fields) -> bool:
    listed = _SECRET_FIELDS.get(name)
    return bool(_SECRET_NAME.search(name)) or (listed is not None and listed.is_masked(fields))
