"""The test case: what it starts, what makes a test fail, and what the failure says."""

from __future__ import annotations

import logging
import threading
import unittest
from typing import Any

import pytest
from support import accept_boots

import ocppsync.testing
from ocppsync import (
    CallError,
    CallErrorReceived,
    CentralSystem,
    ConnectionLostError,
    HandshakeError,
    HttpRequest,
    Limits,
)
from ocppsync.events import Closed, MessageReceived
from ocppsync.testing import CentralSystemTestCase, Clock, HandlerErrors, inline


class Case(CentralSystemTestCase):
    """What the tests below are made of; its own tests do not run by themselves."""

    def make_central_system(self) -> CentralSystem:
        cs = CentralSystem(None)
        accept_boots(cs)
        cs.on("Heartbeat")(lambda payload, metadata: 1 // 0)
        return cs

    def runTest(self) -> None:
        pass


Case.__test__ = False  # type: ignore[attr-defined]


def run(case: type[CentralSystemTestCase]) -> unittest.TestResult:
    before = set(threading.enumerate())
    result = unittest.TestResult()
    case("runTest").run(result)
    assert result.testsRun == 1
    assert set(threading.enumerate()) - before == set(), "a thread is left"
    assert not any(isinstance(handler, HandlerErrors) for handler in logging.getLogger("ocppsync").handlers)
    return result


def failure(case: type[CentralSystemTestCase]) -> str:
    """Return the text of a test's only failure."""
    result = run(case)
    assert result.errors == []
    ((_, text),) = result.failures
    return text


@pytest.mark.parametrize("without_threads", [True, False])
def test_a_test_that_is_right_passes(without_threads: bool) -> None:
    class Right(Case):
        inline = without_threads

        def runTest(self) -> None:
            cp = self.charge_point("CP7")
            self.assertEqual(cp.boot()["status"], "Accepted")
            cp.expect("ClearCache", {"status": "Accepted"})
            self.assertEqual(self.cs.send_request("CP7", "ClearCache"), {"status": "Accepted"})

    result = run(Right)
    assert result.wasSuccessful(), result.failures + result.errors


def test_a_charge_point_may_be_behind_a_trusted_proxy() -> None:
    seen: list[str] = []

    class Proxied(Case):
        def make_central_system(self) -> CentralSystem:
            def authorize(http_request: HttpRequest, charge_point_id: str) -> bool:
                seen.append(http_request.client_address)
                return True

            return CentralSystem(None, trusted_proxies=["127.0.0.1"], authorize=authorize)

        def runTest(self) -> None:
            self.charge_point("CP7", headers=[("X-Forwarded-For", "192.0.2.1")])

    assert run(Proxied).wasSuccessful()
    assert seen == ["192.0.2.1"]


def test_the_central_system_is_closed_after_each_test() -> None:
    class Keeps(Case):
        kept: CentralSystem

        def runTest(self) -> None:
            Keeps.kept = self.cs
            self.charge_point()

    assert run(Keeps).wasSuccessful()
    with pytest.raises(RuntimeError, match="closed"):
        Keeps.kept.start()


def test_a_handler_that_fails_fails_the_test() -> None:
    class Fails(Case):
        def runTest(self) -> None:
            with self.assertRaises(CallErrorReceived):
                self.charge_point().call("Heartbeat")

    text = failure(Fails)
    assert "AssertionError: the library logged errors:\nCP1: the handler of Heartbeat failed\nTraceback" in text
    assert "ZeroDivisionError" in text


def test_an_assertion_in_a_handler_fails_the_test() -> None:
    class Asserts(Case):
        def runTest(self) -> None:
            self.cs.add_connection_listener(lambda name, status: self.assertEqual(name, "CP2"))
            self.charge_point()

    assert "AssertionError: 'CP1' != 'CP2'" in failure(Asserts)


def test_handler_errors_can_be_allowed() -> None:
    class Allows(Case):
        allow_handler_errors = True

        def runTest(self) -> None:
            with self.assertRaises(CallErrorReceived):
                self.charge_point().call("Heartbeat")
            self.assertEqual([record.levelname for record in self.handler_errors.records], ["ERROR"])

    assert run(Allows).wasSuccessful()


def test_a_call_error_is_no_fault() -> None:
    class Refuses(Case):
        def runTest(self) -> None:
            @self.cs.on("Authorize")
            def authorize(payload: Any, metadata: Any) -> Any:
                raise CallError("SecurityError")

            with self.assertRaises(CallErrorReceived):
                self.charge_point().call("Authorize", {"idTag": "1"})

    assert run(Refuses).wasSuccessful()


def test_a_script_that_is_not_done_fails_the_test() -> None:
    class Expects(Case):
        def runTest(self) -> None:
            self.charge_point("CP1").expect("Reset", payload={"type": "Hard"})
            self.charge_point("CP2")

    text = failure(Expects)
    assert 'the script of CP1 is not done:\n  - Reset with {"type": "Hard"} was expected, but not received' in text


def test_a_script_can_be_written_before_the_connection() -> None:
    class Asks(Case):
        def make_central_system(self) -> CentralSystem:
            cs = super().make_central_system()

            def ask(charge_point_id: str, status: str) -> None:
                if status == "connected":
                    cs.send_request(charge_point_id, "GetConfiguration")

            cs.add_connection_listener(ask)
            return cs

        def runTest(self) -> None:
            cp = self.charge_point(connect=False)
            cp.expect("GetConfiguration", {"configurationKey": []})
            cp.connect()
            cp.assert_received("GetConfiguration")

    assert run(Asks).wasSuccessful()


def test_a_refusal_can_be_expected() -> None:
    class Refused(Case):
        def make_central_system(self) -> CentralSystem:
            return CentralSystem(None, authorize=lambda request, charge_point_id: False)

        def runTest(self) -> None:
            with self.assertRaises(HandshakeError) as caught:
                self.charge_point(password="wrong")
            self.assertEqual(caught.exception.status, 401)

    assert run(Refused).wasSuccessful()


def test_the_clock_is_there_without_threads_only() -> None:
    class Times(Case):
        def runTest(self) -> None:
            self.assertIsInstance(self.clock, Clock)

    class Threads(Case):
        inline = False

        def runTest(self) -> None:
            with self.assertRaisesRegex(RuntimeError, "tests run in real time"):
                _ = self.clock

    assert run(Times).wasSuccessful()
    assert run(Threads).wasSuccessful()


def test_a_central_system_that_cannot_be_made_is_an_error() -> None:
    class Broken(Case):
        def make_central_system(self) -> CentralSystem:
            raise OSError("no such thing")

    result = run(Broken)
    assert len(result.errors) == 1
    assert result.failures == []


def test_one_that_was_started_cannot_do_without_threads() -> None:
    with CentralSystem(None) as cs, pytest.raises(RuntimeError, match="started already"), inline(cs):
        pass


def test_without_overriding_there_is_a_central_system_too() -> None:
    class Plain(CentralSystemTestCase):
        def runTest(self) -> None:
            with self.assertRaises(CallErrorReceived) as caught:
                self.charge_point().boot()
            self.assertEqual(caught.exception.code, "NotSupported")

    assert run(Plain).wasSuccessful()


def test_a_handler_may_close_it_all() -> None:
    class Closes(Case):
        def runTest(self) -> None:
            @self.cs.on("Authorize")
            def authorize(payload: Any, metadata: Any) -> Any:
                self.cs.close()
                return {"idTagInfo": {"status": "Accepted"}}

            cp = self.charge_point()
            with self.assertRaises(ConnectionLostError):
                cp.call("Authorize", {"idTag": "1"})
            self.assertEqual(cp.wait_closed(), 1001)

    result = run(Closes)
    assert result.wasSuccessful(), result.failures + result.errors


def test_all_public_names_are_there() -> None:
    assert all(hasattr(ocppsync.testing, name) for name in ocppsync.testing.__all__)


# What the library remembers goes by the clock of the test.


def test_failed_authentications_are_forgotten_on_the_clock() -> None:
    class Guesses(Case):
        def make_central_system(self) -> CentralSystem:
            return CentralSystem(
                None,
                authorize=lambda request, charge_point_id: request.basic_credentials == (b"CP1", b"right"),
                limits=Limits(failed_authentications=3),
            )

        def status(self, password: str) -> int | None:
            try:
                self.charge_point(password=password)
            except HandshakeError as error:
                return error.status
            return None

        def runTest(self) -> None:
            self.assertEqual([self.status("wrong") for _ in range(4)], [401, 401, 401, 429])
            self.assertEqual(self.status("right"), 429)
            self.clock.advance(120)
            self.assertIsNone(self.status("right"))

    result = run(Guesses)
    assert result.wasSuccessful(), result.failures + result.errors


def test_answers_are_remembered_on_the_clock() -> None:
    class Repeats(Case):
        def runTest(self) -> None:
            handled: list[Any] = []

            @self.cs.on("Authorize")
            def authorize(payload: Any, metadata: Any) -> Any:
                handled.append(payload)
                return {"idTagInfo": {"status": "Accepted"}}

            cp = self.charge_point()
            for seconds, times in ((0, 1), (299, 1), (2, 2)):
                self.clock.advance(seconds)
                cp.send_raw('[2,"1","Authorize",{"idTag":"1"}]')
                self.assertEqual(len(handled), times)
            self.assertEqual(len(cp.texts), 3)

    result = run(Repeats)
    assert result.wasSuccessful(), result.failures + result.errors


def test_events_have_times_of_the_clock() -> None:
    events: list[Any] = []

    class Waits(Case):
        def make_central_system(self) -> CentralSystem:
            return CentralSystem(None, observers=[events.append])

        def runTest(self) -> None:
            self.charge_point().expect("ClearCache", {"status": "Accepted"}, delay=7)
            self.cs.send_request("CP1", "ClearCache")
            self.clock.advance(3)

    assert run(Waits).wasSuccessful()
    (answer,) = (event for event in events if isinstance(event, MessageReceived))
    assert answer.seconds == 7
    assert isinstance(events[-1], Closed)
    assert events[-1].seconds == 10
