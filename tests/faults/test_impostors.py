"""A charge point with credentials of its own tries to become another one, or to take its connection."""

from __future__ import annotations

import base64
import functools
from typing import Any

import pytest
from bystander import Siege, besieged, heartbeat
from support import basic
from wire import dial, request

from ocppsync import Limits, Passwords, SecurityProfiles, hash_password

KEY, OWN = b"the victim's password", b"the password of mallory"
quick = functools.partial(hash_password, n=2)
MINE = basic("mallory", OWN)

# What stands in the request line, with the attacker's own good credentials.
PATHS = [
    "/CP1",
    "/CP1/",
    "//CP1",
    "/mallory/CP1",
    "/mallory/../CP1",
    "/mallory%2F..%2FCP1",
    "/./CP1",
    "/%43%50%31",
    "/CP1?mallory",
    "/CP1?user=mallory",
    "/mallory?/CP1",
    "/CP1#mallory",
    "/mallory#/CP1",
    "/CP1%23mallory",
    "/CP1;mallory",
    "/CP1%00",
    "/CP1%00mallory",
    "/CP1%0d%0aX:%20mallory",
    "/CP1%20",
    "/%20CP1",
    "/CP1.",
    "/cp1",
    "/CP1%2F",
    "/mallory%2FCP1",
    "/CP1\\mallory",
    "/%EF%BC%A3P1",
    "/CP%C2%B91",
    "/CP1%E2%80%8B",
    "/CP%u0031",
    "/%2543P1",
    "/*",
    "/%",
    "http://mallory/CP1",
    "http://mallory@127.0.0.1/CP1",
    "ws://CP1/mallory",
]
# What stands in Authorization, for the victim's path.
CREDENTIALS = [
    None,
    "",
    "Basic",
    "Basic ",
    "Basic =",
    "Basic CP1:mallory",
    f"Bearer {MINE.removeprefix('Basic ')}",
    f"Digest username=CP1, {MINE}",
    basic("CP1", OWN),
    basic("CP1", b""),
    basic("CP1:", KEY),
    basic("", KEY),
    basic("cp1", KEY),
    basic("CP1 ", KEY),
    basic("CP1\0", KEY),
    basic("mallory", KEY),
    basic("CP1", b"\0" + KEY),
    basic("CP1", KEY + b"\n"),
    basic("CP1", KEY[:-1]),
    basic("CP1", KEY.upper()),
    basic("CP1", KEY.hex().encode()),
    basic("CP1", quick(KEY).encode()),
    f"{MINE}, {basic('CP1', OWN)}",
    "Basic " + base64.b64encode(b"mallory").decode(),
    "Basic " + base64.b64encode(b"CP1").decode(),
    "Basic " + base64.b64encode("CP1:пароль".encode()).decode(),
    "Basic \xff\xfe",
]
# Headers by which some servers name their client, beside good credentials and the attacker's own path.
HEADERS = {
    "X_Forwarded_User": "CP1",
    "X_Remote_User": "CP1",
    "X_Original_URL": "/CP1",
    "X_Rewrite_URL": "/CP1",
    "X_Forwarded_Prefix": "/CP1",
    "X_SSL_Client_CN": "CP1",
    "X_Forwarded_Client_Cert": 'Subject="CN=CP1"',
    "X_HTTP_Method_Override": "POST",
    "Cookie": "identity=CP1",
    "From": "CP1",
    "Host": "CP1",
    "Origin": "http://CP1",
    "Proxy_Authorization": basic("CP1", OWN),
}


def secured() -> dict[str, Any]:
    """Return the options of a central system with two passwords; bystanders need none."""
    security = SecurityProfiles(
        passwords=Passwords({"CP1": quick(KEY), "mallory": quick(OWN)}, hasher=quick),
        minimum_profile=lambda charge_point_id: int(not charge_point_id.startswith("bystander")),
    )
    return {"security": security, "limits": Limits(failed_authentications=None)}


def try_to_get_in(siege: Siege, path: str, **fields: str | None) -> int:
    with dial(siege.port) as attacker:
        attacker.send(request(path, **fields))
        return attacker.read_response().status


def test_nobody_gets_in_with_the_credentials_of_another(caplog: pytest.LogCaptureFixture) -> None:
    with besieged(caplog, **secured()) as siege, dial(siege.port) as victim:
        victim.upgrade("/CP1", Authorization=basic("CP1", KEY))
        found = {path: try_to_get_in(siege, path, Authorization=MINE) for path in PATHS}
        # After a "?" and in the name of a host it is the attacker's own identity.
        own = {"/mallory?/CP1", "ws://CP1/mallory"}
        assert {path for path, status in found.items() if status == 101} == own
        assert set(found.values()) <= {101, 400, 401, 404}
        for authorization in CREDENTIALS:
            assert try_to_get_in(siege, "/CP1", Authorization=authorization) == 401, authorization
        heartbeat(victim, "1")
        siege.events.wait_until(lambda items: items.count(("mallory", "disconnected")) > 0)
        assert ("CP1", "disconnected") not in siege.events.items
        assert not any(secret.decode() in caplog.text for secret in (KEY, OWN))


def test_headers_name_nobody(caplog: pytest.LogCaptureFixture) -> None:
    with besieged(caplog, **secured()) as siege, dial(siege.port) as victim:
        victim.upgrade("/CP1", Authorization=basic("CP1", KEY))
        for name, value in HEADERS.items():
            with dial(siege.port) as attacker:
                attacker.upgrade("/mallory", Authorization=MINE, **{name: value})
                heartbeat(attacker, name)
                assert siege.cs.charge_points.count("mallory") == 1
        heartbeat(victim, "1")
        assert {name for name, _ in siege.events.items} == {"CP1", "mallory"}
        assert ("CP1", "disconnected") not in siege.events.items


def test_two_credentials_are_none(caplog: pytest.LogCaptureFixture) -> None:
    line = b"Authorization: %b\r\n"
    both = [MINE.encode(), basic("CP1", OWN).encode(), basic("CP1", KEY).encode()]
    with besieged(caplog, **secured()) as siege:
        for path in ("/CP1", "/mallory"):
            for first in both:
                for second in both:
                    with dial(siege.port) as attacker:
                        head = request(path).removesuffix(b"\r\n") + line % first + line % second + b"\r\n"
                        assert attacker.ask(head).status in (400, 401), (path, first, second)


def test_an_address_that_a_client_writes_itself_does_not_count(caplog: pytest.LogCaptureFixture) -> None:
    options = {**secured(), "limits": Limits(failed_authentications=3), "trusted_proxies": ["127.0.0.9"]}
    with besieged(caplog, **options) as siege:
        found = []
        for number in range(20):
            address = f"203.0.113.{number}"
            spoofed = {"X_Forwarded_For": address, "Forwarded": f"for={address}", "X_Real_IP": address}
            fields = {**spoofed, "Authorization": basic("CP1", b"guess %d" % number)}
            found.append(try_to_get_in(siege, "/CP1", **fields))
        assert found[0] == 401
        assert set(found[8:]) == {429}, found
        with dial(siege.port, source="127.0.0.2") as victim:
            victim.upgrade("/CP1", Authorization=basic("CP1", KEY))
            heartbeat(victim, "1")
        assert not siege.said("203.0.113.")
