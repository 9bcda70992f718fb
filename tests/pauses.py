"""Pauses at the locks of the library, so that threads meet where they seldom do."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import _base
from random import Random
from types import FrameType, ModuleType
from typing import Any

_SHORT, _LONG = 0.0002, 0.002
"""The longest pauses in seconds: mostly, and at the locks of the one module that is looked at most."""
_SWITCH = 1e-6


class Pauses:
    """Lets the calling thread sleep now and then.

    Args:
        chance: says when, and for how long.
    """

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self.on = True

    def __call__(self, share: float = 0.2, longest: float = _SHORT) -> None:
        """Sleep in a share of the calls; in as many let another thread run."""
        if not self.on:
            return
        draw = self._chance.random() / share
        if draw < 2:
            time.sleep(draw * longest if draw < 1 else 0)


class _Lock:
    """A lock with a pause before and after it is taken, and before and after it is given back."""

    def __init__(self, inner: Any, pauses: Pauses, share: float, longest: float) -> None:
        self._inner = inner
        self._pauses = pauses
        self._how = share, longest

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        self._pauses(*self._how)
        taken = bool(self._inner.acquire(blocking, timeout))
        if taken:
            self._pauses(*self._how)
        return taken

    def release(self) -> None:
        self._pauses(*self._how)
        self._inner.release()
        self._pauses(*self._how)

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def __getattr__(self, name: str) -> Any:
        # What a condition needs of a lock that may be taken twice, and `locked`.
        return getattr(self._inner, name)


class _Threading:
    """The module threading as another module sees it."""

    def __init__(self, pauses: Pauses, *, often: bool) -> None:
        self._pauses = pauses
        self._how = (0.25, _LONG) if often else (0.1, _SHORT)

    def Lock(self) -> Any:
        return _Lock(threading.Lock(), self._pauses, *self._how)

    def Condition(self, lock: Any = None) -> threading.Condition:
        return threading.Condition(lock or _Lock(threading.RLock(), self._pauses, *self._how))

    def __getattr__(self, name: str) -> Any:
        return getattr(threading, name)


def modules() -> list[ModuleType]:
    """Return the modules of the library, and that of the futures, whose locks can be given pauses."""
    ours = [module for name, module in sorted(sys.modules.items()) if name.startswith("ocppsync.")]
    return [module for module in [*ours, _base] if vars(module).get("threading") is threading]


def _tracer(module: ModuleType, pauses: Pauses) -> Callable[[FrameType, str, Any], Any]:
    """Return a function for `sys.settrace` that pauses between the lines of a module."""

    def trace_call(frame: FrameType, event: str, arg: Any) -> Any:
        return trace_line if frame.f_code.co_filename == module.__file__ else None

    def trace_line(frame: FrameType, event: str, arg: Any) -> Any:
        if event == "line":
            pauses(0.02, _LONG / 2)
        return trace_line

    return trace_call


@contextlib.contextmanager
def pausing(chance: Random, *, lines: bool = False) -> Iterator[Pauses]:
    """Have every lock that the library makes from now on pause, and those of one module often; and let the threads take
    turns as fast as they can.

    Args:
        chance: of it all that is random comes.
        lines: pause between the lines of that module as well, on threads that start from now on.
    """
    pauses = Pauses(Random(chance.random()))
    watched = chance.choice(modules())
    interval = sys.getswitchinterval()
    with contextlib.ExitStack() as stack:
        stack.callback(sys.setswitchinterval, interval)
        stack.callback(setattr, pauses, "on", False)
        sys.setswitchinterval(_SWITCH)
        if lines:
            stack.callback(threading.settrace, threading.gettrace())  # type: ignore[arg-type]
            threading.settrace(_tracer(watched, pauses))
        for module in modules():
            stack.callback(setattr, module, "threading", threading)
            setattr(module, "threading", _Threading(pauses, often=module is watched))  # noqa: B010 (it has no type)
        yield pauses
