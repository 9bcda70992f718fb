"""Which peers may come in, and when again: with a clock of the test's own."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Hashable
from concurrent.futures import Future

import pytest
from interleaved import watch_field
from intruder import Intruder
from support import DEADLINE

from ocppsync.limits import Limits
from ocppsync.server import connection_limits
from ocppsync.server.connection_limits import ConnectionLimiter
from ocppsync.wire.http import RefusalError

HERE, THERE = "192.0.2.1", "192.0.2.2"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def refusal(limiter: ConnectionLimiter, address: str, charge_point_id: str | None = None) -> tuple[int, int] | None:
    """The status that it refuses with, and the seconds of Retry-After; None where it does not.

    An attempt to authenticate that it lets happen ends with neither success nor failure.
    """
    try:
        if charge_point_id is None:
            limiter.acquire(address)
        else:
            attempt(limiter, 503, address, charge_point_id)
    except RefusalError as error:
        return error.status, int(dict(error.headers)["Retry-After"])
    return None


def attempt(limiter: ConnectionLimiter, status: int, address: str = HERE, charge_point_id: str = "CP1") -> None:
    """Try to authenticate, and be refused with the status."""
    with contextlib.suppress(Verdict), limiter.attempt(address, charge_point_id):
        raise Verdict(status, "as the test wants it")


class Verdict(RefusalError):
    """What looked at the credentials refuses them."""


def fail(limiter: ConnectionLimiter, times: int, address: str = HERE, charge_point_id: str = "CP1") -> None:
    for _ in range(times):
        attempt(limiter, 401, address, charge_point_id)


def guess(limiter: ConnectionLimiter, times: int, address: str = HERE, charge_point_id: str = "CP1") -> None:
    """Fail so many times, or as often as it is let."""
    with contextlib.suppress(RefusalError):
        fail(limiter, times, address, charge_point_id)


# Connections.


def test_a_slot_may_be_abandoned_while_the_lock_is_held(background: Callable[..., Future[None]]) -> None:
    """A destructor may run on any thread in the middle of anything, also where this object holds its lock."""
    limiter = ConnectionLimiter(Limits(connections=1))
    slot = limiter.acquire(HERE)
    with limiter._lock:
        background(slot.abandon).result(DEADLINE)
    assert refusal(limiter, HERE) is None
    assert refusal(limiter, HERE) is not None
    slot.release()
    assert refusal(limiter, HERE) is not None


def test_connections_are_counted_in_total_and_by_address() -> None:
    limiter = ConnectionLimiter(Limits(connections=3, connections_per_address=2))
    assert [refusal(limiter, HERE) for _ in range(3)] == [None, None, (503, 30)]
    assert [refusal(limiter, THERE) for _ in range(2)] == [None, (503, 30)]
    assert repr(limiter) == "<ConnectionLimiter connections=3 failures=0>"


def test_a_slot_is_released_only_once() -> None:
    limiter = ConnectionLimiter(Limits(connections=2))
    first, second = limiter.acquire(HERE), limiter.acquire(HERE)
    for _ in range(2):
        first.release()
    assert repr(limiter) == "<ConnectionLimiter connections=1 failures=0>"
    assert [refusal(limiter, HERE) for _ in range(2)] == [None, (503, 30)]
    second.release()
    assert repr(limiter) == "<ConnectionLimiter connections=1 failures=0>"


def test_the_addresses_of_a_network_of_ipv6_are_one(clock: Clock) -> None:
    limiter = ConnectionLimiter(Limits(connections_per_address=2, failed_authentications=1), clock)
    ours = [f"2001:db8:1:2::{number}" for number in range(1, 4)]
    assert [refusal(limiter, address) for address in ours] == [None, None, (503, 30)]
    assert refusal(limiter, "2001:db8:1:3::1") is None
    fail(limiter, 1, ours[0])
    assert refusal(limiter, ours[1], "CP1") == (429, 60)
    assert refusal(limiter, "2001:db8:1:3::1", "CP1") is None


def test_without_limits_all_are_admitted() -> None:
    limits = Limits(connections=None, connections_per_address=None, failed_authentications=None)
    limiter = ConnectionLimiter(limits)
    fail(limiter, 1000)
    assert {refusal(limiter, HERE) for _ in range(1000)} == {None}
    assert refusal(limiter, HERE, "CP1") is None
    assert repr(limiter) == "<ConnectionLimiter connections=1000 failures=0>"


def test_connections_from_threads_at_once_are_all_counted() -> None:
    limiter = ConnectionLimiter(Limits(connections=100))
    inside: list[None] = []

    def come() -> None:
        for _ in range(50):
            if refusal(limiter, HERE) is None:
                inside.append(None)

    threads = [threading.Thread(target=come) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(inside) == 100


# Failed authentications.


def test_the_last_failure_that_is_allowed_is_not_the_last_that_is_tried(clock: Clock) -> None:
    limiter = ConnectionLimiter(Limits(failed_authentications=3), clock)
    fail(limiter, 2)
    assert refusal(limiter, HERE, "CP1") is None
    fail(limiter, 1)
    assert refusal(limiter, HERE, "CP1") == (429, 16)  # until 3 have become 2.5
    assert refusal(limiter, HERE, "CP2") is None
    assert refusal(limiter, THERE, "CP1") is None


@pytest.mark.parametrize("failures", [15, 16, 50, 100])
def test_a_peer_that_waits_as_long_as_told_may_try_once_more(clock: Clock, failures: int) -> None:
    limiter = ConnectionLimiter(Limits(failed_authentications=3), clock)
    with contextlib.ExitStack() as under_way:
        # All of them have begun before the first has failed: the address alone does not count those.
        for number in range(failures):
            under_way.enter_context(contextlib.suppress(Verdict))
            under_way.enter_context(limiter.attempt(HERE, f"CP{number}"))
            under_way.callback(refuse)
    refused = refusal(limiter, HERE, "CP")
    assert refused is not None
    clock.now += refused[1] - 1
    assert refusal(limiter, HERE, "CP") is not None
    clock.now += 1
    assert refusal(limiter, HERE, "CP") is None
    fail(limiter, 1, charge_point_id="CP")
    assert refusal(limiter, HERE, "CP") is not None


def refuse() -> None:
    raise Verdict(401, "as the test wants it")


def test_guesses_that_come_at_once_are_counted_before_they_fail(clock: Clock) -> None:
    limiter = ConnectionLimiter(Limits(failed_authentications=3), clock)
    fail(limiter, 1)
    with limiter.attempt(HERE, "CP1"):
        assert refusal(limiter, HERE, "CP1") is None
        with limiter.attempt(HERE, "CP1"):
            assert refusal(limiter, HERE, "CP1") == (429, 16)
            assert refusal(limiter, HERE, "CP2") is None
            assert refusal(limiter, THERE, "CP1") is None
    # They have come to a good end.
    assert refusal(limiter, HERE, "CP1") is None


def test_threads_that_guess_at_once_have_no_more_guesses() -> None:
    limiter, guesses = ConnectionLimiter(Limits(failed_authentications=10)), []
    together = threading.Barrier(8)

    def guess() -> None:
        together.wait()
        for _ in range(25):
            with contextlib.suppress(RefusalError), limiter.attempt(HERE, "CP1"):
                guesses.append(None)
                refuse()

    threads = [threading.Thread(target=guess) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(guesses) == 10


def test_a_fault_is_no_failure(clock: Clock) -> None:
    limiter = ConnectionLimiter(Limits(failed_authentications=1), clock)
    with pytest.raises(ZeroDivisionError), limiter.attempt(HERE, "CP1"):
        raise ZeroDivisionError
    assert refusal(limiter, HERE, "CP1") is None


def test_half_of_them_are_forgotten_every_minute(clock: Clock) -> None:
    limiter = ConnectionLimiter(Limits(failed_authentications=10), clock)
    fail(limiter, 10)
    clock.now += 60
    fail(limiter, 5)  # 10
    assert refusal(limiter, HERE, "CP1") == (429, 5)
    clock.now += 60
    fail(limiter, 4)  # 9
    assert refusal(limiter, HERE, "CP1") is None
    fail(limiter, 1)
    assert refusal(limiter, HERE, "CP1") == (429, 5)


def test_an_address_has_five_times_as_many_for_all_identities(clock: Clock) -> None:
    limiter = ConnectionLimiter(Limits(failed_authentications=2), clock)
    for number in range(10):
        assert refusal(limiter, HERE, f"CP{number}") is None
        fail(limiter, 1, charge_point_id=f"CP{number}")
    assert refusal(limiter, HERE, "CP99") == (429, 5)
    assert refusal(limiter, THERE, "CP99") is None


def test_success_resets_the_failures_of_the_identity_but_not_of_the_address(clock: Clock) -> None:
    limiter = ConnectionLimiter(Limits(failed_authentications=2), clock)
    fail(limiter, 1)
    with limiter.attempt(HERE, "CP1"):
        pass
    fail(limiter, 1)
    assert refusal(limiter, HERE, "CP1") is None
    for number in range(2, 10):
        fail(limiter, 1, charge_point_id=f"CP{number}")
    assert refusal(limiter, HERE, "CP1") == (429, 70)  # for half of the address's ten
    assert refusal(limiter, HERE, "CP99") == (429, 5)  # for all of them
    assert refusal(limiter, THERE, "CP1") is None


def test_those_with_a_wrong_password_do_not_lock_their_neighbour_out(clock: Clock) -> None:
    limiter = ConnectionLimiter(Limits(failed_authentications=10), clock)
    for _ in range(20):  # minutes, in which they try and try
        for number in range(6):
            guess(limiter, 20, charge_point_id=f"wrong {number}")
        assert refusal(limiter, HERE, "wrong 0") is not None
        assert refusal(limiter, HERE, "right") is None
        clock.now += 60


def test_an_identity_that_has_not_failed_for_a_while_has_all_that_its_address_has(clock: Clock) -> None:
    limiter = ConnectionLimiter(Limits(failed_authentications=2), clock)
    fail(limiter, 1)
    clock.now += 61
    for number in range(2, 9):
        fail(limiter, 1, charge_point_id=f"CP{number}")
    assert refusal(limiter, HERE, "CP2") is not None
    assert refusal(limiter, HERE, "CP1") is None


def test_an_identity_that_has_proved_itself_does_not_pay_for_its_neighbours(clock: Clock) -> None:
    limiter = ConnectionLimiter(Limits(failed_authentications=2), clock)
    limiter.proved(HERE, "CP1", HERE)
    for number in range(2, 13):
        guess(limiter, 1, charge_point_id=f"CP{number}")
    assert refusal(limiter, HERE, "CP13") is not None
    assert refusal(limiter, HERE, "CP1") is None
    fail(limiter, 1)
    assert refusal(limiter, HERE, "CP1") is None
    fail(limiter, 1)
    assert refusal(limiter, HERE, "CP1") is not None, "it has its own limit still"
    # There, it has proved nothing.
    for number in range(2, 13):
        guess(limiter, 1, THERE, charge_point_id=f"CP{number}")
    assert refusal(limiter, THERE, "CP1") is not None


def test_a_remembered_password_is_counted_by_itself(clock: Clock) -> None:
    limiter = ConnectionLimiter(Limits(failed_authentications=1), clock)
    for number in range(1, 10):
        guess(limiter, 2, charge_point_id=f"CP{number}")
    for _ in range(3):
        with limiter.attempt(HERE, "CP1", remembered=True):
            pass
    assert refusal(limiter, HERE, "CP1") is not None, "guesses are what they were"
    # The application refuses it.
    with contextlib.suppress(Verdict), limiter.attempt(HERE, "CP1", remembered=True):
        refuse()
    with pytest.raises(RefusalError, match="too many"), limiter.attempt(HERE, "CP1", remembered=True):
        pytest.fail("it was tried")


def test_whence_charge_points_have_proved_themselves(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_limits, "_MAX_PROVEN", 3)
    limiter = ConnectionLimiter(Limits(), clock)
    assert not limiter.has_proved(HERE)
    limiter.proved("198.51.100.1", "CP1", HERE)  # behind a proxy
    limiter.proved(THERE, "CP2", THERE)
    assert limiter.has_proved(HERE)
    assert not limiter.has_proved("198.51.100.1")
    limiter.proved("2001:db8::1", "CP3", HERE)
    assert [limiter.has_proved(address) for address in (HERE, THERE)] == [True, True]
    limiter.proved("2001:db8::1", "CP3", "2001:db8::1")
    assert len(limiter._proven) == 3
    assert [limiter.has_proved(address) for address in (HERE, THERE, "2001:db8::2")] == [True, False, True]


@pytest.mark.parametrize(("status", "counts"), [(401, True), (403, True), (404, False), (429, False), (503, False)])
def test_only_credentials_count(clock: Clock, status: int, counts: bool) -> None:
    limiter = ConnectionLimiter(Limits(failed_authentications=1), clock)
    attempt(limiter, status)
    assert (refusal(limiter, HERE, "CP1") is not None) == counts


def test_the_failure_longest_ago_is_forgotten_first(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_limits, "_MAX_REMEMBERED", 4)
    limiter = ConnectionLimiter(Limits(failed_authentications=2), clock)
    fail(limiter, 1, HERE)
    fail(limiter, 2, THERE)
    assert refusal(limiter, THERE, "CP1") is not None
    fail(limiter, 1, HERE)
    assert repr(limiter) == "<ConnectionLimiter connections=0 failures=4>"
    fail(limiter, 1, "192.0.2.3")
    assert repr(limiter) == "<ConnectionLimiter connections=0 failures=4>"
    assert refusal(limiter, THERE, "CP1") is None
    assert refusal(limiter, HERE, "CP1") is not None


# Two threads in the same slot.


class _Interrupted(Counter[Hashable]):
    """Has another thread come between the look at a number and the change of it."""

    def __init__(self, come: Callable[[], object]) -> None:
        super().__init__()
        self.come = come

    def __getitem__(self, key: Hashable) -> int:
        number = super().__getitem__(key)
        self.come()
        return number


@pytest.mark.parametrize("limits", [Limits(connections_per_address=1), Limits(connections=1)])
def test_the_last_slot_goes_to_one_of_two_connections_at_once(limits: Limits) -> None:
    limiter = ConnectionLimiter(limits)
    intruder = Intruder(lambda: refusal(limiter, HERE))
    limiter._lock = intruder.lock
    limiter._by_peer = _Interrupted(intruder.come)
    assert refusal(limiter, HERE) is None
    assert intruder.result() == (503, 30)


def test_a_connection_that_begins_while_another_ends_is_counted() -> None:
    limiter = ConnectionLimiter(Limits(connections_per_address=2))
    limiter._by_peer = by_peer = _Interrupted(lambda: None)
    slot = limiter.acquire(HERE)
    intruder = Intruder(lambda: limiter.acquire(HERE))
    limiter._lock = intruder.lock
    by_peer.come = intruder.come
    slot.release()
    intruder.result()
    assert [refusal(limiter, HERE) for _ in range(2)] == [None, (503, 30)]
    assert repr(limiter) == "<ConnectionLimiter connections=2 failures=0>"


class _Watched(Clock):
    """A clock that has another thread come when it is looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.come: Callable[[], object] | None = None

    def __call__(self) -> float:
        if self.come is not None:
            self.come()
        return super().__call__()


def test_the_last_attempt_goes_to_one_of_two_at_once() -> None:
    clock = _Watched()
    limiter = ConnectionLimiter(Limits(failed_authentications=1), clock)
    intruder = Intruder(lambda: refusal(limiter, HERE, "CP1"))
    limiter._lock = intruder.lock
    clock.come = intruder.come
    with limiter.attempt(HERE, "CP1"):
        assert intruder.result() is not None


def test_two_failures_at_once_are_both_counted() -> None:
    clock = _Watched()
    limiter = ConnectionLimiter(Limits(failed_authentications=2), clock)
    intruder = Intruder(lambda: limiter._end_attempt(HERE, (HERE, "CP1", False), True))
    for _ in range(2):
        limiter._begin_attempt(HERE, (HERE, "CP1", False), 2)
    limiter._lock = intruder.lock
    clock.come = intruder.come
    limiter._end_attempt(HERE, (HERE, "CP1", False), True)
    intruder.result()
    clock.come = None
    assert refusal(limiter, HERE, "CP1") == (429, 25)


def test_two_proofs_at_once_are_both_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_limits, "_MAX_PROVEN", 2)
    limiter = ConnectionLimiter(Limits())
    limiter.proved("192.0.2.3", "CP3", "192.0.2.3")
    intruder = Intruder(lambda: limiter.proved(THERE, "CP2", THERE))
    limiter._lock = intruder.lock
    watch_field(limiter, "_proven", after_get=lambda proven: intruder.come() if len(proven) > 3 else None)
    limiter.proved(HERE, "CP1", HERE)
    intruder.result()
    assert list(limiter._proven) == [(THERE, "CP2"), THERE]


def test_nothing_is_remembered_of_ended_connections() -> None:
    limiter = ConnectionLimiter(Limits(connections_per_address=1))
    for _ in range(2):
        slot = limiter.acquire(HERE)
        with limiter.attempt(HERE, "CP1"):
            pass
        slot.release()
    assert (len(limiter._by_peer), len(limiter._pending)) == (0, 0)
