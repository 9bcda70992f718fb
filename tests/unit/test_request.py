"""The arguments of a handler: headers, credentials, metadata."""

from __future__ import annotations

import base64
import dataclasses
from typing import Any

import pytest

from ocppsync.errors import ValidationError
from ocppsync.request import ConnectionMetadata, Request, RequestMetadata
from ocppsync.wire.http import Headers, HttpRequest


def http_request(*fields: tuple[str, str]) -> HttpRequest:
    return HttpRequest("GET", "/CP1", "", Headers(fields), ("127.0.0.1", 1))


def basic(secret: bytes) -> HttpRequest:
    return http_request(("Authorization", "Basic " + base64.b64encode(secret).decode()))


# Headers.


@pytest.mark.parametrize("name", ["Host", "host", "HOST", "hOsT"])
def test_header_names_are_case_insensitive(name: str) -> None:
    headers = Headers((("hoSt", "a"), ("Other", "b")))
    assert headers[name] == "a"
    assert name in headers
    assert headers.get(name) == "a"
    assert headers.get_all(name) == ["a"]


def test_a_repeated_header_is_joined() -> None:
    headers = Headers((("X", "a"), ("y", "b"), ("x", "c, d")))
    assert headers["x"] == "a, c, d"
    assert headers.get_all("X") == ["a", "c, d"]
    assert (list(headers), len(headers)) == (["x", "y"], 2)
    assert dict(headers) == {"x": "a, c, d", "y": "b"}


def test_a_missing_header() -> None:
    headers = Headers()
    assert "host" not in headers
    assert headers.get("Host") is None
    assert headers.get_all("Host") == []
    assert (list(headers), len(headers)) == ([], 0)
    with pytest.raises(KeyError):
        headers["Host"]


@pytest.mark.parametrize("name", ["Authorization", "AUTHORIZATION", "Cookie", "Proxy-Authorization"])
def test_repr_hides_credentials(name: str) -> None:
    request = http_request((name, "Basic c2VjcmV0"), ("Host", "example"), (name, "secret"))
    for shown in (repr(request.headers), repr(request), repr(ConnectionMetadata("CP1", "1.6", request))):
        assert "c2VjcmV0" not in shown
        assert "secret" not in shown
        assert f"'{name.lower()}': '***'" in shown
        assert "'host': 'example'" in shown
    assert request.headers[name] == "Basic c2VjcmV0, secret"


# Credentials (J16 §6.2.2).


def test_the_example_of_the_specification() -> None:
    request = http_request(("Authorization", "Basic QUwxMDAwOgABAgMEBQYH////////////////"))
    assert request.basic_credentials == (b"AL1000", bytes(range(8)) + b"\xff" * 12)


@pytest.mark.parametrize(
    ("secret", "credentials"),
    [
        (b"CP1:key", (b"CP1", b"key")),
        (b"CP1:a:b::c", (b"CP1", b"a:b::c")),
        (b"CP1:", (b"CP1", b"")),
        (b":key", (b"", b"key")),
        (b":", (b"", b"")),
        (b"CP1:\x00\xff\n:", (b"CP1", b"\x00\xff\n:")),
        ("Säule:Schlüssel".encode(), ("Säule".encode(), "Schlüssel".encode())),
        (bytes(range(256)), (bytes(range(58)), bytes(range(59, 256)))),
        (b"CP1", None),
        (b"", None),
    ],
)
def test_credentials_are_split_at_the_first_colon(secret: bytes, credentials: Any) -> None:
    assert basic(secret).basic_credentials == credentials


@pytest.mark.parametrize("header", ["basic Q1AxOmE=", "BASIC Q1AxOmE=", "Basic   Q1AxOmE=", " Basic Q1AxOmE= "])
def test_the_scheme_is_case_insensitive(header: str) -> None:
    assert http_request(("authorization", header)).basic_credentials == (b"CP1", b"a")


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Basic",
        "Basic ",
        "Q1AxOmE=",
        "Bearer Q1AxOmE=",
        "BasicQ1AxOmE=",
        "Basic Q1AxOmE",
        "Basic Q1Ax OmE=",
        "Basic Q1AxOmE=!",
        "Basic Q1A_OmE=",
        "Basic Sä==",
        "Basic Q1AxOmE=, Basic Q1AxOmE=",
    ],
)
def test_any_other_header_holds_no_credentials(header: str) -> None:
    assert http_request(("Authorization", header)).basic_credentials is None


def test_without_the_header_there_are_no_credentials() -> None:
    assert http_request().basic_credentials is None


def test_two_headers_are_no_credentials() -> None:
    field = ("Authorization", "Basic Q1AxOmE=")
    assert http_request(field, field).basic_credentials is None


# Requests and their metadata.


def test_metadata() -> None:
    request = http_request()
    metadata = RequestMetadata("CP1", "1.6", request, "7")
    assert isinstance(metadata, ConnectionMetadata)
    assert (metadata.charge_point_id, metadata.ocpp_version, metadata.http_request) == ("CP1", "1.6", request)
    assert (metadata.message_id, metadata.validation_error) == ("7", None)
    assert request.peer_certificate is None


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (http_request(), "path"),
        (RequestMetadata("CP1", "1.6", http_request(), "7"), "message_id"),
        (Request("Heartbeat", {}), "action"),
    ],
)
def test_requests_and_metadata_are_frozen(value: Any, field: str) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, field, "other")


def test_a_request_holds_the_payload_without_a_copy() -> None:
    payload = {"a": 1}
    request = Request("Heartbeat", payload)
    assert request.action == "Heartbeat"
    assert request.payload is payload


@pytest.mark.parametrize(
    "fault", [None, ValidationError("why", action="Reset", errors=[], error_code="FormatViolation")]
)
def test_the_metadata_of_a_request_over_a_connection(fault: Any) -> None:
    connection = ConnectionMetadata("CP1", "1.6", http_request())
    made = RequestMetadata.of(connection, "7", fault)
    whole = RequestMetadata("CP1", "1.6", connection.http_request, "7", fault)
    assert made == whole
    assert repr(made) == repr(whole)
    assert vars(made) == vars(whole)
    assert list(vars(made)) == [field.name for field in dataclasses.fields(RequestMetadata)]
    assert dataclasses.replace(made, message_id="8") == dataclasses.replace(whole, message_id="8")
    assert vars(connection) == vars(ConnectionMetadata("CP1", "1.6", connection.http_request)), "it is left alone"
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.message_id = "8"  # type: ignore[misc]
