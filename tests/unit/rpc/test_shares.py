"""What one peer may occupy of what all share."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from contexts import share_of
from incoming import incoming
from interleaved import Made, Midway, with_lock
from pools import Gate
from support import DEADLINE, Recorder

from ocppsync import Limits
from ocppsync.rpc.answer_memory import AnswerMemory, CallKind
from ocppsync.rpc.incoming import IncomingCall
from ocppsync.rpc.incoming_calls import IncomingCalls
from ocppsync.rpc.shares import PeerShare, Shares, parsed_size
from ocppsync.testing.inline import Clock, InlineExecutor
from ocppsync.threads.pool import HandlerPool
from ocppsync.threads.timer import Timer

KIB = 1024


def shares(**limits: Any) -> Shares:
    return Shares(InlineExecutor(Clock()), 16, Limits(**limits))


ANYWHERE: Any = SimpleNamespace(submit=lambda *task: True)


def take(share: PeerShare, size: int, *, must: bool = False) -> bool:
    """Have a message of that size wait; return whether there is room for it."""
    return share.submit(ANYWHERE, size, print, must=must)


# How large a message is.


ITEMS = ["{}", "[]", '""', '"a"', "1", "12345", "1.5", "null", "-1e5", "123456789012345678901234567890"]
ITEMS += ['{"a":1}', '{"":{}}', "[[]]", '{"a":[{"b":"c"}]}', '{"a":1,"b":2,"c":3,"d":4,"e":5,"f":6}']
ITEMS += ['"ä"', '"\\ud83d\\ude00"', '"€"', '"😀"']


@pytest.mark.parametrize("length", [10, 100, 900, 20_000, 200_000])
@pytest.mark.parametrize("item", ITEMS)
def test_a_message_is_never_taken_for_smaller_than_it_is(item: str, length: int) -> None:
    text = f'[2,"1","DataTransfer",{{"data":[{",".join([item] * max(1, length // (len(item) + 1)))}]}}]'
    assert parsed_size(text) >= taken_by(text)


@pytest.mark.parametrize("depth", [10, 400])
def test_a_deep_message_is_never_taken_for_smaller_than_it_is(depth: int) -> None:
    for opening, closing in (("[", "]"), ('{"a":', "}")):
        text = f'[2,"1","DataTransfer",{opening * depth}1{closing * depth}]'
        assert parsed_size(text) >= taken_by(text)


def test_different_names_in_each_object_count() -> None:
    text = json.dumps([2, "1", "DataTransfer", [{f"name{number}": number} for number in range(5_000)]])
    assert parsed_size(text) >= taken_by(text)


def taken_by(text: str) -> int:
    """Return how many bytes the parsed message takes, and its text."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        kept: Any = json.loads(text)
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert kept[0] == 2
    return taken + len(text)


# The bytes of one peer.


def test_a_peer_has_so_many_bytes_and_no_more() -> None:
    share = shares(call_bytes=100).share()
    assert [take(share, 60), take(share, 41), take(share, 40), take(share, 1)] == [True, False, True, False]
    share.give(60)
    assert [take(share, 61), take(share, 60)] == [False, True]


def test_what_was_accepted_before_counts_though_there_is_no_room() -> None:
    share = shares(call_bytes=100).share()
    assert [take(share, 100), take(share, 50, must=True), take(share, 1)] == [True, True, False]
    share.give(100)
    assert [take(share, 51), take(share, 50)] == [False, True]


def test_hooks_that_wait_count_like_calls_that_wait() -> None:
    executor = InlineExecutor(Clock())
    share = share_of(executor, Limits(queued_calls=2, handler_threads_per_peer=2))
    for _ in range(2):
        assert take(share, 1)
        assert share.others.submit(share.give, 1)
    assert not take(share, 1), "two wait"
    executor.run()
    assert take(share, 1)


def test_another_peer_has_bytes_of_its_own() -> None:
    both = shares(call_bytes=100)
    first, second = both.share(), both.share()
    assert [take(first, 100), take(second, 100), take(first, 1)] == [True, True, False]


def test_all_peers_together_have_so_many_bytes_and_a_little_each() -> None:
    all_peers = shares(call_bytes=100 * KIB, call_bytes_total=50 * KIB)
    first, second = all_peers.share(), all_peers.share()
    assert take(first, 66 * KIB), "16 are its own"
    assert not take(first, 1)
    assert [take(second, 16 * KIB), take(second, 1)] == [True, False]
    first.give(66 * KIB)
    assert take(second, 50 * KIB)


def test_bytes_that_do_not_fit_for_all_peers_are_not_counted_for_one() -> None:
    all_peers = shares(call_bytes=100 * KIB, call_bytes_total=50 * KIB)
    first, second = all_peers.share(), all_peers.share()
    assert take(first, 60 * KIB)
    assert not take(second, 60 * KIB)
    first.give(60 * KIB)
    assert take(second, 66 * KIB)
    second.give(66 * KIB)
    assert take(first, 66 * KIB)


def test_without_a_limit_for_all_peers_each_has_its_own() -> None:
    many = shares(call_bytes=100 * KIB, call_bytes_total=None)
    assert all(take(many.share(), 100 * KIB) for _ in range(10))


def test_what_had_to_be_taken_is_given_back_to_all() -> None:
    all_peers = shares(call_bytes=100 * KIB, call_bytes_total=10 * KIB)
    first, second = all_peers.share(), all_peers.share()
    assert take(first, 80 * KIB, must=True)
    assert not take(second, 17 * KIB)
    first.give(80 * KIB)
    assert [take(second, 26 * KIB), take(second, 1)] == [True, False]


# The threads of one peer, and of all that is not a CALL.


@pytest.fixture
def timer() -> Iterator[Timer]:
    opened = Timer("test-timer")
    yield opened
    opened.close()


def call(number: int, gate: Gate) -> IncomingCall:
    """Return a CALL that is handled by going through a gate."""
    handler = SimpleNamespace(handle=lambda call: gate(f"call {call.message_id}"))
    return incoming(f'[2,"{number}","Heartbeat",{{}}]', received_by=handler)


def test_a_peer_runs_one_call_and_so_many_other_tasks_at_once(make_pool: Any, timer: Timer) -> None:
    pool = make_pool(16)
    share = share_of(pool, Limits(handler_threads_per_peer=4))
    calls = IncomingCalls(pool, share, AnswerMemory(), timer)
    gate, done = Gate(), Recorder()
    for number in range(10):
        assert calls.receive(call(number, gate))[0] is CallKind.NEW
        share.others.submit(gate, f"hook {number}")
    assert sorted(gate.begun.wait(4)) == ["call 0", "hook 0", "hook 1", "hook 2"]
    pool.submit(done)
    done.wait()
    assert len(gate.begun.items) == 4
    assert calls.busy
    assert share.others.busy
    gate.open(20)
    gate.begun.wait(20)
    assert pool.wait_idle(DEADLINE)
    assert not calls.busy
    assert not share.others.busy


@pytest.mark.parametrize(("threads", "left"), [(1, 0), (2, 1), (4, 1), (16, 4)])
def test_hooks_of_all_peers_leave_threads_to_calls(make_pool: Any, timer: Timer, threads: int, left: int) -> None:
    pool: HandlerPool = make_pool(threads)
    all_peers = Shares(pool, threads, Limits())
    peers: list[PeerShare] = [all_peers.share() for _ in range(20)]
    hooks, calls = Gate(), Gate()
    for peer in peers:
        for _ in range(5):
            peer.others.submit(hooks)
    hooks.begun.wait(threads - left)
    for number, peer in enumerate(peers):
        IncomingCalls(all_peers.pool, peer, AnswerMemory(), timer).receive(call(number, calls))
    calls.begun.wait(left)
    assert len(hooks.begun.items) == max(1, threads - left)
    hooks.open(100)
    calls.open(20)
    calls.begun.wait(20)
    hooks.begun.wait(100)


def test_reprs_tell_what_is_used() -> None:
    share = shares().share()
    take(share, 5)
    assert repr(share) == ("<PeerShare others=<BoundedExecutor open running=0/3 waiting=0> bytes=5>")


# Two threads at once.


def test_two_messages_of_a_peer_at_once_do_not_get_the_same_bytes() -> None:
    share, size, made = shares(call_bytes=100).share(), Midway(60), Made()
    size.happen = made.let_in(with_lock(share, "lock"), take, share, 60)
    assert [take(share, size), made.result()] == [True, False]


def test_two_messages_of_a_peer_at_once_both_give_back() -> None:
    share, size, made = shares(call_bytes=100).share(), Midway(40), Made()
    take(share, 100)
    size.happen = made.let_in(with_lock(share, "lock"), share.give, 60)
    share.give(size)
    made.result()
    assert take(share, 100)
