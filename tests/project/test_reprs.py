"""What holds payloads, texts of peers or credentials shows none of them in its repr, which may reach a log."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Iterator
from typing import Any

import ocppsync
from ocppsync.request import Request

_WORDS = (
    *("payload", "text", "answer", "details", "description", "query", "value"),
    *("password", "secret", "salt", "key", "token", "tag", "hash"),
)
TELLING = re.compile(rf"(?:\w+_)?(?:{'|'.join(_WORDS)})")
KNOWN = {
    "ocppsync.rpc.frame_codec._Rules.longest_description",  # a number
    "ocppsync.rpc.engine.Settle.answer",  # a frame, which hides its own
    "ocppsync.server.admission.UpgradeDecision.key",  # the Sec-WebSocket-Key
    "ocppsync.answers.settings_16.Setting.key",  # a name
    "ocppsync.testing.script.ReceivedCall.payload",  # a test is to show what came
    "ocppsync.testing.script.Expectation.payload",
}
"""What may be shown."""


def classes() -> Iterator[type[Any]]:
    for info in pkgutil.walk_packages(ocppsync.__path__, "ocppsync."):
        if not info.name.endswith("__main__") and not re.search(r"\.(flask|v\d+)$", info.name):
            for value in vars(importlib.import_module(info.name)).values():
                if isinstance(value, type) and value.__module__ == info.name:
                    yield value


def ast_names(owner: type[Any]) -> frozenset[str]:
    """Return the names of the methods that a class defines in its source."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
    assert isinstance(definition, ast.ClassDef)
    return frozenset(node.name for node in definition.body if isinstance(node, ast.FunctionDef))


def shown(owner: type[Any]) -> Iterator[str]:
    """Yield the names of fields that the repr of a class shows."""
    if dataclasses.is_dataclass(owner):
        # Not a __repr__ of its own, which is in the class's source.
        if "__repr__" not in ast_names(owner):
            yield from (field.name for field in dataclasses.fields(owner) if field.repr)
    elif issubclass(owner, tuple) and hasattr(owner, "_fields") and "__repr__" not in vars(owner):
        yield from vars(owner)["_fields"]


def test_no_repr_shows_what_may_be_secret() -> None:
    found = {
        f"{owner.__module__}.{owner.__qualname__}.{name}"
        for owner in classes()
        for name in shown(owner)
        if TELLING.fullmatch(name)
    }
    assert found == KNOWN


def test_a_request_shows_its_payload_without_secrets() -> None:
    request = Request("ChangeConfiguration", {"key": "AuthorizationKey", "value": "s3cret"})
    assert repr(request) == (
        "Request(action='ChangeConfiguration', payload={'key': 'AuthorizationKey', 'value': '***'}, version='1.6')"
    )


def test_the_check_finds_what_is_shown() -> None:
    @dataclasses.dataclass
    class Shown:
        payload: str
        hidden: str = dataclasses.field(repr=False)

    assert list(shown(Shown)) == ["payload"]
