"""What the answers of a charge point depend on: availability and transactions exclude each other."""

from __future__ import annotations

from typing import Any

import pytest
from support import DEADLINE, WatchedLock

from ocppsync.answers import ChargePointAnswers, StationState
from ocppsync.answers.availability import CONNECTOR, STATION
from ocppsync.answers.local_authorization import token

A = token("A")


@pytest.fixture
def state() -> ChargePointAnswers:
    return ChargePointAnswers()


@pytest.fixture
def lock(state: StationState) -> WatchedLock:
    lock: Any = WatchedLock()
    state._lock = lock
    watched: WatchedLock = lock
    return watched


# Races.


def test_no_transaction_begins_once_the_connector_is_out_of_service(state: StationState, lock: WatchedLock) -> None:
    with lock:
        began = lock.meanwhile(state.begin_transaction)
        assert not began.done(), "it waits while ChangeAvailability is decided"
        state.availability.change([CONNECTOR], operative=False, in_use=state.in_use)
    assert began.result(DEADLINE) is False


def test_a_transaction_that_begins_postpones_the_change(state: StationState, lock: WatchedLock) -> None:
    with lock:
        status = lock.meanwhile(lambda: state.change_availability([CONNECTOR], operative=False))
        assert not status.done(), "it waits while a transaction begins"
        state._reserved = state.operative
    assert status.result(DEADLINE) == "Scheduled"
    assert state.operative


def test_a_change_that_comes_at_the_end_of_a_transaction_is_made(state: StationState, lock: WatchedLock) -> None:
    assert state.begin_transaction()
    with lock:
        ended = lock.meanwhile(state.end_transaction)
        assert not ended.done(), "it waits while ChangeAvailability is decided"
        state.availability.change([CONNECTOR], operative=False, in_use=state.in_use)
    ended.result(DEADLINE)
    assert not state.operative


def test_the_program_may_change_the_availability(state: StationState, lock: WatchedLock) -> None:
    with lock:
        changed = lock.meanwhile(lambda: setattr(state, "operative", False))
        assert not changed.done()
    changed.result(DEADLINE)
    assert not state.availability.is_operative(STATION)
    state.operative = True
    assert state.operative


# Authorization.


def put(state: ChargePointAnswers, **settings: str) -> None:
    for key, value in settings.items():
        state.configuration[key.casefold()].value = value


def test_a_known_token_needs_no_question_if_that_is_allowed(state: ChargePointAnswers) -> None:
    state.learn(A, {"status": "Accepted"})
    assert not state.knows_as_accepted(A)
    put(state, LocalPreAuthorize="true")
    assert state.knows_as_accepted(A)
    put(state, AuthorizationCacheEnabled="false")
    assert not state.knows_as_accepted(A)
    state.learn(token("B"), {"status": "Accepted"})
    assert len(state.cache) == 1, "a cache that is disabled stores nothing"


def test_the_list_takes_precedence_over_the_cache(state: ChargePointAnswers) -> None:
    put(state, LocalPreAuthorize="true")
    state.learn(A, {"status": "Accepted"})
    state.local_list.take(1, "Full", [(A, {"status": "Blocked"})])
    assert not state.knows_as_accepted(A)
    put(state, LocalAuthListEnabled="false")
    assert state.knows_as_accepted(A)
    put(state, LocalAuthListEnabled="true")
    state.local_list.take(2, "Full", [(A, {"status": "Accepted"})])
    state.cache.clear()
    state.learn(A, {"status": "Blocked"})
    assert (len(state.cache), state.knows_as_accepted(A)) == (0, True), "a token of the list is not cached"


def test_an_answer_without_information_teaches_nothing(state: ChargePointAnswers) -> None:
    state.learn(A, None)
    assert len(state.cache) == 0


def test_settings_are_read_by_their_type(state: ChargePointAnswers) -> None:
    put(state, HeartbeatInterval="7", LocalPreAuthorize="TRUE", MeterValuesSampledData="SoC, Voltage")
    assert state.number("HeartbeatInterval") == 7
    assert state.flag("LocalPreAuthorize") is True
    assert list(state.measurands("MeterValuesSampledData")) == ["SoC", "Voltage"]
