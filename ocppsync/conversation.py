"""Shows what a central system and its charge points say to each other, a line a message."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
import time
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any, Literal, TextIO

__all__ = ["Conversation", "LogLines", "compact", "fit", "masked", "printable"]

Style = Literal["plain", "time", "request", "answer", "in", "out", "good", "warning", "error", "faint"]
Span = tuple[str, "Style | int"]
"""A piece of a line with its style; a number stands for one of the colours of charge points."""
Painter = Callable[[Sequence[Span]], str]

_ACTION_WIDTH = 20  # StatusNotification, indented by two as an answer is
_WIDTH_OF_FILES = 160
_NARROWEST_PAYLOAD = 12
_LONGEST_TEXT = 40
_MOST_ITEMS = 20
_DEEPEST = 12

# Text.


def printable(text: str) -> str:
    r"""Return ``text`` with everything that does not print as ``\x1b`` or the like.

    What a peer sends must move no cursor, ring no bell and turn no writing direction.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def fit(text: str, width: int) -> str:
    """Return ``text``, cut so that it takes at most ``width`` columns, with a ``…`` where something is missing."""
    if _columns(text) <= width:
        return text
    kept = sum(1 for taken in accumulate(map(_columns, text)) if taken < width)
    return f"{text[:kept]}…"


def _columns(text: str) -> int:
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def _pad(text: str, width: int) -> str:
    return text + " " * (width - _columns(text))


# Payloads.

_USERINFO = re.compile(r"(?<=://)[^/@\s]+@")
_BARE = re.compile(r"[\w.:+\-/@#*%?&=~]+")
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d")
# A meter reading says by its unit what it is, unless it is something else than these.
_USUAL_MEASURANDS = frozenset(
    {"Energy.Active.Import.Register", "Power.Active.Import", "Current.Import", "Voltage", "SoC"}
)
_UNITS: Mapping[str, str] = {"Percent": "%", "Celsius": "°C", "Celcius": "°C"}


def masked(value: Any, depth: int = 0) -> Any:
    """Return a payload without its secrets: the value of AuthorizationKey, and passwords in URLs.

    What is nested deeper than any message of OCPP becomes a ``…``.
    """
    if depth > _DEEPEST:
        return "…"
    if isinstance(value, dict):
        secret = str(value.get("key", "")).casefold() == "authorizationkey"
        return {name: "***" if secret and name == "value" else masked(item, depth + 1) for name, item in value.items()}
    if isinstance(value, list):
        return [masked(item, depth + 1) for item in value]
    return _USERINFO.sub("***@", value) if isinstance(value, str) else value


def compact(payload: Any) -> str:
    """Return a payload for people: ``status=Accepted interval=300``.

    What tells most comes first and times come last, since the end is what a narrow screen cuts off. Meter readings are
    shown as ``1234 Wh``, configuration keys as ``HeartbeatInterval=300``.
    """
    payload = masked(payload)
    if not isinstance(payload, dict) or not payload:
        return _value(payload)
    return _fields(payload)


def _fields(fields: Mapping[str, Any]) -> str:
    return " ".join(_field(name, value) for name, value in sorted(fields.items(), key=_rank))


def _rank(field: tuple[str, Any]) -> int:
    name, value = field
    if name in ("status", "meterValue"):
        return 0
    return 2 if isinstance(value, str) and _DATE_TIME.match(value) else 1


def _field(name: str, value: Any) -> str:
    if name == "meterValue" and isinstance(value, list):
        return _joined(value, " | ")
    if isinstance(value, dict) and len(value) == 1:
        return f"{_text(name)}.{_fields(value)}"
    return f"{_text(name)}={_value(value)}"


def _value(value: Any) -> str:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list):
        return f"[{_joined(value, ', ')}]"
    if not isinstance(value, dict):
        return json.dumps(value)
    if isinstance(value.get("sampledValue"), list):
        return _joined(value["sampledValue"], ", ")
    if "key" in value and "readonly" in value:
        return f"{_value(value['key'])}={_value(value.get('value', ''))}"
    if "value" in value:
        return _reading(value)
    return f"{{{_fields(value)}}}"


def _joined(items: Sequence[Any], separator: str) -> str:
    shown = [_value(item) for item in items[:_MOST_ITEMS]]
    more = [f"… {len(items) - _MOST_ITEMS} more"] if len(items) > _MOST_ITEMS else []
    return separator.join(shown + more)


def _reading(sample: Mapping[str, Any]) -> str:
    measurand, unit = sample.get("measurand", "Energy.Active.Import.Register"), sample.get("unit", "")
    parts = (
        "" if measurand in _USUAL_MEASURANDS else measurand,
        sample["value"],
        _UNITS.get(str(unit), unit) or ("Wh" if str(measurand).startswith("Energy.Active") else ""),
        sample.get("phase", ""),
    )
    return " ".join(_value(part) for part in parts if part != "")


def _text(text: str) -> str:
    if len(text) > _LONGEST_TEXT:
        text = f"{text[: _LONGEST_TEXT - 1]}…"
    return text if _BARE.fullmatch(text.rstrip("…")) else json.dumps(text, ensure_ascii=False)


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

    def connection(self, charge_point_id: str, status: str) -> None:
        """Show that a charge point has come or gone."""
        mark, style = _MARKS[status]
        with self._writing:
            self._write([*self._margin(charge_point_id), (f"{mark} {status}", style)])

    def say(self, text: str = "") -> None:
        """Show a line as it is, without the time."""
        with self._writing:
            self._put(printable(text))

    def remark(self, mark: str, text: str, style: Style) -> None:
        """Show a line that is nobody's in particular."""
        with self._writing:
            self._write([(f"{_clock()} ", "time"), (f"{mark} {printable(text)}", style)])

    def hush(self) -> None:
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
                text = fit(text, max(_NARROWEST_PAYLOAD, self._width() - sum(_columns(part) for part, _ in line)))
            self._write([*line, (text, style)])

    def _margin(self, charge_point_id: str) -> list[Span]:
        colour = self.charge_points.setdefault(charge_point_id, len(self.charge_points))
        widest = max(6, self._width() // 6)
        name = fit(printable(charge_point_id), widest)
        self._id_width = min(widest, max(self._id_width, _columns(name)))
        return [(f"{_clock()} ", "time"), (f"{_pad(name, self._id_width)} ", colour)]

    def _width(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or 80
        except (OSError, ValueError):
            columns = os.environ.get("COLUMNS", "")
            return int(columns) if columns.isdigit() else _WIDTH_OF_FILES

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
        self._conversation.remark("." if style == "faint" else "!", text, style)


def _arrows(stream: TextIO) -> Mapping[bool, str]:
    try:
        "→←".encode(stream.encoding or "ascii")
    except UnicodeEncodeError:
        return {True: ">", False: "<"}
    return {True: "→", False: "←"}


def _clock() -> str:
    return time.strftime("%H:%M:%S")
