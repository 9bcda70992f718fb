"""The differences between the versions of OCPP-J on the wire, in one table (J16, 4/201 and 4/21 §4)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import spell
from ..lenient import Lenient
from . import frames
from .frames import CALL, CALLERROR, CALLRESULT, CALLRESULTERROR, SEND, Frame, FrameRules
from .incoming import MessageId

__all__ = ["UNREADABLE_ID", "FrameCodec"]

UNREADABLE_ID = "-1"
"""The id in the answer to a message without a readable id (4/201 §4.2.3); no CALL has it."""
_MAX_DESCRIPTION = 255


@dataclass(frozen=True)
class _Rules:
    types: frozenset[int]
    """The message types of the version (4/21 §4.1.3)."""
    reports_unreadable: bool
    """Whether a frame without a readable id gets an answer, with the id "-1" (4/201 §4.2.3)."""
    refuses_unknown_types: bool
    """Whether an unknown message type gets MessageTypeNotSupported (4/201 §4.4); else it is ignored (J16 §4.1.3)."""
    bad_id: str
    """The error code for an id that is too long or was used for another CALL; the specifications name none."""
    longest_description: int | None
    """The longest description of an error, in characters (4/201 table 7)."""
    refuses_results: bool
    """Whether a CALLRESULT that violates its schema gets a CALLRESULTERROR (4/21 §4.2.3)."""


_OLD_TYPES = frozenset({CALL, CALLRESULT, CALLERROR})
_TABLE: Mapping[str, _Rules] = {
    "1.6": _Rules(_OLD_TYPES, False, False, "GenericError", None, False),
    "2.0.1": _Rules(_OLD_TYPES, True, True, "RpcFrameworkError", _MAX_DESCRIPTION, False),
    "2.1": _Rules(_OLD_TYPES | {CALLRESULTERROR, SEND}, True, False, "RpcFrameworkError", _MAX_DESCRIPTION, True),
}
_STRICT = Lenient()


class FrameCodec:
    """Reads and writes the frames of one version.

    Args:
        version: the OCPP version.
        lenient: which violations are accepted.

    Attributes:
        version: the OCPP version.
        parse: returns the frame in a text; raises ProtocolError if it is not a frame of this version.
        reports_unreadable, refuses_unknown_types, bad_id, refuses_results: see the table.
    """

    def __init__(self, version: str, lenient: Lenient = _STRICT) -> None:
        rules = _TABLE[version]
        self.version = version
        self.reports_unreadable = rules.reports_unreadable
        self.refuses_unknown_types = rules.refuses_unknown_types
        self.refuses_results = rules.refuses_results
        self.bad_id = rules.bad_id
        self._longest_description = rules.longest_description
        frame_rules = FrameRules(rules.types, lenient.numeric_ids, lenient.short_call_errors)
        self.parse: Callable[[str], Frame] = functools.partial(frames.parse, rules=frame_rules)

    def __repr__(self) -> str:
        return f"<FrameCodec of OCPP {self.version}>"

    def code(self, code: str) -> str:
        """Return an error code in this version's spelling; GenericError for one that no version knows."""
        return spell(code, self.version) or "GenericError"

    def call_error(
        self, message_id: MessageId, code: str, description: str = "", details: Mapping[str, Any] | None = None
    ) -> str:
        """Return the text of a CALLERROR in this version; raises what `frames.call_error` raises."""
        return frames.call_error(message_id, self.code(code), description[: self._longest_description], details)

    def call_result_error(self, message_id: str, code: str, description: str) -> str:
        """Return the text of a CALLRESULTERROR."""
        return frames.call_result_error(message_id, self.code(code), description[: self._longest_description])
