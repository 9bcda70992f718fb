"""The cases of block A for a CSMS, OCPP 2.0.1 Part 6 §3.2: passwords, TLS, certificates and security profiles.

They are of 2.0.1; where 1.6 and 2.1 have the like, they are tested too. The charge point is a `ChargePoint` where it
does what it should, and bare sockets where it does not.
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
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from support import DEADLINE, Recorder, basic, connected, serving
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
    utc_now,
)
from ocppsync.answers import CentralSystemAnswers

VERSIONS = ("1.6", "2.0.1", "2.1")
KEY = bytes.fromhex("0001020304050607ffffffffffffffffffffffff")
NEW = "101112131415161718191a1b1c1d1e1f"
BOOTS: dict[str, Any] = {
    "1.6": {"chargePointVendor": "Acme", "chargePointModel": "One"},
    "2.0.1": {"reason": "PowerUp", "chargingStation": {"vendorName": "Acme", "model": "One"}},
}
BOOTS["2.1"] = BOOTS["2.0.1"]
STATUS_16 = {"connectorId": 1, "errorCode": "NoError", "status": "Available"}
STATUS_2X = {"timestamp": "2026-01-01T00:00:00Z", "connectorStatus": "Available", "evseId": 1, "connectorId": 1}
quick = functools.partial(hash_password, n=2)
by_version = pytest.mark.parametrize("version", VERSIONS)


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
    with serving(CentralSystemAnswers(), security=security or profiles(), **options) as cs:
        yield cs


def station(
    cs: CentralSystem, version: str = "2.0.1", tls: ssl.SSLContext | None = None, **options: Any
) -> ChargePoint:
    url = f"{'ws' if tls is None else 'wss'}://localhost:{cs.port}"
    return ChargePoint("CP1", url=url, ssl_context=tls, protocols=[f"ocpp{version}"], **options)


def boots(cp: ChargePoint, version: str = "2.0.1") -> bool:
    """Connect, if it is not, boot and report a connector; return whether the boot was accepted."""
    if not cp.connected:
        cp.connect()
    answer: Any = cp.send_request("BootNotification", BOOTS[version])
    status: Any = STATUS_16 if version == "1.6" else STATUS_2X
    assert cp.send_request("StatusNotification", status) == {}
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
        shown = x509.load_der_x509_certificate(peer.sock.getpeercert(binary_form=True) or b"")
        assert shown.subject.rfc4514_string() == "CN=localhost"
        assert shown.serial_number > 0
        key: Any = shown.public_key()
        assert key.key_size >= (2048 if isinstance(key, rsa.RSAPublicKey) else 224)
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
    """A charging station and a central system that renew a certificate of the station."""

    def __init__(
        self,
        cs: CentralSystem,
        cp: ChargePoint,
        authority: Authority,
        directory: Path,
        status: str = "Accepted",
        kind: str | None = "ChargingStationCertificate",
    ) -> None:
        self.files = Certificate(directory / "renewed.pem", directory / "renewed.key")
        self.seen = Recorder()
        self._cs, self._authority, self._status = cs, authority, status
        self._type = {} if kind is None else {"certificateType": kind}
        cs.on("SignCertificate", version="2.0.1")(self._on_request)
        cs.after("SignCertificate", version="2.0.1")(self._sign)
        cp.on("TriggerMessage", version="2.0.1")(self._on_trigger)
        cp.after("TriggerMessage", version="2.0.1")(lambda payload, metadata: self._ask(cp))
        cp.on("CertificateSigned", version="2.0.1")(self._take)

    def run(self, message: str = "SignChargingStationCertificate") -> None:
        """Trigger the renewal, and check its messages in their order."""
        wanted: Any = {"requestedMessage": message}
        assert self._cs.send_request("CP1", "TriggerMessage", wanted, version="2.0.1") == {"status": "Accepted"}
        self.seen.wait(5)
        assert [action for action, _ in self.seen.items] == [
            "TriggerMessage",
            "SignCertificate",
            "answer to SignCertificate",
            "CertificateSigned",
            "answer to CertificateSigned",
        ]
        seen = dict(self.seen.items)
        assert seen["TriggerMessage"] == wanted
        assert seen["answer to SignCertificate"] == {"status": "Accepted"}
        assert seen["answer to CertificateSigned"] == {"status": self._status}
        signed = seen["CertificateSigned"]
        assert {name: signed[name] for name in signed if name != "certificateChain"} == self._type
        request = x509.load_pem_x509_csr(seen["SignCertificate"]["csr"].encode())
        certificate = x509.load_pem_x509_certificate(signed["certificateChain"].encode())
        assert certificate.public_key() == request.public_key()
        assert certificate.subject == request.subject

    def _on_trigger(self, payload: Any, metadata: Any) -> Any:
        self.seen(("TriggerMessage", payload))
        return {"status": "Accepted"}

    def _ask(self, cp: ChargePoint) -> None:
        request: Any = {"csr": signing_request("SN1", "Acme", self.files.key), **self._type}
        answer = cp.send_request("SignCertificate", request, version="2.0.1")
        self.seen(("answer to SignCertificate", answer))

    def _on_request(self, payload: Any, metadata: Any) -> Any:
        self.seen(("SignCertificate", payload))
        return {"status": "Accepted"}

    def _sign(self, payload: Any, metadata: Any) -> None:
        # The station has the answer to its request before this.
        self.seen.wait_until(lambda items: any(action == "answer to SignCertificate" for action, _ in items))
        chain: Any = {"certificateChain": self._authority.sign(payload["csr"]), **self._type}
        answer = self._cs.send_request("CP1", "CertificateSigned", chain, version="2.0.1")
        self.seen(("answer to CertificateSigned", answer))

    def _take(self, payload: Any, metadata: Any) -> Any:
        self.seen(("CertificateSigned", payload))
        self.files.certificate.write_text(payload["certificateChain"])
        return {"status": self._status}


def test_tc_a_11_csms_renewal_of_the_station_certificate(
    authority: Authority, tls: ServerTLS, good: Certificate, tmp_path: Path
) -> None:
    with csms(ssl_context=tls) as cs:
        cp = station(cs, tls=client_context(authority.certificate, certificate=good))
        renewal = Renewal(cs, cp, authority, tmp_path)
        with contextlib.closing(cp):
            assert boots(cp)
            renewal.run()
            cp.disconnect()
            cp.set_credentials(ssl_context=client_context(authority.certificate, certificate=renewal.files))
            assert boots(cp)
            assert cs.charge_points == ["CP1"]


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        pytest.param("SignV2GCertificate", "V2GCertificate", id="TC_A_12_CSMS"),
        pytest.param("SignCombinedCertificate", None, id="TC_A_13_CSMS"),
    ],
)
def test_renewal_of_a_certificate_for_vehicles(
    authority: Authority, tls: ServerTLS, good: Certificate, tmp_path: Path, message: str, kind: str | None
) -> None:
    """A combined certificate has no type of its own."""
    v2g = Authority(tmp_path, name="V2G")
    with csms(ssl_context=tls) as cs:
        cp = station(cs, tls=client_context(authority.certificate, certificate=good))
        renewal = Renewal(cs, cp, v2g, tmp_path, kind=kind)
        with contextlib.closing(cp):
            assert boots(cp)
            renewal.run(message)
            assert boots(cp)


def test_tc_a_14_csms_the_station_refuses_the_certificate(
    authority: Authority, tls: ServerTLS, good: Certificate, tmp_path: Path
) -> None:
    with csms(ssl_context=tls) as cs:
        events = connected(cs)
        cp = station(cs, tls=client_context(authority.certificate, certificate=good))
        renewal = Renewal(cs, cp, authority, tmp_path, "Rejected")
        with contextlib.closing(cp):
            assert boots(cp)
            renewal.run()
            event: Any = {"type": "InvalidChargingStationCertificate", "timestamp": utc_now()}
            assert cp.send_request("SecurityEventNotification", event, version="2.0.1") == {}
            assert boots(cp)
            assert events.wait() == [("CP1", "connected")], "it is the same session"


# Security profiles.


def raise_profile(cs: CentralSystem, cp: ChargePoint, profile: int) -> None:
    """Set a network profile with a higher security profile, make it the first, and reset the station."""
    received = Recorder()
    cp.on("SetNetworkProfile")(lambda payload, metadata: received(payload) or {"status": "Accepted"})
    answering(cp, "SetVariables", "Accepted")
    cp.on("Reset")(lambda payload, metadata: received(payload) or {"status": "Accepted"})
    data: Any = {
        "messageTimeout": 30,
        "ocppCsmsUrl": "wss://localhost",
        "ocppInterface": "Wired0",
        "ocppTransport": "JSON",
        "ocppVersion": "OCPP20",
        "securityProfile": profile,
    }
    slot: Any = {"configurationSlot": 2, "connectionData": data}
    assert cs.send_request("CP1", "SetNetworkProfile", slot) == {"status": "Accepted"}
    variable: Any = {"component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "NetworkConfigurationPriority"}}
    priority: Any = {"setVariableData": [variable | {"attributeValue": "2,1"}]}
    answer: Any = cs.send_request("CP1", "SetVariables", priority)
    assert answer == {"setVariableResult": [variable | {"attributeStatus": "Accepted"}]}
    reset: Any = {"type": "Immediate"}
    assert cs.send_request("CP1", "Reset", reset) == {"status": "Accepted"}
    assert received.items == [slot, reset]


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
            if profile < 3 and version != "1.6":
                cp = with_profile(profile)
                with contextlib.closing(cp):
                    assert boots(cp, version)
                    raise_profile(secure if profile > 1 else plain, cp, profile + 1)
        get_in(with_profile(3), version)
