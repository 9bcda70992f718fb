"""JSON for what peers sent and for files: reads it strictly, and writes all of it again.

A peer's JSON may hold half a surrogate pair, numbers that Python cannot hold, or thousands of brackets. `read` refuses
what cannot be written again, with a ValueError; `rewrite` writes all that `read` returns.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

__all__ = ["MAX_DEPTH", "is_too_deep", "read", "rewrite", "write"]

MAX_DEPTH = 100
"""How deeply a message may be nested: ten times what one needs, a tenth of what Python's stack allows."""

_STRING_OR_CONSTANT = re.compile(r'"(?:[^"\\]|\\.)*"|-?Infinity|NaN')
# JSON has no name for them: any reader turns the first two into an infinity.
_CONSTANTS: Mapping[str, str] = {"Infinity": "1e999", "-Infinity": "-1e999", "NaN": "null"}


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("an object has a key twice")
    return fields


decoder = json.JSONDecoder(parse_constant=_no_constant)
_strict_decoder = json.JSONDecoder(parse_constant=_no_constant, object_pairs_hook=_no_repeats)
# A value that contains itself is too deep, as others are; looking for it took a fifth of the time.
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False, ensure_ascii=False, check_circular=False).encode
_encode_ascii = json.JSONEncoder(separators=(",", ":"), allow_nan=False, ensure_ascii=True, check_circular=False).encode
_encode_constants = json.JSONEncoder(separators=(",", ":"), allow_nan=True, ensure_ascii=True).encode


def read(text: str, *, repeats: bool = True) -> Any:
    """Return the value in a text. If an object has a key twice, the last one counts, unless ``repeats`` is False.

    Raises:
        ValueError: it is not JSON, has a key twice without ``repeats``, is nested more than `MAX_DEPTH`
            deep, or has an integer with more digits than Python converts.
    """
    try:
        value = (decoder if repeats else _strict_decoder).decode(text)
    except RecursionError:
        raise ValueError(f"it is nested more than {MAX_DEPTH} deep") from None
    # Few texts have enough brackets to be worth a look at the value.
    if text.count("[") + text.count("{") > MAX_DEPTH and is_too_deep(value):
        raise ValueError(f"it is nested more than {MAX_DEPTH} deep")
    return value


def is_too_deep(value: Any, limit: int = MAX_DEPTH) -> bool:
    """Return whether a value is nested more than ``limit`` deep.

    A text that can be parsed may still be too deep for code that compares, prints or writes its value.
    """
    level: list[Any] = [value] if isinstance(value, (list, dict)) else []
    for _ in range(limit):
        level = [inner for outer in level for inner in _members(outer) if isinstance(inner, (list, dict))]
    return bool(level)


def _members(container: Any) -> Iterable[Any]:
    return container.values() if isinstance(container, dict) else container


def write(value: Any) -> str:
    """Return the JSON of a value, which can be encoded as UTF-8.

    Raises:
        TypeError, ValueError: JSON cannot represent the value, such as NaN or a date, or it is nested too deeply.
    """
    try:
        text = _encode(value)
        if not text.isascii():
            text.encode()
    except UnicodeEncodeError:
        # Half a surrogate pair cannot be encoded as UTF-8; JSON can still escape it.
        return _encode_ascii(value)
    except RecursionError:
        raise ValueError("the payload is nested too deeply for JSON") from None
    return text


def rewrite(value: Any) -> str:
    """Return the JSON of a value that was parsed from JSON; it has a text for each of them.

    A number beyond the range of Python's floats, such as 1e400, is infinite by now, and is written as 1e999.

    Raises:
        TypeError, ValueError: the value cannot come from `read`.
    """
    try:
        return write(value)
    except ValueError:
        return _STRING_OR_CONSTANT.sub(lambda found: _CONSTANTS.get(found[0], found[0]), _encode_constants(value))
