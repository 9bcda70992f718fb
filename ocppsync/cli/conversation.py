"""Shows what a central system and its charge points say to each other, a line a message."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TextIO

from ..masking import masked
from .readable import columns, compact, fit, printable

__all__ = ["Conversation", "LogLines"]

Style = Literal["plain", "time", "request", "answer", "in", "out", "good", "warning", "error", "faint"]
Span = tuple[str, "Style | int"]
"""A piece of a line with its style; a number stands for one of the colours of charge points."""
Painter = Callable[[Sequence[Span]], str]

_ACTION_WIDTH = 20  # StatusNotification, indented by two as an answer is
_WIDTH_OF_FILES = 160
_NARROWEST_PAYLOAD = 12

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
    """Return what turns spans into a line: with colours where ``stream`` is a terminal, rich is there and NO_COLOR
    is not.
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
    """Writes a conversation.

    Every method may be called from any thread. An arrow to the right stands for what a charge point sends, one to the
    left for what it is sent; answers are indented.

    Args:
        stream: where to; what cannot be written any more is dropped.
        verbose: show payloads as JSON, whole.
        on_lost: called once with the error, when nothing more can be written.

    Attributes:
        messages: how many messages were shown.
        charge_points: who has been seen, in that order.
    """

    def __init__(
        self, stream: TextIO | None = None, *, verbose: bool = False, on_lost: Callable[[OSError], object] | None = None
    ) -> None:
        self._stream = stream or sys.stdout
        self._verbose = verbose
        self._on_lost = on_lost
        self._paint = choose_painter(self._stream)
        self._arrows = _arrows(self._stream)
        self._writing = threading.Lock()  # keeps lines whole, and guards all below
        self.messages = 0
        self.charge_points: dict[str, int] = {}
        self._id_width = 6
        self._hushed = False
        self._lost = False

    def request(self, charge_point_id: str, incoming: bool, action: str, payload: Any) -> None:
        """Show a CALL; ``incoming`` says that it comes from the charge point."""
        self._message(charge_point_id, incoming, (action, "request"), self._payload(payload), "plain")

    def answer(self, charge_point_id: str, incoming: bool, action: str, payload: Any) -> None:
        """Show a CALLRESULT; ``incoming`` says that it comes from the charge point."""
        self._message(charge_point_id, incoming, (f"  {action}", "answer"), self._payload(payload), "plain")

    def error(self, charge_point_id: str, incoming: bool, action: str, text: str) -> None:
        """Show a CALLERROR, or why there is no answer."""
        self._message(charge_point_id, incoming, (f"  {action}", "error"), text, "error")

    def connection(self, charge_point_id: str, status: str, version: str | None = None) -> None:
        """Show that a charge point has come or gone, and the version of OCPP that it speaks where that is known."""
        mark, style = _MARKS[status]
        spoken = "" if version is None else f" with OCPP {version}"
        with self._writing:
            self._write([*self._margin(charge_point_id), (f"{mark} {status}{spoken}", style)])

    def say(self, text: str = "") -> None:
        """Show a line as it is, without the time."""
        with self._writing:
            self._put(printable(text))

    def notice(self, mark: str, text: str, style: Style) -> None:
        """Show a line that is nobody's in particular."""
        with self._writing:
            self._write([(f"{_clock()} ", "time"), (f"{mark} {printable(text)}", style)])

    def mute(self) -> None:
        """Show nothing from now on but what `say` is given."""
        with self._writing:
            self._hushed = True

    def _payload(self, payload: Any) -> str:
        if self._verbose:
            return json.dumps(masked(payload), ensure_ascii=False, separators=(",", ":"))
        return compact(payload)

    def _message(self, charge_point_id: str, incoming: bool, action: Span, text: str, style: Style) -> None:
        arrow: Span = (f"{self._arrows[incoming]} ", "in" if incoming else "out")
        with self._writing:
            self.messages += not self._hushed
            margin = self._margin(charge_point_id)
            line = [*margin, arrow, (_pad(printable(action[0]), _ACTION_WIDTH) + " ", action[1])]
            text = printable(text)
            if not self._verbose and style != "error":
                text = fit(text, max(_NARROWEST_PAYLOAD, self._width() - sum(columns(part) for part, _ in line)))
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
            wanted = os.environ.get("COLUMNS", "")
            return int(wanted) if wanted.isdigit() else _WIDTH_OF_FILES

    def _write(self, spans: Sequence[Span]) -> None:
        if not self._hushed:
            self._put(self._paint(spans))

    def _put(self, line: str) -> None:
        if self._lost:
            return
        try:
            self._stream.write(f"{line}\n")
            self._stream.flush()
        except OSError as error:
            # The reader is gone (a pipe into head) or the disk is full; with it goes the sense of going on.
            self._lost = True
            if self._on_lost is not None:
                self._on_lost(error)


class LogLines(logging.Handler):
    """Shows log records in a conversation: warnings and worse, or where it is verbose everything."""

    def __init__(self, conversation: Conversation, *, verbose: bool) -> None:
        super().__init__(logging.DEBUG if verbose else logging.WARNING)
        self._conversation = conversation
        self._verbose = verbose

    def emit(self, record: logging.LogRecord) -> None:
        """Show it, on one line."""
        text = f"{record.name}: {record.getMessage()}" if self._verbose else record.getMessage()
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            text = f"{text}: {error!r}"
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
