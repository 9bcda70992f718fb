"""Handshakes at once: which give way, which are counted, and what a close meets in the middle."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ends import acceptor_options
from intruder import Intruder
from wire import Peer, dial, listening, request

from ocppsync.limits import Limits
from ocppsync.server import acceptor as acceptor_module
from ocppsync.server.acceptor import Acceptor
from ocppsync.server.admission import AdmissionPolicy
from ocppsync.wire.streams import Stream


class Door:
    """An acceptor without threads, and streams for it.

    Args:
        stack: closes what is opened.
        limits: the limits of handshakes; there are none beside these.
    """

    def __init__(self, stack: contextlib.ExitStack, **limits: int) -> None:
        self._stack = stack
        self._listener = stack.enter_context(listening())
        unlimited: dict[str, int | None] = {"handshakes": None, "handshakes_per_address": None}
        options = acceptor_options(limits=Limits(**{**unlimited, **limits}))
        self.acceptor = Acceptor(AdmissionPolicy(protocols=("ocpp1.6",)), **options)

    def knock(self) -> tuple[Stream, Peer]:
        """Return the stream of a new connection, before its handshake, and its peer."""
        peer = self._stack.enter_context(dial(self._listener.getsockname()[1]))
        stream = Stream(self._listener.accept()[0], write_timeout=1)
        self._stack.callback(stream.close)
        return stream, peer

    def accept(self, data: bytes) -> tuple[Any, Peer]:
        """Accept a connection over which ``data`` came; return what came of it, and the peer."""
        peer = self._stack.enter_context(dial(self._listener.getsockname()[1]))
        peer.send(data)
        return self.acceptor.accept(self._listener.accept()[0]), peer

    @property
    def in_progress(self) -> tuple[int, dict[str, int]]:
        return len(self.acceptor._handshakes), dict(self.acceptor._by_peer)


@pytest.fixture
def door() -> Iterator[Callable[..., Door]]:
    with contextlib.ExitStack() as stack:
        yield lambda **limits: Door(stack, **limits)


@pytest.fixture
def all_are_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptor_module, "_SLOW", -1.0)


@pytest.fixture
def none_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptor_module, "_SLOW", 1000.0)
    monkeypatch.setattr(acceptor_module, "_LINGER", 0.05)


LIMITS = ["handshakes", "handshakes_per_address"]


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.usefixtures("all_are_slow")
def test_the_oldest_slow_handshakes_are_aborted_first(door: Callable[..., Door], limit: str) -> None:
    opened = door(**{limit: 2})
    streams, peers = zip(*(opened.knock() for _ in range(4)), strict=True)
    assert all(map(opened.acceptor._begin_handshake, streams))
    for peer in peers[:2]:
        assert peer.read_rest() == b""
    assert opened.in_progress == (2, {"127.0.0.1": 2})
    for stream in streams:
        opened.acceptor._end_handshake(stream)  # also of those that have given way
    assert opened.in_progress == (0, {})


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.usefixtures("none_is_slow")
def test_the_new_handshake_is_refused_if_none_is_slow(door: Callable[..., Door], limit: str) -> None:
    opened = door(**{limit: 1})
    first, _ = opened.knock()
    assert opened.acceptor._begin_handshake(first)
    upgraded, peer = opened.accept(request())
    assert upgraded is None
    assert peer.read_response().status == 503
    assert opened.in_progress == (1, {"127.0.0.1": 1})
    opened.acceptor._end_handshake(first)
    upgraded, peer = opened.accept(request(Upgrade=None))
    assert peer.read_response().status == 426
    assert opened.in_progress == (0, {})


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.usefixtures("all_are_slow")
def test_the_limit_is_logged_once_and_again_after_the_count_has_fallen(
    door: Callable[..., Door], caplog: pytest.LogCaptureFixture, limit: str
) -> None:
    opened = door(**{limit: 4})
    caplog.set_level(logging.WARNING, "ocppsync.server.acceptor")
    streams = [opened.knock()[0] for _ in range(12)]

    def come(first: int, last: int) -> int:
        for stream in streams[first:last]:
            assert opened.acceptor._begin_handshake(stream)
        return len(caplog.records)

    def go(first: int, last: int) -> None:
        for stream in streams[first:last]:
            opened.acceptor._end_handshake(stream)

    assert come(0, 6) == 1
    go(4, 5)  # room for one: that is not calm
    assert come(6, 8) == 1
    go(0, 8)
    assert come(8, 12) == 1
    assert come(4, 5) == 2


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("slow", [-1.0, 1000.0])
def test_the_limit_is_logged_without_the_lock(
    door: Callable[..., Door], monkeypatch: pytest.MonkeyPatch, limit: str, slow: float
) -> None:
    """A log handler of the application may block, and must not keep the other handshakes waiting."""
    monkeypatch.setattr(acceptor_module, "_SLOW", slow)
    opened = door(**{limit: 1})
    held: list[bool] = []
    monkeypatch.setattr(
        acceptor_module._logger, "log", lambda *args, **kept: held.append(opened.acceptor._lock.locked())
    )
    assert opened.acceptor._begin_handshake(opened.knock()[0])
    assert opened.acceptor._begin_handshake(opened.knock()[0]) is (slow < 0)
    assert held == [False]


def test_a_handshake_that_begins_after_close_is_aborted(door: Callable[..., Door]) -> None:
    opened = door()
    opened.acceptor.close()
    stream, peer = opened.knock()
    assert opened.acceptor._begin_handshake(stream)
    assert peer.read_rest() == b""


class _Handshakes(dict[Stream, Any]):
    """Has another thread come while this one looks at all of them."""

    come: Callable[[], object]

    def __iter__(self) -> Iterator[Stream]:
        for stream in super().__iter__():
            yield stream
            self.come()


def test_a_handshake_that_begins_during_close_is_aborted(door: Callable[..., Door]) -> None:
    opened = door()
    acceptor = opened.acceptor
    streams, peers = zip(*(opened.knock() for _ in range(3)), strict=True)
    for stream in streams[:2]:
        assert acceptor._begin_handshake(stream)
    intruder = Intruder(lambda: acceptor._begin_handshake(streams[2]))
    handshakes = _Handshakes(acceptor._handshakes)
    handshakes.come = intruder.come
    acceptor._lock, acceptor._handshakes = intruder.lock, handshakes
    acceptor.close()
    assert intruder.result()
    for peer in peers:
        assert peer.read_rest() == b""


def test_a_failed_upgrade_releases_its_slot(door: Callable[..., Door], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptor_module.upgrade, "accept", lambda *_, **__: 1 / 0)
    opened = door()
    assert opened.accept(request())[0] is None
    assert "connections=0" in repr(opened.acceptor._limiter)
    assert opened.in_progress == (0, {})
