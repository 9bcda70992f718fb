"""Every exception of the package crosses from one process to another, and is copied, with all that it says."""

from __future__ import annotations

import copy
import importlib
import inspect
import multiprocessing
import pickle
import pkgutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest
from support import DEADLINE
from workers import fail_with

import ocppsync
from ocppsync.errors import CallError, ConnectionLostError, HandshakeError, OCPPError, ValidationError, Violation

SAMPLES: dict[str, Any] = {
    "action": "Reset",
    "charge_point_id": "CP1",
    "code": "NotSupported",
    "delivery": "unknown",
    "description": "not here",
    "details": {"key": ["value", 1.5, None]},
    "error_code": "GenericError",
    "errors": [Violation("idTag", "too long", "maxLength")],
    "headers": [("Allow", "GET")],
    "http_status": 404,
    "level": 10,
    "masked_description": "not h***",
    "message": "it failed",
    "message_id": "7",
    "message_type": 2,
    "payload": {"status": ["Accepted"]},
    "peer": "the central system",
    "raw_code": "notsupported",
    "reason": "it is refused",
    "reason_code": "InvalidProfile",
    "status": 401,
    "text": "it is wrong",
    "validation_error": ValidationError("wrong", action="Reset", errors=[], error_code="GenericError"),
    "written": True,
}
"""One argument for each parameter of the exceptions."""

WAYS: list[Any] = [
    *(pytest.param(lambda error, p=p: pickle.loads(pickle.dumps(error, p)), id=f"protocol-{p}") for p in range(6)),
    copy.copy,
    copy.deepcopy,
]


def exception_classes() -> Iterator[type[Exception]]:
    """Yield every exception class that a module of the package defines."""
    for module in pkgutil.walk_packages(ocppsync.__path__, "ocppsync."):
        if module.name != "ocppsync.__main__":
            for found in vars(importlib.import_module(module.name)).values():
                if isinstance(found, type) and issubclass(found, Exception) and found.__module__ == module.name:
                    yield found


def made(kind: type[Exception], *, bare: bool) -> Exception:
    """Return one with an argument for each parameter; ``bare``: only for those that must have one."""
    arguments = {}
    if kind.__init__ is Exception.__init__:
        return kind(SAMPLES["message"])
    for name, parameter in inspect.signature(kind).parameters.items():
        if not bare or parameter.default is parameter.empty:
            assert name in SAMPLES, f"SAMPLES has no argument for the parameter {name!r} of {kind.__name__}: add one"
            arguments[name] = SAMPLES[name]
    return kind(**arguments)


def told(error: Any) -> Any:
    """Return all that an exception says, to compare it."""
    if not isinstance(error, BaseException):
        return error
    attributes = {name: told(value) for name, value in vars(error).items()}
    return type(error), error.args, str(error), attributes, told(error.__cause__), error.__suppress_context__


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", list(exception_classes()))
def test_every_exception_survives(kind: type[Exception], way: Callable[[Exception], Exception], bare: bool) -> None:
    error = made(kind, bare=bare)
    assert told(way(error)) == told(error)
    error.attempts = 3  # type: ignore[attr-defined]
    if issubclass(kind, OCPPError):
        error.__cause__ = ValueError("why")
    assert repr(told(way(error))) == repr(told(error))


def test_all_of_them_are_found() -> None:
    names = {kind.__name__ for kind in exception_classes()}
    assert {*filter(lambda name: name.endswith(("Error", "Received")), ocppsync.errors.__all__)} <= names
    assert "TransportClosedError" in names


class OutOfOrderError(CallError):
    """An application's own, with parameters of its own."""

    def __init__(self, connector: int, *, since: str) -> None:
        super().__init__("GenericError", f"connector {connector} is out of order", {"since": since})
        self.connector = connector


@pytest.mark.parametrize("way", WAYS)
def test_an_exception_class_of_an_application_survives(way: Callable[[Exception], Exception]) -> None:
    error = OutOfOrderError(2, since="yesterday")
    assert told(way(error)) == told(error)


class KeywordOnlyError(Exception):
    """Another library's: it is pickled, but cannot be unpickled."""

    def __init__(self, *, why: str) -> None:
        super().__init__(why)


@pytest.mark.parametrize(
    "cause",
    [
        OSError(threading.Lock()),
        KeywordOnlyError(why="x"),
        CallError("GenericError", details={"lock": threading.Lock()}),  # as an application's own may hold
    ],
)
@pytest.mark.parametrize("way", WAYS)
def test_a_cause_that_cannot_be_pickled_stays_behind(
    way: Callable[[Exception], Exception], cause: BaseException
) -> None:
    error = HandshakeError("no", status=401)
    error.__cause__ = cause
    other = way(error)
    assert (str(other), vars(other), other.__cause__) == ("no", {"status": 401}, None)


def test_the_causes_of_a_long_chain_are_looked_at_once_each() -> None:
    error: Exception = HandshakeError("0")
    for number in range(1, 100):
        following = HandshakeError(str(number))
        following.__cause__ = error
        error = following
    assert told(pickle.loads(pickle.dumps(error))) == told(error)


def test_a_copy_keeps_its_cause_itself() -> None:
    error = HandshakeError("no")
    error.__cause__ = OSError("why")
    assert copy.copy(error).__cause__ is error.__cause__


@pytest.mark.slow
def test_a_worker_process_gets_and_raises_one() -> None:
    error = ConnectionLostError("lost", charge_point_id="CP1", action="Reset", message_id="7", delivery="unknown")
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        raised = pool.submit(fail_with, error).exception(6 * DEADLINE)
    assert isinstance(raised, ConnectionLostError)
    assert vars(raised) == {**vars(error), "message_id": "there and back"}
    assert raised.args == ("lost",)
    assert "TransportClosedError: broken" in str(raised.__cause__)
