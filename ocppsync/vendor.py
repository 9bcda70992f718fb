"""Actions of an application's own, beside those of OCPP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .catalogue import SUBPROTOCOLS

__all__ = ["VendorAction"]

_VERSIONS = tuple(SUBPROTOCOLS.values())


@dataclass(frozen=True)
class VendorAction:
    """An action that no version of OCPP has, agreed between a vendor and an operator.

    It is handed to `CentralSystem` and `ChargePoint` as one of their ``vendor_actions``, and then used like any other:
    ``cs.on(action)``, ``cs.send_request("CP1", action, payload)``. Its payloads are plain dicts, held against its
    schemas. Prefer DataTransfer where the other end is to cope with it (C16 §4.3); a peer that does not know the action
    answers NotImplemented.

    Args:
        name: the action on the wire.
        request: the JSON schema of the CALL's payload, an object with the keywords that the schemas of OCPP use; types
            that are used more than once may stand under ``$defs``.
        response: the JSON schema of the answer's payload; None makes it a SEND, which is never answered (2.1 only).
        sender: who may send it.
        versions: the versions of OCPP that have it; None stands for every version.

    Raises:
        ValueError: the name is empty, or the sender or a version does not exist.
    """

    name: str
    request: Mapping[str, Any]
    response: Mapping[str, Any] | None
    sender: Literal["charge_point", "central_system", "both"] = "both"
    versions: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"the name of a vendor action must be a text, not {self.name!r}")
        if self.sender not in ("charge_point", "central_system", "both"):
            raise ValueError(f"{self.name}: the sender must be charge_point, central_system or both")
        for version in self.versions or ():
            if version not in _VERSIONS:
                raise ValueError(f"{self.name}: {version!r} is no version of OCPP; {', '.join(_VERSIONS)} are")

    def __hash__(self) -> int:
        return hash(self.name)

    def exists_in(self, version: str) -> bool:
        """Return whether that version has it; a SEND needs 2.1."""
        return version in (self.versions or _VERSIONS) and (self.response is not None or version == "2.1")


def name_of(action: str | VendorAction) -> str:
    """Return the name that an action has on the wire."""
    return action.name if isinstance(action, VendorAction) else action
