"""The threads that run handlers, and strands: queues whose tasks run one at a time, in order, on those threads."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol

_logger = logging.getLogger(__name__)
_Task = tuple[Callable[..., object], tuple[Any, ...]]


class Executor(Protocol):
    """Where handlers run."""

    def submit(self, function: Callable[..., object], *args: Any) -> bool:
        """Run ``function(*args)`` soon; never wait for it. False: it will not run, for the executor is closed."""
        raise NotImplementedError

    def before_wait(self, future: Future[Any]) -> None:
        """The calling thread is about to wait for ``future``: an executor without threads does its work now."""


class Workers(Executor, Protocol):
    """An executor with a life, as a central system has one of its own."""

    @property
    def stuck_since(self) -> float | None:
        """Since when it can take nothing on; None while it can."""

    @property
    def owns_this_thread(self) -> bool:
        """Whether a task runs on the calling thread."""
        raise NotImplementedError

    def wait_idle(self, timeout: float) -> bool:
        """Wait until no task runs or waits, but for the one that asks; return whether that came true in time."""
        raise NotImplementedError

    def close(self, timeout: float) -> bool:
        """Take no more tasks, finish those that were taken, and return whether that was done in time."""
        raise NotImplementedError


class HandlerPool:
    """At most ``size`` daemon threads, started as they are needed, that run tasks in the order they came.

    A plain queue under plain threads: `concurrent.futures.ThreadPoolExecutor` makes a future for every task, which
    nobody here looks at, and its threads hold up the end of the interpreter.
    """

    def __init__(self, size: int, name: str) -> None:
        self._size = size
        self._name = name
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._lock = threading.Lock()  # guards everything below; never held while a task runs
        self._freed = threading.Condition(self._lock)  # notified when a thread becomes free, if anybody waits for it
        self._waiting = 0  # how many do
        self._threads: list[threading.Thread] = []
        self._since: dict[threading.Thread, float] = {}  # when each busy thread began its task; it alone writes there
        self._free = 0  # threads that wait and have no task coming to them
        self._backlog = 0  # tasks that no thread is waiting for
        self._closed = False

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return f"<HandlerPool {self._name} {state} threads={len(self._threads)}/{self._size} free={self._free}>"

    def submit(self, function: Callable[..., object], *args: Any) -> bool:
        """Run ``function(*args)`` on one of the threads; after `close`, drop it and return False.

        Raises:
            RuntimeError: the system lets not even a first thread start; the task is dropped.
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

    def before_wait(self, future: Future[Any]) -> None:
        """Do nothing: the threads see to it."""

    def _start_thread(self) -> bool:
        thread = threading.Thread(target=self._run, name=f"{self._name}-{len(self._threads) + 1}", daemon=True)
        self._threads.append(thread)  # before it runs: its first task may ask whose thread it is on
        try:
            thread.start()
        except RuntimeError:
            self._threads.remove(thread)
            # The system has no more threads to give: those that run will do, unless there are none.
            if not self._threads:
                raise
            return False
        return True

    def _run(self) -> None:
        # Ends: its only blocking points are the queue, where close() leaves a None for each thread, and user code.
        this = threading.current_thread()
        while (task := self._tasks.get()) is not None:
            function, args = task
            self._since[this] = time.monotonic()
            run_logged(function, *args)
            del self._since[this]
            # Do not keep the last task's objects alive while waiting for the next.
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
        """Since when all threads run the same tasks, on `time.monotonic`; None while one of them is free."""
        begun = list(self._since.copy().values())
        return max(begun) if len(begun) == self._size else None

    @property
    def owns_this_thread(self) -> bool:
        """Whether the calling thread is one of the pool's."""
        return threading.current_thread() in self._threads

    def wait_idle(self, timeout: float) -> bool:
        """Wait until no task runs or waits, but for the one that asks; return whether that came true in time."""
        with self._lock:
            asking = 1 if self.owns_this_thread else 0
            self._waiting += 1
            try:
                return self._freed.wait_for(lambda: self._free + asking >= len(self._threads), timeout)
            finally:
                self._waiting -= 1

    def close(self, timeout: float) -> bool:
        """Take no more tasks, finish those that were taken, and return whether all threads ended in time.

        A thread that runs user code longer than ``timeout`` (seconds) is left to end by itself: it is a daemon. So is
        the calling thread where it is one of the pool's; it does not count.
        """
        with self._lock:
            self._closed = True
            # A second close leaves more of them than are read.
            for _ in self._threads:
                self._tasks.put(None)
            threads = [thread for thread in self._threads if thread is not threading.current_thread()]
        deadline = time.monotonic() + timeout
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)


class SerialExecutor:
    """Tasks that run one at a time, in the order they came, on an executor that they share with others.

    Each turn runs one task and then goes to the end of the executor's queue, so that a busy strand does not keep the
    threads from the others.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._lock = threading.Lock()  # guards both fields below; never held while a task runs
        # A list: a deque would take more room, and few wait, mostly none.
        self._waiting: list[_Task] = []
        self._running = False

    def __len__(self) -> int:
        """How many tasks wait for their turn; the running one does not count."""
        return len(self._waiting)

    def submit(self, function: Callable[..., object], *args: Any) -> None:
        """Run ``function(*args)`` after everything that was submitted before."""
        with self._lock:
            self._waiting.append((function, args))
            if self._running:
                return
            self._running = True
        self._executor.submit(self._run)

    def clear(self) -> list[_Task]:
        """Forget the tasks that still wait, and return them."""
        with self._lock:
            forgotten, self._waiting = self._waiting, []
        return forgotten

    def _run(self) -> None:
        # What was taken is finished even if the executor is closed: listeners are told "disconnected" while it closes.
        while self._run_next() and not self._executor.submit(self._run):
            pass

    def _run_next(self) -> bool:
        """Run one task; return whether more wait."""
        with self._lock:
            if not self._waiting:
                self._running = False
                return False
            function, args = self._waiting.pop(0)
        run_logged(function, *args)
        with self._lock:
            self._running = bool(self._waiting)
            return self._running


def run_logged(function: Callable[..., object], *args: Any) -> None:
    """Call ``function(*args)``; an exception ends in the log and nowhere else."""
    try:
        function(*args)
    except BaseException:
        # SystemExit too: a handler that calls sys.exit() must not take a thread of the pool with it.
        _logger.exception("%r failed on thread %s", function, threading.current_thread().name)
