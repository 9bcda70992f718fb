"""JSON for what peers sent and for files: reads it strictly, and writes all of it again.

A peer's JSON may hold half a surrogate pair, numbers that Python cannot hold, or thousands of brackets. `read` refuses
what cannot be written again, with a ValueError; `rewrite` writes all that `read` returns.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Any, NoReturn

__all__ = ["MAX_DEPTH", "READABLE_DEPTH", "decoder", "depth_of", "is_too_deep", "read", "rewrite", "write"]

MAX_DEPTH = 100
"""How deeply a message may be nested: ten times what one needs, a tenth of what Python's stack allows."""
READABLE_DEPTH = 900
"""How deeply a text may be nested that is given to the decoder, which needs 192 KB of a thread's stack for that. Python
3.13 would decode 10000 levels, for which a stack of 1 MB, as on Alpine, is too small: the process would crash."""

# What stands between brackets: strings are left as pairs of quotes, which fall away unless they hold brackets.
_ESCAPE = re.compile(r"\\.", re.DOTALL)
_NO_BRACKETS = b"".join(bytes([byte]) for byte in range(256) if byte not in b'[]{}"')
_STRING = re.compile(rb'"[^"]*"?')
_STEPS: Mapping[int, int] = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}

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
# They look for values that contain themselves: without that, Python 3.13 would crash in a small stack.
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode
_encode_ascii = json.JSONEncoder(separators=(",", ":"), allow_nan=False, ensure_ascii=True).encode
_encode_constants = json.JSONEncoder(separators=(",", ":"), allow_nan=True, ensure_ascii=True).encode


def read(text: str, *, repeats: bool = True) -> Any:
    """Return the value in a text. If an object has a key twice, the last one counts, unless ``repeats`` is False.

    Raises:
        ValueError: it is not JSON, has a key twice without ``repeats``, is nested more than `MAX_DEPTH`
            deep, or has an integer with more digits than Python converts.
    """
    if depth_of(text) > MAX_DEPTH:
        raise ValueError(f"it is nested more than {MAX_DEPTH} deep")
    return (decoder if repeats else _strict_decoder).decode(text)


def depth_of(text: str) -> int:
    """Return how deeply a text is nested as far as it is JSON, or more; 0 if it has no more than `MAX_DEPTH` brackets.

    It does not need the stack, so that it is safe for any text.
    """
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return 0  # like nearly all texts
    if "\\" in text:
        text = _ESCAPE.sub("", text)
    brackets = text.encode("utf-8", "replace").translate(None, _NO_BRACKETS).replace(b'""', b"")
    if b'"' in brackets:
        brackets = _STRING.sub(b"", brackets)
    return max(accumulate(map(_STEPS.__getitem__, brackets), initial=0))


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
