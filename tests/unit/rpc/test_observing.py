"""What the observed transport remembers of CALLs without an answer, and what it tells of their answers."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest

from ocppsync.request import ConnectionMetadata
from ocppsync.rpc.engine import observing
from ocppsync.rpc.observing import ObservedTransport
from ocppsync.testing.memory import MemoryTransport, memory_pair
from ocppsync.wire.http import Headers, HttpRequest

REQUEST = HttpRequest("GET", "/CP1", "", Headers(), ("127.0.0.1", 1))


def call(message_id: str) -> str:
    return f'[2,"{message_id}","ClearCache",{{}}]'


def answer(message_id: str) -> str:
    return f'[3,"{message_id}",{{}}]'


@pytest.fixture
def observed() -> tuple[ObservedTransport, MemoryTransport, list[Any]]:
    """Our end, the peer's, and what is told."""
    ours, theirs = memory_pair("CP1")
    told: list[Any] = []
    return ObservedTransport(ours, ConnectionMetadata("CP1", "1.6", REQUEST), told.append, lambda: 0.0), theirs, told


def test_of_calls_without_an_answer_the_oldest_are_forgotten(
    observed: tuple[ObservedTransport, MemoryTransport, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observing, "_MAX_OPEN", 2)
    transport, peer, told = observed
    for number in range(3):
        transport.send_nowait(call(str(number)))
    for number in range(3):
        peer.send_nowait(answer(str(number)))
        transport.receive()
    assert [event.action for event in told[3:]] == ["", "ClearCache", "ClearCache"]


def test_an_answer_that_comes_twice_is_the_answer_to_a_call_once(
    observed: tuple[ObservedTransport, MemoryTransport, list[Any]],
) -> None:
    transport, peer, told = observed
    transport.send_nowait(call("1"))
    for _ in range(2):
        peer.send_nowait(answer("1"))
        transport.receive()
    assert [(event.action, event.seconds) for event in told[1:]] == [("ClearCache", 0.0), ("", None)]


class _Calls(OrderedDict[str, Any]):
    """CALLs that one thread at a time may touch: an OrderedDict is not safe of itself where there is no GIL."""

    lock: Any = None

    def __setitem__(self, message_id: str, call: Any) -> None:
        assert self.lock.locked()
        super().__setitem__(message_id, call)

    def pop(self, key: str, default: Any = None) -> Any:
        assert self.lock.locked()
        return super().pop(key, default)


def test_the_calls_are_touched_by_one_thread_at_a_time(
    observed: tuple[ObservedTransport, MemoryTransport, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    transport, peer, told = observed
    calls = _Calls()
    calls.lock = transport._lock
    monkeypatch.setattr(transport, "_ours", calls)
    transport.send_nowait(call("1"))
    peer.send_nowait(answer("1"))
    transport.receive()
    assert [event.kind for event in told] == ["CALL", "CALLRESULT"]
    assert not calls
