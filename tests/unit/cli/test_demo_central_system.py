"""The URL that ``ocppsync serve`` prints; tests/unit/cli/test_serve.py runs the central system itself."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from ocppsync.cli.demo_central_system import reachable_host


@pytest.mark.parametrize(
    ("host", "reachable"), [("192.168.7.7", "192.168.7.7"), ("localhost", "localhost"), ("::1", "::1")]
)
def test_a_specific_host_is_reachable_as_itself(host: str, reachable: str) -> None:
    assert reachable_host(host) == reachable


def test_a_wildcard_host_is_reachable_at_an_address_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_route(*_: Any) -> None:
        raise OSError("Network is unreachable")

    socket.create_server((reachable_host("0.0.0.0"), 0)).close()
    monkeypatch.setattr(socket.socket, "connect", no_route)
    assert reachable_host("0.0.0.0") == socket.gethostname()
    monkeypatch.setattr(socket, "gethostname", lambda: "")
    assert reachable_host("0.0.0.0") == "127.0.0.1"
