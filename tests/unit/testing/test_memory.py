"""The connection in memory does what one over a WebSocket does."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from support import DEADLINE, Recorder

from ocppsync.testing.memory import MemoryTransport, memory_pair
from ocppsync.wire.transport import TransportClosedError

Pair = tuple[MemoryTransport, MemoryTransport]


@pytest.fixture
def pair() -> Pair:
    return memory_pair("CP1")


def drained(transport: MemoryTransport) -> list[str]:
    """Return all that has come."""
    return list(iter(transport.receive_now, None))


def test_messages_go_both_ways_in_order(pair: Pair) -> None:
    server, client = pair
    server.open()
    client.send_nowait("one")
    client.send_nowait("two")
    server.send_nowait("three")
    assert [server.receive(), server.receive(), client.receive()] == ["one", "two", "three"]


def test_receive_waits_for_the_next_message(pair: Pair) -> None:
    server, client = pair
    came = Recorder()
    reader = threading.Thread(target=lambda: came(server.receive()))
    reader.start()
    assert server.wait_idle(DEADLINE)
    client.send_nowait("late")
    assert came.wait() == ["late"]
    reader.join(DEADLINE)


def test_receive_now_does_not_wait(pair: Pair) -> None:
    server, client = pair
    assert server.receive_now() is None
    client.send_nowait("one")
    assert drained(server) == ["one"]
    assert not server.ended


@pytest.mark.parametrize("closer", [0, 1])
def test_a_close_is_answered_and_ends_both(pair: Pair, closer: int) -> None:
    one, other = pair[closer], pair[1 - closer]
    one.close(3001, "enough")
    assert other.receive() is None
    assert one.receive() is None
    assert (one.close_code, one.close_reason) == (other.close_code, other.close_reason) == (3001, "enough")
    assert one.ended
    assert other.ended


def test_messages_before_a_close_are_received(pair: Pair) -> None:
    server, client = pair
    client.send_nowait("last words")
    client.close()
    assert [server.receive(), server.receive()] == ["last words", None]
    assert server.close_code == 1000


def test_a_close_is_sent_once_and_reported_once(pair: Pair) -> None:
    server, client = pair
    closing = Recorder()
    server.on_closing = lambda: closing("closing")
    server.close(1001)
    server.close(1008, "later")
    assert (drained(client), client.close_code) == ([], 1001)
    assert closing.items == ["closing"]


def test_the_answer_to_a_close_is_not_reported(pair: Pair) -> None:
    server, client = pair
    closing = Recorder()
    server.on_closing = lambda: closing("closing")
    client.close()
    assert server.receive() is None
    assert closing.items == []


def test_two_closes_that_cross(pair: Pair) -> None:
    server, client = pair
    server.close(1001)
    client.close(1000)
    assert (server.receive(), client.receive()) == (None, None)
    assert (server.close_code, client.close_code) == (1001, 1000)


@pytest.mark.parametrize("breaker", [0, 1])
def test_an_abort_ends_both_without_a_closing_handshake(pair: Pair, breaker: int) -> None:
    pair[breaker].abort()
    pair[breaker].abort()
    assert [end.receive() for end in pair] == [None, None]
    assert [end.close_code for end in pair] == [1006, 1006]


def test_an_abort_wakes_its_own_reader(pair: Pair) -> None:
    server, _ = pair
    came = Recorder()
    reader = threading.Thread(target=lambda: came(server.receive()))
    reader.start()
    assert server.wait_idle(DEADLINE)
    server.abort()
    assert came.wait() == [None]
    reader.join(DEADLINE)


def test_a_silent_peer_is_left_by_an_abort_after_the_close(pair: Pair) -> None:
    server, _ = pair
    server.close(1001, "going")
    server.abort()
    assert server.receive() is None
    assert server.close_code == 1001


@pytest.mark.parametrize("end", ["close", "abort"])
def test_nothing_is_sent_after_the_end(pair: Pair, end: str) -> None:
    server, _ = pair
    getattr(server, end)()
    with pytest.raises(TransportClosedError) as caught:
        server.send_nowait("too late")
    assert not caught.value.written
    assert server.ping() is False


def test_what_is_sent_to_a_peer_that_has_gone_may_have_been_written(pair: Pair) -> None:
    server, client = pair
    client.abort()
    with pytest.raises(TransportClosedError) as caught:
        server.send_nowait("hello?")
    assert caught.value.written


def test_a_binary_message_is_refused_and_the_rest_dropped(pair: Pair) -> None:
    server, client = pair
    client.send_bytes(b"\0")
    client.send_nowait("dropped")
    assert drained(server) == []
    assert drained(client) == []
    assert (client.close_code, client.close_reason) == (1003, "OCPP messages are text")
    assert server.receive() is None


def test_the_receiving_thread_answers_pings(pair: Pair) -> None:
    now = 5.0
    server, client = memory_pair("CP1", lambda: now)
    assert server.ping()
    now = 6.0
    assert drained(client) == []
    now = 7.0
    assert server.last_heard == 5.0
    assert drained(server) == []
    assert (server.last_heard, client.last_heard) == (7.0, 6.0)


def test_pings_may_go_unanswered() -> None:
    now = 5.0
    server, client = memory_pair("CP1", lambda: now)
    client.answers_pings = False
    server.ping()
    now = 6.0
    assert drained(client) == drained(server) == []
    assert server.last_heard == 5.0


def test_on_arrival_is_called_on_the_sending_thread(pair: Pair) -> None:
    server, client = pair
    told: list[Any] = []
    client.on_arrival = lambda: told.append((threading.get_ident(), client.receive_now()))
    server.send_nowait("one")
    assert told == [(threading.get_ident(), "one")]


def test_the_sender_can_wait_until_its_message_is_processed(pair: Pair) -> None:
    server, client = pair
    dealt_with: list[str] = []

    def read() -> None:
        while (text := server.receive()) is not None:
            dealt_with.append(text)
        server.release()

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(100):
        client.send_nowait(str(number))
        assert server.wait_idle(DEADLINE)
        assert len(dealt_with) == number + 1
    client.abort()
    assert server.wait_idle(DEADLINE)
    assert server.released
    reader.join(DEADLINE)


def test_a_transport_that_never_received_is_not_idle(pair: Pair) -> None:
    assert not pair[0].wait_idle(0)


def test_repr_shows_the_state(pair: Pair) -> None:
    server, client = pair
    client.send_nowait("x")
    assert repr(server) == "<MemoryTransport CP1 open unread=1>"
    server.close()
    assert "closing" in repr(server)
    server.abort()
    assert "aborted" in repr(server)
    server.release()
    assert "released" in repr(server)
