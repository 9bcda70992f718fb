"""Validates payloads against the schema of their message.

A compiled predicate accepts or rejects the payload. Only after a rejection, jsonschema finds the violations; if it
finds none, the payload is accepted, since jsonschema is the reference.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from ..errors import ValidationError, Violation, spell
from ..masking.fields import is_plain_name, is_secret
from ..masking.messages import masked
from ..masking.outlines import MASK
from ..throttled_log import LogThrottle
from .catalogue import Catalogue, Kind, Version, catalogue, closest, unknown_action
from .formats import FORMATS, Format, is_integer, is_number, multiple_of
from .predicates import Predicate, compile_predicate

__all__ = ["Validator", "jsonschema_validator", "validator"]

logger = logging.getLogger(__name__)

# A payload can have any number of violations; an error is for people to read.
_MAX_VIOLATIONS = 20
_MAX_QUOTED = 40
_MAX_CHOICES = 8

# The categories of violations, the most significant first, with their error code. No specification maps schema keywords
# to codes. CE16 3.24, 3.38 and 3.39 name the code for a bad value; B06.FR.16, B08.FR.17 and N06.FR.06 of 2/201 that for
# too many elements. 2.x splits the FormationViolation of 1.6 in two (4/201 table 8): FormatViolation for the syntax,
# ProtocolError for the structure of the message.
_CODES_2X: Mapping[str, str] = {
    "shape": "FormatViolation",
    "required": "OccurrenceConstraintViolation",
    "type": "TypeConstraintViolation",
    "extra": "ProtocolError",
    "value": "PropertyConstraintViolation",
    "occurrence": "OccurrenceConstraintViolation",
}
_CODES: Mapping[Version, Mapping[str, str]] = {
    "1.6": {
        "shape": "FormatViolation",
        "required": "ProtocolError",
        "type": "TypeConstraintViolation",
        "extra": "FormatViolation",
        "value": "PropertyConstraintViolation",
        "occurrence": "OccurrenceConstraintViolation",
    },
    "2.0.1": _CODES_2X,
    "2.1": _CODES_2X,
}
_CATEGORIES: Mapping[str, str] = {
    "required": "required",
    "type": "type",
    "additionalProperties": "extra",
    "enum": "value",
    "format": "value",
    "minLength": "value",
    "maxLength": "value",
    "minimum": "value",
    "maximum": "value",
    "multipleOf": "value",
    "minItems": "occurrence",
    "maxItems": "occurrence",
}
_TEXTS: Mapping[str, str] = {
    "type": "{name} is {found}; expected {expected}",
    "enum": "{name} is {found}; expected one of {expected}",
    "format": "{name} is {found}; expected {expected}",
    "minLength": "{name} is {found} ({size} characters); expected at least {expected} characters",
    "maxLength": "{name} is {found} ({size} characters); expected at most {expected} characters",
    "minimum": "{name} is {found}; expected at least {expected}",
    "maximum": "{name} is {found}; expected at most {expected}",
    "multipleOf": "{name} is {found}; expected a multiple of {expected}",
    "minItems": "{name} has {size} items; expected at least {expected}",
    "maxItems": "{name} has {size} items; expected at most {expected}",
}
_NOUNS: Mapping[str, str] = {
    "object": "an object",
    "array": "an array",
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "boolean": "a boolean",
    "date-time": "a date and time such as 2025-01-31T12:00:00Z",
    "uri": "a URI such as https://example.com/file",
}
# 2.x requires a time zone and allows few digits (2/201 §2.1.4), which many charge points get wrong.
_DATE_TIME_2X = "a date and time with a time zone and at most 3 fraction digits, such as 2025-01-31T12:00:00.123Z"


class Validator:
    """Validates the payloads of one version; get it from `validator`.

    Thread-safe: at worst, two threads compile the same predicate twice.
    """

    def __init__(self, messages: Catalogue, formats: Mapping[str, Format] | None = None) -> None:
        self._catalogue = messages
        self._version: Version = messages.version
        self._formats = FORMATS[messages.version] if formats is None else formats
        self._predicates: dict[tuple[str, Kind], Predicate] = {}
        self._item_predicates: dict[tuple[str, Kind, str], Predicate] = {}
        self._jsonschema: dict[tuple[str, Kind], Any] = {}
        self._throttle = LogThrottle()

    def check(self, action: str, kind: Kind, payload: object) -> ValidationError | None:
        """Return the error of an invalid payload, or None for a valid one.

        An unknown action gets the code NotImplemented (J16 table 7, 4/201 table 8). Raises KeyError for the response to
        a SEND, which does not exist.
        """
        if (action, kind) not in self._predicates and not self._catalogue.known(action):
            return self._unknown(action)
        return None if self.predicate(action, kind)(payload) else self._report(action, kind, payload)

    def predicate(self, action: str, kind: Kind) -> Predicate:
        """Return the function that accepts valid payloads; of what it rejects, `check` decides.

        Raises:
            KeyError: there is no such message.
        """
        found = self._predicates.get((action, kind))
        if found is None:
            found = compile_predicate(self._catalogue.schema(action, kind), self._formats)
            self._predicates[action, kind] = found
        return found

    def validate(self, action: str, kind: Kind, payload: object) -> None:
        """Raise the ValidationError that `check` returns, if any."""
        error = self.check(action, kind, payload)
        if error is not None:
            raise error

    def _unknown(self, action: str) -> ValidationError:
        text = unknown_action([self._catalogue], action)
        return ValidationError(
            text, action=action, errors=(Violation("", text, "action"),), error_code=self._spelled("NotImplemented")
        )

    def _report(self, action: str, kind: Kind, payload: object) -> ValidationError | None:
        errors = self._jsonschema_validator(action, kind).iter_errors(payload)
        found = _violations(self._version, action, payload, errors)
        order = list(_CODES[self._version])
        violations = sorted(islice(found, _MAX_VIOLATIONS), key=lambda violation: order.index(_category(violation)))
        if not violations:
            text = "accepted a %s %s that its predicate rejects, since jsonschema finds no violation"
            self._throttle.log(logger, "", (action, kind), text, action, kind, level=logging.ERROR)
            return None
        return ValidationError(
            _summary(action, kind, violations),
            action=action,
            errors=violations,
            error_code=self._spelled(_CODES[self._version][_category(violations[0])]),
        )

    def _spelled(self, code: str) -> str:
        spelled = spell(code, self._version)
        assert spelled is not None, code
        return spelled

    def _jsonschema_validator(self, action: str, kind: Kind) -> Any:
        key = action, kind
        if key not in self._jsonschema:
            schema = self._catalogue.schema(action, kind)
            overrides = {"items": functools.partial(self._invalid_items, key)}
            self._jsonschema[key] = jsonschema_validator(schema, self._formats, overrides)
        return self._jsonschema[key]

    def _invalid_items(
        self, message: tuple[str, Kind], validator: Any, items: Mapping[str, Any], array: object, schema: object
    ) -> Iterator[Any]:
        """Implement the keyword "items" for jsonschema, on the items that the predicate rejects.

        jsonschema itself takes seconds to walk through a long array, even if every item is valid.
        """
        if isinstance(array, list):
            is_valid = self._item_predicate(message, items)
            for index, item in enumerate(array):
                if not is_valid(item):
                    yield from validator.descend(item, items, path=index)

    def _item_predicate(self, message: tuple[str, Kind], items: Mapping[str, Any]) -> Predicate:
        # Per message: vendor actions may use the same name for different types.
        key = *message, json.dumps(items)
        if key not in self._item_predicates:
            definitions = self._catalogue.schema(*message)["$defs"]
            self._item_predicates[key] = compile_predicate({**items, "$defs": definitions}, self._formats)
        return self._item_predicates[key]


_creating = threading.Lock()  # so that each validator is created once
# As in catalogue.py. What is registered later is acquired earlier: this lock before that one, as elsewhere.
os.register_at_fork(before=_creating.acquire, after_in_parent=_creating.release, after_in_child=_creating.release)


def validator(version: str) -> Validator:
    """Return the shared validator of ``version``; raises ValueError for an unsupported version."""
    with _creating:
        return _create(version)


@functools.cache
def _create(version: str) -> Validator:
    return Validator(catalogue(version))


def jsonschema_validator(
    schema: Mapping[str, Any], formats: Mapping[str, Format], keywords: Mapping[str, Any] | None = None
) -> Any:
    """Return jsonschema's validator for a schema, with this library's rules for numbers and formats.

    ``keywords`` replaces the implementations of further keywords, as functions with jsonschema's signature.
    """
    # Here and not on top: it takes longer to import than this whole library, and most programs never need it.
    import jsonschema.validators  # type: ignore[import-untyped]

    base = jsonschema.Draft202012Validator
    types = base.TYPE_CHECKER.redefine_many(
        {"integer": lambda _, value: is_integer(value), "number": lambda _, value: is_number(value)}
    )
    checker = jsonschema.FormatChecker(formats=())
    for name, rule in formats.items():
        checker.checks(name)(functools.partial(_has_format, rule))
    overrides = {"multipleOf": functools.partial(_multiple_of, jsonschema.ValidationError), **(keywords or {})}
    return jsonschema.validators.extend(base, overrides, type_checker=types)(schema, format_checker=checker)


def _has_format(rule: Format, value: object) -> bool:
    return not isinstance(value, str) or rule(value) is not None


def _multiple_of(
    error: Callable[[str], Any], validator: object, divisor: float, value: Any, schema: object
) -> Iterator[Any]:
    """Implement the keyword "multipleOf" for jsonschema, which gets binary floats wrong."""
    if is_number(value) and not multiple_of(divisor)(value):
        yield error("not a multiple")


def _violations(version: Version, action: str, payload: object, errors: Iterator[Any]) -> Iterator[Violation]:
    """Yield jsonschema's errors as violations, without duplicates."""
    seen: set[Violation] = set()
    for error in errors:
        for violation in _translated(version, action, payload, error):
            if violation not in seen:
                seen.add(violation)
                yield violation


def _translated(version: Version, action: str, payload: object, error: Any) -> Iterator[Violation]:
    """Yield the violations of one jsonschema error."""
    path = list(error.absolute_path)
    if error.validator == "required":
        for name in error.validator_value:
            if name not in error.instance:
                yield Violation(_path([*path, name]), f"{_quoted(name)} is missing", "required")
    elif error.validator == "additionalProperties":
        fields = error.schema.get("properties", {})
        # Not all: a peer may invent thousands, and each costs a look at all the others.
        for name in islice((name for name in error.instance if name not in fields), _MAX_VIOLATIONS):
            is_shown = is_plain_name(name) or not is_secret(action, payload, [*path, name])
            shown = str(name) if is_shown else MASK
            text = f"{_quoted(shown)} is not a field of this object{_hint(shown, fields)}"
            yield Violation(_path([*path, shown]), text, "additionalProperties")
    # A value that is not a string violates both "type" and "enum"; one violation is enough.
    elif error.validator != "enum" or isinstance(error.instance, str):
        secret = is_secret(action, payload, path)
        yield Violation(_path(path), _text(version, path, error, secret=secret), error.validator)


def _text(version: Version, path: Sequence[str | int], error: Any, *, secret: bool) -> str:
    value: Any = error.instance
    limit: Any = error.validator_value
    # A value in the place of an object or an array may be one that belongs to a secret field inside.
    secret = secret or limit in ("object", "array")
    hint = _hint(value, limit) if error.validator == "enum" else ""
    text = _TEXTS[error.validator].format(
        name=_name(path),
        found=_found(value, secret),
        size=len(value) if isinstance(value, (str, list)) else "",
        expected=_expected(version, limit),
    )
    return text + hint


def _expected(version: Version, limit: Any) -> str:
    """Return the value of a keyword as text: a type, a format, the choices of an enum, or a limit."""
    if limit == "date-time" and version != "1.6":
        return _DATE_TIME_2X
    if isinstance(limit, str):
        return _NOUNS[limit]
    if isinstance(limit, list):
        choices = ", ".join(map(_quoted, limit[:_MAX_CHOICES]))
        return f"{choices}, ..." if len(limit) > _MAX_CHOICES else choices
    return str(limit)


def _hint(word: str, candidates: Iterable[str]) -> str:
    nearest = closest(word, candidates)
    return f"; did you mean {_quoted(nearest)}?" if nearest else ""


def _found(value: object, secret: bool) -> str:
    """Return a description of a value with at most 40 of its characters; only its type if it is secret."""
    if value is None:
        return "null"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    if isinstance(value, bool):
        return "a boolean" if secret else str(value).lower()
    if isinstance(value, str):
        return "a string" if secret else _quoted(masked(value))
    if isinstance(value, (int, float)):
        return "a number" if secret else _truncated(json.dumps(value))
    return f"a Python {type(value).__name__}"


def _truncated(text: str) -> str:
    return text if len(text) <= _MAX_QUOTED else text[:_MAX_QUOTED] + "..."


def _quoted(text: str) -> str:
    # As ASCII JSON, so that no line break, control character or lone surrogate reaches a log or a peer.
    return json.dumps(_truncated(text))


def _name(path: Sequence[str | int]) -> str:
    """Return the last name of a path with the indexes after it: ``"key"[3]``."""
    text = ""
    for part in reversed(path):
        if isinstance(part, str):
            return _quoted(part) + text
        text = f"[{part}]{text}"
    return "the payload"


def _path(parts: Sequence[str | int]) -> str:
    """Return a path as text: ``meterValue[0].sampledValue[2].unit``."""
    text = ""
    for part in parts:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part.isascii() and part.isidentifier() and len(part) <= _MAX_QUOTED:
            text += f".{part}" if text else part
        else:
            text += f"[{_quoted(part)}]"
    return text


def _category(violation: Violation) -> str:
    """Return the category of a violation: "shape" if the payload itself has the wrong type."""
    return "shape" if violation.keyword == "type" and not violation.path else _CATEGORIES[violation.keyword]


def _summary(action: str, kind: Kind, violations: Sequence[Violation]) -> str:
    """Return the first violation and the number of others, on one line."""
    path, message, _ = violations[0]
    where = f"{path}: " if path else ""
    more = f" (+{len(violations) - 1} more)" if len(violations) > 1 else ""
    return f"{action} {kind}: {where}{message}{more}"
