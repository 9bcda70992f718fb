"""The TLS contexts over real connections: versions, suites, both kinds of key, renewal, and bad files."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from certificates import Authority, Certificate
from support import connected, serving
from wire import dial

from ocppsync import ChargePoint, HandshakeError, ServerTLS, client_context, server_context


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def both(authority: Authority) -> list[Certificate]:
    """Certificates of this machine, with keys of both kinds."""
    return [authority.issue(kind="rsa", file="rsa"), authority.issue(kind="ec", file="ec")]


@pytest.fixture(scope="module")
def port(both: list[Certificate]) -> Iterator[int | None]:
    """A central system with both."""
    with serving(ssl_context=server_context(both)) as cs:
        yield cs.port


def trusting(authority: Authority, **options: Any) -> ssl.SSLContext:
    return client_context(authority.certificate, **options)


def limited(authority: Authority, suite: str) -> ssl.SSLContext:
    """A context that offers TLS 1.2 with one cipher suite."""
    context = trusting(authority)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(suite)
    return context


def kind_of(certificate: bytes) -> Literal["rsa", "ec"]:
    return "rsa" if bytes.fromhex("06092a864886f70d010101") in certificate else "ec"


def shown(sock: Any) -> tuple[str, str, str]:
    """Return the version, the suite and the kind of key of a TLS connection."""
    return sock.version(), sock.cipher()[0], kind_of(sock.getpeercert(binary_form=True))


# What is agreed on.


@pytest.mark.parametrize(
    ("suite", "kind"),
    [
        ("ECDHE-ECDSA-AES128-GCM-SHA256", "ec"),
        ("ECDHE-ECDSA-AES256-GCM-SHA384", "ec"),
        ("ECDHE-RSA-AES128-GCM-SHA256", "rsa"),
        ("ECDHE-RSA-AES256-GCM-SHA384", "rsa"),
        ("AES128-GCM-SHA256", "rsa"),
        ("AES256-GCM-SHA384", "rsa"),
    ],
)
def test_each_suite_gets_the_certificate_of_its_kind(authority: Authority, port: int, suite: str, kind: str) -> None:
    with dial(port, ssl_context=limited(authority, suite)) as peer:
        assert shown(peer.sock) == ("TLSv1.2", suite, kind)
        peer.upgrade()


@pytest.mark.parametrize("suite", ["AES128-SHA", "ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"])
def test_no_other_suite_is_agreed_on(authority: Authority, port: int, suite: str) -> None:
    with pytest.raises(ssl.SSLError, match="HANDSHAKE_FAILURE"):
        dial(port, ssl_context=limited(authority, suite))


def test_tls_1_3_comes_on_top(authority: Authority, port: int) -> None:
    with dial(port, ssl_context=trusting(authority)) as peer:
        assert shown(peer.sock)[0] == "TLSv1.3"


def test_nothing_is_compressed_and_renegotiated(both: list[Certificate], authority: Authority) -> None:
    for context in (server_context(both), trusting(authority)):
        assert context.options & ssl.OP_NO_COMPRESSION
        assert context.options & ssl.OP_NO_RENEGOTIATION
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_a_client_checks_the_certificate_and_the_name(authority: Authority) -> None:
    context = trusting(authority)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_a_client_trusts_what_the_system_trusts() -> None:
    assert client_context().cert_store_stats() == ssl.create_default_context().cert_store_stats()


# Client certificates.


@pytest.mark.parametrize("wanted", ["required", "optional"])
def test_client_certificates(authority: Authority, both: list[Certificate], wanted: Any) -> None:
    server = server_context(both, client_ca=authority.certificate, client_certificates=wanted)
    ours = authority.issue("SN1", hosts=[])
    with serving(ssl_context=server) as cs:
        with dial(cs.port, ssl_context=trusting(authority, certificate=ours)) as peer:
            peer.upgrade()
        with dial(cs.port, ssl_context=trusting(authority)) as peer:
            if wanted == "optional":
                peer.upgrade()
            else:
                with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
                    peer.upgrade()


def test_every_connection_shows_its_certificate(authority: Authority, both: list[Certificate]) -> None:
    client = trusting(authority, certificate=authority.issue("SN1", hosts=[]))
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    with serving(ssl_context=server_context(both, client_ca=authority.certificate)) as cs:
        with dial(cs.port, ssl_context=client) as peer:
            peer.upgrade()
            assert isinstance(peer.sock, ssl.SSLSocket)
            session = peer.sock.session
        assert session is None or not session.has_ticket


@pytest.mark.parametrize(("wanted", "tickets"), [(None, 1), ("optional", 0), ("required", 0)])
def test_session_tickets(authority: Authority, both: list[Certificate], wanted: Any, tickets: int) -> None:
    options = {} if wanted is None else {"client_ca": authority.certificate, "client_certificates": wanted}
    server = server_context(both, **options)
    assert server.num_tickets == tickets
    client = trusting(authority, certificate=authority.issue("SN1", hosts=[]))
    with serving(ssl_context=server) as cs, dial(cs.port, ssl_context=client) as peer:
        peer.upgrade()
        assert isinstance(peer.sock, ssl.SSLSocket)
        session = peer.sock.session
        assert bool(session is not None and session.has_ticket) is bool(tickets)


# Renewal.


def test_renewed_certificates_are_those_of_new_connections(tmp_path: Path) -> None:
    old, new = Authority(tmp_path, name="old"), Authority(tmp_path, name="new")
    files = old.issue(file="server")
    tls = ServerTLS([files])
    with serving(ssl_context=tls) as cs, dial(cs.port, ssl_context=trusting(old)) as stays:
        events = connected(cs)
        stays.upgrade("/stays")
        assert new.issue(file="server") == files
        with dial(cs.port, ssl_context=trusting(old)) as peer:
            peer.upgrade("/before")
        tls.reload()
        with dial(cs.port, ssl_context=trusting(new)) as peer:
            peer.upgrade("/after")
        with pytest.raises(ssl.SSLCertVerificationError):
            dial(cs.port, ssl_context=trusting(old))
        stays.send_text('[2,"1","Heartbeat",{}]')
        assert stays.read_text().startswith('[4,"1",')
        assert ("stays", "disconnected") not in events.items


def test_what_cannot_be_read_again_leaves_what_was(authority: Authority, tmp_path: Path) -> None:
    files = Authority(tmp_path, name="mine").issue(file="server")
    tls = ServerTLS([files])
    before = tls.context
    files.key.write_text("nonsense")
    with pytest.raises(ValueError, match=r"server\.pem with the key .*server\.key"):
        tls.reload()
    assert tls.context is before


# Files that are not right.


def test_a_missing_file_is_named(authority: Authority, both: list[Certificate], tmp_path: Path) -> None:
    missing = tmp_path / "missing.pem"
    certificate, key = both[0]
    for make in (
        lambda: server_context([(missing, key)]),
        lambda: server_context([(certificate, missing)]),
        lambda: server_context(both, client_ca=missing),
        lambda: client_context(missing),
    ):
        with pytest.raises(FileNotFoundError, match=r"missing\.pem"):
            make()


def test_an_invalid_file_is_named_with_the_reason(
    authority: Authority, both: list[Certificate], tmp_path: Path
) -> None:
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    (rsa, rsa_key), (ec, _) = both
    other = authority.issue("other", kind="rsa")
    short = authority.issue("short", kind="rsa", key_size=1024)
    for files, text in (
        ([], "a server needs at least one"),
        ([(nonsense, rsa_key)], r"cannot load .*nonsense\.pem with the key .*rsa\.key: not PEM files"),
        ([(rsa, nonsense)], r"cannot load .*rsa\.pem with the key .*nonsense\.pem: not PEM files"),
        ([(rsa, other.key)], "the key belongs to another certificate"),
        ([short], "the key is too short"),
        ([both[0], other], r"at most one certificate for each type of key, not \['RSA', 'RSA'\]"),
    ):
        with pytest.raises(ValueError, match=text):
            server_context(files)
    for make in (lambda: client_context(nonsense), lambda: server_context(both, client_ca=nonsense)):
        with pytest.raises(ValueError, match=r"nonsense\.pem is not a PEM file with certificates"):
            make()
    with pytest.raises(ValueError, match=r"ec\.pem with the key .*rsa\.key"):
        client_context(authority.certificate, certificate=(ec, rsa_key))


@pytest.mark.parametrize("certificates", [("own.pem", "own.key"), "own.pem", [("own.pem",)], [Path("own.pem")]])
def test_certificates_are_pairs_of_files(certificates: Any) -> None:
    for make in (server_context, ServerTLS):
        with pytest.raises(ValueError, match=r"a certificate is a pair of files such as \('own.pem', 'own.key'\)"):
            make(certificates)
    with pytest.raises(ValueError, match="a pair of files"):
        client_context(certificate=certificates[0])


def test_an_encrypted_key(authority: Authority, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization

    files = authority.issue("encrypted")
    key = serialization.load_pem_private_key(files.key.read_bytes(), None)
    files.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    server_context([files], key_password="secret")
    for password in (None, "wrong"):
        with pytest.raises(ValueError, match="the password of the key is wrong"):
            server_context([files], key_password=password)


# A charge point and a server that it must not trust.


@pytest.mark.parametrize(
    ("issued", "text"),
    [
        ({"days": (-2, -1)}, "the server's certificate was refused: certificate has expired"),
        ({"days": (1, 2)}, "the server's certificate was refused: certificate is not yet valid"),
        ({"hosts": ["elsewhere"]}, "the server's certificate was refused: Hostname mismatch"),
        ({"name": "elsewhere", "hosts": []}, "the server's certificate was refused: Hostname mismatch"),
    ],
)
def test_the_check_that_a_server_fails_is_named(authority: Authority, issued: Any, text: str) -> None:
    server = server_context([authority.issue(**issued, file="bad")])
    with serving(ssl_context=server) as cs:
        cp = ChargePoint("CP1", url=f"wss://localhost:{cs.port}", ssl_context=trusting(authority))
        with pytest.raises(HandshakeError, match=text):
            cp.connect()
        cp.close()


def test_a_server_of_an_unknown_authority(authority: Authority, both: list[Certificate], tmp_path: Path) -> None:
    with serving(ssl_context=server_context(both)) as cs:
        cp = ChargePoint("CP1", url=f"wss://localhost:{cs.port}", ssl_context=trusting(Authority(tmp_path)))
        with pytest.raises(HandshakeError, match="the server's certificate was refused: unable to get local issuer"):
            cp.connect()
        cp.set_credentials(ssl_context=trusting(authority))
        with cp:
            assert cp.connected


@pytest.mark.parametrize(
    ("issued", "matches"),
    [
        ({"hosts": ["*.ocpp.localhost"]}, False),
        ({"name": "*.ocpp.localhost", "hosts": []}, False),
        ({"name": "cs.ocpp.localhost", "hosts": ["*.ocpp.localhost"]}, False),
        ({"hosts": ["*.ocpp.localhost", "CS.ocpp.localhost"]}, True),
        ({"name": "cs.ocpp.localhost", "hosts": []}, True),
    ],
)
def test_a_wildcard_does_not_match(
    authority: Authority, issued: Any, matches: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest: resolve("127.0.0.1", *rest))
    with serving(ssl_context=server_context([authority.issue(**issued, file="wild")])) as cs:
        url = f"wss://cs.ocpp.localhost:{cs.port}"
        cp = ChargePoint("CP1", url=url, ssl_context=trusting(authority))
        if not matches:
            wanted = "the server's certificate was refused: it matches cs.ocpp.localhost only by a wildcard"
            with pytest.raises(HandshakeError, match=wanted):
                cp.connect()
            cp.set_credentials(ssl_context=trusting(authority, wildcards=True))
        with cp:
            assert cp.connected


def test_addresses_are_not_names_and_names_may_be_unchecked(authority: Authority, both: list[Certificate]) -> None:
    unchecked = trusting(authority)
    unchecked.check_hostname = False
    with (
        serving(ssl_context=server_context(both)) as cs,
        ChargePoint("CP1", url=f"wss://127.0.0.1:{cs.port}", ssl_context=trusting(authority)) as cp,
    ):
        assert cp.connected
    with (
        serving(ssl_context=server_context([authority.issue(hosts=["elsewhere"], file="other")])) as cs,
        ChargePoint("CP1", url=f"wss://localhost:{cs.port}", ssl_context=unchecked) as cp,
    ):
        assert cp.connected


def test_a_server_is_known_by_its_common_name(authority: Authority) -> None:
    server = server_context([authority.issue(hosts=[], file="named")])
    with (
        serving(ssl_context=server) as cs,
        ChargePoint("CP1", url=f"wss://localhost:{cs.port}", ssl_context=trusting(authority)) as cp,
    ):
        assert cp.connected
