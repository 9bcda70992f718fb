"""Holds payloads against the schema of their message.

A compiled predicate says yes or no. Only after a no, jsonschema is asked what is wrong; should it find nothing, the
payload is accepted, for it is the judge.
"""

from __future__ import annotations

import functools
import json
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from ..errors import ValidationError, Violation, spell
from .catalogue import Catalogue, Kind, Version, catalogue, closest, unknown_action
from .formats import FORMATS, Format, is_integer, is_number, multiple_of
from .predicates import Predicate, compile_predicate

__all__ = ["Validator", "judge", "validator"]

logger = logging.getLogger(__name__)

# A message can hold any number of mistakes, and a report is for people.
_MAX_VIOLATIONS = 20
_MAX_CHARACTERS = 40
_MAX_CHOICES = 8

# The sorts of violation, the most telling first, and the code that stands for each. No specification maps the
# keywords of a schema to codes. For a bad value CE16 3.24, 3.38 and 3.39 name theirs; for too many elements B06.FR.16,
# B08.FR.17 and N06.FR.06 of 2/201. What 1.6 calls FormationViolation 2.x parts in two (4/201 table 8): FormatViolation
# for the syntax, ProtocolError for the shape of the message.
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
_SORTS: Mapping[str, str] = {
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
# A zone and few digits are what the date-times of 2.x have to have (2/201 §2.1.4), and often lack.
_DATE_TIME_2X = "a date and time with its zone and at most 3 fraction digits, such as 2025-01-31T12:00:00.123Z"
# Fields whose values no log and no peer may see: configuration keys and variables such as AuthorizationKey and
# BasicAuthPassword, wherever their values are set, reported or watched; addresses that hold a password or a ticket;
# what is known of a customer, and what only a vendor knows.
_SECRETS: frozenset[tuple[str, str]] = frozenset(
    {
        ("ChangeConfiguration", "value"),
        ("DataTransfer", "data"),
        ("GetConfiguration", "value"),
        ("GetDiagnostics", "location"),
        ("GetLog", "remoteLocation"),
        ("GetVariables", "attributeValue"),
        ("NotifyCustomerInformation", "data"),
        ("NotifyEvent", "actualValue"),
        ("NotifyPeriodicEventStream", "v"),
        ("NotifyReport", "value"),
        ("NotifySettlement", "receiptUrl"),
        ("PublishFirmware", "location"),
        ("PublishFirmwareStatusNotification", "location"),
        ("SetNetworkProfile", "apnPassword"),
        ("SetNetworkProfile", "basicAuthPassword"),
        ("SetNetworkProfile", "key"),
        ("SetNetworkProfile", "ocppCsmsUrl"),
        ("SetNetworkProfile", "password"),
        ("SetNetworkProfile", "simPin"),
        ("SetVariables", "attributeValue"),
        ("SignedUpdateFirmware", "location"),
        ("UpdateFirmware", "location"),
    }
)


class Validator:
    """Judges the payloads of one version; made by `validator`.

    Safe from any thread: the worst that two at once can do is compile the same predicate twice.
    """

    def __init__(self, messages: Catalogue, formats: Mapping[str, Format] | None = None) -> None:
        self._catalogue = messages
        self._version: Version = messages.version
        self._formats = FORMATS[messages.version] if formats is None else formats
        self._predicates: dict[tuple[str, Kind], Predicate] = {}
        self._item_predicates: dict[tuple[str, Kind, str], Predicate] = {}
        self._judges: dict[tuple[str, Kind], Any] = {}

    def check(self, action: str, kind: Kind, payload: object) -> ValidationError | None:
        """Return what is wrong with a payload, or None if nothing is.

        An unknown action is reported with the code NotImplemented (J16 table 7, 4/201 table 8). Raises KeyError for
        the response to a SEND, for there is none.
        """
        try:
            predicate = self._predicates[action, kind]
        except KeyError:
            if not self._catalogue.known(action):
                return self._unknown(action)
            predicate = compile_predicate(self._catalogue.schema(action, kind), self._formats)
            self._predicates[action, kind] = predicate
        return None if predicate(payload) else self._report(action, kind, payload)

    def validate(self, action: str, kind: Kind, payload: object) -> None:
        """Raise the ValidationError that `check` would return."""
        error = self.check(action, kind, payload)
        if error is not None:
            raise error

    def _unknown(self, action: str) -> ValidationError:
        text = unknown_action([self._catalogue], action)
        return ValidationError(
            text, action=action, errors=(Violation("", text, "action"),), error_code=self._spelled("NotImplemented")
        )

    def _report(self, action: str, kind: Kind, payload: object) -> ValidationError | None:
        found = _violations(self._version, action, self._judge(action, kind).iter_errors(payload))
        sorts = list(_CODES[self._version])
        violations = sorted(islice(found, _MAX_VIOLATIONS), key=lambda violation: sorts.index(_sort(violation)))
        if not violations:
            logger.error("jsonschema finds no fault with a %s %s that its predicate refused; accepted", action, kind)
            return None
        return ValidationError(
            _summary(action, kind, violations),
            action=action,
            errors=violations,
            error_code=self._spelled(_CODES[self._version][_sort(violations[0])]),
        )

    def _spelled(self, code: str) -> str:
        spelled = spell(code, self._version)
        assert spelled is not None, code
        return spelled

    def _judge(self, action: str, kind: Kind) -> Any:
        key = action, kind
        if key not in self._judges:
            schema = self._catalogue.schema(action, kind)
            self._judges[key] = judge(schema, self._formats, {"items": functools.partial(self._wrong_items, key)})
        return self._judges[key]

    def _wrong_items(
        self, message: tuple[str, Kind], judge: Any, items: Mapping[str, Any], array: object, schema: object
    ) -> Iterator[Any]:
        """The keyword "items" for jsonschema, over those items only that the predicate refuses.

        jsonschema takes seconds to walk through a long array, whether anything in it is wrong or not.
        """
        if isinstance(array, list):
            fits = self._item_predicate(message, items)
            for index, item in enumerate(array):
                if not fits(item):
                    yield from judge.descend(item, items, path=index)

    def _item_predicate(self, message: tuple[str, Kind], items: Mapping[str, Any]) -> Predicate:
        # By message: a vendor's own types go by names that may mean others elsewhere.
        key = *message, json.dumps(items)
        if key not in self._item_predicates:
            definitions = self._catalogue.schema(*message)["$defs"]
            self._item_predicates[key] = compile_predicate({**items, "$defs": definitions}, self._formats)
        return self._item_predicates[key]


_making = threading.Lock()  # so that each validator is made once


def validator(version: str) -> Validator:
    """Return the validator of ``version``, which all share; raises ValueError for a version that this library does not
    speak.
    """
    with _making:
        return _made(version)


@functools.cache
def _made(version: str) -> Validator:
    return Validator(catalogue(version))


def judge(schema: Mapping[str, Any], formats: Mapping[str, Format], keywords: Mapping[str, Any] | None = None) -> Any:
    """Return jsonschema's validator for a schema, with this library's rules for numbers and formats.

    ``keywords`` replaces further keywords by functions in jsonschema's way.
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
    error: Callable[[str], Any], judge: object, divisor: float, value: Any, schema: object
) -> Iterator[Any]:
    """The keyword "multipleOf" for jsonschema, whose own trips over binary floats."""
    if is_number(value) and not multiple_of(divisor)(value):
        yield error("not a multiple")


def _violations(version: Version, action: str, errors: Iterator[Any]) -> Iterator[Violation]:
    """Yield what is wrong in our words, each thing once."""
    seen: set[Violation] = set()
    for error in errors:
        for violation in _explained(version, action, error):
            if violation not in seen:
                seen.add(violation)
                yield violation


def _explained(version: Version, action: str, error: Any) -> Iterator[Violation]:
    """Yield the violations behind one error of jsonschema's."""
    path = list(error.absolute_path)
    if error.validator == "required":
        for name in error.validator_value:
            if name not in error.instance:
                yield Violation(_path([*path, name]), f"{_quoted(name)} is missing", "required")
    elif error.validator == "additionalProperties":
        fields = error.schema.get("properties", {})
        for name in (str(name) for name in error.instance if name not in fields):
            text = f"{_quoted(name)} is no field of this object{_hint(name, fields)}"
            yield Violation(_path([*path, name]), text, "additionalProperties")
    # A value that is no string is none of the choices either, but its type says all.
    elif error.validator != "enum" or isinstance(error.instance, str):
        yield Violation(_path(path), _text(version, action, path, error), error.validator)


def _text(version: Version, action: str, path: Sequence[str | int], error: Any) -> str:
    value: Any = error.instance
    wanted: Any = error.validator_value
    # Whatever stands in the place of an object or an array may be what belongs deeper inside.
    secret = wanted in ("object", "array") or any((action, part) in _SECRETS for part in path)
    hint = _hint(value, wanted) if error.validator == "enum" else ""
    text = _TEXTS[error.validator].format(
        name=_name(path),
        found=_found(value, secret),
        size=len(value) if isinstance(value, (str, list)) else "",
        expected=_expected(version, wanted),
    )
    return text + hint


def _expected(version: Version, wanted: Any) -> str:
    """Return a keyword's value in words: a type, a format, the choices of an enum, or a limit."""
    if wanted == "date-time" and version != "1.6":
        return _DATE_TIME_2X
    if isinstance(wanted, str):
        return _NOUNS[wanted]
    if isinstance(wanted, list):
        choices = ", ".join(map(_quoted, wanted[:_MAX_CHOICES]))
        return f"{choices}, ..." if len(wanted) > _MAX_CHOICES else choices
    return str(wanted)


def _hint(word: str, candidates: Iterable[str]) -> str:
    nearest = closest(word, candidates)
    return f"; did you mean {_quoted(nearest)}?" if nearest else ""


def _found(value: object, secret: bool) -> str:
    """Return a value in words, and no more than a few of its characters; only its type if it is secret."""
    if value is None:
        return "null"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    if isinstance(value, bool):
        return "a boolean" if secret else str(value).lower()
    if isinstance(value, str):
        return "a string" if secret else _quoted(value)
    if isinstance(value, (int, float)):
        return "a number" if secret else _cut(json.dumps(value))
    return f"a Python {type(value).__name__}"


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_CHARACTERS else text[:_MAX_CHARACTERS] + "..."


def _quoted(text: str) -> str:
    # As JSON in ASCII, so that no line break, control character or half a surrogate pair reaches a log or a peer.
    return json.dumps(_cut(text))


def _name(path: Sequence[str | int]) -> str:
    """Return the last name of a path with the indexes that follow it: ``"key"[3]``."""
    text = ""
    for part in reversed(path):
        if isinstance(part, str):
            return _quoted(part) + text
        text = f"[{part}]{text}"
    return "the payload"


def _path(parts: Sequence[str | int]) -> str:
    """Return a path as one writes it: ``meterValue[0].sampledValue[2].unit``."""
    text = ""
    for part in parts:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part.isascii() and part.isidentifier() and len(part) <= _MAX_CHARACTERS:
            text += f".{part}" if text else part
        else:
            text += f"[{_quoted(part)}]"
    return text


def _sort(violation: Violation) -> str:
    """Return which sort of violation it is; the payload itself has no shape at all if its type is wrong."""
    return "shape" if violation.keyword == "type" and not violation.path else _SORTS[violation.keyword]


def _summary(action: str, kind: Kind, violations: Sequence[Violation]) -> str:
    """Return the report in one line."""
    path, message, _ = violations[0]
    where = f"{path}: " if path else ""
    more = f" (+{len(violations) - 1} more)" if len(violations) > 1 else ""
    return f"{action} {kind}: {where}{message}{more}"
