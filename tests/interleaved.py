"""A second thread in the middle of what a first one does: locks and fields that call the test when they are touched."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from support import DEADLINE


def once(function: Callable[[], object]) -> Callable[..., None]:
    """Return a function that calls another the first time, whatever it is given, and then no more."""
    left = [function]

    def call(*_: object) -> None:
        if left:
            left.pop()()

    return call


class MeetingLock:
    """Stands where a `threading.Lock` stood, and lets a second thread come while the first is at work.

    Attributes:
        before_acquire: called before each attempt to take it.
        before_release: called once, while it is still held.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted = threading.Event()
        self.before_acquire: Callable[[], object] | None = None
        self.before_release: Callable[[], object] | None = None

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if self.before_acquire is not None:
            self.before_acquire()
        if self._lock.acquire(blocking=False):
            return True
        if not blocking:
            return False
        self._wanted.set()
        return self._lock.acquire(timeout=timeout)

    def release(self) -> None:
        hook, self.before_release = self.before_release, None
        if hook is not None:
            hook()
        self._lock.release()

    def locked(self) -> bool:
        return self._lock.locked()

    def let_in(self, function: Callable[..., object], *args: object) -> Future[Any]:
        """Call a function on a thread of its own; return when it is done, or has to wait for this lock.

        So the caller, in the middle of its work, goes on after the other where nothing keeps the other out, and
        before it where the lock does.
        """
        self._wanted = moved = threading.Event()
        future: Future[Any] = Future()

        def run() -> None:
            try:
                future.set_result(function(*args))
            except BaseException as error:
                future.set_exception(error)
            moved.set()

        threading.Thread(target=run, name="test-guest", daemon=True).start()
        assert moved.wait(DEADLINE)
        return future


def with_lock(thing: Any, name: str = "_lock") -> MeetingLock:
    """Put a `MeetingLock` in the place of the lock of an object, and return it."""
    lock = MeetingLock()
    setattr(thing, name, lock)
    return lock


class Midway(int):
    """A number that lets something happen in the middle of an addition or subtraction."""

    happen: Callable[[], object] = staticmethod(lambda: None)

    def __radd__(self, other: int) -> int:
        self.happen()
        return other + int(self)

    def __rsub__(self, other: int) -> int:
        self.happen()
        return other - int(self)


class Made(list[Any]):
    """What a second thread did, in the order in which it was let in."""

    def let_in(self, lock: MeetingLock, function: Callable[..., object], *args: object) -> Callable[..., None]:
        """Return a function that lets a thread in the first time it is called."""
        return once(lambda: self.append(lock.let_in(function, *args)))

    def result(self) -> Any:
        (future,) = self
        assert isinstance(future, Future)
        return future.result(DEADLINE)


def watch_field(
    thing: Any,
    name: str,
    *,
    after_get: Callable[[Any], object] | None = None,
    before_set: Callable[[Any], object] | None = None,
) -> None:
    """Call functions with the value after a field of an object was looked at, or before it is changed."""

    def get(self: Any) -> Any:
        value = vars(self)[name]
        if after_get is not None:
            after_get(value)
        return value

    def change(self: Any, value: Any) -> None:
        if before_set is not None:
            before_set(value)
        vars(self)[name] = value

    thing.__class__ = type(type(thing).__name__, (type(thing),), {name: property(get, change)})
