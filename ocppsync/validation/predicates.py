"""Compiles a JSON schema to a Python function that returns True or False, a hundred times faster than jsonschema.

The function has no loops over keywords. Objects and arrays are tested where they stand; a shared type that is used more
than once becomes a function of its own, and may contain itself. No text of the schema becomes code: names enter the
source as the repr of a string, limits as the repr of a checked number, and everything else through the namespace.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import isfinite
from typing import Any

from .formats import Format, is_integer, is_number, multiple_of

__all__ = ["Predicate", "compile_predicate"]

Predicate = Callable[[Any], bool]
"""Takes a payload and returns whether it is valid."""
Schema = Mapping[str, Any]

# The supported keywords, by type; None stands for a schema without a type, which accepts any JSON.
_KEYWORDS: Mapping[str | None, frozenset[str]] = {
    "object": frozenset({"required", "properties", "additionalProperties"}),
    "array": frozenset({"items", "minItems", "maxItems"}),
    "string": frozenset({"enum", "minLength", "maxLength", "format"}),
    "integer": frozenset({"minimum", "maximum", "multipleOf"}),
    "number": frozenset({"minimum", "maximum", "multipleOf"}),
    "boolean": frozenset(),
    None: frozenset(),
}
# Keywords without effect on validation; the schemas of vendor actions often have them.
_ANNOTATIONS = frozenset(
    {"$comment", "$id", "$schema", "comment", "default", "deprecated", "description", "examples", "javaType", "title"}
)
# The test for each type that is not a container. Values from JSON have exactly these classes. A look at the class takes
# 0.6 of the time of isinstance, and for a float 0.4 of that of is_number; with both, a message takes 0.9 of its time.
_TYPES: Mapping[str | None, str] = {
    "string": "(x.__class__ is str or isinstance(x, str))",
    "integer": "(x.__class__ is int or is_integer(x))",
    "number": "(x.__class__ is int or x.__class__ is float and isfinite(x) or is_number(x))",
    "boolean": "(x is True or x is False)",
    None: "True",
}
_LIMITS: Mapping[str, str] = {
    "minLength": "len(x) >= {}",
    "maxLength": "len(x) <= {}",
    "minItems": "len(x) >= {}",
    "maxItems": "len(x) <= {}",
    "minimum": "x >= {}",
    "maximum": "x <= {}",
}

# What lies deeper inside objects and arrays becomes a function: Python limits the nesting of loops and of lines.
_MAX_DEPTH = 8


def compile_predicate(schema: Schema, formats: Mapping[str, Format]) -> Predicate:
    """Return the function that validates payloads against ``schema``, which has the shared types in ``$defs``.

    Raises ValueError, with the keyword and its place, for anything unsupported in the schema.
    """
    definitions: Schema = schema.get("$defs", {})
    root = {keyword: value for keyword, value in schema.items() if keyword != "$defs"}
    return _Compiler(definitions, formats, _uses(root, definitions)).compile(root)


class _Compiler:
    """Writes the source of one predicate.

    Most methods return lines that test a value, given as an expression. These return False for an invalid value, and
    run to their end for a valid one. There, ``x`` is a scalar or an array, and ``v1`` an object at depth 1.
    """

    def __init__(self, definitions: Schema, formats: Mapping[str, Format], uses: Mapping[str, int]) -> None:
        self._definitions = definitions
        self._formats = formats
        self._uses = uses
        self._source: list[str] = []
        self._functions: dict[str, str] = {}
        self._namespace: dict[str, Any] = {
            function.__name__: function for function in (_has_fields, _is_choice, is_integer, is_number, isfinite)
        }

    def compile(self, schema: Schema) -> Predicate:
        body = _indented(self._test("value", schema, "#"), 2)
        # Any object inside raises the KeyError if a required field is missing.
        self._source += [
            "def predicate(value):",
            " try:",
            *body,
            "  return True",
            " except KeyError:",
            "  return False",
        ]
        exec(compile("\n".join(self._source), "<predicate of an OCPP message>", "exec"), self._namespace)
        predicate: Predicate = self._namespace["predicate"]
        return predicate

    def _test(self, value: str, schema: Schema, place: str, depth: int = 0) -> list[str]:
        if "$ref" in schema:
            return self._reference(value, schema, place, depth)
        kind = _checked_type(schema, place)
        if kind in _TYPES:
            return self._scalar(value, kind, schema, place)
        if depth == _MAX_DEPTH:
            return [f"if not {self._function(schema, place)}({value}): return False"]
        write = self._object if kind == "object" else self._array
        return write(value, schema, place, depth)

    def _reference(self, value: str, schema: Schema, place: str, depth: int) -> list[str]:
        reference = schema["$ref"]
        prefix, _, name = reference.rpartition("/")
        if prefix != "#/$defs" or not name.isidentifier() or name not in self._definitions:
            raise ValueError(f"$ref {reference!r} refers to no type in $defs, at {place}")
        if schema.keys() - {"$ref"} - _ANNOTATIONS:
            raise ValueError(
                f"only annotations such as 'default' are supported beside $ref, not {', '.join(schema)}, at {place}"
            )
        target = self._definitions[name]
        # A message takes 0.92 of the time without the calls of functions that are used once.
        if _checked_type(target, reference) in _TYPES or self._uses[name] == 1:
            return self._test(value, target, reference, depth)
        function = self._functions.get(name) or self._function(target, reference, name)
        return [f"if not {function}({value}): return False"]

    def _function(self, schema: Schema, place: str, shared: str = "") -> str:
        function = self._name("check")
        if shared:
            # Before writing the body, which may refer to this very type.
            self._functions[shared] = function
        self._source += [f"def {function}(value):", *_indented(self._test("value", schema, place)), " return True"]
        return function

    def _object(self, value: str, schema: Schema, place: str, depth: int) -> list[str]:
        properties, required = schema.get("properties", {}), schema.get("required", ())
        v = f"v{depth}"
        tests = {
            name: self._test(f"{v}[{name!r}]", field, f"{place}/{name}", depth + 1)
            for name, field in properties.items()
        }
        lines = [
            f"{v} = {value}",
            # A dict itself raises KeyError for a missing field: a message takes 0.9 of the time of looking for each
            # field before reading it. A subclass may do something else, such as create the field.
            f"if {v}.__class__ is not dict and not _has_fields({v}, {self._constant(tuple(required))}): return False",
        ]
        for name in required:
            lines += tests.pop(name, [f"{v}[{name!r}]"])
        if _is_open(schema, place):
            return [*lines, *(line for name, test in tests.items() for line in _if_present(v, name, test))]
        return [*lines, *_closed(v, f"left{depth}", len(properties.keys() & set(required)), tests)]

    def _array(self, value: str, schema: Schema, place: str, depth: int) -> list[str]:
        bounds = "".join(_limit(schema, keyword, place) for keyword in ("minItems", "maxItems"))
        return [
            f"x = {value}",
            f"if not ((x.__class__ is list or isinstance(x, list)){bounds}): return False",
            "for value in x:",
            *_indented(self._test("value", schema.get("items", {}), f"{place}[]", depth + 1)),
        ]

    def _scalar(self, value: str, kind: str | None, schema: Schema, place: str) -> list[str]:
        test = self._choice(schema["enum"]) if "enum" in schema else _TYPES[kind]
        for keyword, limit in schema.items():
            if keyword == "format":
                test += f" and {self._format(limit, place)}(x) is not None"
            elif keyword == "multipleOf":
                test += f" and {self._multiple(limit, place)}(x)"
            else:
                test += _limit(schema, keyword, place)
        return [f"x = {value}", f"if not ({test}): return False"]

    def _choice(self, choices: Iterable[Any]) -> str:
        name = self._constant(frozenset(choices))
        return f"(x.__class__ is str and x in {name} or _is_choice(x, {name}))"

    def _format(self, name: str, place: str) -> str:
        if name not in self._formats:
            raise ValueError(f"format {name!r} is not supported, at {place}")
        return self._constant(self._formats[name])

    def _multiple(self, divisor: Any, place: str) -> str:
        try:
            return self._constant(multiple_of(divisor))
        except ValueError as error:
            raise ValueError(f"{error}, at {place}") from None

    def _constant(self, value: Any) -> str:
        name = self._name("constant")
        self._namespace[name] = value
        return name

    def _name(self, prefix: str) -> str:
        name = f"{prefix}_{len(self._namespace)}"
        # Reserves the name; a function replaces the None when the source runs.
        self._namespace[name] = None
        return name


def _has_fields(value: object, names: Iterable[str]) -> bool:
    return isinstance(value, dict) and all(name in value for name in names)


def _is_choice(value: object, choices: Iterable[str]) -> bool:
    # A subclass of str, such as a case-insensitive one, may equal a choice and have another hash.
    return isinstance(value, str) and value in tuple(choices)


def _closed(v: str, left: str, known: int, tests: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the tests of the optional fields of an object that has no others; ``known`` fields are tested already."""
    if not tests:
        return [f"if len({v}) != {known}: return False"]
    *others, last = tests
    lines = [line for name in others for line in _if_present(v, name, [f"{left} -= 1", *tests[name]])]
    # What is left now must be the last field. That of 2.x is customData, which few messages have: a message takes 0.97
    # of the time of looking for it in each object.
    lines += [f"if {left}:", f" if {left} != 1 or {last!r} not in {v}: return False", *_indented(tests[last])]
    # An object often has no optional fields at all: a MeterValues with plain values takes 0.8 of the time.
    return [f"{left} = len({v}) - {known}", *([f"if {left}:", *_indented(lines)] if others else lines)]


def _if_present(v: str, name: str, test: Iterable[str]) -> list[str]:
    return [f"if {name!r} in {v}:", *_indented(test)]


def _indented(lines: Iterable[str], depth: int = 1) -> list[str]:
    return [" " * depth + line for line in lines]


def _uses(schema: Schema, definitions: Schema) -> Mapping[str, int]:
    """Return how often a schema refers to each shared type, itself and through others."""
    uses: Counter[str] = Counter()
    parts: list[Any] = [schema]
    while parts:
        part = parts.pop()
        if not isinstance(part, Mapping):
            continue  # the compiler will refuse it
        if "$ref" in part:
            name = str(part["$ref"]).rpartition("/")[2]
            uses[name] += 1
            if uses[name] == 1:
                parts.append(definitions.get(name))
        fields = part.get("properties")
        parts += fields.values() if isinstance(fields, Mapping) else ()
        parts.append(part.get("items"))
    return uses


def _checked_type(schema: Schema, place: str) -> str | None:
    """Return the type of a schema, after checking that all its keywords are supported."""
    kind = schema.get("type")
    if not isinstance(kind, str | None) or kind not in _KEYWORDS:
        raise ValueError(f"type {kind!r} is not supported, at {place}")
    for keyword in schema:
        if keyword not in _KEYWORDS[kind] and keyword != "type" and keyword not in _ANNOTATIONS:
            raise ValueError(f"keyword {keyword!r} is not supported for type {kind!r}, at {place}")
    return kind


def _limit(schema: Schema, keyword: str, place: str) -> str:
    """Return the condition that a limit adds; empty for a keyword that is absent or not a limit."""
    if keyword not in schema or keyword not in _LIMITS:
        return ""
    limit = schema[keyword]
    if not is_number(limit):
        raise ValueError(f"{keyword} {limit!r} is not supported, at {place}")
    return " and " + _LIMITS[keyword].format(limit)


def _is_open(schema: Schema, place: str) -> bool:
    """Return whether an object may have properties beyond those in its schema."""
    additional = schema.get("additionalProperties", True)
    if not isinstance(additional, bool):
        raise ValueError(f"additionalProperties {additional!r} is not supported, at {place}")
    return additional
