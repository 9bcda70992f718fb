"""The security cases of the certification tests for a CSMS (2.0.1 Part 6 §3), each over a real connection.

They are of 2.0.1; where 1.6 and 2.1 have the like it is held against these as well. A charge point stands for the test
tool: ours where it does what it should, and bare sockets where it does not.
"""

from __future__ import annotations

import contextlib
import functools
import ssl
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority, Certificate, signing_request
from support import DEADLINE, Recorder, accept_boots, basic, connected, serving
from wire import dial

from ocppsync import (
    CentralSystem,
    ChargePoint,
    HandshakeError,
    Passwords,
    SecurityProfiles,
    ServerTLS,
    client_context,
    hash_password,
)

VERSIONS = ("1.6", "2.0.1", "2.1")
KEY = bytes.fromhex("0001020304050607ffffffffffffffffffffffff")
NEW = "101112131415161718191a1b1c1d1e1f"
BOOTS: dict[str, Any] = {
    "1.6": {"chargePointVendor": "Acme", "chargePointModel": "One"},
    "2.0.1": {"reason": "PowerUp", "chargingStation": {"vendorName": "Acme", "model": "One"}},
}
BOOTS["2.1"] = BOOTS["2.0.1"]
quick = functools.partial(hash_password, n=2)
by_version = pytest.mark.parametrize("version", VERSIONS)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def server_files(authority: Authority) -> list[Certificate]:
    return [authority.issue(kind="rsa", file="rsa"), authority.issue(kind="ec", file="ec")]


@pytest.fixture(scope="module")
def good(authority: Authority) -> Certificate:
    """The client certificate of SN1."""
    return authority.issue("SN1", hosts=[], organization="Acme")


@pytest.fixture
def tls(authority: Authority, server_files: list[Certificate]) -> ServerTLS:
    """Profiles 2 and 3 on one port."""
    return ServerTLS(server_files, client_ca=authority.certificate, client_certificates="optional")


def profiles(**options: Any) -> SecurityProfiles:
    store = Passwords({"CP1": quick(KEY)}, hasher=quick)
    return SecurityProfiles(**{"passwords": store, "serial_number_of": {"CP1": "SN1"}, **options})


@contextlib.contextmanager
def csms(security: SecurityProfiles | None = None, **options: Any) -> Iterator[CentralSystem]:
    with serving(security=security or profiles(), **options) as cs:
        accept_boots(cs)
        yield cs


def station(
    cs: CentralSystem, version: str = "2.0.1", tls: ssl.SSLContext | None = None, **options: Any
) -> ChargePoint:
    url = f"{'ws' if tls is None else 'wss'}://localhost:{cs.port}"
    return ChargePoint("CP1", url=url, ssl_context=tls, protocols=[f"ocpp{version}"], **options)


def boots(cp: ChargePoint, version: str = "2.0.1") -> bool:
    """Connect, if it is not, and send a BootNotification; return whether it was accepted."""
    if not cp.connected:
        cp.connect()
    answer: Any = cp.send_request("BootNotification", BOOTS[version])
    return bool(answer["status"] == "Accepted")


def refused(cp: ChargePoint) -> int | None:
    """Try to connect in vain; return the HTTP status."""
    with pytest.raises(HandshakeError) as caught:
        cp.connect()
    cp.close()
    return caught.value.status


def get_in(cp: ChargePoint, version: str = "2.0.1") -> None:
    with contextlib.closing(cp):
        assert boots(cp, version)


# Passwords.


@by_version
def test_tc_a_01_csms_right_credentials(version: str) -> None:
    with csms() as cs:
        get_in(station(cs, version, password=KEY), version)


@by_version
def test_tc_a_02_csms_the_username_is_not_the_identity(version: str) -> None:
    with csms() as cs:
        assert refused(station(cs, version, headers=[("Authorization", basic("CP2", KEY))])) == 401
        get_in(station(cs, version, password=KEY), version)


@by_version
def test_tc_a_03_csms_wrong_password(version: str) -> None:
    with csms() as cs:
        assert refused(station(cs, version, password=KEY[::-1])) == 401
        get_in(station(cs, version, password=KEY), version)


# TLS.


@pytest.mark.parametrize("profile", [2, 3])
@pytest.mark.parametrize(
    "suite",
    ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "AES128-GCM-SHA256", "AES256-GCM-SHA384"],
)
def test_tc_a_04_csms_tls_server_side(
    authority: Authority, tls: ServerTLS, good: Certificate, profile: int, suite: str
) -> None:
    client = client_context(authority.certificate, certificate=good if profile == 3 else None)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    client.set_ciphers(suite)
    with csms(ssl_context=tls) as cs, dial(cs.port, ssl_context=client) as peer:
        assert isinstance(peer.sock, ssl.SSLSocket)
        cipher = peer.sock.cipher()
        assert (peer.sock.version(), cipher and cipher[0], peer.sock.compression()) == ("TLSv1.2", suite, None)
        subject = (peer.sock.getpeercert() or {})["subject"]
        assert subject == ((("commonName", "localhost"),),)
        get_in(station(cs, tls=client, password=None if profile == 3 else KEY))


def test_tc_a_06_csms_tls_version_too_low(authority: Authority, tls: ServerTLS) -> None:
    old = client_context(authority.certificate)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("DEFAULT@SECLEVEL=0")
    new = client_context(authority.certificate)
    new.maximum_version = ssl.TLSVersion.TLSv1_2
    with csms(ssl_context=tls) as cs:
        with pytest.raises(HandshakeError, match=r"(?i)protocol[ _]version"):
            station(cs, tls=old, password=KEY).connect()
        get_in(station(cs, tls=new, password=KEY))


# Client certificates.


@by_version
def test_tc_a_07_csms_valid_client_certificate(
    authority: Authority, tls: ServerTLS, good: Certificate, version: str
) -> None:
    with csms(profiles(organizations=["Acme"]), ssl_context=tls) as cs:
        get_in(station(cs, version, client_context(authority.certificate, certificate=good)), version)


def expired(authority: Authority, directory: Path) -> Certificate:
    return authority.issue("SN1", hosts=[], days=(-2, -1), file="expired")


def not_yet_valid(authority: Authority, directory: Path) -> Certificate:
    return authority.issue("SN1", hosts=[], days=(1, 2), file="future")


def unknown(authority: Authority, directory: Path) -> Certificate:
    return Authority(directory, name="unknown").issue("SN1", hosts=[])


def wrong_name(authority: Authority, directory: Path) -> Certificate:
    return authority.issue("SN2", hosts=[])


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (expired, "certificate has expired"),
        (not_yet_valid, "certificate is not yet valid"),
        (unknown, "unable to get local issuer certificate"),
        (wrong_name, "the certificate has the common name ['SN2']; 'CP1' needs 'SN1'"),
    ],
)
def test_tc_a_08_csms_invalid_client_certificate(
    authority: Authority,
    tls: ServerTLS,
    good: Certificate,
    tmp_path: Path,
    make: Callable[[Authority, Path], Certificate],
    reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    bad = client_context(authority.certificate, certificate=make(authority, tmp_path))
    with csms(ssl_context=tls) as cs:
        assert refused(station(cs, tls=bad)) == (401 if make is wrong_name else None)
        get_in(station(cs, tls=client_context(authority.certificate, certificate=good)))
    assert reason in caplog.records[0].getMessage()


def test_the_serial_number_of_the_boot_is_another(authority: Authority, tls: ServerTLS, good: Certificate) -> None:
    # B01.FR.11 and .12.
    with csms(ssl_context=tls) as cs:
        seen = Recorder()
        cs.after("BootNotification")(lambda payload, metadata: seen(payload))
        cp = station(cs, tls=client_context(authority.certificate, certificate=good))
        with contextlib.closing(cp):
            cp.connect()
            reader: Any = cp._connection
            boot = {"reason": "PowerUp", "chargingStation": BOOTS["2.0.1"]["chargingStation"] | {"serialNumber": "SN2"}}
            failure = cp.submit_request("BootNotification", boot).exception(DEADLINE)
            assert "the connection ended" in str(failure)
            assert cp.wait_closed(DEADLINE)
            assert reader.close_code == 1008
            boot["chargingStation"]["serialNumber"] = "SN1"
            cp.connect()
            assert cp.send_request("BootNotification", boot)["status"] == "Accepted"
        assert seen.wait() == [boot], "the handler never saw the other"


# Changes.


def password_change(version: str) -> tuple[Any, Any, bytes]:
    """Return the request that changes the password, and the bytes that it stands for."""
    if version == "1.6":
        return "ChangeConfiguration", {"key": "AuthorizationKey", "value": NEW}, bytes.fromhex(NEW)
    variable = {"component": {"name": "SecurityCtrlr"}, "variable": {"name": "BasicAuthPassword"}}
    return "SetVariables", {"setVariableData": [variable | {"attributeValue": NEW}]}, NEW.encode()


def answering(cp: ChargePoint, action: Any, status: str) -> None:
    """Have a charge point answer a change of its password."""

    def answer(payload: Any, metadata: Any) -> Any:
        if "setVariableData" not in payload:
            return {"status": status}
        (item,) = payload["setVariableData"]
        kept = {name: item[name] for name in ("component", "variable")}
        return {"setVariableResult": [kept | {"attributeStatus": status}]}

    cp.on(action)(answer)


@by_version
def test_tc_a_09_csms_password_change_accepted(version: str) -> None:
    action, payload, new = password_change(version)
    with csms() as cs:
        cp = station(cs, version, password=KEY)
        answering(cp, action, "Accepted")
        with contextlib.closing(cp):
            assert boots(cp, version)
            cs.send_request("CP1", action, payload)
            assert refused(station(cs, version, password=KEY)) == 401
            cp.disconnect()
            cp.set_credentials(password=new)
            assert boots(cp, version)


@by_version
def test_tc_a_10_csms_password_change_rejected(version: str) -> None:
    action, payload, new = password_change(version)
    with csms() as cs:
        cp = station(cs, version, password=KEY)
        answering(cp, action, "Rejected")
        with contextlib.closing(cp):
            assert boots(cp, version)
            cs.send_request("CP1", action, payload)
            assert refused(station(cs, version, password=new)) == 401
            cp.disconnect()
            assert boots(cp, version)


class Renewal:
    """A charge point and a central system that renew the charge point's certificate."""

    def __init__(self, cs: CentralSystem, cp: ChargePoint, authority: Authority, directory: Path, status: str) -> None:
        self.files = Certificate(directory / "renewed.pem", directory / "renewed.key")
        self.done = Recorder()
        self._cs, self._authority, self._status = cs, authority, status
        cs.on("SignCertificate", version="2.0.1")(lambda payload, metadata: {"status": "Accepted"})
        cs.after("SignCertificate", version="2.0.1")(self._sign)
        cp.on("TriggerMessage", version="2.0.1")(lambda payload, metadata: {"status": "Accepted"})
        cp.after("TriggerMessage", version="2.0.1")(lambda payload, metadata: self._ask(cp))
        cp.on("CertificateSigned", version="2.0.1")(self._take)

    def begin(self) -> None:
        wanted: Any = {"requestedMessage": "SignChargingStationCertificate"}
        self._cs.send_request("CP1", "TriggerMessage", wanted, version="2.0.1")

    def _ask(self, cp: ChargePoint) -> None:
        request = signing_request("SN1", "Acme", self.files.key)
        cp.send_request("SignCertificate", {"csr": request}, version="2.0.1")

    def _sign(self, payload: Any, metadata: Any) -> None:
        chain = {"certificateChain": self._authority.sign(payload["csr"])}
        self.done(self._cs.send_request("CP1", "CertificateSigned", chain, version="2.0.1")["status"])

    def _take(self, payload: Any, metadata: Any) -> Any:
        self.files.certificate.write_text(payload["certificateChain"])
        return {"status": self._status}


def test_tc_a_11_csms_certificate_renewal(
    authority: Authority, tls: ServerTLS, good: Certificate, tmp_path: Path
) -> None:
    with csms(ssl_context=tls) as cs:
        cp = station(cs, tls=client_context(authority.certificate, certificate=good))
        renewal = Renewal(cs, cp, authority, tmp_path, "Accepted")
        with contextlib.closing(cp):
            assert boots(cp)
            cs.send_request(
                "CP1", "TriggerMessage", {"requestedMessage": "SignChargingStationCertificate"}, version="2.0.1"
            )
            assert renewal.done.wait() == ["Accepted"]
            cp.disconnect()
            cp.set_credentials(ssl_context=client_context(authority.certificate, certificate=renewal.files))
            assert boots(cp)


def test_tc_a_14_csms_the_station_refuses_the_certificate(
    authority: Authority, tls: ServerTLS, good: Certificate, tmp_path: Path
) -> None:
    with csms(ssl_context=tls) as cs:
        cs.on("SecurityEventNotification", version="2.0.1")(lambda payload, metadata: {})
        events = connected(cs)
        cp = station(cs, tls=client_context(authority.certificate, certificate=good))
        renewal = Renewal(cs, cp, authority, tmp_path, "Rejected")
        with contextlib.closing(cp):
            assert boots(cp)
            cs.send_request(
                "CP1", "TriggerMessage", {"requestedMessage": "SignChargingStationCertificate"}, version="2.0.1"
            )
            assert renewal.done.wait() == ["Rejected"]
            event = {"type": "InvalidChargingStationCertificate", "timestamp": "2024-01-01T00:00:00Z"}
            assert cp.send_request("SecurityEventNotification", event, version="2.0.1") == {}
            assert boots(cp)
            assert events.wait() == [("CP1", "connected")], "it is the same session"


@by_version
@pytest.mark.parametrize("start", [1, 2])
def test_tc_a_19_csms_raised_profile_is_never_lowered(
    authority: Authority, tls: ServerTLS, good: Certificate, version: str, start: int
) -> None:
    security = profiles()
    with csms(security) as plain, csms(security, ssl_context=tls) as secure:

        def with_profile(profile: int) -> ChargePoint:
            if profile == 1:
                return station(plain, version, password=KEY)
            own = client_context(authority.certificate, certificate=good if profile == 3 else None)
            return station(secure, version, own, password=None if profile == 3 else KEY)

        for profile in range(start, 4):
            get_in(with_profile(profile), version)
            for lower in range(1, profile):
                assert refused(with_profile(lower)) == 401
