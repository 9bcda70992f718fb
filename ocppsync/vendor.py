"""Actions that a vendor adds to OCPP: name, schemas and permitted sender."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal, get_args

from .validation.catalogue import Role, Version

__all__ = ["VendorAction"]

Sender = Literal[Role, "both"]


# Compared by identity: schemas are dicts, which have no hash, and an action is declared once.
@dataclass(frozen=True, eq=False)
class VendorAction:
    """An action outside the specification, sent and handled like those of the specification.

    Declare it once in the ``vendor_actions`` of the central system or charge point, and pass it to `send_request`,
    `submit_request`, `on` and `after` instead of an action's name; pass one without a response to `send`. Payloads are
    plain dicts, validated against its schemas like those of every action. Both ends have to declare it: a peer that
    does not know it answers NotImplemented, since the specification provides only DataTransfer for vendors.

        LEVEL = {"type": "object", "required": ["level"], "properties": {"level": {"type": "integer"}}}
        SET_LIGHT = VendorAction("com.example.SetLight", LEVEL, LEVEL, sender="central_system")
        cs = CentralSystem(9000, vendor_actions=[SET_LIGHT])
        cs.send_request("CP1", SET_LIGHT, {"level": 3})["level"]

    Args:
        name: the action's name in messages; different from every action of the specification.
        request: the JSON schema of the request, an object; with the keywords that the OCPP schemas use, and shared
            types under ``$defs``.
        response: the JSON schema of the response. None: the action is a SEND, which has no response and exists in OCPP
            2.1 only.
        sender: the end that may send it: ``"charge_point"``, ``"central_system"`` or ``"both"``.
        versions: the versions of OCPP that have it; None: every version that can carry it.

    Raises:
        TypeError: a schema is not a mapping.
        ValueError: the name is empty, or the sender or a version is unknown.
    """

    name: str
    request: Mapping[str, Any]
    response: Mapping[str, Any] | None
    _: KW_ONLY
    sender: Sender = "both"
    versions: Sequence[Version] | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("the name of a VendorAction must not be empty")
        for schema in (self.request, {} if self.response is None else self.response):
            if not isinstance(schema, Mapping):
                raise TypeError(f"the schemas of {self.name} must be mappings, not {schema!r}")
        if self.sender not in get_args(Sender):
            raise ValueError(f"{self.name}: unknown sender {self.sender!r}; supported: {', '.join(get_args(Sender))}")
        if self.response is None and self.versions is not None and "2.1" not in self.versions:
            raise ValueError(f"{self.name} has no response, which requires OCPP 2.1 in its versions")
        unknown = [version for version in self.versions or () if version not in get_args(Version)]
        if unknown:
            raise ValueError(
                f"{self.name}: unknown OCPP version {', '.join(map(repr, unknown))}; "
                f"supported: {', '.join(get_args(Version))}"
            )

    def exists_in(self, version: Version) -> bool:
        """Return whether ``version`` has this action."""
        return version in (self.versions or get_args(Version)) and (self.response is not None or version == "2.1")


def name_of(action: str | VendorAction) -> str:
    """Return the name that an action has on the wire."""
    return action.name if isinstance(action, VendorAction) else action
