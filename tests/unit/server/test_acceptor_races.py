"""Handshakes at once, from the socket to the decision: what the others get, and what is left of it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ends import acceptor_options
from wire import Peer, dial, listening, request

from ocppsync.limits import Limits
from ocppsync.server import acceptor as acceptor_module
from ocppsync.server import handshakes
from ocppsync.server.acceptor import Acceptor
from ocppsync.server.admission import AdmissionPolicy
from ocppsync.wire import streams
from ocppsync.wire.http import HttpRequest
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
    def in_progress(self) -> int:
        return self.acceptor._handshakes._count


@pytest.fixture
def door() -> Iterator[Callable[..., Door]]:
    with contextlib.ExitStack() as stack:
        yield lambda **limits: Door(stack, **limits)


def test_a_handshake_without_room_is_refused(door: Callable[..., Door], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshakes, "_SLOW", 1000.0)
    monkeypatch.setattr(streams, "_LINGER", 0.05)
    opened = door(handshakes=1)
    first, _ = opened.knock()
    assert opened.acceptor._begin_handshake(first)
    upgraded, peer = opened.accept(request())
    assert upgraded is None
    response = peer.read_response()
    assert (response.status, response.header("Retry-After")) == (503, "30")
    opened.acceptor._handshakes.end(first)
    upgraded, peer = opened.accept(request(Upgrade=None))
    assert peer.read_response().status == 426
    assert opened.in_progress == 0


def test_a_handshake_that_has_made_room_costs_no_decision(
    door: Callable[..., Door], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Even if the last byte of its request came just before."""
    monkeypatch.setattr(handshakes, "_SLOW", -1.0)
    caplog.set_level(logging.INFO, "ocppsync.server.acceptor")
    opened = door(handshakes=1)
    read = acceptor_module.read_request

    def read_too_late(*args: Any, **options: Any) -> HttpRequest:
        http_request = read(*args, **options)
        assert opened.acceptor._begin_handshake(opened.knock()[0])
        return http_request

    monkeypatch.setattr(acceptor_module, "read_request", read_too_late)
    monkeypatch.setattr(opened.acceptor, "admit", lambda *_: pytest.fail("it was decided"))
    assert opened.accept(request())[0] is None
    assert "made room for another" in caplog.text
    assert opened.in_progress == 1


@pytest.mark.parametrize("slow", [-1.0, 1000.0])
def test_the_limit_is_logged_without_the_lock(
    door: Callable[..., Door], monkeypatch: pytest.MonkeyPatch, slow: float
) -> None:
    """A log handler of the application may block, and must not keep the other handshakes waiting."""
    monkeypatch.setattr(handshakes, "_SLOW", slow)
    opened = door(handshakes=1)
    held: list[bool] = []
    lock = opened.acceptor._handshakes._lock
    monkeypatch.setattr(acceptor_module._logger, "log", lambda *args, **kept: held.append(lock.locked()))
    assert opened.acceptor._begin_handshake(opened.knock()[0])
    assert opened.acceptor._begin_handshake(opened.knock()[0]) is (slow < 0)
    assert held == [False]


def test_a_failed_upgrade_releases_its_slot(door: Callable[..., Door], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptor_module.upgrade, "accept", lambda *_, **__: 1 / 0)
    opened = door()
    assert opened.accept(request())[0] is None
    assert "connections=0" in repr(opened.acceptor._limiter)
    assert opened.in_progress == 0
