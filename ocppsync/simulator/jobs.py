"""Work of a simulated charge point on threads of its own, which can be cancelled."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

__all__ = ["Job"]


class Job:
    """Runs a function on a thread until it returns.

    The thread ends: `wait` returns at once when the job is cancelled, and what blocks longer is under `on_cancel`.

    Args:
        name: the name of the thread.
        run: the function; it gets the job, and returns soon after it was cancelled.
    """

    def __init__(self, name: str, run: Callable[[Job], object]) -> None:
        self._run = run
        self._cancelled = threading.Event()
        # `cancel` sets the event, then reads this; `on_cancel` sets this, then reads the event: one of them calls it.
        self._wake: Callable[[], object] | None = None
        self._thread = threading.Thread(target=lambda: self._run(self), name=name, daemon=True)

    def __repr__(self) -> str:
        state = "cancelled" if self.cancelled else "running" if self.alive else "not running"
        return f"<Job {self._thread.name} {state}>"

    @property
    def alive(self) -> bool:
        """Whether the function runs."""
        return self._thread.is_alive()

    @property
    def cancelled(self) -> bool:
        """Whether the job was cancelled."""
        return self._cancelled.is_set()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def cancel(self) -> None:
        """Tell the function to return; does not wait for that."""
        self._cancelled.set()
        wake = self._wake
        if wake is not None:
            wake()

    def join(self, timeout: float | None = None) -> None:
        """Wait until the function has returned; not if this is its own thread."""
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    # For the function.

    def wait(self, seconds: float) -> bool:
        """Wait for some seconds, or until the job is cancelled; return whether it was."""
        return self._cancelled.wait(max(0.0, min(seconds, threading.TIMEOUT_MAX)))

    @contextlib.contextmanager
    def on_cancel(self, wake: Callable[[], object]) -> Iterator[None]:
        """While the body runs, `cancel` calls ``wake``, which makes it go on; if it is cancelled already, at once."""
        self._wake = wake
        if self.cancelled:
            wake()
        try:
            yield
        finally:
            self._wake = None
