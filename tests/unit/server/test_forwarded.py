"""The client address behind proxies, and which headers are trusted."""

from __future__ import annotations

import pytest

from ocppsync.server.forwarded import ClientAddress, parse_forwarded
from ocppsync.wire.http import Headers

PROXY = "10.0.0.1"
TRUSTED = ["10.0.0.0/8", "2001:db8:ffff::/48"]


def client(peer: str, *fields: tuple[str, str], trusted: list[str] = TRUSTED) -> str:
    return ClientAddress(trusted)(peer, Headers(fields))


def forwarded_for(value: str) -> str:
    return client(PROXY, ("X-Forwarded-For", value))


def forwarded(value: str) -> str:
    return client(PROXY, ("Forwarded", value))


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        (" 192.0.2.1 ", "192.0.2.1"),
        ("192.0.2.1:4711", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("192.0.2.9, 192.0.2.1", "192.0.2.1"),
        ("192.0.2.9,192.0.2.1,10.0.0.7", "192.0.2.1"),
        ("192.0.2.1, 10.0.0.7:80, 2001:db8:ffff::7", "192.0.2.1"),
        ("10.0.0.9, 10.0.0.7", "10.0.0.9"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("192.0.2.1:_port", "192.0.2.1"),
        # An entry that is not an address ends the chain at the proxy that added it.
        ("", PROXY),
        (",", PROXY),
        ("unknown", PROXY),
        ("192.0.2.1, unknown", PROXY),
        ("192.0.2.1, garbage, 10.0.0.7", "10.0.0.7"),
        ("192.0.2.256", PROXY),
        ("192.0.2.1:port", PROXY),
        ("[2001:db8::1", PROXY),
        ("192.0.2.0/24", PROXY),
        ("[192.0.2.1]", PROXY),
        ("[]", PROXY),
        ("[2001:db8::1]x", PROXY),
        ("192.0.2.1:123456", PROXY),
        ("192.0.2.1:\xb2", PROXY),
        ("fe80::1%any text of the client", PROXY),
        ('"192.0.2.1"', PROXY),
        ("192.0.2.1,", PROXY),
        ("1" * 10_000, PROXY),
    ],
)
def test_x_forwarded_for(value: str, address: str) -> None:
    assert forwarded_for(value) == address


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("for=192.0.2.1", "192.0.2.1"),
        ("For=192.0.2.1;proto=https;by=10.0.0.1", "192.0.2.1"),
        ("proto=https; for=192.0.2.1", "192.0.2.1"),
        ('for="192.0.2.1:4711"', "192.0.2.1"),
        ('for="[2001:db8::1]"', "2001:db8::1"),
        ('for="[2001:db8::1]:4711"', "2001:db8::1"),
        ("for=192.0.2.9, for=192.0.2.1", "192.0.2.1"),
        ("for=192.0.2.1, for=10.0.0.7", "192.0.2.1"),
        # Commas and semicolons inside quotes, and escapes.
        ('for=192.0.2.1;by="a, for=192.0.2.9"', "192.0.2.1"),
        ('for=192.0.2.1;host="a;for=192.0.2.9"', "192.0.2.1"),
        (r'for=192.0.2.1;host="a\", for=192.0.2.9;x=\""', "192.0.2.1"),
        (r'for=192.0.2.9;host="a\\", for=192.0.2.1', "192.0.2.1"),
        (r'for="\1\92.0.2.1"', "192.0.2.1"),
        ('host="for=192.0.2.9";for=192.0.2.1', "192.0.2.1"),
        # What is not in the grammar, but clear.
        ("for=192.0.2.1:4711", "192.0.2.1"),
        ("for=[2001:db8::1]:4711", "2001:db8::1"),
        ("for=192.0.2.1 ; proto=https\t,\tfor=10.0.0.7", "192.0.2.1"),
        (";for=192.0.2.1;", "192.0.2.1"),
        (", for=192.0.2.1, ,", "192.0.2.1"),
        ("FOR=192.0.2.1", "192.0.2.1"),
        ('for="192.0.2.1:_port"', "192.0.2.1"),
        ('for="[2001:db8::1]:_port-1.x"', "2001:db8::1"),
        ('for="[2001:DB8:0::1]"', "2001:db8::1"),
        ('for="[::ffff:192.0.2.1]"', "192.0.2.1"),
        # The proxy's own entry cannot be told from what the client wrote.
        ('for="192.0.2.9, for=192.0.2.1', PROXY),
        ('for=192.0.2.9;by=", for=192.0.2.1', PROXY),
        ('for=192.0.2.9;by=", for="[2001:db8::1]"', PROXY),
        ('for="192.0.2.9"x, for=192.0.2.1', PROXY),
        (r'for="192.0.2.9\"', PROXY),
        ("for=192.0.2.9;for=192.0.2.1", PROXY),
        ("for=192.0.2.9;For=192.0.2.1", PROXY),
        ("proto=https;proto=http;for=192.0.2.1", PROXY),
        ("for = 192.0.2.1", PROXY),
        ("for=192.0.2.1 for=192.0.2.9", PROXY),
        ("for=192.0.2.1;by", PROXY),
        ("for", PROXY),
        ("=192.0.2.1", PROXY),
        ('"for"=192.0.2.1', PROXY),
        # Not addresses.
        ('for="unknown:80"', PROXY),
        ('for="_hidden:80"', PROXY),
        ("for=192.0.2.1, for=Unknown", PROXY),
        ('for="2001:db8::1"', PROXY),
        ('for="[192.0.2.1]"', PROXY),
        ('for="[fe80::1%eth0]"', PROXY),
        ('for="192.0.2.1:"', PROXY),
        ('for="192.0.2.1:123456"', PROXY),
        ('for=" 192.0.2.1"', PROXY),
        ("for=192.0.2.1, by=10.0.0.7", PROXY),
        ("for=192.0.2.1, ;", PROXY),
        ("for=unknown", PROXY),
        ("for=_hidden", PROXY),
        ("for=192.0.2.1, for=_hidden", PROXY),
        ("for=192.0.2.1, proto=https", PROXY),
        ("by=192.0.2.1", PROXY),
        ("notfor=192.0.2.1", PROXY),
        ("for=", PROXY),
        ('for="', PROXY),
        ('for=""', PROXY),
        ("", PROXY),
    ],
)
def test_forwarded(value: str, address: str) -> None:
    assert forwarded(value) == address


def test_several_headers_are_one_list() -> None:
    fields = [("X-Forwarded-For", "192.0.2.9"), ("x-forwarded-for", "192.0.2.1")]
    assert client(PROXY, *fields) == "192.0.2.1"
    fields = [("Forwarded", "for=192.0.2.9"), ("forwarded", "for=192.0.2.1"), ("Forwarded", "for=10.0.0.7, ")]
    assert client(PROXY, *fields) == "192.0.2.1"


def test_a_line_that_is_malformed_harms_no_line_after_it() -> None:
    broken = ("Forwarded", 'for="192.0.2.9')
    assert client(PROXY, broken, ("Forwarded", "for=192.0.2.1")) == "192.0.2.1"
    assert client(PROXY, broken, ("Forwarded", "for=10.0.0.7")) == "10.0.0.7"
    assert client(PROXY, ("Forwarded", "for=192.0.2.1"), broken) == PROXY


def test_each_parameter_is_read() -> None:
    value = r'For="[2001:db8::1]:80";by=_a;HOST="a, \"b\";c";proto=https, for=unknown'
    assert parse_forwarded(value) == [
        {"for": "[2001:db8::1]:80", "by": "_a", "host": 'a, "b";c', "proto": "https"},
        {"for": "unknown"},
    ]
    assert parse_forwarded("") == []
    assert parse_forwarded('by="";for=a') == [{"by": "", "for": "a"}]


def test_headers_of_an_untrusted_peer_are_ignored() -> None:
    for field in (("X-Forwarded-For", "10.0.0.7"), ("Forwarded", "for=10.0.0.7")):
        assert client("192.0.2.1", field) == "192.0.2.1"
        assert client(PROXY, field, trusted=[]) == PROXY


def test_a_client_cannot_write_itself_an_address() -> None:
    """What it wrote itself stands before what the proxy has seen."""
    assert forwarded_for("203.0.113.5, 10.0.0.7, 192.0.2.1") == "192.0.2.1"
    assert forwarded("for=203.0.113.5, for=10.0.0.7, for=192.0.2.1") == "192.0.2.1"


def test_both_headers_are_ignored_unless_they_agree() -> None:
    """A proxy writes one of them and passes the other on as the client wrote it."""
    mine, own = ("Forwarded", "for=203.0.113.5"), ("X-Forwarded-For", "192.0.2.1")
    assert client(PROXY, mine, own) == PROXY
    assert client(PROXY, ("Forwarded", "for=192.0.2.1"), own) == "192.0.2.1"
    both = [("Forwarded", 'for="[2001:DB8::1]"'), ("X-Forwarded-For", "2001:db8:0::1")]
    assert client(PROXY, *both) == "2001:db8::1"
    assert client(PROXY, ("Forwarded", 'for="'), own) == PROXY


def test_an_ipv4_peer_of_a_socket_for_both_is_trusted_as_such() -> None:
    assert client("::ffff:10.0.0.1", ("X-Forwarded-For", "192.0.2.1")) == "192.0.2.1"
    assert client("", ("X-Forwarded-For", "192.0.2.1")) == ""


def test_a_chain_of_any_length_is_read_in_time() -> None:
    assert forwarded_for(", ".join(["10.0.0.7"] * 2000)) == "10.0.0.7"
    assert forwarded(", ".join(["for=10.0.0.7"] * 1000)) == "10.0.0.7"
    assert forwarded(";" * 16_000) == PROXY
    assert forwarded("for" + " " * 16_000) == PROXY
    assert forwarded('for="' + "\\" * 16_000) == PROXY
    assert forwarded('for="",' * 3_000) == PROXY
    assert forwarded("a=b;" * 4_000) == PROXY
