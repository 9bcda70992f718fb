"""Functions of an application that are called at every change."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from ..throttled_log import LogThrottle
from .callables import name_of

_logger = logging.getLogger(__name__)

_Listener = TypeVar("_Listener", bound=Callable[..., object])


class Listeners(Generic[_Listener]):
    """A list of functions. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # serialises the changes; the tuple is replaced whole, and read without it
        self._listeners: tuple[_Listener, ...] = ()
        self._throttle = LogThrottle()

    def __bool__(self) -> bool:
        return bool(self._listeners)

    def add(self, listener: _Listener) -> None:
        """Call ``listener`` from now on."""
        with self._lock:
            self._listeners = (*self._listeners, listener)

    def remove(self, listener: _Listener) -> None:
        """Do not call it any more; raises ValueError if it was not added."""
        with self._lock:
            listeners = list(self._listeners)
            if listener not in listeners:
                raise ValueError(f"{name_of(listener)} was not added as a listener")
            listeners.remove(listener)
            self._listeners = tuple(listeners)

    def tell(self, *args: object) -> None:
        """Call each listener; an exception ends in the log."""
        for listener in self._listeners:
            try:
                listener(*args)
            except BaseException as error:
                # SystemExit too: the other listeners have to be told.
                name = name_of(listener)
                self._throttle.log(_logger, "", "listener", "%s failed", name, level=logging.ERROR, error=error)
