"""The pool of handler threads."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol

from ..faults.log_lines import log_line
from .callables import name_of
from .joining import join_all

_logger = logging.getLogger(__name__)
_Task = tuple[Callable[..., object], tuple[Any, ...]]


class Executor(Protocol):
    """Runs handlers."""

    def submit(self, function: Callable[..., object], *args: Any) -> bool:
        """Run ``function(*args)`` soon, without waiting for it. Return False if the executor is closed."""
        raise NotImplementedError

    @property
    def before_wait(self) -> Callable[[Future[Any]], None] | None:
        """Called before a thread waits for a future: an executor without threads runs its tasks now. None: nothing."""


class Workers(Executor, Protocol):
    """The executor of a central system or charge point, which closes it."""

    @property
    def stuck_since(self) -> float | None:
        """Since when no thread was free, on `time.monotonic`; None if one is free."""

    @property
    def owns_this_thread(self) -> bool:
        """Whether a task runs on the calling thread."""
        raise NotImplementedError

    def wait_idle(self, timeout: float) -> bool:
        """Wait until no task runs or waits, apart from the calling one; return False after ``timeout`` seconds."""
        raise NotImplementedError

    def close(self, timeout: float) -> bool:
        """Accept no more tasks and finish the others; return False if that took longer than ``timeout`` seconds."""
        raise NotImplementedError


class HandlerPool:
    """At most ``size`` daemon threads, started as they are needed, that begin tasks in the order of their submission.

    `concurrent.futures.ThreadPoolExecutor` would create a future for each task, which is not needed here, and its
    threads keep the interpreter from exiting.
    """

    before_wait = None

    def __init__(self, size: int, name: str) -> None:
        self._size = size
        self._name = name
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._lock = threading.Lock()  # guards everything below; never held while a task runs
        self._freed = threading.Condition(self._lock)  # notified when a thread becomes free, if a thread waits for that
        self._waiting = 0  # how many threads wait for it
        self._threads: list[threading.Thread] = []
        # When each busy thread began its task; each thread writes only its own entry.
        self._since: dict[threading.Thread, float] = {}
        self._free = 0  # threads that wait for a task and for which none is queued
        self._backlog = 0  # queued tasks without a waiting thread
        self._closed = False

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return f"<HandlerPool {self._name} {state} threads={len(self._threads)}/{self._size} free={self._free}>"

    def submit(self, function: Callable[..., object], *args: Any) -> bool:
        """Run ``function(*args)`` on one of the threads; after `close`, drop it and return False.

        Raises:
            RuntimeError: not even a first thread can be started; the task is dropped.
        """
        with self._lock:
            if self._closed:
                return False
            if self._free > 0:
                self._free -= 1
            elif len(self._threads) == self._size or not self._start_thread():
                self._backlog += 1
            self._tasks.put((function, args))
        return True

    def _start_thread(self) -> bool:
        thread = threading.Thread(target=self._run, name=f"{self._name}-{len(self._threads) + 1}", daemon=True)
        self._threads.append(thread)  # before it starts: its first task may read `owns_this_thread`
        try:
            thread.start()
        except RuntimeError:
            self._threads.remove(thread)
            # No more threads can be started: the running ones must do, if there are any.
            if not self._threads:
                raise
            return False
        return True

    def _run(self) -> None:
        # Ends: it blocks only in the queue, where close() puts a None for each thread, and in user code.
        this = threading.current_thread()
        while (task := self._tasks.get()) is not None:
            function, args = task
            self._since[this] = time.monotonic()
            try:  # as run_logged does it, one call less for each task
                function(*args)
            except BaseException as error:
                log_failure(function, error)
            del self._since[this]
            # Release the task's objects before waiting for the next one.
            del task, function, args
            with self._lock:
                if self._backlog > 0:
                    self._backlog -= 1
                else:
                    self._free += 1
                    if self._waiting:
                        self._freed.notify_all()

    @property
    def stuck_since(self) -> float | None:
        """Since when all threads run the same tasks, on `time.monotonic`; None if a thread is free."""
        begun = list(self._since.copy().values())
        return max(begun) if len(begun) == self._size else None

    @property
    def owns_this_thread(self) -> bool:
        """Whether the calling thread is one of the pool's."""
        return threading.current_thread() in self._threads

    def wait_idle(self, timeout: float) -> bool:
        """Wait until no task runs or waits, apart from the calling one; return False after ``timeout`` seconds."""
        with self._lock:
            asking = 1 if self.owns_this_thread else 0
            self._waiting += 1
            try:
                return self._freed.wait_for(lambda: self._free + asking >= len(self._threads), timeout)
            finally:
                self._waiting -= 1

    def close(self, timeout: float) -> bool:
        """Accept no more tasks, finish the others, and return whether all threads ended within ``timeout`` seconds.

        A thread that runs user code for longer ends later by itself, or with the process: it is a daemon. The calling
        thread does not count, if it is one of the pool's.
        """
        with self._lock:
            self._closed = True
            # A second close puts more of them than are read.
            for _ in self._threads:
                self._tasks.put(None)
            threads = list(self._threads)
        return join_all(threads, timeout)


def run_logged(function: Callable[..., object], *args: Any) -> None:
    """Call ``function(*args)``; log any exception and swallow it."""
    try:
        function(*args)
    except BaseException as error:
        log_failure(function, error)


def log_failure(function: Callable[..., object], error: BaseException) -> None:
    """Log the exception that ``function`` raised.

    Not only an `Exception`: a handler that calls ``sys.exit()`` must not end a thread of the pool.
    """
    text, thread = "%s failed on thread %s", threading.current_thread().name
    log_line(_logger, logging.ERROR, text, name_of(function), thread, error=error)
