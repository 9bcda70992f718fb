"""Texts and payloads of peers for a terminal: on one line, and without control characters."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

from ..json_text import rewrite
from ..masking.messages import masked

__all__ = ["columns", "compact", "error_text", "fit", "quantity"]

_MAX_TEXT = 40
_MAX_ITEMS = 20

# Text.


def fit(text: str, width: int) -> str:
    """Return ``text`` cut to at most ``width`` columns, with a ``…`` at the end if it was cut."""
    if columns(text) <= width:
        return text
    kept = sum(1 for taken in accumulate(map(columns, text)) if taken < width)
    return f"{text[:kept]}…"


def columns(text: str) -> int:
    """Return the number of terminal columns of ``text``."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def error_text(error: Exception) -> str:
    """Return an error for the command's user: without its number, and with the file that it is about."""
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"


def quantity(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 message``, ``2 messages``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


# Payloads.

_BARE = re.compile(r"[\w.:+\-/@#*%?&=~^]+")
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
# The measurands that are clear from the unit; only others are shown by name.
_USUAL_MEASURANDS = frozenset(
    {"Energy.Active.Import.Register", "Power.Active.Import", "Current.Import", "Voltage", "SoC"}
)
_UNITS: Mapping[str, str] = {"Percent": "%", "Celsius": "°C", "Celcius": "°C"}
# The most informative fields come first; a field that is not listed has rank 5.
_RANKS: Mapping[str, int] = {
    "eventType": 0,
    "meterValue": 1,
    "status": 1,
    "connectorStatus": 1,
    "stoppedReason": 2,
    "idToken": 2,
    "triggerReason": 3,
    "chargingState": 4,
    "seqNo": 6,
    "offline": 7,
}
_TIMES_RANK = 8
# Objects shown as if their fields belonged to the message itself.
_FLATTENED = frozenset({"chargingStation", "transactionInfo"})
# Lists shown without their name, since the items explain themselves; with the separator.
_UNNAMED_LISTS: Mapping[str, str] = {
    "meterValue": " | ",
    "getVariableData": ", ",
    "getVariableResult": ", ",
    "setVariableData": ", ",
    "setVariableResult": ", ",
    "reportData": ", ",
    "eventData": ", ",
}

_VARIABLE_FIELDS = frozenset(
    {
        *("component", "variable", "attributeType", "attributeStatus", "attributeValue", "actualValue"),
        *("variableAttribute", "variableCharacteristics"),
    }
)


def compact(payload: Any, mask: Collection[str] = ()) -> str:
    """Return a payload in short form, without its secrets: ``status=Accepted interval=300``.

    The most informative fields come first and times last, since a narrow screen cuts off the end. Meter readings are
    shown as ``1234 Wh``, configuration keys as ``HeartbeatInterval=300``, variables as
    ``OCPPCommCtrlr.HeartbeatInterval=300``, an idToken as ``ISO14443:04A1B2C3``, and a UUID as its first eight digits.
    """
    payload = masked(payload, mask)
    if not isinstance(payload, dict) or not payload:
        return _value(payload)
    return _fields(payload)


def _fields(fields: Mapping[str, Any]) -> str:
    return " ".join(_field(name, value) for name, value in sorted(_flattened(fields), key=_rank))


def _flattened(fields: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in fields.items():
        if not isinstance(value, dict):
            yield name, value
        elif name in _FLATTENED and value:
            yield from value.items()
        elif name == "evse" and "id" in value:
            yield from ((name if part == "id" else part, item) for part, item in value.items())
        elif name == "idToken" and "idToken" in value and "type" in value:
            yield name, f"{value['type']}:{value['idToken']}"
            yield from ((part, item) for part, item in value.items() if part not in ("idToken", "type"))
        else:
            yield name, value


def _rank(field: tuple[str, Any]) -> int:
    name, value = field
    return _TIMES_RANK if isinstance(value, str) and _DATE_TIME.match(value) else _RANKS.get(name, 5)


def _field(name: str, value: Any) -> str:
    if name in _UNNAMED_LISTS and isinstance(value, list) and value:
        return _joined(value, _UNNAMED_LISTS[name])
    if isinstance(value, dict) and len(value) == 1:
        return f"{_text(name)}.{_fields(value)}"
    return f"{_text(name)}={_value(value)}"


def _value(value: Any) -> str:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list):
        return f"[{_joined(value, ', ')}]"
    if not isinstance(value, dict):
        return rewrite(value)
    if isinstance(value.get("sampledValue"), list):
        return _joined(value["sampledValue"], ", ")
    if "key" in value and "readonly" in value:
        return f"{_value(value['key'])}={_value(value.get('value', ''))}"
    if isinstance(value.get("component"), dict) and isinstance(value.get("variable"), dict):
        return _variable(value)
    if "value" in value:
        return _reading(value)
    return f"{{{_fields(value)}}}"


def _joined(items: Sequence[Any], separator: str) -> str:
    shown = [_value(item) for item in items[:_MAX_ITEMS]]
    more = [f"… {len(items) - _MAX_ITEMS} more"] if len(items) > _MAX_ITEMS else []
    return separator.join(shown + more)


def _reading(sample: Mapping[str, Any]) -> str:
    measurand = sample.get("measurand", "Energy.Active.Import.Register")
    measure = sample.get("unitOfMeasure")  # 2.x
    unit, power = (measure.get("unit", ""), measure.get("multiplier")) if isinstance(measure, dict) else ("", None)
    unit = unit or sample.get("unit", "")
    parts = (
        "" if measurand in _USUAL_MEASURANDS else measurand,
        sample["value"],
        f"*10^{_value(power)}" if power else "",
        _UNITS.get(str(unit), unit) or ("Wh" if str(measurand).startswith("Energy.Active") else ""),
        sample.get("phase", ""),
    )
    return " ".join(_value(part) for part in parts if part != "")


def _variable(entry: Mapping[str, Any]) -> str:
    """Return a variable of the device model with its value, or with its status if it has none."""
    component, variable, status = entry["component"], entry["variable"], entry.get("attributeStatus")
    evse = component.get("evse")
    numbers = [evse[part] for part in ("id", "connectorId") if part in evse] if isinstance(evse, dict) else []
    evse_text = f"#{'.'.join(map(_value, numbers))}" if numbers else ""
    attribute = entry.get("attributeType", "Actual")
    suffix = "" if attribute == "Actual" else f".{_value(attribute)}"
    shown = next((f"={_value(shown)}" for shown in (_current(entry), status) if shown is not None), "")
    rest = {name: value for name, value in entry.items() if name not in _VARIABLE_FIELDS}
    more = f" {{{_fields(rest)}}}" if rest else ""
    return f"{_name(component)}{evse_text}.{_name(variable)}{suffix}{shown}{more}"


def _name(part: Mapping[str, Any]) -> str:
    instance = part.get("instance")
    return f"{_value(part.get('name', ''))}{f'[{_value(instance)}]' if instance is not None else ''}"


def _current(entry: Mapping[str, Any]) -> Any:
    attributes = entry.get("variableAttribute")
    if isinstance(attributes, list) and attributes and isinstance(attributes[0], dict):
        return attributes[0].get("value", "")
    return entry.get("attributeValue", entry.get("actualValue", attributes))


def _text(text: str) -> str:
    if _UUID.fullmatch(text):
        return f"{text[:8]}…"
    if len(text) > _MAX_TEXT:
        text = f"{text[: _MAX_TEXT - 1]}…"
    return text if _BARE.fullmatch(text.rstrip("…")) else rewrite(text)
