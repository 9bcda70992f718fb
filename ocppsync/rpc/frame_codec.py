"""What differs on the wire from one version of OCPP-J to the next, in one table (J16, 4/201 and 4/21 §4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import spell
from ..lenient import Lenient
from . import frames
from .frames import CALL, CALLERROR, CALLRESULT, CALLRESULTERROR, SEND, Frame, FrameRules, MessageId

__all__ = ["UNREADABLE_ID", "FrameCodec"]

UNREADABLE_ID = "-1"
"""Stands for the id of a message whose id cannot be read (4/201 §4.2.3); no CALL has it."""
_MAX_DESCRIPTION = 255


@dataclass(frozen=True)
class _Rules:
    types: frozenset[int]
    """The message types there are (4/21 §4.1.3)."""
    reports_unreadable: bool
    """Whether a frame without a readable id is answered, with the id "-1" (4/201 §4.2.3)."""
    refuses_unknown_types: bool
    """Whether MessageTypeNotSupported is answered (4/201 §4.4); else such a message is ignored (J16 §4.1.3)."""
    bad_id: str
    """The code for an id that is too long, or was used for another CALL; no specification names one."""
    longest_description: int | None
    """In characters (4/201 table 7)."""
    refuses_results: bool
    """Whether a CALLRESULT that breaks its schema is answered with a CALLRESULTERROR (4/21 §4.2.3)."""


_OLD_TYPES = frozenset({CALL, CALLRESULT, CALLERROR})
_TABLE: Mapping[str, _Rules] = {
    "1.6": _Rules(_OLD_TYPES, False, False, "GenericError", None, False),
    "2.0.1": _Rules(_OLD_TYPES, True, True, "RpcFrameworkError", _MAX_DESCRIPTION, False),
    "2.1": _Rules(_OLD_TYPES | {CALLRESULTERROR, SEND}, True, False, "RpcFrameworkError", _MAX_DESCRIPTION, True),
}
_STRICT = Lenient()


class FrameCodec:
    """How one version is written and read.

    Args:
        version: the OCPP version.
        lenient: what is read beyond it.

    Attributes:
        version: the OCPP version.
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
        self._frame_rules = FrameRules(rules.types, lenient.numeric_ids, lenient.short_call_errors)

    def __repr__(self) -> str:
        return f"<FrameCodec of OCPP {self.version}>"

    def parse(self, text: str) -> Frame:
        """Return the frame that ``text`` holds; raises ProtocolError where it is none of this version's."""
        return frames.parse(text, self._frame_rules)

    def code(self, code: str) -> str:
        """Return an error code in this version's spelling; GenericError for one that no version knows."""
        return spell(code, self.version) or "GenericError"

    def call_error(
        self, message_id: MessageId, code: str, description: str = "", details: Mapping[str, Any] | None = None
    ) -> str:
        """Return the text of a CALLERROR as this version writes it; raises what `frames.call_error` raises."""
        return frames.call_error(message_id, self.code(code), description[: self._longest_description], details)

    def call_result_error(self, message_id: str, code: str, description: str) -> str:
        """Return the text of a CALLRESULTERROR."""
        return frames.call_result_error(message_id, self.code(code), description[: self._longest_description])
