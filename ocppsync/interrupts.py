"""SystemExit and KeyboardInterrupt from the functions of an application."""

from __future__ import annotations

import threading

__all__ = ["raise_interrupt"]


def raise_interrupt(error: BaseException) -> None:
    """Raise ``error`` again if it is to end the program: it is not an `Exception`, and this is the main thread.

    On any other thread it would only end that thread, often without a word, and with it what the thread serves. There
    it is a fault of the function that raised it, like any other exception; the caller logs it.
    """
    if not isinstance(error, Exception) and threading.current_thread() is threading.main_thread():
        raise error
