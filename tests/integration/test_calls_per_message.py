"""How many functions of ocppsync a message passes, on all threads together: a way that grows is noticed here."""

from __future__ import annotations

import collections
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from support import DEADLINE, raw, serving

import ocppsync
from ocppsync.central_system import server_of

PACKAGE = str(Path(ocppsync.__file__).parent)
MESSAGES = 50
METER_VALUES = {
    "connectorId": 1,
    "meterValue": [{"timestamp": "2026-01-01T00:00:00Z", "sampledValue": [{"value": "1"}]}],
}

Passed = tuple[str, str]


@pytest.fixture
def passed() -> Iterator[collections.Counter[Passed]]:
    """The functions that were called, with their files; on this thread, and on all that start during the test."""
    counter: collections.Counter[Passed] = collections.Counter()

    def count(frame: FrameType, event: str, argument: object) -> None:
        file = frame.f_code.co_filename
        if event == "call" and file.startswith(PACKAGE):
            counter[file, frame.f_code.co_name] += 1

    before = sys.getprofile()
    threading.setprofile(count)
    sys.setprofile(count)
    yield counter
    sys.setprofile(before)
    threading.setprofile(None)


def calls_and_files(
    passed: collections.Counter[Passed], cs: ocppsync.CentralSystem, exchange: Callable[[int], object]
) -> tuple[float, int]:
    """Return how many calls one exchange takes on average, and in how many files."""
    executor = server_of(cs).context.executor
    for number in range(MESSAGES):  # schemas are read, predicates compiled and threads started
        exchange(number)
    assert executor.wait_idle(DEADLINE)
    passed.clear()
    for number in range(MESSAGES, 2 * MESSAGES):
        exchange(number)
    assert executor.wait_idle(DEADLINE)
    return passed.total() / MESSAGES, len({file for (file, _), count in passed.items() if count >= MESSAGES * 0.9})


def test_a_call_of_a_charge_point_takes_few_calls(passed: collections.Counter[Passed]) -> None:
    with serving(lambda request, metadata: {}) as cs, raw(cs) as peer:

        def call(number: int) -> None:
            assert peer.call(str(number), "MeterValues", METER_VALUES)[0] == 3

        calls, files = calls_and_files(passed, cs, call)
    assert calls < 51
    assert files <= 19


def test_a_request_of_ours_takes_few_calls(passed: collections.Counter[Passed]) -> None:
    with serving() as cs, raw(cs) as peer:

        def request(number: int) -> None:
            future: Any = cs.submit_request("CP1", "Reset", {"type": "Soft"})
            _, message_id, *_ = peer.read()
            peer.send([3, message_id, {"status": "Accepted"}])
            assert future.result(DEADLINE) == {"status": "Accepted"}

        calls, files = calls_and_files(passed, cs, request)
    assert calls < 55
    assert files <= 19
