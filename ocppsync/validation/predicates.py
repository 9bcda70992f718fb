"""Compiles a JSON schema to a Python function that returns True or False, a hundred times faster than jsonschema.

Each object and each array of the schema becomes one function without loops over keywords; a shared type is compiled
once, and may contain itself. No text of the schema becomes code: names enter the source as the repr of a string, limits
as the repr of a checked number, and everything else through the namespace.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
# The test for each type that is not a container.
_TYPES: Mapping[str | None, str] = {
    "string": "isinstance(x, str)",
    "integer": "(x.__class__ is int or is_integer(x))",
    "number": "(x.__class__ is int or is_number(x))",
    "boolean": "isinstance(x, bool)",
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


def compile_predicate(schema: Schema, formats: Mapping[str, Format]) -> Predicate:
    """Return the function that validates payloads against ``schema``, which has the shared types in ``$defs``.

    Raises ValueError, with the keyword and its place, for anything unsupported in the schema.
    """
    compiler = _Compiler(schema.get("$defs", {}), formats)
    return compiler.compile({keyword: value for keyword, value in schema.items() if keyword != "$defs"})


class _Compiler:
    """Writes the source of one predicate; its methods return expressions over ``x``, the value to validate."""

    def __init__(self, definitions: Schema, formats: Mapping[str, Format]) -> None:
        self._definitions = definitions
        self._formats = formats
        self._source: list[str] = []
        self._functions: dict[str, str] = {}
        self._namespace: dict[str, Any] = {"is_integer": is_integer, "is_number": is_number}

    def compile(self, schema: Schema) -> Predicate:
        self._source.append(f"def predicate(x):\n return {self._expression(schema, '#')}")
        exec(compile("\n".join(self._source), "<predicate of an OCPP message>", "exec"), self._namespace)
        predicate: Predicate = self._namespace["predicate"]
        return predicate

    def _expression(self, schema: Schema, place: str) -> str:
        if "$ref" in schema:
            return self._reference(schema, place)
        kind = _checked_type(schema, place)
        if kind in _TYPES:
            return self._scalar(_TYPES[kind], schema, place)
        return self._call(schema, place)

    def _reference(self, schema: Schema, place: str) -> str:
        reference = schema["$ref"]
        prefix, _, name = reference.rpartition("/")
        if prefix != "#/$defs" or not name.isidentifier() or name not in self._definitions:
            raise ValueError(f"$ref {reference!r} refers to no type in $defs, at {place}")
        if schema.keys() - {"$ref"} - _ANNOTATIONS:
            raise ValueError(
                f"only annotations such as 'default' are supported beside $ref, not {', '.join(schema)}, at {place}"
            )
        target = self._definitions[name]
        if _checked_type(target, reference) in _TYPES:
            return self._expression(target, reference)
        return self._functions.get(name) or self._call(target, reference, name)

    def _call(self, schema: Schema, place: str, shared: str = "") -> str:
        function = self._name("check")
        if shared:
            # Before writing the body, which may refer to this very type.
            self._functions[shared] = f"{function}(x)"
        write = self._object if schema["type"] == "object" else self._array
        self._source += write(function, schema, place)
        return f"{function}(x)"

    def _object(self, function: str, schema: Schema, place: str) -> list[str]:
        properties, required = schema.get("properties", {}), schema.get("required", ())
        missing = "".join(f" or {name!r} not in v" for name in required)
        lines = [
            f"def {function}(v):",
            f" if not isinstance(v, dict){missing}: return False",
            f" n = {len(properties.keys() & set(required))}",
        ]
        for name, field in properties.items():
            test = f"x = v[{name!r}]", f"if not ({self._expression(field, f'{place}/{name}')}): return False"
            indent = " " if name in required else "  "
            lines += [] if name in required else [f" if {name!r} in v:", "  n += 1"]
            lines += [indent + line for line in test]
        # Any property beyond the counted ones is an additional one.
        return [*lines, " return True" if _is_open(schema, place) else " return n == len(v)"]

    def _array(self, function: str, schema: Schema, place: str) -> list[str]:
        bounds = "".join(_limit(schema, keyword, place) for keyword in ("minItems", "maxItems"))
        return [
            f"def {function}(x):",
            f" if not (isinstance(x, list){bounds}): return False",
            " for x in x:",
            f"  if not ({self._expression(schema.get('items', {}), f'{place}[]')}): return False",
            " return True",
        ]

    def _scalar(self, type_test: str, schema: Schema, place: str) -> str:
        test = type_test
        for keyword, value in schema.items():
            if keyword == "enum":
                # A subclass of str, such as a case-insensitive one, may equal a choice and have another hash.
                test += f" and (x in {self._constant(frozenset(value))} or x in {self._constant(tuple(value))})"
            elif keyword == "format":
                test += f" and {self._format(value, place)}(x) is not None"
            elif keyword == "multipleOf":
                test += f" and {self._multiple(value, place)}(x)"
            else:
                test += _limit(schema, keyword, place)
        return test

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
