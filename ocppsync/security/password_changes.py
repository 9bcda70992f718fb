"""Which of our requests bring a charge point a password, and what its answer says about each.

version    request                                                        it is used
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
"""Whether the password is used from the next connection on, or some day, or never, or nobody knows."""


class PasswordChange(NamedTuple):
    """A password on its way."""

    password: bytes
    verdict: Callable[[Any], Verdict]
    """Tells from the answer what became of it."""


def password_changes(version: str, action: str, payload: Any) -> list[PasswordChange]:
    """Return the passwords that a request brings; a payload of the wrong shape brings none."""
    if not isinstance(payload, Mapping):
        return []
    if version == "1.6":
        return _in_configuration(payload) if action == "ChangeConfiguration" else []
    if action == "SetVariables":
        return list(_in_variables(payload))
    return _in_network_profile(payload) if action == "SetNetworkProfile" else []


def _in_configuration(payload: Mapping[str, Any]) -> list[PasswordChange]:
    value = payload.get("value")
    if _folded(payload.get("key")) != "authorizationkey" or not isinstance(value, str):
        return []
    return [PasswordChange(authorization_key(value), lambda answer: _verdict(_get(answer, "status")))]


def _in_network_profile(payload: Mapping[str, Any]) -> list[PasswordChange]:
    value = _get(payload.get("connectionData"), "basicAuthPassword")
    if not isinstance(value, str):
        return []
    return [PasswordChange(value.encode(), lambda answer: _later(_verdict(_get(answer, "status"))))]


def _in_variables(payload: Mapping[str, Any]) -> Iterator[PasswordChange]:
    for item in _items(payload, "setVariableData"):
        component, variable = _place(item)
        value = item.get("attributeValue")
        if variable != "basicauthpassword" or not isinstance(value, str):
            continue
        if item.get("attributeType", "Actual") == "Actual":
            yield PasswordChange(value.encode(), _ResultOf(item, deferred=component[0] != "securityctrlr"))


class _ResultOf:
    """Finds what an answer to SetVariables says of one of the variables."""

    def __init__(self, item: Mapping[str, Any], *, deferred: bool) -> None:
        self._place = _place(item)
        self._deferred = deferred

    def __call__(self, answer: Any) -> Verdict:
        for result in _items(answer, "setVariableResult"):
            if _place(result) == self._place and result.get("attributeType", "Actual") == "Actual":
                verdict = _verdict(result.get("attributeStatus"))
                return _later(verdict) if self._deferred else verdict
        return "unknown"


def _verdict(status: object) -> Verdict:
    if status == "Accepted":
        return "accepted"
    if status == "RebootRequired":
        # Neither the one nor the other, for now: W16 and 2/201 leave it open.
        return "deferred"
    return "refused" if isinstance(status, str) else "unknown"


def _later(verdict: Verdict) -> Verdict:
    return "deferred" if verdict == "accepted" else verdict


def _place(item: Mapping[str, Any]) -> tuple[tuple[str, str], str]:
    component = item.get("component")
    # Names do not differ in case alone (2/201 §2.1.4); the instance tells the slots of NetworkConfiguration apart.
    named = (_folded(_get(component, "name")), _folded(_get(component, "instance")))
    return named, _folded(_get(item.get("variable"), "name"))


def _items(payload: Any, name: str) -> Iterator[Mapping[str, Any]]:
    found = _get(payload, name)
    return (item for item in found if isinstance(item, Mapping)) if isinstance(found, list) else iter(())


def _get(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else None


def _folded(value: Any) -> str:
    return value.casefold() if isinstance(value, str) else ""
