"""What a test calls: `inline`, `fake_charge_point`, and a `unittest.TestCase` that does both."""

from __future__ import annotations

import contextlib
import logging
import unittest
from collections.abc import Iterator
from typing import Any

from ..central_system import CentralSystem
from ..validation.catalogue import Version
from .fake_charge_point import FakeChargePoint
from .inline import Clock, InlineExecutor

__all__ = ["CentralSystemTestCase", "HandlerErrors", "fake_charge_point", "inline"]


@contextlib.contextmanager
def inline(cs: CentralSystem) -> Iterator[Clock]:
    """Start a central system whose handlers run on the thread that tests; yield its clock, and close it at the end.

    Handlers, hooks and listeners run before the call that brought them about returns: `FakeChargePoint.call`, say, or
    `Clock.advance`. Where this thread waits for a charge point's answer that does not come, the clock moves on to the
    timeout.

    Args:
        cs: one that was not started yet; ``CentralSystem(None)`` takes no port.

    Raises:
        RuntimeError: it was started.
    """
    clock = Clock()
    with cs.start(executor=InlineExecutor(clock), timer=clock):
        yield clock


@contextlib.contextmanager
def fake_charge_point(
    cs: CentralSystem, charge_point_id: str = "CP1", version: Version = "1.6", **options: Any
) -> Iterator[FakeChargePoint]:
    """Connect a `FakeChargePoint`, which takes the options; at the end its script must be done, and it is closed."""
    with FakeChargePoint(cs, charge_point_id, version, **options) as charge_point:
        yield charge_point


class HandlerErrors(logging.Handler):
    """Collects what the library logs as errors while it is entered: handlers, hooks and listeners that failed.

    Attributes:
        records: the log records.
    """

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.setFormatter(logging.Formatter("%(message)s"))
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        self.records.append(record)

    def __enter__(self) -> HandlerErrors:
        logging.getLogger("ocppsync").addHandler(self)
        return self

    def __exit__(self, *error: object) -> None:
        logging.getLogger("ocppsync").removeHandler(self)

    def check(self) -> None:
        """Fail if there are any, and show them with their tracebacks."""
        if self.records:
            raise AssertionError("\n".join(["the library logged errors:", *map(self.format, self.records)]))


class CentralSystemTestCase(unittest.TestCase):
    """A test case with a central system that is started before each test and closed after it.

    After a test, it also fails when a handler has raised something else than a `CallError`, or when the script of a
    charge point is not done.

    Attributes:
        inline: run handlers on the thread that tests, by a clock that stands still; see `inline`. False: on threads,
            by the real time.
        allow_handler_errors: whether handlers may fail; the log's errors are in ``handler_errors`` in any case.
        cs: the central system.
        handler_errors: a `HandlerErrors`.
    """

    inline = True
    allow_handler_errors = False

    def make_central_system(self) -> CentralSystem:
        """Return the central system to test, not started; to be overridden."""
        return CentralSystem(None)

    def setUp(self) -> None:
        """Start the central system; whoever overrides this calls it first."""
        super().setUp()
        self.handler_errors = HandlerErrors()
        self.handler_errors.__enter__()
        self.addCleanup(self._check_handler_errors)
        self._clock: Clock | None = None
        self.cs = self.make_central_system()
        running = contextlib.ExitStack()
        self.addCleanup(running.close)
        if self.inline:
            self._clock = running.enter_context(inline(self.cs))
        else:
            running.enter_context(self.cs)

    @property
    def clock(self) -> Clock:
        """The clock of the central system; raises RuntimeError where ``inline`` is False."""
        if self._clock is None:
            raise RuntimeError("with threads, the time is real; say inline = True")
        return self._clock

    def charge_point(
        self, charge_point_id: str = "CP1", version: Version = "1.6", *, connect: bool = True, **options: Any
    ) -> FakeChargePoint:
        """Return a fake charge point; after the test its script must be done, and it is closed.

        Args:
            charge_point_id: its identity.
            version: the version of OCPP that it speaks.
            connect: connect it now; False where a script, or a refusal, is to come first.
            options: see `FakeChargePoint`.
        """
        charge_point = FakeChargePoint(self.cs, charge_point_id, version, **options)
        self.addCleanup(charge_point.close)
        self.addCleanup(charge_point.assert_script_done)
        return charge_point.connect() if connect else charge_point

    def _check_handler_errors(self) -> None:
        self.handler_errors.__exit__()
        if not self.allow_handler_errors:
            self.handler_errors.check()
