"""How long one of our CALLs may take."""

from __future__ import annotations

from concurrent.futures import Future

import pytest

from ocppsync.rpc.outgoing import CallTimes, OutgoingCall
from ocppsync.rpc.route import OwnAction, never_sure


@pytest.mark.parametrize(
    ("times", "in_queue", "first_look"),
    [
        (CallTimes(30, 60), 60, 30),
        (CallTimes(30, 20), 20, 20),
        (CallTimes(30), None, 30),
        (CallTimes(30, 60, 10), 10, 10),
        (CallTimes(30, 60, 100), 60, 30),
        (CallTimes(30, None, 100), 100, 30),
        (CallTimes(100, None, 30), 30, 30),
    ],
)
def test_the_wait_for_the_turn_and_the_first_look(times: CallTimes, in_queue: float | None, first_look: float) -> None:
    assert (times.in_queue, times.first_look) == (in_queue, first_look)


@pytest.mark.parametrize(
    ("whole", "sent_at", "due"),
    [(None, 1000, 1030), (None, 1050, 1080), (10, 1000, 1030), (10, 1009, 1039), (100, 1000, 1100), (100, 1090, 1120)],
)
def test_the_message_timeout_runs_from_the_write_and_no_shorter_than_the_caller_waits(
    whole: float | None, sent_at: float, due: float
) -> None:
    own = OwnAction(gives=never_sure, takes=never_sure)
    call = OutgoingCall("1", "Reset", own, "", {}, Future(), CallTimes(30, 60, whole), 1000)
    assert call.answer_due(sent_at) == due
    assert repr(call) == "<OutgoingCall Reset NEW>"
