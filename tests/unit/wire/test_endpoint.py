"""A charge point's URL, with its identity in it (J16 §3.1.1)."""

from __future__ import annotations

from typing import Any

import pytest

from ocppsync.wire.endpoint import Endpoint
from ocppsync.wire.http import identity_of


@pytest.mark.parametrize(
    ("url", "secure", "host", "port", "host_header", "target"),
    [
        ("ws://example", False, "example", 80, "example", "/CP1"),
        ("ws://example/", False, "example", 80, "example", "/CP1"),
        ("ws://example:9000", False, "example", 9000, "example:9000", "/CP1"),
        ("wss://example", True, "example", 443, "example", "/CP1"),
        ("wss://example:9000/ocpp", True, "example", 9000, "example:9000", "/ocpp/CP1"),
        ("WS://example/ocpp/", False, "example", 80, "example", "/ocpp/CP1"),
        ("ws://example/a/b//", False, "example", 80, "example", "/a/b/CP1"),
        ("ws://127.0.0.1:1/x", False, "127.0.0.1", 1, "127.0.0.1:1", "/x/CP1"),
        ("ws://[::1]:9000/x", False, "::1", 9000, "[::1]:9000", "/x/CP1"),
        ("ws://example/x?key=a%20b&c", False, "example", 80, "example", "/x/CP1?key=a%20b&c"),
        ("ws://example?a=/?", False, "example", 80, "example", "/CP1?a=/?"),
        ("ws://example/a%20b%2Fc", False, "example", 80, "example", "/a%20b%2Fc/CP1"),
        ("ws://example/a b/ü?q=ü x", False, "example", 80, "example", "/a%20b/%C3%BC/CP1?q=%C3%BC%20x"),
        ("ws://user:word@example:9000/x", False, "example", 9000, "example:9000", "/x/CP1"),
    ],
)
def test_urls(url: str, secure: bool, host: str, port: int, host_header: str, target: str) -> None:
    endpoint = Endpoint(url, "CP1")
    assert (endpoint.secure, endpoint.host, endpoint.port) == (secure, host, port)
    assert (endpoint.host_header, endpoint.target) == (host_header, target)
    assert endpoint.url == f"{'wss' if secure else 'ws'}://{host_header}{target}"
    path, _, query = target.partition("?")
    request = endpoint.http_request
    assert (request.method, request.path, request.query) == ("GET", path, query)
    assert (dict(request.headers), request.remote_address) == ({}, (host, port))
    assert target.isascii()
    assert " " not in target


@pytest.mark.parametrize(
    ("identity", "segment"),
    [
        ("CP1", "CP1"),
        ("RDAM 123", "RDAM%20123"),
        ("RDAM|123", "RDAM%7C123"),
        ("a/b", "a%2Fb"),
        ("a%2Fb", "a%252Fb"),
        ("a?b#c", "a%3Fb%23c"),
        ("a+b", "a+b"),
        ("*-_=:+@.~", "*-_=:+@.~"),
        ("Säule", "S%C3%A4ule"),
        ("\U0001f50c", "%F0%9F%94%8C"),
        ("/", "%2F"),
    ],
)
def test_identities_are_encoded_so_that_the_other_end_reads_them(identity: str, segment: str) -> None:
    endpoint = Endpoint("ws://example/ocpp?x=/y", identity)
    assert endpoint.target == f"/ocpp/{segment}?x=/y"
    assert identity_of(endpoint.http_request.path) == identity


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example",
        "example:9000",
        "//example",
        "http://example",
        "https://example",
        "ws:example",
        "ws://",
        "ws:///path",
        "ws://:9000",
        "ws://example/#part",
        "ws://a..b:9000",
        "ws://.example",
        f"ws://{'a' * 64}.example",
        "ws://example:0",
        "ws://example:65536",
        "ws://example:port",
        "ws://[::1",
    ],
)
def test_what_is_no_url(url: Any) -> None:
    with pytest.raises(ValueError):
        Endpoint(url, "CP1")


def test_a_url_of_another_kind_is_named() -> None:
    with pytest.raises(ValueError, match=r"invalid URL 'http://example': expected one such as ws://host:port/path"):
        Endpoint("http://example", "CP1")


def test_an_identity_is_needed() -> None:
    with pytest.raises(ValueError, match="identity"):
        Endpoint("ws://example", "")


@pytest.mark.parametrize("identity", ["", "CP1\n", "\x1b[2J", "\ud83d", "x" * 256])
def test_an_identity_that_no_central_system_takes_is_refused(identity: str) -> None:
    with pytest.raises(ValueError, match="the identity of the charge point") as caught:
        Endpoint("ws://127.0.0.1", identity)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "url",
    ["http://user:s3cret@host/?s3cret", "ws://user:s3/c?r#et@host:x/", "ws://host/?token=s3cret#part"],
)
def test_an_error_shows_no_credentials_of_a_url(url: str) -> None:
    with pytest.raises(ValueError, match="invalid URL") as caught:
        Endpoint(url, "CP1")
    assert "s3" not in str(caught.value)
