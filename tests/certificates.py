"""A certification authority in a directory, and certificates from it, RSA or elliptic."""

from __future__ import annotations

import base64
import datetime
import functools
import ipaddress
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID

Kind = Literal["rsa", "ec"]
_PEM = serialization.Encoding.PEM
_Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def signing_request(name: str, organization: str, key: Path) -> str:
    """Make a key in a file, and return the request for its certificate, as PEM."""
    private = _new_key("ec")
    key.write_bytes(private.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    request = x509.CertificateSigningRequestBuilder().subject_name(_name(name, organization))
    return request.sign(private, hashes.SHA256()).public_bytes(_PEM).decode()


def sign(key: Path, content: bytes) -> str:
    """Return the signature of a file by RSA-PSS with SHA-256, in base64."""
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    assert isinstance(private, rsa.RSAPrivateKey)
    scheme = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.MAX_LENGTH)
    return base64.b64encode(private.sign(content, scheme, hashes.SHA256())).decode()


class Certificate(NamedTuple):
    """Two PEM files."""

    certificate: Path
    key: Path


class Authority:
    """A certification authority whose files lie in ``directory``."""

    def __init__(self, directory: Path, kind: Kind = "ec", name: str = "Test CA") -> None:
        self._directory = directory
        self._kind = kind
        self._name = _name(name)
        self._key = _new_key(kind)
        self.certificate = directory / f"{name}.pem"
        authority = _builder(self._name, self._name, self._key.public_key(), self._key).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        self.certificate.write_bytes(authority.sign(self._key, hashes.SHA256()).public_bytes(_PEM))

    def issue(
        self,
        name: str = "localhost",
        hosts: Sequence[str] = ("localhost", "127.0.0.1"),
        *,
        kind: Kind | None = None,
        file: str | None = None,
        days: tuple[int, int] = (-1, 1),
        organization: str | None = None,
        key_size: int = 2048,
    ) -> Certificate:
        """Issue a certificate.

        Args:
            name: the common name.
            hosts: that it proves; for a client's, there need be none.
            kind: of its key; the authority's own by default.
            file: what its files are called, if not like the common name.
            days: from when until when it is good, counted from now.
            organization: whose it is.
            key_size: of an RSA key.
        """
        key = _new_key(kind or self._kind, key_size)
        builder = _builder(_name(name, organization), self._name, key.public_key(), self._key, days)
        if hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName(list(map(_host, hosts))), critical=False)
        stem = file or name
        files = Certificate(self._directory / f"{stem}.pem", self._directory / f"{stem}.key")
        files.certificate.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(_PEM))
        files.key.write_bytes(key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        return files

    def sign(self, request: str) -> str:
        """Return the certificate for a signing request, both as PEM."""
        asked = x509.load_pem_x509_csr(request.encode())
        builder = _builder(asked.subject, self._name, asked.public_key(), self._key)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(_PEM).decode()

    @functools.cached_property
    def _for_this_machine(self) -> Certificate:
        return self.issue()

    def server_context(self, *, client_certificates: bool = False) -> ssl.SSLContext:
        """Return a server's context, with a certificate for this machine; it may ask for ones of this authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self._for_this_machine)
        if client_certificates:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.certificate)
        return context

    def client_context(self, certificate: Certificate | None = None) -> ssl.SSLContext:
        """Return a context that trusts this authority alone, and shows ``certificate``."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        if certificate is not None:
            context.load_cert_chain(*certificate)
        return context


def _new_key(kind: Kind, size: int = 2048) -> _Key:
    if kind == "ec":
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=size)


def _name(common_name: str, organization: str | None = None) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organization is not None:
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(attributes)


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _builder(
    subject: x509.Name, issuer: x509.Name, public: Any, issuer_key: _Key, days: tuple[int, int] = (-1, 1)
) -> x509.CertificateBuilder:
    # With the extensions that Python 3.13 insists on (RFC 5280).
    now = datetime.datetime.now(datetime.timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=days[0]))
        .not_valid_after(now + datetime.timedelta(days=days[1]))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .add_extension(_key_usage(signs_certificates=subject == issuer), critical=True)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=not signs_certificates,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
