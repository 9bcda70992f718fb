"""Takes the secrets out of payloads, for the eyes of people and for files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["masked"]

_DEEPEST = 12
_USERINFO = re.compile(r"(?<=://)[^/@\s]+@")
_SECRET_FIELD = re.compile(r"password$|^simPin$", re.IGNORECASE)
_SECRET_VARIABLE = re.compile(r"password|vpnkey|simpin", re.IGNORECASE)


def masked(value: Any, depth: int = 0) -> Any:
    """Return a payload without its secrets.

    These are the value of the configuration key AuthorizationKey, those of variables such as BasicAuthPassword, the
    passwords, PIN and key of a SetNetworkProfile, and passwords in URLs. What is nested deeper than any message of
    OCPP becomes a ``…``.
    """
    if depth > _DEEPEST:
        return "…"
    if isinstance(value, dict):
        secret = _secret_fields(value)
        return {name: "***" if name in secret else masked(item, depth + 1) for name, item in value.items()}
    if isinstance(value, list):
        return [masked(item, depth + 1) for item in value]
    return _USERINFO.sub("***@", value) if isinstance(value, str) else value


def _secret_fields(fields: Mapping[str, Any]) -> set[str]:
    secret = {name for name in fields if _SECRET_FIELD.search(name)}
    if str(fields.get("key", "")).casefold() == "authorizationkey":
        secret.add("value")
    if "password" in fields:
        secret.add("key")  # that of a virtual private network
    variable = fields.get("variable")
    if isinstance(variable, dict) and _SECRET_VARIABLE.search(str(variable.get("name", ""))):
        secret |= {"actualValue", "attributeValue", "variableAttribute"}
    return secret
