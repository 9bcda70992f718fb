"""Tasks for handler pools that run until the test lets them end."""

from __future__ import annotations

import threading
from typing import Any

from support import DEADLINE, Recorder


class Gate:
    """Tasks that tell when they have begun, and wait until they may end."""

    def __init__(self) -> None:
        self.begun = Recorder()
        self.go_on = threading.Semaphore(0)

    def __call__(self, name: Any = None) -> None:
        self.begun(name)
        assert self.go_on.acquire(timeout=DEADLINE)

    def open(self, count: int = 1) -> None:
        self.go_on.release(count)
