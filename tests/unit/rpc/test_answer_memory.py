"""What is remembered of a station's CALLs, for those that it repeats."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from incoming import incoming

from ocppsync.budget import Budget
from ocppsync.rpc import frames
from ocppsync.rpc.answer_memory import KEPT_ANSWERS, KEPT_SECONDS, AnswerMemory, CallKind
from ocppsync.rpc.incoming import IncomingCall

ANSWER = '[3,"1",{"transactionId":5}]'
START = '[2,"1","StartTransaction",{"connectorId":1,"idTag":"A"}]'
AUTHORIZE = '[2,"1","Authorize",{}]'
LARGE = '[2,"1","StartTransaction",{"data":"%s"}]' % ("x" * 5000)


class Clock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def admit(memory: AnswerMemory, text: str, reply_to: object = "reply_to") -> tuple[CallKind, IncomingCall]:
    return memory.remember(incoming(text, reply_to, asked_at=memory._clock()))


def kind_of(memory: AnswerMemory, text: str, reply_to: object = "reply_to") -> CallKind:
    return admit(memory, text, reply_to)[0]


def remember(
    memory: AnswerMemory, text: str, reply_to: object = "reply_to", answer: str | None = ANSWER
) -> IncomingCall:
    what, entry = admit(memory, text, reply_to)
    assert what is CallKind.NEW
    memory.finish(entry, answer)
    return entry


@pytest.mark.parametrize("text", [START, AUTHORIZE, LARGE])
def test_a_call_is_new_then_swallowed_then_replayed(text: str) -> None:
    memory = AnswerMemory()
    what, entry = admit(memory, text)
    assert (what, entry.answer) == (CallKind.NEW, None)
    for _ in range(2):
        assert admit(memory, text) == (CallKind.IN_PROGRESS, entry)
    memory.finish(entry, ANSWER)
    for _ in range(2):
        assert admit(memory, text) == (CallKind.REPEATED, entry)
        assert entry.answer == ANSWER


def test_a_call_that_was_answered_with_an_error_is_handled_anew() -> None:
    memory = AnswerMemory()
    remember(memory, START, answer=None)
    assert kind_of(memory, START) is CallKind.NEW


@pytest.mark.parametrize("action", ["Heartbeat", "BootNotification"])
def test_a_call_that_asks_for_the_time_is_answered_anew(action: str) -> None:
    memory = AnswerMemory()
    text = f'[2,"1","{action}",{{}}]'
    entry = admit(memory, text)[1]
    assert admit(memory, text) == (CallKind.IN_PROGRESS, entry), "there is one answer while it is being handled"
    memory.finish(entry, ANSWER)
    for _ in range(2):
        what, again = admit(memory, text)
        assert (what, again.answer) == (CallKind.NEW, None)
        memory.finish(again, ANSWER)
        assert memory.answered("1") == action
    assert kind_of(memory, text.replace("{}", '{"a":1}')) is CallKind.CONFLICT


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (START, START, True),
        (START, '[2, "1", "StartTransaction",\n{"connectorId": 1, "idTag": "A"}]', True),
        (START, '[2,"1","StartTransaction",{"idTag":"A","connectorId":1}]', True),
        (START, r'[2,"1","StartTransaction",{"connectorId":1,"idTag":"\u0041"}]', True),
        ('[2,"1","Authorize",null]', AUTHORIZE, True),
        (LARGE, LARGE, True),
        (START, '[2,"1","StartTransaction",{"connectorId":2,"idTag":"A"}]', False),
        (START, '[2,"1","StartTransaction",{"connectorId":1}]', False),
        (START, '[2,"1","StopTransaction",{"connectorId":1,"idTag":"A"}]', False),
        (START, LARGE, False),
        (LARGE, START, False),
        (LARGE, LARGE.replace("xx", "xy", 1), False),
    ],
)
@pytest.mark.parametrize("answered", [False, True])
def test_what_counts_as_the_same_call(first: str, second: str, same: bool, answered: bool) -> None:
    memory = AnswerMemory()
    entry = admit(memory, first)[1]
    if answered:
        memory.finish(entry, ANSWER)
    repeat = CallKind.REPEATED if answered else CallKind.IN_PROGRESS
    assert kind_of(memory, second) is (repeat if same else CallKind.CONFLICT)
    assert kind_of(memory, first) is repeat, "a conflict changes nothing"


def test_other_ids_are_other_calls() -> None:
    memory = AnswerMemory()
    remember(memory, START)
    assert kind_of(memory, START.replace('"1"', '"2"', 1)) is CallKind.NEW
    assert kind_of(memory, START.replace('"1"', '"1 "', 1)) is CallKind.NEW


# Over another connection.


@pytest.mark.parametrize("action", ["StartTransaction", "StopTransaction", "MeterValues", "TransactionEvent"])
def test_a_queued_message_may_be_repeated_over_another_connection(action: str) -> None:
    memory = AnswerMemory()
    text = f'[2,"1","{action}",{{}}]'
    remember(memory, text, "old")
    assert kind_of(memory, text, "new") is CallKind.REPEATED


@pytest.mark.parametrize("action", ["Heartbeat", "BootNotification", "StatusNotification", "Authorize", "DataTransfer"])
@pytest.mark.parametrize("answered", [False, True])
def test_anything_else_is_new_over_another_connection(action: str, answered: bool) -> None:
    memory = AnswerMemory()
    text = f'[2,"1","{action}",{{}}]'
    entry = admit(memory, text, "old")[1]
    if answered:
        memory.finish(entry, ANSWER)
    assert kind_of(memory, text, "new") is CallKind.NEW


@pytest.mark.parametrize("other", [AUTHORIZE, START.replace('"A"', '"B"')])
def test_another_connection_may_use_an_id_again(other: str) -> None:
    memory = AnswerMemory()
    remember(memory, START, "old")
    assert kind_of(memory, other, "new") is CallKind.NEW
    assert kind_of(memory, other, "new") is CallKind.IN_PROGRESS, "the newer one is remembered"


def test_the_answer_goes_to_the_connection_that_asked_last() -> None:
    memory = AnswerMemory()
    entry = admit(memory, START, "old")[1]
    assert admit(memory, START, "new") == (CallKind.IN_PROGRESS, entry)
    memory.finish(entry, ANSWER)
    assert entry.reply_to == "new"


def test_the_answer_stays_with_the_newest_connection() -> None:
    memory = AnswerMemory()
    memory.prefer("second")
    entry = admit(memory, START, "first")[1]
    assert admit(memory, START, "second") == (CallKind.IN_PROGRESS, entry)
    assert admit(memory, START, "first") == (CallKind.IN_PROGRESS, entry)
    memory.finish(entry, ANSWER)
    assert entry.reply_to == "second"


def test_the_answer_to_an_id_that_was_taken_over_goes_to_its_own_connection() -> None:
    memory = AnswerMemory()
    old = admit(memory, AUTHORIZE, "old")[1]
    new = admit(memory, AUTHORIZE, "new")[1]
    memory.finish(old, None)
    assert old.reply_to == "old"
    assert kind_of(memory, AUTHORIZE, "new") is CallKind.IN_PROGRESS, "the newer one is still being handled"
    memory.finish(new, ANSWER)
    assert new.reply_to == "new"


def test_links_are_told_apart_by_identity() -> None:
    memory = AnswerMemory()
    remember(memory, AUTHORIZE, [1])
    assert kind_of(memory, AUTHORIZE, [1]) is CallKind.NEW


# For how long.


def test_an_answer_is_kept_for_its_time() -> None:
    clock = Clock()
    memory = AnswerMemory(clock)
    remember(memory, START)
    clock.now += KEPT_SECONDS
    assert kind_of(memory, START) is CallKind.REPEATED
    clock.now += 0.001
    assert kind_of(memory, START) is CallKind.NEW


def test_a_call_that_is_being_handled_does_not_age() -> None:
    clock = Clock()
    memory = AnswerMemory(clock)
    admit(memory, START)
    clock.now += 10 * KEPT_SECONDS
    assert kind_of(memory, START) is CallKind.IN_PROGRESS


def numbered(number: int) -> str:
    return f'[2,"{number}","Authorize",{{}}]'


def test_only_the_last_few_are_kept() -> None:
    memory = AnswerMemory()
    for number in range(KEPT_ANSWERS + 1):
        remember(memory, numbered(number))
    for number in range(KEPT_ANSWERS, 0, -1):
        assert kind_of(memory, numbered(number)) is CallKind.REPEATED
    assert kind_of(memory, numbered(0)) is CallKind.NEW


def test_an_id_that_is_used_again_counts_as_new() -> None:
    memory = AnswerMemory()
    remember(memory, numbered(0), answer=None)
    first = admit(memory, numbered(0), "old")[1]
    for number in range(1, KEPT_ANSWERS):
        remember(memory, numbered(number))
    remember(memory, numbered(0), "new")
    remember(memory, numbered(KEPT_ANSWERS))
    assert kind_of(memory, numbered(0), "new") is CallKind.REPEATED
    assert kind_of(memory, numbered(1)) is CallKind.NEW, "the one that came first is forgotten first"
    memory.finish(first, ANSWER)
    assert first.reply_to == "old"


def test_a_call_that_is_being_handled_is_not_forgotten_for_later_ones() -> None:
    memory = AnswerMemory()
    first = admit(memory, numbered(0))[1]
    for number in range(1, KEPT_ANSWERS + 2):
        remember(memory, numbered(number))
    assert kind_of(memory, numbered(0)) is CallKind.IN_PROGRESS
    memory.finish(first, ANSWER)
    assert first.reply_to == "reply_to"
    assert kind_of(memory, numbered(0)) is CallKind.REPEATED, "the last to be answered"


@pytest.mark.parametrize("answer", [ANSWER, None])
def test_a_call_whose_id_was_taken_over_can_still_be_answered(answer: Any) -> None:
    memory = AnswerMemory()
    first = admit(memory, AUTHORIZE, "old")[1]
    assert kind_of(memory, AUTHORIZE, "new") is CallKind.NEW
    memory.finish(first, answer)
    assert first.reply_to == "old"
    assert kind_of(memory, AUTHORIZE, "new") is CallKind.IN_PROGRESS


# How many bytes it takes.


def answer_of(size: int) -> str:
    return f'[3,"1",{{"data":"{"x" * size}"}}]'


def test_the_oldest_answers_go_when_there_are_too_many_bytes() -> None:
    memory = AnswerMemory(limit=20_000)
    for number in range(3):
        remember(memory, numbered(number), answer=answer_of(8_000))
    kinds = [kind_of(memory, numbered(number)) for number in (2, 1, 0)]
    assert kinds == [CallKind.REPEATED, CallKind.REPEATED, CallKind.NEW]


def test_an_answer_that_is_larger_than_the_limit_is_not_kept() -> None:
    memory = AnswerMemory(limit=5_000)
    remember(memory, numbered(0), answer=answer_of(5_000))
    assert repr(memory) == "<AnswerMemory open=0 answered=0 bytes=0>"


def test_what_a_memory_takes_is_counted_with_its_texts() -> None:
    memory = AnswerMemory()
    wide = f'[2,"1","DataTransfer",{{"vendorId":"{chr(0x1F600) * 4_000}"}}]'
    remember(memory, wide, answer=answer_of(100))
    assert memory._used > 16_000, "four bytes for each character"


def test_an_ordinary_call_is_not_taken_for_smaller_than_it_is() -> None:
    memories = [AnswerMemory() for _ in range(100)]
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(KEPT_ANSWERS):
            for memory in memories:
                text = json.dumps([2, f"{number}{'x' * 35}", "StatusNotification", {}])
                call = incoming(text, asked_at=number + 0.5, due=number + 60.5, size=1000 + number)
                memory.remember(call)
                call.thread = 10**15 + number
                memory.finish(call, json.dumps([3, call.message_id, {}]))
                call.payload = None
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert sum(memory._used for memory in memories) >= taken


@pytest.mark.parametrize("end", ["clear", "more answers", "an id taken over"])
def test_what_all_memories_share_is_given_back(end: str) -> None:
    budget, clock = Budget(100_000), Clock()
    memory = AnswerMemory(clock, 64 * 1024, budget)
    for number in range(KEPT_ANSWERS):
        remember(memory, numbered(number), answer=answer_of(7_000))
    assert budget.used > 40_000
    if end == "clear":
        memory.clear()
        assert kind_of(memory, numbered(0)) is CallKind.NEW
    elif end == "more answers":
        for number in range(KEPT_ANSWERS, 2 * KEPT_ANSWERS):
            remember(memory, numbered(number))
    else:
        clock.now += KEPT_SECONDS + 1
        for number in range(KEPT_ANSWERS):
            assert kind_of(memory, numbered(number)) is CallKind.NEW
    assert budget.used == 0


def test_when_what_all_share_is_used_up_each_keeps_a_little() -> None:
    budget = Budget(30_000)
    memories = [AnswerMemory(limit=64 * 1024, budget=budget) for _ in range(5)]
    for memory in memories:
        for number in range(KEPT_ANSWERS):
            remember(memory, numbered(number), answer=answer_of(7_000))
    assert budget.used <= 30_000
    assert all(memory._used <= 8 * 1024 + memory._loan.size for memory in memories)
    assert all(kind_of(memory, numbered(KEPT_ANSWERS - 1)) is CallKind.REPEATED for memory in memories)
    assert sum(memory._used for memory in memories) <= 30_000 + 5 * 8 * 1024


def test_ordinary_answers_take_nothing_of_what_all_share() -> None:
    budget = Budget(1)
    memory = AnswerMemory(budget=budget)
    for number in range(KEPT_ANSWERS):
        remember(memory, numbered(number), answer=answer_of(300))
    assert budget.used == 0
    assert all(kind_of(memory, numbered(number)) is CallKind.REPEATED for number in range(KEPT_ANSWERS))


def test_calls_that_are_being_handled_stay_when_a_memory_is_cleared() -> None:
    memory = AnswerMemory()
    entry = admit(memory, START, "old")[1]
    memory.clear()
    assert kind_of(memory, START, "new") is CallKind.IN_PROGRESS
    memory.finish(entry, ANSWER)
    assert entry.reply_to == "new"


def test_a_long_call_is_recognised_by_a_digest_that_is_the_same_in_every_process() -> None:
    # The bytes are those of another process; half a surrogate pair is a text like any other.
    text = f'[2,"1","DataTransfer",{{"vendorId":"x","data":"{"a" * 5_000}\ud83d"}}]'
    entry = admit(AnswerMemory(), text)[1]
    assert entry.text == bytes.fromhex("06c9ca89a9fed2d4e7a93efdaa428f1a")


# Which answers the peer may refuse (4/21 §4.2.3).


def test_the_action_of_an_answer_that_was_given_lately() -> None:
    clock = Clock()
    memory = AnswerMemory(clock)
    assert memory.answered("1") is None
    entry = admit(memory, START)[1]
    assert memory.answered("1") is None, "not yet"
    memory.finish(entry, ANSWER)
    assert memory.answered("1") == "StartTransaction"
    clock.now += KEPT_SECONDS + 1
    assert memory.answered("1") is None, "not any more"


def test_an_error_is_no_answer_that_could_be_refused() -> None:
    memory = AnswerMemory()
    remember(memory, START, answer=None)
    assert memory.answered("1") is None


def test_a_number_and_its_text_are_two_ids() -> None:
    memory = AnswerMemory()
    rules = frames.FrameRules(numeric_ids=True)
    for text in ('[2,1,"Authorize",{}]', '[2,"1","Authorize",{}]'):
        call = incoming(text, asked_at=memory._clock(), rules=rules)
        assert memory.remember(call) == (CallKind.NEW, call)
        memory.finish(call, ANSWER)
        # The same, with a blank in it.
        again = incoming(text.replace(",", ", "), asked_at=memory._clock(), rules=rules)
        assert memory.remember(again) == (CallKind.REPEATED, call)
    assert memory.answered(1) == memory.answered("1") == "Authorize"
