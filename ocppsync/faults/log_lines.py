"""Lines of the log that cannot end the thread that writes them."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Mapping

from .interrupts import raise_interrupt

__all__ = ["log_line"]


def log_line(
    logger: logging.Logger,
    level: int,
    text: str,
    *args: object,
    error: BaseException | None = None,
    extra: Mapping[str, object] | None = None,
) -> None:
    """Write a line to the log, as `logging.Logger.log` does.

    Filters and handlers are the application's, and may fail. Only the line is lost then: charge points depend on this
    thread. What has failed goes to `threading.excepthook`, as it would if it had ended the thread.
    """
    try:
        logger.log(level, text, *args, exc_info=error, extra=extra)
    except BaseException as fault:
        raise_interrupt(fault)
        with contextlib.suppress(Exception):
            thread = threading.current_thread()
            threading.excepthook(threading.ExceptHookArgs((type(fault), fault, fault.__traceback__, thread)))
