"""The security profiles, with requests to `SecurityProfiles` and over real connections."""

from __future__ import annotations

import base64
import functools
import logging
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from support import DEADLINE, Recorder, connected, raw, serving
from support import basic as header
from wire import dial, request

from ocppsync import (
    CallErrorReceived,
    Headers,
    HttpRequest,
    InvalidResponseError,
    Limits,
    Passwords,
    SecurityProfiles,
    hash_password,
)
from ocppsync.request import ConnectionMetadata
from ocppsync.server.admission import Credentials
from ocppsync.wire.http import RefusalError
from ocppsync.wsgi import _http_request

KEY = bytes.fromhex("0001020304050607ffffffffffffffffffffffff")
NEW = bytes.fromhex("00" * 16)
quick = functools.partial(hash_password, n=2)
CERTIFICATE = {"subject": ((("commonName", "SN1"),), (("organizationName", "Acme"),)), "serialNumber": "01"}


def passwords(**options: Any) -> Passwords:
    return Passwords({"CP1": quick(KEY)}, hasher=quick, **options)


def basic(password: bytes, user: str = "CP1") -> str:
    return header(user, password)


def asked(
    authorization: str | None = None, *, secure: bool = False, certificate: Mapping[str, Any] | None = None
) -> HttpRequest:
    fields = () if authorization is None else (("Authorization", authorization),)
    return HttpRequest("GET", "/CP1", "", Headers(fields), ("127.0.0.1", 1), certificate, secure or bool(certificate))


def refusal(security: SecurityProfiles, http_request: HttpRequest, version: str | None = "2.0.1") -> RefusalError:
    with pytest.raises(RefusalError) as caught:
        security.admit(http_request, "CP1", version)
    assert KEY.hex() not in caught.value.reason
    return caught.value


# The profile of a connection, and the lowest that is let in.


def test_the_profile_is_what_the_connection_shows() -> None:
    security = SecurityProfiles(passwords=passwords(), serial_number_of={"CP1": "SN1"})
    for http_request, profile in (
        (asked(basic(KEY)), 1),
        (asked(basic(KEY), secure=True), 2),
        (asked(certificate=CERTIFICATE), 3),
        (asked(basic(b"whatever"), certificate=CERTIFICATE), 3),
    ):
        assert security.admit(http_request, "CP1", "2.0.1").profile == profile


@pytest.mark.parametrize("minimum", [2, {"CP1": 2}, lambda charge_point_id: 2])
def test_a_lower_profile_than_the_minimum_is_refused(minimum: Any) -> None:
    security = SecurityProfiles(passwords=passwords(), minimum_profile=minimum)
    refused = refusal(security, asked(basic(KEY)))
    assert (refused.status, refused.reason) == (401, "security profile 1 is not enough: 'CP1' needs at least 2")
    assert security.admit(asked(basic(KEY), secure=True), "CP1", "1.6").profile == 2


def test_the_default_minimum_is_profile_1() -> None:
    for minimum in (1, {}, {"CP2": 3}, lambda charge_point_id: None):
        assert SecurityProfiles(passwords=passwords(), minimum_profile=minimum).minimum_of("CP1") == 1


def test_profile_0_is_for_1_6_and_where_it_is_asked_for() -> None:
    security = SecurityProfiles(passwords=passwords(), minimum_profile=0)
    assert security.admit(asked(), "CP1", "1.6").profile == 0
    assert refusal(security, asked(), "2.0.1").status == 401
    assert refusal(security, asked(basic(b"wrong")), "1.6").status == 401
    assert refusal(security, asked(secure=True), "1.6").status == 401
    assert refusal(SecurityProfiles(passwords=passwords()), asked(), "1.6").status == 401
    assert SecurityProfiles(minimum_profile=0).admit(asked(), "CP1", "1.6").profile == 0


def test_a_profile_that_was_reached_is_the_minimum_from_then_on() -> None:
    raised = Recorder()
    security = SecurityProfiles(passwords=passwords(), serial_number_of={"CP1": "SN1"}, on_profile_raised=raised)
    for profile in (1, 2, 2, 3, 2):
        security.connected("CP1", Credentials(profile))
    assert raised.items == [("CP1", 2), ("CP1", 3)]
    assert "needs at least 3" in refusal(security, asked(basic(KEY), secure=True)).reason
    assert security.minimum_of("CP2") == 1
    security.allow_lower("CP1")
    assert security.admit(asked(basic(KEY)), "CP1", None).profile == 1


def test_a_profile_that_was_reached_while_a_password_waits_is_the_minimum_already() -> None:
    security = SecurityProfiles(passwords=passwords())

    def reach() -> bool:
        security.connected("CP1", Credentials(3))
        return False

    with pytest.raises(RefusalError, match="needs at least 3"):
        security.admit(asked(basic(KEY)), "CP1", "1.6", has_gone=reach)


def test_of_two_connections_at_once_the_higher_profile_counts(hasty: None) -> None:
    stored: dict[str, int] = {}
    security = SecurityProfiles(passwords=passwords(), on_profile_raised=stored.__setitem__)
    together = threading.Barrier(2)

    def connect(profile: int) -> None:
        for number in range(300):
            together.wait(DEADLINE)
            security.connected(f"CP{number}", Credentials(profile))

    threads = [threading.Thread(target=connect, args=(profile,)) for profile in (2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(4 * DEADLINE)
    assert {security.minimum_of(f"CP{number}") for number in range(300)} == {3}
    assert set(stored.values()) == {3}


def test_no_thread_waits_for_another_profile_to_be_stored() -> None:
    begun, release, stored = threading.Event(), threading.Event(), Recorder()

    def store(name: str, profile: int) -> None:
        stored((name, profile))
        if profile == 1:
            begun.set()
            assert release.wait(DEADLINE)

    security = SecurityProfiles(minimum_profile=0, on_profile_raised=store)
    slow = threading.Thread(target=security.connected, args=("CP1", Credentials(1, minimum_profile=0)))
    slow.start()
    assert begun.wait(DEADLINE)
    security.connected("CP2", Credentials(3))
    security.connected("CP1", Credentials(2))  # told of by the thread that is at it, when it is through
    assert security.minimum_of("CP1") == 2
    assert stored.items == [("CP1", 1), ("CP2", 3)]
    release.set()
    slow.join(DEADLINE)
    assert stored.items == [("CP1", 1), ("CP2", 3), ("CP1", 2)]
    security.connected("CP1", Credentials(3))
    assert stored.items[3:] == [("CP1", 3)]


@pytest.fixture
def hasty() -> Iterator[None]:
    """Let threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_a_store_that_fails_does_not_lower_the_minimum(caplog: pytest.LogCaptureFixture) -> None:
    security = SecurityProfiles(passwords=passwords(), on_profile_raised=lambda *_: 1 / 0)
    security.connected("CP1", Credentials(2))
    assert security.minimum_of("CP1") == 2
    assert [record.levelname for record in caplog.records] == ["ERROR"]


@pytest.mark.parametrize("minimum", [-1, 4, True])
def test_an_invalid_minimum_profile_is_refused(minimum: Any) -> None:
    with pytest.raises(ValueError, match=r"is not a valid security profile: expected 0 to 3$"):
        SecurityProfiles(passwords=passwords(), minimum_profile=minimum)
    security = SecurityProfiles(passwords=passwords(), minimum_profile={"CP1": minimum})
    assert refusal(security, asked(basic(KEY))).status == 500


def test_at_least_one_way_to_authenticate_is_required() -> None:
    with pytest.raises(ValueError, match="no charge point can connect"):
        SecurityProfiles()


# Passwords.


@pytest.mark.parametrize(
    ("authorization", "reason"),
    [
        (None, "'CP1' sent no password"),
        ("Basic nonsense", "'CP1' sent no password"),
        ("Bearer x", "'CP1' sent no password"),
        (basic(b"wrong"), "wrong password for 'CP1', or none is known"),
        (basic(KEY, "CP2"), "the user name is not the identity 'CP1'"),
        (basic(KEY, "cp1"), "the user name is not the identity 'CP1'"),
        (basic(KEY, ""), "the user name is not the identity 'CP1'"),
    ],
)
def test_a_charge_point_without_the_password_is_challenged(authorization: str | None, reason: str) -> None:
    refused = refusal(SecurityProfiles(passwords=passwords(), realm="Acme"), asked(authorization))
    assert (refused.status, refused.reason) == (401, reason)
    assert refused.headers == (("WWW-Authenticate", 'Basic realm="Acme"'),)


@pytest.mark.parametrize("password", [KEY, b"a:b:c", "p\N{SNOWMAN}ssword".encode(), b"\xff" * 20])
def test_passwords_of_any_bytes(password: bytes) -> None:
    security = SecurityProfiles(passwords=Passwords({"CP1": quick(password)}, hasher=quick))
    assert security.admit(asked(basic(password)), "CP1", "1.6").profile == 1


def test_hexadecimal_text_is_for_1_6() -> None:
    security = SecurityProfiles(passwords=passwords(hex_text=True))
    assert security.admit(asked(basic(KEY.hex().encode())), "CP1", "1.6").profile == 1
    assert refusal(security, asked(basic(KEY.hex().encode())), "2.1").status == 401


def test_without_passwords_there_is_no_challenge() -> None:
    refused = refusal(SecurityProfiles(serial_number_of={"CP1": "SN1"}), asked(basic(KEY), secure=True))
    assert (refused.status, refused.headers) == (403, ())
    action, payload, _ = CHANGES["1.6"]
    metadata = ConnectionMetadata("CP1", "1.6", asked())
    checks = SecurityProfiles(serial_number_of={"CP1": "SN1"}).checks(metadata, Credentials(3, serial_number="SN1"))
    assert checks.before_request(action, payload) is None


def test_nothing_secret_is_in_a_repr() -> None:
    security = SecurityProfiles(passwords=passwords())
    credentials = security.admit(asked(basic(KEY)), "CP1", "1.6")
    assert credentials.password_hash is not None
    assert "scrypt" not in repr(credentials) + repr(security)


# Certificates.


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"serial_number_of": None}, "no serial number is registered for 'CP1'"),
        ({"serial_number_of": {}}, "no serial number is registered for 'CP1'"),
        ({"serial_number_of": {"CP1": "SN2"}}, r"the certificate has the common name \['SN1'\]; 'CP1' needs 'SN2'"),
        ({"serial_number_of": {"CP1": "CP1"}}, r"the certificate has the common name \['SN1'\]; 'CP1' needs 'CP1'"),
        ({"organizations": ["Other"]}, r"has the organization \['Acme'\]; expected one of \['Other'\]"),
        ({"is_revoked": lambda certificate: certificate["serialNumber"] == "01"}, "is revoked"),
    ],
)
def test_an_unsuitable_certificate_is_refused(options: dict[str, Any], reason: str) -> None:
    security = SecurityProfiles(**{"passwords": passwords(), "serial_number_of": {"CP1": "SN1"}, **options})
    refused = refusal(security, asked(basic(KEY), certificate=CERTIFICATE))
    assert (refused.status, refused.headers) == (401, (("WWW-Authenticate", 'Basic realm="ocpp"'),))
    with pytest.raises(RefusalError, match=reason):
        raise refused


def test_a_certificate_with_two_common_names_is_refused() -> None:
    security = SecurityProfiles(serial_number_of={"CP1": "SN1"})
    two = {"subject": ((("commonName", "SN2"),), (("commonName", "SN1"),))}
    assert refusal(security, asked(certificate=two)).status == 403


def test_a_valid_certificate() -> None:
    security = SecurityProfiles(
        serial_number_of=lambda charge_point_id: "SN1" if charge_point_id == "CP1" else None,
        organizations="Acme",
        is_revoked=lambda certificate: False,
    )
    assert security.admit(asked(certificate=CERTIFICATE), "CP1", "2.1") == Credentials(3, serial_number="SN1")


@pytest.mark.parametrize("hook", ["serial_number_of", "is_revoked", "minimum_profile"])
def test_a_function_that_fails_refuses(hook: str, caplog: pytest.LogCaptureFixture) -> None:
    options: dict[str, Any] = {"serial_number_of": {"CP1": "SN1"}, hook: lambda _: 1 / 0}
    assert refusal(SecurityProfiles(**options), asked(certificate=CERTIFICATE)).status == 500
    assert "ZeroDivisionError" in caplog.text


# BootNotification under profile 3.


@pytest.mark.parametrize(
    ("version", "station", "closed"),
    [
        ("2.0.1", {"serialNumber": "SN2"}, True),
        ("2.1", {"serialNumber": "sn1"}, True),
        ("2.0.1", {"serialNumber": "SN1"}, False),
        ("2.0.1", {}, False),
        ("1.6", {"serialNumber": "SN2"}, False),
    ],
)
def test_the_serial_number_of_a_boot_is_that_of_the_certificate(version: str, station: Any, closed: bool) -> None:
    security = SecurityProfiles(serial_number_of={"CP1": "SN1"})
    metadata = ConnectionMetadata("CP1", version, asked())
    checks = security.checks(metadata, Credentials(3, serial_number="SN1"))
    boot = {"chargingStation": station, "reason": "PowerUp"}
    assert bool(checks.fatal_violation("BootNotification", boot)) == closed
    assert checks.fatal_violation("Heartbeat", boot) is None
    by_password = security.checks(metadata, Credentials(2, password_hash="x"))
    assert by_password.fatal_violation("BootNotification", boot) is None


# A central system.


def status(port: int | None, password: bytes | None, path: str = "/CP1", **changes: str | None) -> int:
    with dial(port) as peer:
        return peer.ask(request(path, Authorization=password and basic(password), **changes)).status


def test_it_decides_before_authorize(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "ocppsync.server")
    seen = Recorder()

    def authorize(http_request: HttpRequest, charge_point_id: str) -> int | bool:
        seen(charge_point_id)
        return 503

    raised = Recorder()
    security = SecurityProfiles(passwords=passwords(), minimum_profile=0, on_profile_raised=raised)
    with serving(security=security, authorize=authorize) as cs:
        assert status(cs.port, b"wrong") == 401
        assert status(cs.port, KEY, "/CP2") == 401
        assert seen.items == []
        assert status(cs.port, KEY) == 503
        assert seen.items == ["CP1"]
    assert raised.items == [], "a refused charge point has reached no profile"
    first = caplog.records[0].getMessage()
    assert first.endswith("/CP1 with HTTP 401: wrong password for 'CP1', or none is known")
    assert len(caplog.records) == 3
    assert base64.b64encode(b"CP1:wrong").decode() not in caplog.text


def test_too_many_failures_are_refused_without_a_check() -> None:
    with serving(security=SecurityProfiles(passwords=passwords()), limits=Limits(failed_authentications=2)) as cs:
        assert [status(cs.port, password) for password in (b"1", KEY, b"2", b"3", b"4")] == [401, 101, 401, 401, 429]
        assert status(cs.port, KEY) == 101, "it is remembered, and no guess"
        assert status(cs.port, b"5") == 429, "which gives the others no more guesses"


def test_a_wsgi_server_tells_whether_there_is_tls() -> None:
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/CP1", "HTTP_AUTHORIZATION": basic(KEY)}
    security = SecurityProfiles(passwords=passwords(), minimum_profile=2)
    assert security.admit(_http_request(environ | {"wsgi.url_scheme": "https"}), "CP1", "1.6").profile == 2
    assert refusal(security, _http_request(environ | {"wsgi.url_scheme": "http"})).status == 401


def test_without_a_common_version_no_profile_is_reached() -> None:
    raised = Recorder()
    security = SecurityProfiles(passwords=passwords(), minimum_profile=0, on_profile_raised=raised)
    with serving(security=security) as cs:
        assert status(cs.port, KEY, Sec_WebSocket_Protocol="ocpp1.5") == 101
        assert not raised.items
        assert status(cs.port, KEY) == 101
        assert raised.wait() == [("CP1", 1)]


# Changes of the password, as the outcome of the request has it.


CHANGES: dict[str, Any] = {
    "1.6": ("ChangeConfiguration", {"key": "AuthorizationKey", "value": NEW.hex()}, NEW),
    "2.0.1": (
        "SetVariables",
        {
            "setVariableData": [
                {"component": {"name": "A"}, "variable": {"name": "B"}, "attributeValue": "C"},
                {
                    "component": {"name": "SecurityCtrlr"},
                    "variable": {"name": "BasicAuthPassword"},
                    "attributeValue": "a new password: yes",
                },
            ]
        },
        b"a new password: yes",
    ),
}


def answer_to(version: str, verdict: str) -> Any:
    if version == "1.6":
        return {"status": verdict}
    data = CHANGES[version][1]["setVariableData"]
    results = [
        {"component": item["component"], "variable": item["variable"], "attributeStatus": status}
        for item, status in zip(data, ("Rejected", verdict), strict=True)
    ]
    return {"setVariableResult": results[::-1]}


def good(security: SecurityProfiles, *candidates: bytes) -> list[bytes]:
    assert security.passwords is not None
    return [one for one in candidates if security.passwords.check("CP1", one)]


@pytest.mark.parametrize("version", CHANGES)
@pytest.mark.parametrize(
    ("verdict", "old", "new"),
    [("Accepted", False, True), ("Rejected", True, False), ("RebootRequired", True, True)],
)
def test_what_an_answer_does_to_the_passwords(version: str, verdict: str, old: bool, new: bool) -> None:
    security = SecurityProfiles(passwords=passwords())
    action, payload, password = CHANGES[version]
    headers = {"Authorization": basic(KEY)}
    with serving(security=security) as cs:
        events = connected(cs)
        with raw(cs, additional_headers=headers, subprotocols=[f"ocpp{version}"]) as peer:
            events.wait()
            future = cs.submit_request("CP1", action, payload)
            message_id = peer.read()[1]
            assert good(security, KEY, password) == [KEY, password], "both, until the answer is there"
            peer.send([3, message_id, answer_to(version, verdict)])
            future.result(DEADLINE)
            assert good(security, KEY, password) == [KEY] * old + [password] * new


def test_a_call_error_keeps_the_old_password_and_an_invalid_response_both() -> None:
    security = SecurityProfiles(passwords=passwords())
    with serving(security=security) as cs:
        events = connected(cs)
        with raw(cs, additional_headers={"Authorization": basic(KEY)}) as peer:
            events.wait()
            future = cs.submit_request("CP1", *CHANGES["1.6"][:2])
            peer.send([4, peer.read()[1], "InternalError", "", {}])
            assert isinstance(future.exception(DEADLINE), CallErrorReceived)
            assert good(security, KEY, NEW) == [KEY]
            future = cs.submit_request("CP1", *CHANGES["1.6"][:2])
            peer.send([3, peer.read()[1], {"status": "Perhaps"}])
            assert isinstance(future.exception(DEADLINE), InvalidResponseError)
            assert good(security, KEY, NEW) == [KEY, NEW]


def full_at(count: int) -> tuple[SecurityProfiles, Recorder]:
    """Profiles that cannot store the change with that number, and all changes."""
    changes = Recorder()

    def store(charge_point_id: str, valid: tuple[str, ...]) -> None:
        changes(valid)
        if len(changes.items) == count:
            raise OSError("the disk is full")

    hashes: dict[str, Any] = {"CP1": quick(KEY)}
    return SecurityProfiles(passwords=Passwords(hashes, on_change=store, hasher=quick)), changes


def test_of_two_passwords_the_first_is_dropped_where_the_second_cannot_be_stored() -> None:
    security, changes = full_at(2)
    checks = security.checks(ConnectionMetadata("CP1", "2.1", asked()), Credentials(1))
    variable = {"name": "BasicAuthPassword"}
    slots = [{"name": "NetworkConfiguration", "instance": instance} for instance in "12"]
    data = [{"component": slot, "variable": variable, "attributeValue": f"slot {slot}"} for slot in slots]
    with pytest.raises(OSError, match="the disk is full"):
        checks.before_request("SetVariables", {"setVariableData": data})
    assert [len(valid) for valid in changes.items] == [2, 3, 1]
    assert good(security, KEY, *(item["attributeValue"].encode() for item in data)) == [KEY]


def test_of_two_passwords_the_second_is_accepted_where_the_answer_about_the_first_cannot_be_stored() -> None:
    security, _ = full_at(3)
    checks = security.checks(ConnectionMetadata("CP1", "2.1", asked()), Credentials(1))
    components = [{"name": "NetworkConfiguration", "instance": "1"}, {"name": "SecurityCtrlr"}]
    data = [{"component": one, "variable": {"name": "BasicAuthPassword"}} for one in components]
    passwords = [{**one, "attributeValue": f"new {number}"} for number, one in enumerate(data)]
    finish = checks.before_request("SetVariables", {"setVariableData": passwords})
    assert finish is not None
    statuses = ["Rejected", "Accepted"]
    results = [{**one, "attributeStatus": status} for one, status in zip(data, statuses, strict=True)]
    finish({"setVariableResult": results})
    assert good(security, KEY, b"new 1") == [b"new 1"]


def test_a_password_that_cannot_be_stored_is_not_sent() -> None:
    hashes = {"CP1": quick(KEY)}
    store = Passwords(hashes.get, on_change=lambda *_: 1 / 0, hasher=quick)
    with serving(security=SecurityProfiles(passwords=store)) as cs:
        events = connected(cs)
        with raw(cs, additional_headers={"Authorization": basic(KEY)}) as peer:
            events.wait()
            with pytest.raises(ZeroDivisionError):
                cs.send_request("CP1", *CHANGES["1.6"][:2])
            future = cs.submit_request("CP1", "ClearCache")
            assert peer.read()[2] == "ClearCache"
            future.cancel()
