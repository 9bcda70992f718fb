"""Finds new passwords in requests to a charge point, and their outcome in its responses.

version    request                                                        the charge point uses the password
-------    -----------------------------------------------------------    ---------------------------------
1.6        ChangeConfiguration of AuthorizationKey (W16 A01)              at the next connection
2.x        SetVariables of SecurityCtrlr.BasicAuthPassword (A01)          at the next connection
2.1        SetVariables of NetworkConfiguration.BasicAuthPassword         once that network profile is used
2.1        SetNetworkProfile with basicAuthPassword (B09.FR.14)           once that network profile is used
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from .passwords import authorization_key

__all__ = ["PasswordChange", "Verdict", "password_changes"]

Verdict = Literal["accepted", "deferred", "refused", "unknown"]
"""What becomes of a new password: used from the next connection on, used some day, never used, or not known."""


class PasswordChange(NamedTuple):
    """A new password in a request."""

    password: bytes
    verdict: Callable[[Any], Verdict]
    """Returns the verdict in the payload of the response."""
    for_later: bool = False
    """Whether it is for a network profile, which is used some day."""

    def __repr__(self) -> str:
        return "<PasswordChange>"


def password_changes(version: str, action: str, payload: Any) -> list[PasswordChange]:
    """Return the new passwords in a request; a payload of the wrong shape contains none."""
    if not isinstance(payload, Mapping):
        return []
    if version == "1.6":
        return _in_configuration(payload) if action == "ChangeConfiguration" else []
    if action == "SetVariables":
        return list(_in_variables(payload))
    return _in_network_profile(payload) if action == "SetNetworkProfile" else []


def _in_configuration(payload: Mapping[str, Any]) -> list[PasswordChange]:
    value = payload.get("value")
    if _casefold(payload.get("key")) != "authorizationkey" or not isinstance(value, str):
        return []
    return [PasswordChange(authorization_key(value), lambda response: _verdict(_get(response, "status")))]


def _in_network_profile(payload: Mapping[str, Any]) -> list[PasswordChange]:
    value = _get(payload.get("connectionData"), "basicAuthPassword")
    if not isinstance(value, str):
        return []
    return [PasswordChange(value.encode(), lambda response: _deferred(_verdict(_get(response, "status"))), True)]


def _in_variables(payload: Mapping[str, Any]) -> Iterator[PasswordChange]:
    for item in _items(payload, "setVariableData"):
        (component, _), variable = _variable_key(item)
        value = item.get("attributeValue")
        if variable != "basicauthpassword" or not isinstance(value, str):
            continue
        if item.get("attributeType", "Actual") == "Actual":
            for_later = component != "securityctrlr"
            yield PasswordChange(value.encode(), _VariableVerdict(item, deferred=for_later), for_later)


class _VariableVerdict:
    """Returns the verdict on one variable in a response to SetVariables."""

    def __init__(self, item: Mapping[str, Any], *, deferred: bool) -> None:
        self._variable_key = _variable_key(item)
        self._deferred = deferred

    def __call__(self, response: Any) -> Verdict:
        for result in _items(response, "setVariableResult"):
            if _variable_key(result) == self._variable_key and result.get("attributeType", "Actual") == "Actual":
                verdict = _verdict(result.get("attributeStatus"))
                return _deferred(verdict) if self._deferred else verdict
        return "unknown"


def _verdict(status: object) -> Verdict:
    if status == "Accepted":
        return "accepted"
    if status == "RebootRequired":
        # W16 and 2/201 do not say which password is valid until the reboot.
        return "deferred"
    return "refused" if isinstance(status, str) else "unknown"


def _deferred(verdict: Verdict) -> Verdict:
    return "deferred" if verdict == "accepted" else verdict


def _variable_key(item: Mapping[str, Any]) -> tuple[tuple[str, str], str]:
    component = item.get("component")
    # Names are case-insensitive (2/201 §2.1.4). The instance is the slot of a NetworkConfiguration.
    component_key = (_casefold(_get(component, "name")), _casefold(_get(component, "instance")))
    return component_key, _casefold(_get(item.get("variable"), "name"))


def _items(payload: Any, name: str) -> Iterator[Mapping[str, Any]]:
    found = _get(payload, name)
    return (item for item in found if isinstance(item, Mapping)) if isinstance(found, list) else iter(())


def _get(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else None


def _casefold(value: Any) -> str:
    return value.casefold() if isinstance(value, str) else ""
