"""``ocppsync serve``: runs the demo central system and simulated charge points until a signal arrives."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import logging
import os
import queue
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import TextIO

from ..journal import Journal
from ..simulator import SimulatedChargePoint
from .conversation import Conversation, LogLines
from .demo_central_system import DemoCentralSystem
from .readable import error_text

__all__ = ["run_serve"]

_START_INTERVAL = 1.3
"""Seconds between the starts of two simulated charge points, so that they do not run in lockstep."""
_MAX_START_TIME = 10.0
"""Seconds within which all simulated charge points have started."""
_SWITCH_INTERVAL = 0.05
"""Seconds that a thread may hold the interpreter while others wait. With Python's default of 5 ms, a thousand readers
with pending data switch so often that little else gets done (docs/performance.md)."""

_StopQueue = queue.SimpleQueue[OSError | None]
"""Receives why the command stops: None for a signal, or the error of the output. Its ``put`` is safe in a signal
handler."""


def run_serve(options: argparse.Namespace) -> int:
    """Run the subcommand until SIGINT or SIGTERM, and return its exit status."""
    stops: _StopQueue = queue.SimpleQueue()
    conversation = Conversation(verbose=options.verbose, mask=options.mask, on_lost=stops.put)
    with _log_shown_in(conversation, verbose=options.verbose), _longer_switch_interval():
        with _signals_sent_to(stops):
            try:
                journal = None if options.journal is None else Journal(options.journal, mask=options.mask)
                central_system = DemoCentralSystem(conversation, options.host, options.port, journal)
            except OSError as error:
                return _fail(error)
            central_system.open()
            charge_points = [
                SimulatedChargePoint(f"SIM-{number}", central_system.local_url, version=version, pace=options.pace)
                for number, version in zip(range(1, options.simulate + 1), itertools.cycle(options.ocpp))
            ]
            output_error = _run_until_stopped(charge_points, stops, options.pace)
        # The default signal handlers are back: a second Ctrl-C interrupts the shutdown.
        conversation.mute()
        for charge_point in charge_points:
            charge_point.stop()
        central_system.close()
    if output_error is not None:
        _discard_output(sys.stdout)
        return 0 if isinstance(output_error, BrokenPipeError) else _fail(output_error)
    conversation.say()
    conversation.say(central_system.summary())
    return 0


def _fail(error: OSError) -> int:
    print(f"ocppsync: {error_text(error)}", file=sys.stderr)
    return 1


def _run_until_stopped(charge_points: Sequence[SimulatedChargePoint], stops: _StopQueue, pace: float) -> OSError | None:
    """Start the charge points one after the other, then wait; return the output error that ended the wait, if any."""
    for charge_point in charge_points:
        charge_point.start()
        with contextlib.suppress(queue.Empty):
            return stops.get(timeout=min(_START_INTERVAL, _MAX_START_TIME / len(charge_points)) / pace)
    return stops.get()


@contextlib.contextmanager
def _longer_switch_interval() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_INTERVAL)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


@contextlib.contextmanager
def _log_shown_in(conversation: Conversation, *, verbose: bool) -> Iterator[None]:
    logger = logging.getLogger("ocppsync")
    lines, level = LogLines(conversation, verbose=verbose), logger.level
    logger.addHandler(lines)
    logger.setLevel(lines.level)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(lines)


@contextlib.contextmanager
def _signals_sent_to(stops: _StopQueue) -> Iterator[None]:
    before = {
        number: signal.signal(number, lambda number, frame: stops.put(None))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _discard_output(stream: TextIO) -> None:
    # Python flushes the stream at exit; its buffered output would fail again, with a traceback.
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
