"""Shows the messages between a central system and its charge points, one per line."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal, TextIO

from ..json_text import rewrite
from ..masking.messages import masked
from .readable import columns, compact, fit, printable

__all__ = ["Conversation", "LogLines"]

Style = Literal["plain", "time", "request", "answer", "in", "out", "good", "warning", "error", "faint"]
Span = tuple[str, "Style | int"]
"""A part of a line with its style; a number selects one of the colours for charge points."""
Painter = Callable[[Sequence[Span]], str]

_ACTION_WIDTH = 20  # an answer to StatusNotification, with its indent of two
_FILE_WIDTH = 160
_MIN_PAYLOAD_WIDTH = 12

# Colours.

_STYLES: Mapping[Style, str] = {
    "plain": "",
    "time": "dim",
    "request": "bold",
    "answer": "dim",
    "in": "green",
    "out": "blue",
    "good": "green",
    "warning": "yellow",
    "error": "bold red",
    "faint": "dim",
}
_MARKS: Mapping[str, tuple[str, Style]] = {"connected": ("+", "good"), "disconnected": ("-", "warning")}
_CHARGE_POINTS = ("cyan", "magenta", "yellow", "bright_blue", "bright_green", "bright_magenta")


def choose_painter(stream: TextIO) -> Painter:
    """Return the function that turns spans into a line.

    It adds colours if ``stream`` is a terminal or FORCE_COLOR is set, rich is installed, and NO_COLOR is not set.
    """
    if os.environ.get("NO_COLOR") or not (stream.isatty() or os.environ.get("FORCE_COLOR")):
        return _paint_plainly
    try:
        from rich.console import Console
        from rich.text import Text
    except ImportError:
        return _paint_plainly
    console = Console(file=stream, highlight=False, soft_wrap=True)
    if console.is_dumb_terminal or not console.is_terminal:
        return _paint_plainly

    def paint(spans: Sequence[Span]) -> str:
        with console.capture() as capture:
            console.print(Text.assemble(*((text, _style(style)) for text, style in spans)), end="")
        return capture.get()

    return paint


def _style(style: Style | int) -> str:
    return _CHARGE_POINTS[style % len(_CHARGE_POINTS)] if isinstance(style, int) else _STYLES[style]


def _paint_plainly(spans: Sequence[Span]) -> str:
    return "".join(text for text, _ in spans).rstrip()


# The conversation.


class Conversation:
    """Writes messages and connections to a stream, one per line.

    Thread-safe. An arrow to the right marks a message from the charge point, one to the left a message to it; answers
    are indented.

    Args:
        stream: the output; after a write error, all further lines are dropped.
        verbose: show whole payloads as JSON.
        mask: names of fields to mask besides secrets.
        on_lost: called once, with the write error.

    Attributes:
        messages: the number of messages shown.
        charge_points: the charge points seen, in order, each with its number.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        verbose: bool = False,
        mask: Collection[str] = (),
        on_lost: Callable[[OSError], object] | None = None,
    ) -> None:
        self._stream = stream or sys.stdout
        self._verbose = verbose
        self._mask = tuple(mask)
        self._on_lost = on_lost
        self._paint = choose_painter(self._stream)
        self._arrows = _arrows(self._stream)
        self._writing = threading.Lock()  # keeps lines whole, and guards the fields below
        self.messages = 0
        self.charge_points: dict[str, int] = {}
        self._id_width = 6
        self._muted = False
        self._lost = False

    def request(self, charge_point_id: str, incoming: bool, action: str, payload: Any) -> None:
        """Show a CALL; ``incoming``: it comes from the charge point."""
        self._message(charge_point_id, incoming, (action, "request"), self._payload(payload), "plain")

    def answer(self, charge_point_id: str, incoming: bool, action: str, payload: Any) -> None:
        """Show a CALLRESULT; ``incoming``: it comes from the charge point."""
        self._message(charge_point_id, incoming, (f"  {action}", "answer"), self._payload(payload), "plain")

    def error(self, charge_point_id: str, incoming: bool, action: str, text: str) -> None:
        """Show a CALLERROR, or the reason for a missing answer."""
        self._message(charge_point_id, incoming, (f"  {action}", "error"), text, "error")

    def connection(self, charge_point_id: str, status: str, version: str | None = None) -> None:
        """Show that a charge point connected or disconnected, with its version of OCPP if given."""
        mark, style = _MARKS[status]
        suffix = "" if version is None else f" with OCPP {version}"
        with self._writing:
            self._write([*self._margin(charge_point_id), (f"{mark} {status}{suffix}", style)])

    def say(self, text: str = "") -> None:
        """Show a line without the time; not affected by `mute`."""
        with self._writing:
            self._put(printable(text))

    def notice(self, mark: str, text: str, style: Style) -> None:
        """Show a line that belongs to no charge point."""
        with self._writing:
            self._write([(f"{_clock()} ", "time"), (f"{mark} {printable(text)}", style)])

    def mute(self) -> None:
        """Drop all further lines except those of `say`."""
        with self._writing:
            self._muted = True

    def _payload(self, payload: Any) -> str:
        if self._verbose:
            return rewrite(masked(payload, self._mask))
        return compact(payload, self._mask)

    def _message(self, charge_point_id: str, incoming: bool, action: Span, text: str, style: Style) -> None:
        arrow: Span = (f"{self._arrows[incoming]} ", "in" if incoming else "out")
        with self._writing:
            self.messages += not self._muted
            margin = self._margin(charge_point_id)
            line = [*margin, arrow, (_pad(printable(action[0]), _ACTION_WIDTH) + " ", action[1])]
            text = printable(text)
            if not self._verbose and style != "error":
                text = fit(text, max(_MIN_PAYLOAD_WIDTH, self._width() - sum(columns(part) for part, _ in line)))
            self._write([*line, (text, style)])

    def _margin(self, charge_point_id: str) -> list[Span]:
        colour = self.charge_points.setdefault(charge_point_id, len(self.charge_points))
        widest = max(6, self._width() // 6)
        name = fit(printable(charge_point_id), widest)
        self._id_width = min(widest, max(self._id_width, columns(name)))
        return [(f"{_clock()} ", "time"), (f"{_pad(name, self._id_width)} ", colour)]

    def _width(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or 80
        except (OSError, ValueError):
            columns = os.environ.get("COLUMNS", "")
            return int(columns) if columns.isdigit() else _FILE_WIDTH

    def _write(self, spans: Sequence[Span]) -> None:
        if not self._muted:
            self._put(self._paint(spans))

    def _put(self, line: str) -> None:
        if self._lost:
            return
        try:
            self._stream.write(f"{line}\n")
            self._stream.flush()
        except OSError as error:
            # The reader is gone, as in a pipe into head, or the disk is full.
            self._lost = True
            if self._on_lost is not None:
                self._on_lost(error)


class LogLines(logging.Handler):
    """Shows log records in a conversation: warnings and above, or all of them if verbose."""

    def __init__(self, conversation: Conversation, *, verbose: bool) -> None:
        super().__init__(logging.DEBUG if verbose else logging.WARNING)
        self._conversation = conversation
        self._verbose = verbose

    def emit(self, record: logging.LogRecord) -> None:
        """Show a record, on one line."""
        text = f"{record.name}: {record.getMessage()}" if self._verbose else record.getMessage()
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            # Not its repr: that of a UnicodeEncodeError, for one, holds the whole text.
            text = f"{text}: {type(error).__name__}: {error}"
        style: Style = "faint"
        if record.levelno >= logging.WARNING:
            style = "error" if record.levelno >= logging.ERROR else "warning"
        self._conversation.notice("." if style == "faint" else "!", text, style)


def _pad(text: str, width: int) -> str:
    return text + " " * (width - columns(text))


def _arrows(stream: TextIO) -> Mapping[bool, str]:
    try:
        "→←".encode(stream.encoding or "ascii")
    except UnicodeEncodeError:
        return {True: ">", False: "<"}
    return {True: "→", False: "←"}


def _clock() -> str:
    return time.strftime("%H:%M:%S")
