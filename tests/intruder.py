"""A second thread exactly where a test wants it: in the middle of what a lock guards, or at its very end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

from support import DEADLINE


class WatchedLock:
    """A real lock that tells when a thread has to wait for it.

    Args:
        on_wait: called on the thread that has to wait, before it does.
    """

    def __init__(self, on_wait: Callable[[], object]) -> None:
        self._lock = threading.Lock()
        self._on_wait = on_wait

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if self._lock.acquire(False):
            return True
        if not blocking:
            return False
        self._on_wait()
        return self._lock.acquire(True, timeout)

    def release(self) -> None:
        self._lock.release()

    def locked(self) -> bool:
        return self._lock.locked()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


class Intruder:
    """Has another thread do something in the middle of what the calling thread does.

    `come` starts that thread, and returns when it is through or has to wait for ``lock``: so the outcome is the same
    each time, with the lock and without it. Only the first call of `come` does anything.

    Args:
        function: what the other thread does.

    Attributes:
        lock: to be put in the place of the lock in question.
    """

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        self._settled = threading.Event()  # it is through, or waits for the lock
        self._thread: threading.Thread | None = None
        self._outcome: list[Any] = []
        self._errors: list[BaseException] = []
        # Any: it stands where a `threading.Lock` is expected, which cannot be subclassed.
        self.lock: Any = WatchedLock(self._settled.set)

    def come(self) -> None:
        if self._thread is not None:
            return
        self._thread = threading.Thread(target=self._run, name="test-intruder", daemon=True)
        self._thread.start()
        assert self._settled.wait(DEADLINE)

    def _run(self) -> None:
        try:
            self._outcome.append(self._function())
        except BaseException as error:
            self._errors.append(error)
        finally:
            self._settled.set()

    def result(self) -> Any:
        """Wait until it is through; return what its function returned, or raise what it raised."""
        assert self._thread is not None, "it never came"
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive()
        if self._errors:
            raise self._errors[0]
        return self._outcome[0]


class LingeringThread(threading.Thread):
    """A thread that is not quite at its end until another thread waits for that, or the test has failed.

    Attributes:
        lingers: set when only that is left.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.lingers = threading.Event()
        self._joined = threading.Event()

    def run(self) -> None:
        super().run()
        self.lingers.set()
        self._joined.wait(DEADLINE)

    def join(self, timeout: float | None = None) -> None:
        self._joined.set()
        super().join(timeout)
