"""The names of functions in the log: never with what they are bound to."""

from __future__ import annotations

import functools
import types
from typing import Any
from unittest.mock import Mock

import pytest

from ocppsync import CentralSystem
from ocppsync.testing.script import shown
from ocppsync.threads.callables import name_of
from ocppsync.threads.pool import run_logged
from ocppsync.threads.timer import Timer

SECRET = "s3cretKey"
HERE = __name__


def fail(*args: object, **options: object) -> Any:
    raise RuntimeError("it failed")


class Telling:
    """Its repr shows a secret, and so does all that is bound to it."""

    def __repr__(self) -> str:
        return SECRET

    def __call__(self, *args: object) -> None:
        fail()

    def method(self, *args: object) -> None:
        fail()

    part = functools.partialmethod(method, SECRET)


class Evasive:
    """Whatever it is asked fails."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(SECRET)

    def __call__(self, *args: object) -> None:
        fail()


class Pretending(type):
    """The class of a class that says something else of itself."""

    @property
    def __module__(cls) -> str:  # type: ignore[override]
        raise RuntimeError(SECRET)


class Pretender(metaclass=Pretending):
    def __call__(self, *args: object) -> None:
        fail()


@functools.wraps(fail)
def wrapped(*args: object) -> None:
    fail()


named = Telling()
named.__qualname__ = named.__name__ = SECRET  # type: ignore[attr-defined]
FUNCTIONS: list[tuple[Any, str]] = [
    (fail, f"{HERE}.fail"),
    (functools.partial(fail, SECRET, key=SECRET), f"{HERE}.fail"),
    (functools.partial(functools.partial(fail, SECRET), SECRET), f"{HERE}.fail"),
    (functools.partial(Telling().method, SECRET), f"{HERE}.Telling.method"),
    (Telling().method, f"{HERE}.Telling.method"),
    (Telling().part, f"{HERE}.Telling.method"),
    (types.MethodType(functools.partial(fail, SECRET), Telling()), f"{HERE}.fail"),
    (types.MethodType(Telling(), SECRET), f"an object of {HERE}.Telling"),
    (Telling(), f"an object of {HERE}.Telling"),
    (named, f"an object of {HERE}.Telling"),
    (Telling, f"{HERE}.Telling"),
    (functools.cache(fail), f"{HERE}.fail"),
    (wrapped, f"{HERE}.fail"),
    (Mock(name=SECRET, side_effect=RuntimeError("it failed")), "an object of unittest.mock.Mock"),
    ([SECRET].remove, "list.remove"),
    ({SECRET: 1}.__getitem__, "dict.__getitem__"),
    (str.upper, "str.upper"),
    (Evasive(), "a function"),
    (Pretender(), "a function"),
    (SECRET, "an object of str"),
    (None, "an object of NoneType"),
]
by_function = pytest.mark.parametrize(("function", "name"), FUNCTIONS, ids=map(str, range(len(FUNCTIONS))))
by_callable = pytest.mark.parametrize(("function", "name"), FUNCTIONS[:-2], ids=map(str, range(len(FUNCTIONS) - 2)))


@by_function
def test_a_function_has_a_name(function: Any, name: str) -> None:
    assert name_of(function) == name


def test_wrappers_without_end_have_a_name() -> None:
    function: Any = Telling()
    function.__wrapped__ = function
    assert name_of(function) == f"an object of {HERE}.Telling"


@by_callable
def test_what_fails_is_logged_by_its_name(function: Any, name: str, caplog: pytest.LogCaptureFixture) -> None:
    arguments = (object(),) * 7  # none of the functions can use them
    run_logged(function, *arguments)
    timer = Timer("test")
    timer.call_at(0, function, *arguments)
    timer.call_at(0, timer.close)
    thread = timer._thread
    assert thread is not None
    thread.join(10)
    failed = [record.getMessage() for record in caplog.records]
    assert failed == [f"{name} failed on thread MainThread", f"{name} failed in the timer"]
    assert SECRET not in "\n".join(failed)


@pytest.mark.parametrize("handler", [SECRET, {"key": SECRET}])
def test_what_is_no_function_is_not_quoted(handler: Any) -> None:
    with pytest.raises(TypeError, match=r"the handler must be callable, and an object of (str|dict) is not"):
        CentralSystem(None, handler)


@by_callable
def test_errors_name_functions(function: Any, name: str) -> None:
    cs = CentralSystem(None)
    for register in (cs.on("Heartbeat"), cs.on_data_transfer("com.example")):
        register(function)
        with pytest.raises(ValueError, match="has a handler already") as caught:
            register(function)
        assert str(caught.value).endswith(f"has a handler already: {name}")
    with pytest.raises(ValueError, match="was not added") as caught:
        cs.remove_connection_listener(function)
    assert str(caught.value) == f"{name} was not added as a listener"
    assert shown(function) == name
