"""Two threads in the same place: what happens where one comes into the middle of what another does."""

from __future__ import annotations

import threading

import pytest
from support import DEADLINE

from ocppsync import CentralSystem, frames
from ocppsync.dialects import Dialect
from ocppsync.events import MessageSent
from ocppsync.inline import Clock
from ocppsync.pool import HandlerPool
from ocppsync.repeats import Admission, AnswerMemory, Verdict
from ocppsync.rpc import Rpc
from ocppsync.testing import fake_charge_point


# The deadline of a request.


def test_a_deadline_that_passes_while_the_answer_is_taken_changes_nothing() -> None:
    clock = Clock()

    def pass_the_deadline(event: object) -> None:
        # On the reader, which has the answer to the first request, and writes the next before it gives it out.
        if isinstance(event, MessageSent) and event.action == "ClearCache":
            clock.advance(60)

    cs = CentralSystem(None, observers=[pass_the_deadline], websocket_ping_interval=None)
    cs._run_on(HandlerPool(2, "test-handler"), clock)
    with cs, fake_charge_point(cs) as cp:
        cp.expect("Reset", {"status": "Accepted"})
        cp.expect("ClearCache", {"status": "Accepted"})
        first = cs.submit_request("CP1", "Reset", {"type": "Soft"}, timeout=30)
        second = cs.submit_request("CP1", "ClearCache", timeout=1000)
        assert first.result(DEADLINE) == {"status": "Accepted"}
        assert second.result(DEADLINE) == {"status": "Accepted"}
        assert cp.connected


# The answer to a repeated CALL.


class _QuickMemory(AnswerMemory):
    """Has the handler finish just after a repeat was let in, and before anybody looks at what was decided."""

    def admit(self, call: frames.Call, text: str, link: object) -> tuple[Verdict, Admission]:
        verdict, admission = super().admit(call, text, link)
        if verdict is Verdict.SWALLOW:
            assert self.finish(admission, "the answer") is link, "which sends it there"
        return verdict, admission


def test_a_repeat_whose_handler_finishes_just_then_is_answered_once() -> None:
    rpc = Rpc(Dialect("1.6"), refusal=lambda action, send: None, answers=_QuickMemory(), link="link")
    text = '[2,"1","Heartbeat",{}]'
    assert rpc.receive(frames.parse(text), text) is not None
    assert rpc.receive(frames.parse(text), text) is None


# The first task of a thread.


def test_the_first_task_of_a_thread_knows_whose_thread_it_is() -> None:
    pool = HandlerPool(2, "test-pool")
    begun, owned = threading.Event(), threading.Event()

    class _Slow(threading.Thread):
        """A thread whose first task is through before whoever starts it goes on."""

        def start(self) -> None:
            super().start()
            if self.name == "test-pool-2":
                assert begun.wait(DEADLINE)

    def ask() -> None:
        if pool.owns_this_thread:
            owned.set()
        begun.set()

    go_on = threading.Event()
    pool.submit(go_on.wait, DEADLINE)
    # As if it were meant for a thread that is free but has not come for it yet: the new one takes it.
    pool._tasks.put((ask, ()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading, "Thread", _Slow)
        pool.submit(lambda: None)
    go_on.set()
    assert owned.is_set()
    assert pool.close(DEADLINE)
