"""Actions that a vendor has added to OCPP: their name, their schemas, and who may send them."""

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
    """An action that is not in the specification, sent and handled like those that are.

    Declare it once as one of the ``vendor_actions`` of the central system or charge point, and hand it to
    `send_request`, `submit_request`, `on` and `after` where the name of an action goes; one without a response goes to
    `send`. Payloads are plain dicts, held to its schemas, as those of every action are. The specification itself
    provides only DataTransfer for what vendors add, so both ends have to know the action: others answer NotImplemented.

        LEVEL = {"type": "object", "required": ["level"], "properties": {"level": {"type": "integer"}}}
        SET_LIGHT = VendorAction("com.example.SetLight", LEVEL, LEVEL, sender="central_system")
        cs = CentralSystem(9000, vendor_actions=[SET_LIGHT])
        cs.send_request("CP1", SET_LIGHT, {"level": 3})["level"]

    Args:
        name: what stands in the message; no action of the specification has that name.
        request: the JSON schema of the request, an object, in the keywords that the schemas of OCPP use; what is used
            more than once may stand under ``$defs``.
        response: the JSON schema of the answer; None: the action is a SEND, which has no answer, and is for OCPP 2.1
            only.
        sender: who may send it.
        versions: the versions of OCPP that it is for; None: every version that can carry it.

    Raises:
        TypeError: a schema is no mapping.
        ValueError: the name is empty, or there is no such sender or version.
    """

    name: str
    request: Mapping[str, Any]
    response: Mapping[str, Any] | None
    _: KW_ONLY
    sender: Sender = "both"
    versions: Sequence[Version] | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("a vendor's action needs a name")
        for schema in (self.request, {} if self.response is None else self.response):
            if not isinstance(schema, Mapping):
                raise TypeError(f"the schemas of {self.name} must be mappings, and {schema!r} is not")
        if self.sender not in get_args(Sender):
            raise ValueError(f"{self.name} is sent by one of {', '.join(get_args(Sender))}, not by {self.sender!r}")
        if self.response is None and self.versions is not None and "2.1" not in self.versions:
            raise ValueError(f"{self.name} has no response, and only OCPP 2.1 has such messages")
        unknown = [version for version in self.versions or () if version not in get_args(Version)]
        if unknown:
            raise ValueError(f"{self.name} is for OCPP {', '.join(map(repr, unknown))}, which is not known")

    def exists_in(self, version: Version) -> bool:
        """Return whether that version has it."""
        return version in (self.versions or get_args(Version)) and (self.response is not None or version == "2.1")


def name_of(action: str | VendorAction) -> str:
    """Return the name that an action has on the wire."""
    return action.name if isinstance(action, VendorAction) else action
