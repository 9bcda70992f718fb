"""Errors and log lines name the party that did it: the charge point at a central system, and the other way round."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from lone import Lone
from support import serving

from ocppsync import (
    CallErrorReceived,
    ChargePoint,
    InvalidResponseError,
    Limits,
    NotConnectedError,
    OCPPRequestError,
    RequestTimeoutError,
    Timeouts,
)
from ocppsync.testing import FakeChargePoint
from ocppsync.testing.inline import Clock, InlineExecutor
from ocppsync.threads.stuck_handlers import StuckHandlerDetector
from ocppsync.validation.catalogue import Role

# Each role, what it calls its peer, an action that it sends, and one that the peer sends.
AT_BOTH_ENDS = pytest.mark.parametrize(
    ("role", "peer", "ours", "theirs"),
    [
        pytest.param("central_system", "CP1", "ClearCache", "Heartbeat", id="central system"),
        pytest.param("charge_point", "CP1's central system", "Heartbeat", "ClearCache", id="charge point"),
    ],
)


@contextlib.contextmanager
def asked(role: Role, ours: str, **settings: Any) -> Iterator[tuple[Lone, Any, str]]:
    """A connection that has sent a request; with its future and its message id."""
    with Lone(role=role, **settings) as lone:
        future = lone.ask(ours)
        ((_, message_id, *_),) = lone.came()
        yield lone, future, message_id


def failure(future: Any) -> OCPPRequestError:
    error = future.exception(0)
    assert isinstance(error, OCPPRequestError)
    assert error.charge_point_id == "CP1", "the identity, at both ends"
    return error


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the log, in which every record says which charge point it is about."""
    known = [record for record in caplog.records if record.name.startswith("ocppsync.")]
    assert {(record.__dict__["charge_point_id"], record.__dict__["connection"]) for record in known} <= {("CP1", 1)}
    return [record.getMessage() for record in known]


# Requests that fail.


@AT_BOTH_ENDS
def test_an_answer_that_does_not_come(
    role: Role, peer: str, ours: str, theirs: str, caplog: pytest.LogCaptureFixture
) -> None:
    with asked(role, ours) as (lone, future, message_id):
        waiting = lone.ask(ours, timeout=20)
        lone.clock.advance(30)
        assert isinstance(failure(future), RequestTimeoutError)
        assert str(failure(future)) == f"{ours} to {peer}: no answer within 30 s"
        assert str(failure(waiting)) == f"{ours} to {peer}: 20 s passed before its turn"
        lone.say([3, message_id, {}])
        assert lines(caplog) == [f"{peer} answered {ours} after its timeout; the answer is dropped"]


@AT_BOTH_ENDS
def test_a_call_error(role: Role, peer: str, ours: str, theirs: str) -> None:
    with asked(role, ours) as (lone, future, message_id):
        lone.say([4, message_id, "InternalError", "no", {}])
        assert isinstance(failure(future), CallErrorReceived)
        assert str(failure(future)) == f"{peer} answered {ours} with CALLERROR InternalError: no"


@AT_BOTH_ENDS
def test_an_answer_that_is_not_valid(role: Role, peer: str, ours: str, theirs: str) -> None:
    with asked(role, ours) as (lone, future, message_id):
        lone.say([3, message_id, {"bogus": 1}])
        assert isinstance(failure(future), InvalidResponseError)
        assert str(failure(future)).startswith(f"{ours} to {peer}: the answer is not valid: {ours} response: ")


@AT_BOTH_ENDS
def test_a_connection_that_ends(role: Role, peer: str, ours: str, theirs: str) -> None:
    with asked(role, ours) as (lone, future, _):
        lone.drop()
        assert str(failure(future)) == f"{ours} to {peer}: the connection ended"
        assert str(failure(lone.ask(ours))) == f"{ours} to {peer}: not connected"


def test_a_request_without_a_connection() -> None:
    with serving() as cs, pytest.raises(NotConnectedError) as error:
        cs.send_request("CP1", "ClearCache")
    assert str(error.value) == "ClearCache to CP1: not connected"
    cp = ChargePoint("CP1")
    with pytest.raises(NotConnectedError) as error:
        cp.send_request("Heartbeat")
    assert (str(error.value), error.value.charge_point_id) == (
        "Heartbeat to CP1's central system: not connected",
        "CP1",
    )
    cp.close()


def test_a_fake_charge_point_is_a_charge_point() -> None:
    with serving() as cs, FakeChargePoint(cs, over="socket") as fake:
        with pytest.raises(CallErrorReceived, match=r"^CP1's central system answered Bogus with CALLERROR NotImpl"):
            fake.call("Bogus")
        fake.close()
        with pytest.raises(NotConnectedError, match=r"^Heartbeat to CP1's central system: not connected$") as error:
            fake.call("Heartbeat")
        assert (error.value.charge_point_id, error.value.delivery) == ("CP1", "not_sent")


def test_a_fake_charge_point_goes_by_its_identity_not_by_its_url() -> None:
    with serving() as cs, FakeChargePoint(cs, "CP 1", over="socket", path="/ocpp?a=b"):
        names = [thread.name for thread in threading.enumerate() if thread.name.startswith("ocppsync-fake-")]
        assert names == ["ocppsync-fake-CP 1"]


# What the peer sends, and what it fails to do.


@AT_BOTH_ENDS
def test_messages_with_faults(role: Role, peer: str, ours: str, theirs: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ocppsync")
    with Lone(role=role, limits=Limits(malformed_messages=1)) as lone:
        lone.router.on(theirs)(lambda payload, metadata: {})
        lone.say([2, "1", "Bogus", {}])
        lone.say([2, "2", theirs, {"bogus": 1}])
        lone.clock.advance(0)
        lone.say([3, "3", {}])
        lone.say([7, "4"])
        lone.say([])
        lone.say([])
    said = lines(caplog)
    assert said[:4] == [
        f"{peer}: its CALL '1' is refused: NotImplemented unknown action 'Bogus'",
        next(line for line in said if line.startswith(f"{peer}: its message is rejected: {theirs} request: bogus")),
        f"{peer}: its answer to '3' is dropped: no CALL of ours has that id",
        next(line for line in said if line.startswith(f"{peer}: its message is ignored: ")),
    ]
    assert said[-1] == f"{peer} sent more than 1 malformed messages; its connection is closed"
    assert all(line.startswith(f"{peer}: ") for line in said[:-1])


@AT_BOTH_ENDS
def test_a_flood_of_calls(role: Role, peer: str, ours: str, theirs: str, caplog: pytest.LogCaptureFixture) -> None:
    with Lone(role=role, limits=Limits(queued_calls=2)) as lone:
        lone.router.on(theirs)(lambda payload, metadata: {})
        for number in range(4):
            lone.say([2, str(number), theirs, {}])
    assert lines(caplog)[0] == f"{peer} sends CALLs faster than they are handled"


@AT_BOTH_ENDS
def test_a_peer_that_falls_silent(
    role: Role, peer: str, ours: str, theirs: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Lone(role=role, websocket_ping_interval=10) as lone:
        lone.clock.advance(10)  # the peer does not read
        lone.clock.advance(10)
        lone.join()
    with Lone(role=role, timeouts=Timeouts(idle=20)) as lone:
        lone.clock.advance(20)
    assert lines(caplog) == [
        f"{peer} does not answer pings; its connection is aborted",
        f"{peer} sent nothing for 20 s; its connection is closed",
    ]


@AT_BOTH_ENDS
def test_a_handler_that_takes_too_long(
    role: Role, peer: str, ours: str, theirs: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Lone(role=role, timeouts=Timeouts(handler=5)) as lone:
        lone.router.on(theirs)(lambda payload, metadata: lone.clock.advance(5))
        lone.say([2, "1", theirs, {}])
        lone.clock.advance(0)
    slow, *_, late = lines(caplog)
    assert slow.startswith(f"{peer}: its {theirs} was answered with InternalError after 5 s: its handler is at ")
    assert late == f"{peer}: the late answer to its {theirs} is dropped"


@pytest.mark.parametrize("peer", ["CP1", "CP1's central system"])
def test_a_handler_that_hangs_is_that_of_the_peers_call(peer: str) -> None:
    clock = Clock()
    detector = StuckHandlerDetector(InlineExecutor(clock), clock)
    detector.running[threading.get_ident()] = SimpleNamespace(peer=peer, action="Reset", asked_at=0.0)
    assert f"Reset of {peer} at " in detector._described()


@AT_BOTH_ENDS
def test_what_fails_at_this_end_is_not_laid_at_the_peers_door(
    role: Role, peer: str, ours: str, theirs: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Lone(role=role) as lone:
        lone.router.on(theirs)(lambda payload, metadata: 1 / 0)
        lone.say([2, "1", theirs, {}])
        lone.clock.advance(0)
    assert lines(caplog) == [f"CP1: the handler of {theirs} failed"]


def test_a_message_that_is_too_long(caplog: pytest.LogCaptureFixture) -> None:
    long: Any = {"vendorId": "x", "data": "x" * 2000}
    with (
        serving() as cs,
        ChargePoint(
            "CP1", url=f"ws://127.0.0.1:{cs.port}", enforce_registration=False, limits=Limits(message_size=1000)
        ) as cp,
    ):
        with contextlib.suppress(OCPPRequestError):
            cs.send_request("CP1", "DataTransfer", long)
        assert cp.wait_closed(5)
    assert "CP1's central system sent a message of more than 1000 bytes" in lines(caplog)
