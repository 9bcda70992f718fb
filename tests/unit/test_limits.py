"""The limits of a central system: their ranges, and each over real sockets."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import socket
from typing import Any

import pytest
from support import DEADLINE, Recorder, connected, raw, serving
from wire import PONG, dial, request

from ocppsync import CentralSystem, ChargePoint, Limits, QueueFullError, Timeouts


def test_without_any_the_defaults_hold() -> None:
    limits = Limits()
    assert (limits.connections, limits.failed_authentications) == (20_000, 10)
    assert (limits.handshakes, limits.handshakes_per_address) == (500, 200)
    assert Timeouts() == Timeouts(handler=60.0, handshake=10.0, write=20.0, close=5.0, idle=None)


@pytest.mark.parametrize(
    "name",
    [
        "connections",
        "connections_per_address",
        "handshakes",
        "handshakes_per_address",
        "failed_authentications",
        "malformed_messages",
        "queued_requests",
        "call_bytes_total",
        "answer_bytes_total",
    ],
)
@pytest.mark.parametrize("value", [0, -1, 1.5, True, "many"])
def test_a_number_is_a_whole_one_or_none(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name):
        Limits(**{name: value})
    Limits(**{name: None})
    Limits(**{name: 1})


@pytest.mark.parametrize("name", ["queued_calls", "call_bytes", "answer_bytes", "message_size", "header_size"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True, "many", None])
def test_a_number_that_has_to_be_there_is_a_whole_one(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} must be a whole number above 0"):
        Limits(**{name: value})
    Limits(**{name: 1})


@pytest.mark.parametrize("value", [1, 0, -1, 2.5, True, "many", None])
def test_a_peer_has_at_least_two_threads(value: Any) -> None:
    with pytest.raises(ValueError, match="handler_threads_per_peer must be"):
        Limits(handler_threads_per_peer=value)
    Limits(handler_threads_per_peer=2)


@pytest.mark.parametrize("name", ["handler", "handshake", "write", "close", "idle"])
@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf"), True, "long"])
def test_a_timeout_is_a_time(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} must be a number above 0"):
        Timeouts(**{name: value})
    Timeouts(**{name: 0.1})


@pytest.mark.parametrize("name", ["handshake", "write", "close"])
def test_a_timeout_that_has_to_be_there_is_not_none(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        Timeouts(**{name: None})


@pytest.mark.parametrize("options", [{"limits": Timeouts()}, {"limits": {"connections": 1}}, {"timeouts": Limits}])
def test_bounds_of_another_kind_are_no_option(options: dict[str, Any]) -> None:
    (name,) = options
    for make in (lambda: CentralSystem(None, **options), lambda: ChargePoint("CP1", url="ws://localhost", **options)):
        with pytest.raises(TypeError, match=f"{name} must be a {name.title()}"):
            make()


@pytest.mark.parametrize("proxies", [["proxy.example"], ["10.0.0.1/8"], "10.0.0.1", ["10.0.0.0/33"], [""]])
def test_proxies_are_addresses_or_networks(proxies: Any) -> None:
    with pytest.raises(ValueError, match="trusted_proxies"):
        CentralSystem(None, trusted_proxies=proxies)
    CentralSystem(None, trusted_proxies=["10.0.0.0/8", "192.0.2.1", "2001:db8::/32", "::1"])


@pytest.mark.parametrize("limit", ["connections", "connections_per_address"])
def test_one_connection_too_many_is_asked_to_come_later(limit: str, caplog: pytest.LogCaptureFixture) -> None:
    with serving(limits=Limits(**{limit: 2})) as cs:
        events = connected(cs)
        with raw(cs, "A"), raw(cs, "B"):
            with dial(cs.port) as third:
                response = third.ask(request("/C"))
                assert (response.status, response.header("Retry-After")) == (503, "30")
            assert "2 connections already" in caplog.text
            events.wait(2)
        # Whoever has left makes room, before anybody is told that he has.
        events.wait(4)
        with raw(cs, "C"):
            events.wait(5)


def test_a_refused_request_makes_room(caplog: pytest.LogCaptureFixture) -> None:
    with serving(authorize=lambda http_request, charge_point_id: 404, limits=Limits(connections=1)) as cs:
        for _ in range(3):
            with dial(cs.port) as peer:
                assert peer.ask(request()).status == 404
                peer.sock.shutdown(1)
                peer.wait_for_end()


def test_who_fails_to_authenticate_too_often_waits() -> None:
    asked = Recorder()

    def authorize(http_request: Any, charge_point_id: str) -> bool:
        asked(charge_point_id)
        return charge_point_id == "B"

    with serving(authorize=authorize, limits=Limits(failed_authentications=2)) as cs:
        statuses = [ask(cs.port, "/A").status for _ in range(4)]
        assert statuses == [401, 401, 429, 429]
        assert asked.items == ["A", "A"], "nothing is asked of the application any more"
        assert 0 < int(ask(cs.port, "/A").header("Retry-After") or "") <= 120
        with dial(cs.port) as other:
            other.upgrade("/B")


def ask(port: int | None, path: str, **changes: str | None) -> Any:
    with dial(port) as peer:
        return peer.ask(request(path, **changes))


def test_the_client_behind_a_trusted_proxy_is_the_one_that_counts(caplog: pytest.LogCaptureFixture) -> None:
    seen = Recorder()

    def authorize(http_request: Any, charge_point_id: str) -> bool:
        seen(http_request.client_address, http_request.forwarded_for)
        return False

    limits = Limits(failed_authentications=1)
    with serving(authorize=authorize, limits=limits, trusted_proxies=["127.0.0.0/8"]) as cs:
        assert ask(cs.port, "/A", X_Forwarded_For="192.0.2.1").status == 401
        assert ask(cs.port, "/A", X_Forwarded_For="192.0.2.1").status == 429
        assert ask(cs.port, "/A", X_Forwarded_For="192.0.2.1, 192.0.2.2").status == 401
        assert ask(cs.port, "/A", Forwarded='for="[2001:db8::1]:4711"').status == 401
    assert seen.items == [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.2", "192.0.2.2"),
        ("2001:db8::1", "2001:db8::1"),
    ]
    assert "too many failed authentications of 192.0.2.1" in caplog.text


def test_the_log_and_the_events_name_the_client_behind_a_trusted_proxy(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ocppsync.server")
    told = Recorder()

    def authorize(http_request: Any, charge_point_id: str) -> Any:
        return charge_point_id == "CP1" or 404

    with serving(authorize=authorize, trusted_proxies=["127.0.0.1"], observers=[told]) as cs:
        for client in ("192.0.2.1", "192.0.2.2"):
            assert ask(cs.port, "/A", X_Forwarded_For=client).status == 404
        with dial(cs.port) as peer:
            peer.upgrade("/CP1", X_Forwarded_For="192.0.2.3")
        told.wait(4)
    assert [event.remote_address for event in told.items[:3]] == ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
    lines = [re.sub(r":\d+", "", line) for line in caplog.messages]
    assert lines[:3] == [
        "refused 192.0.2.1 through 127.0.0.1 /A with HTTP 404: authorize refused 'A'",
        "refused 192.0.2.2 through 127.0.0.1 /A with HTTP 404: authorize refused 'A'",  # the first of this client
        "CP1 connected from 192.0.2.3 through 127.0.0.1 (ocpp1.6)",
    ]


def test_nobody_else_is_believed() -> None:
    seen = Recorder()
    with serving(authorize=lambda http_request, _: seen(http_request.forwarded_for) or False) as cs:
        assert ask(cs.port, "/A", X_Forwarded_For="192.0.2.1", Forwarded="for=192.0.2.1").status == 401
    assert seen.items == [None]


def test_one_request_too_many_is_not_queued() -> None:
    with serving(limits=Limits(queued_requests=1)) as cs:
        events = connected(cs)
        with raw(cs) as peer:
            events.wait()
            outstanding = cs.submit_request("CP1", "ClearCache")
            queued = cs.submit_request("CP1", "ClearCache")
            refused = cs.submit_request("CP1", "ClearCache")
            with pytest.raises(QueueFullError, match="1 requests wait for their turn already") as failed:
                refused.result(DEADLINE)
            assert failed.value.delivery == "not_sent"
            for future in (outstanding, queued):
                peer.send([3, peer.read()[1], {"status": "Accepted"}])
                assert future.result(DEADLINE) == {"status": "Accepted"}
            again = cs.submit_request("CP1", "ClearCache")
            peer.send([3, peer.read()[1], {"status": "Accepted"}])
            again.result(DEADLINE)


def test_who_sends_nothing_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    with serving(timeouts=Timeouts(idle=0.2)) as cs, dial(cs.port) as peer:
        peer.upgrade()
        assert peer.read_close() == (1000, "nothing came for too long")
        peer.send_close(1000)
        peer.wait_for_end()
    assert caplog.text.count("CP1 sent nothing for 0.2 s; its connection is closed") == 1


def test_pongs_are_no_messages_and_messages_keep_a_connection_open() -> None:
    """A charge point that is stuck may still answer pings; what it no longer does is OCPP."""
    # Longer than a busy machine keeps anybody waiting: the busy one must not seem idle.
    with serving(websocket_ping_interval=None, timeouts=Timeouts(idle=2.0)) as cs, dial(cs.port) as busy:
        events = connected(cs)
        busy.upgrade("/busy")
        with dial(cs.port) as idle:
            idle.upgrade("/idle")
            number = 0
            idle.sock.settimeout(0.02)
            closed = False
            while not closed:
                number += 1
                busy.send_text(f'[2,"{number}","Heartbeat",{{}}]')
                assert json.loads(busy.read_text())[1] == str(number)
                idle.send_frame(PONG, "still here")
                with contextlib.suppress(TimeoutError):
                    closed = bool(idle.sock.recv(1, socket.MSG_PEEK))
            assert idle.read_close() == (1000, "nothing came for too long")
            idle.send_close(1000)
            idle.wait_for_end()
        events.wait_until(lambda items: ("idle", "disconnected") in items)
        assert cs.charge_points == ["busy"]
