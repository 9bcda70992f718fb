"""The context managers `inline` and `fake_charge_point`, and a `unittest.TestCase` that uses both."""

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
    """Start a central system without threads; yield its clock, and close the central system at the end.

    Handlers, hooks and listeners run before the call that caused them returns, such as `FakeChargePoint.call` or
    `Clock.advance`. When the test's thread waits for an answer that does not arrive, the clock advances to the timeout.

    Args:
        cs: the central system, not started; ``CentralSystem(None)`` opens no port.

    Raises:
        RuntimeError: it is already started.
    """
    clock = Clock()
    with cs.start(executor=InlineExecutor(clock), timer=clock):
        yield clock


@contextlib.contextmanager
def fake_charge_point(
    cs: CentralSystem, charge_point_id: str = "CP1", version: Version = "1.6", **options: Any
) -> Iterator[FakeChargePoint]:
    """Connect a `FakeChargePoint`, made with ``options``; check its script and close it at the end."""
    with FakeChargePoint(cs, charge_point_id, version, **options) as charge_point:
        yield charge_point


class HandlerErrors(logging.Handler):
    """A context manager that collects the errors the library logs, such as exceptions in handlers and hooks.

    Attributes:
        records: the log records.
    """

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.setFormatter(logging.Formatter("%(message)s"))
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Append a record to ``records``."""
        self.records.append(record)

    def __enter__(self) -> HandlerErrors:
        logging.getLogger("ocppsync").addHandler(self)
        return self

    def __exit__(self, *error: object) -> None:
        logging.getLogger("ocppsync").removeHandler(self)

    def check(self) -> None:
        """Raise AssertionError with all records and their tracebacks, if there are any."""
        if self.records:
            raise AssertionError("\n".join(["the library logged errors:", *map(self.format, self.records)]))


class CentralSystemTestCase(unittest.TestCase):
    """A test case with a central system that is started before each test and closed after it.

    A test also fails if a handler raised an exception other than `CallError`, or if the script of a charge point is
    not done.

    Attributes:
        inline: True: handlers run on the test's thread and the clock stands still, see `inline`. False: handlers run
            on threads in real time.
        allow_handler_errors: whether a test passes despite exceptions in handlers.
        cs: the central system.
        handler_errors: the `HandlerErrors` of the current test.
    """

    inline = True
    allow_handler_errors = False

    def make_central_system(self) -> CentralSystem:
        """Return the central system to test, not started; override it to return yours."""
        return CentralSystem(None)

    def setUp(self) -> None:
        """Start the central system; when you override it, call it first."""
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
        """The clock of the central system; raises RuntimeError if ``inline`` is False."""
        if self._clock is None:
            raise RuntimeError("no clock: with inline = False, tests run in real time")
        return self._clock

    def charge_point(
        self, charge_point_id: str = "CP1", version: Version = "1.6", *, connect: bool = True, **options: Any
    ) -> FakeChargePoint:
        """Return a fake charge point; its script is checked and its connection closed after the test.

        Args:
            charge_point_id: the identity.
            version: the OCPP version to speak.
            connect: whether to connect it now; False to set expectations first.
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
