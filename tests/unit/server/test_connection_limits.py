"""Who may come in, and when again: with a clock of the test's own."""

from __future__ import annotations

import contextlib
import threading

import pytest

from ocppsync.limits import Limits
from ocppsync.server import connection_limits as doorkeeper_module
from ocppsync.server.connection_limits import Doorkeeper
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


def refusal(doorkeeper: Doorkeeper, address: str, charge_point_id: str | None = None) -> tuple[int, int] | None:
    """The status that it refuses with, and the seconds of Retry-After; None where it does not.

    An attempt to authenticate that it lets happen ends with neither success nor failure.
    """
    try:
        if charge_point_id is None:
            doorkeeper.enter(address)
        else:
            attempt(doorkeeper, 503, address, charge_point_id)
    except RefusalError as error:
        return error.status, int(dict(error.headers)["Retry-After"])
    return None


def attempt(doorkeeper: Doorkeeper, status: int, address: str = HERE, charge_point_id: str = "CP1") -> None:
    """Try to authenticate, and be refused with the status."""
    with contextlib.suppress(Verdict), doorkeeper.attempt(address, charge_point_id):
        raise Verdict(status, "as the test wants it")


class Verdict(RefusalError):
    """What looked at the credentials refuses them."""


def fail(doorkeeper: Doorkeeper, times: int, address: str = HERE, charge_point_id: str = "CP1") -> None:
    for _ in range(times):
        attempt(doorkeeper, 401, address, charge_point_id)


# Who is in.


def test_connections_are_counted_in_all_and_by_address() -> None:
    doorkeeper = Doorkeeper(Limits(connections=3, connections_per_address=2))
    assert [refusal(doorkeeper, HERE) for _ in range(3)] == [None, None, (503, 30)]
    assert [refusal(doorkeeper, THERE) for _ in range(2)] == [None, (503, 30)]
    assert repr(doorkeeper) == "<Doorkeeper inside=3 failures=0>"


def test_whoever_leaves_makes_room_once() -> None:
    doorkeeper = Doorkeeper(Limits(connections=2))
    first, second = doorkeeper.enter(HERE), doorkeeper.enter(HERE)
    for _ in range(2):
        first.leave()
    assert repr(doorkeeper) == "<Doorkeeper inside=1 failures=0>"
    assert [refusal(doorkeeper, HERE) for _ in range(2)] == [None, (503, 30)]
    second.leave()
    assert repr(doorkeeper) == "<Doorkeeper inside=1 failures=0>"


def test_the_addresses_of_a_network_of_ipv6_are_one(clock: Clock) -> None:
    doorkeeper = Doorkeeper(Limits(connections_per_address=2, failed_authentications=1), clock)
    ours = [f"2001:db8:1:2::{number}" for number in range(1, 4)]
    assert [refusal(doorkeeper, address) for address in ours] == [None, None, (503, 30)]
    assert refusal(doorkeeper, "2001:db8:1:3::1") is None
    fail(doorkeeper, 1, ours[0])
    assert refusal(doorkeeper, ours[1], "CP1") == (429, 60)
    assert refusal(doorkeeper, "2001:db8:1:3::1", "CP1") is None


def test_without_limits_everybody_comes_in() -> None:
    limits = Limits(connections=None, connections_per_address=None, failed_authentications=None)
    doorkeeper = Doorkeeper(limits)
    fail(doorkeeper, 1000)
    assert {refusal(doorkeeper, HERE) for _ in range(1000)} == {None}
    assert refusal(doorkeeper, HERE, "CP1") is None
    assert repr(doorkeeper) == "<Doorkeeper inside=1000 failures=0>"


def test_threads_that_come_at_once_are_all_counted() -> None:
    doorkeeper = Doorkeeper(Limits(connections=100))
    inside: list[None] = []

    def come() -> None:
        for _ in range(50):
            if refusal(doorkeeper, HERE) is None:
                inside.append(None)

    threads = [threading.Thread(target=come) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(inside) == 100


# Who failed.


def test_the_last_failure_that_is_allowed_is_not_the_last_that_is_tried(clock: Clock) -> None:
    doorkeeper = Doorkeeper(Limits(failed_authentications=3), clock)
    fail(doorkeeper, 2)
    assert refusal(doorkeeper, HERE, "CP1") is None
    fail(doorkeeper, 1)
    assert refusal(doorkeeper, HERE, "CP1") == (429, 16)  # until 3 have become 2.5
    assert refusal(doorkeeper, HERE, "CP2") is None
    assert refusal(doorkeeper, THERE, "CP1") is None


@pytest.mark.parametrize("failures", [15, 16, 50, 100])
def test_whoever_waits_as_long_as_told_may_try_once_more(clock: Clock, failures: int) -> None:
    doorkeeper = Doorkeeper(Limits(failed_authentications=3), clock)
    with contextlib.ExitStack() as under_way:
        # All of them have begun before the first has failed: the address alone does not count those.
        for number in range(failures):
            under_way.enter_context(contextlib.suppress(Verdict))
            under_way.enter_context(doorkeeper.attempt(HERE, f"CP{number}"))
            under_way.callback(refuse)
    refused = refusal(doorkeeper, HERE, "CP")
    assert refused is not None
    clock.now += refused[1] - 1
    assert refusal(doorkeeper, HERE, "CP") is not None
    clock.now += 1
    assert refusal(doorkeeper, HERE, "CP") is None
    fail(doorkeeper, 1, charge_point_id="CP")
    assert refusal(doorkeeper, HERE, "CP") is not None


def refuse() -> None:
    raise Verdict(401, "as the test wants it")


def test_guesses_that_come_at_once_are_counted_before_they_fail(clock: Clock) -> None:
    doorkeeper = Doorkeeper(Limits(failed_authentications=3), clock)
    fail(doorkeeper, 1)
    with doorkeeper.attempt(HERE, "CP1"):
        assert refusal(doorkeeper, HERE, "CP1") is None
        with doorkeeper.attempt(HERE, "CP1"):
            assert refusal(doorkeeper, HERE, "CP1") == (429, 16)
            assert refusal(doorkeeper, HERE, "CP2") is None
            assert refusal(doorkeeper, THERE, "CP1") is None
    # They have come to a good end.
    assert refusal(doorkeeper, HERE, "CP1") is None


def test_threads_that_guess_at_once_have_no_more_guesses() -> None:
    doorkeeper, guesses = Doorkeeper(Limits(failed_authentications=10)), []
    together = threading.Barrier(8)

    def guess() -> None:
        together.wait()
        for _ in range(25):
            with contextlib.suppress(RefusalError), doorkeeper.attempt(HERE, "CP1"):
                guesses.append(None)
                refuse()

    threads = [threading.Thread(target=guess) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(guesses) == 10


def test_a_fault_is_no_failure(clock: Clock) -> None:
    doorkeeper = Doorkeeper(Limits(failed_authentications=1), clock)
    with pytest.raises(ZeroDivisionError), doorkeeper.attempt(HERE, "CP1"):
        raise ZeroDivisionError
    assert refusal(doorkeeper, HERE, "CP1") is None


def test_half_of_them_are_forgotten_every_minute(clock: Clock) -> None:
    doorkeeper = Doorkeeper(Limits(failed_authentications=10), clock)
    fail(doorkeeper, 10)
    clock.now += 60
    fail(doorkeeper, 5)  # 10
    assert refusal(doorkeeper, HERE, "CP1") == (429, 5)
    clock.now += 60
    fail(doorkeeper, 4)  # 9
    assert refusal(doorkeeper, HERE, "CP1") is None
    fail(doorkeeper, 1)
    assert refusal(doorkeeper, HERE, "CP1") == (429, 5)


def test_an_address_has_five_times_as_many_for_all_identities(clock: Clock) -> None:
    doorkeeper = Doorkeeper(Limits(failed_authentications=2), clock)
    for number in range(10):
        assert refusal(doorkeeper, HERE, f"CP{number}") is None
        fail(doorkeeper, 1, charge_point_id=f"CP{number}")
    assert refusal(doorkeeper, HERE, "CP99") == (429, 5)
    assert refusal(doorkeeper, THERE, "CP99") is None


def test_who_succeeds_is_forgiven_but_not_the_address(clock: Clock) -> None:
    doorkeeper = Doorkeeper(Limits(failed_authentications=2), clock)
    fail(doorkeeper, 1)
    with doorkeeper.attempt(HERE, "CP1"):
        pass
    fail(doorkeeper, 1)
    assert refusal(doorkeeper, HERE, "CP1") is None
    for number in range(2, 10):
        fail(doorkeeper, 1, charge_point_id=f"CP{number}")
    assert refusal(doorkeeper, HERE, "CP1") == (429, 5)  # for the address's ten
    assert refusal(doorkeeper, THERE, "CP1") is None


@pytest.mark.parametrize(("status", "counts"), [(401, True), (403, True), (404, False), (429, False), (503, False)])
def test_only_credentials_count(clock: Clock, status: int, counts: bool) -> None:
    doorkeeper = Doorkeeper(Limits(failed_authentications=1), clock)
    attempt(doorkeeper, status)
    assert (refusal(doorkeeper, HERE, "CP1") is not None) == counts


def test_whoever_failed_longest_ago_is_forgotten_first(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doorkeeper_module, "_MOST_REMEMBERED", 4)
    doorkeeper = Doorkeeper(Limits(failed_authentications=2), clock)
    fail(doorkeeper, 1, HERE)
    fail(doorkeeper, 2, THERE)
    assert refusal(doorkeeper, THERE, "CP1") is not None
    fail(doorkeeper, 1, HERE)
    assert repr(doorkeeper) == "<Doorkeeper inside=0 failures=4>"
    fail(doorkeeper, 1, "192.0.2.3")
    assert repr(doorkeeper) == "<Doorkeeper inside=0 failures=4>"
    assert refusal(doorkeeper, THERE, "CP1") is None
    assert refusal(doorkeeper, HERE, "CP1") is not None
