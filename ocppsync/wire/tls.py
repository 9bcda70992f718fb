"""TLS as OCPP asks for it: 1.2 or above, four cipher suites, two certificates, no compression (W16 and 2/201 A00).

TLS 1.2 offers ECDHE_ECDSA and RSA with AES GCM, which the specification names (A00.FR.317 and .421 in W16, .318 and
.421 in 2.x), and between them ECDHE_RSA, which has the forward secrecy that RSA lacks. TLS 1.3 comes with suites of its
own. Keys have 112 bits of strength at least: RSA with 2048 bits, EC with 224 (A00.FR.503).
"""

from __future__ import annotations

import logging
import os
import re
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from .addresses import parse_ip

__all__ = ["CertificateFiles", "ClientCertificates", "ServerTLS", "client_context", "server_context", "server_fault"]

_logger = logging.getLogger(__name__)

File = str | os.PathLike[str]
CertificateFiles = tuple[File, File]
"""The PEM files of a certificate, with those between it and the root, and of its private key."""
ClientCertificates = Literal["required", "optional"]

_SUITES = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
)
_FIRST = re.compile("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
# In a certificate the kind of its own key alone is named like this; the issuer's signature has other identifiers.
_KINDS: Mapping[str, bytes] = {
    "RSA": bytes.fromhex("06092a864886f70d010101"),
    "EC": bytes.fromhex("06072a8648ce3d0201"),
}


def server_context(
    certificates: Sequence[CertificateFiles],
    *,
    client_ca: File | None = None,
    client_certificates: ClientCertificates = "required",
    key_password: str | bytes | None = None,
) -> ssl.SSLContext:
    """Return the context of a central system; see `ServerTLS` for one whose certificates can be renewed.

    Args:
        certificates: one with an RSA key and one with an EC key, so that charge points with either pair of cipher
            suites find theirs (A00.FR.317 and .318); one of them will do where no charge point needs the other.
        client_ca: a PEM file with the certificates of those who issue the charge points'. None: client certificates are
            not asked for, as under profile 2.
        client_certificates: ``"required"``: a charge point without one does not get in (profile 3 alone).
            ``"optional"``: it does, with a password (profiles 2 and 3 on one port).
        key_password: of the private keys, where they are encrypted.

    Raises:
        OSError: a file cannot be read.
        ValueError: a file does not hold what it should; the text names it.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER)
    if not certificates:
        raise ValueError("a server needs a certificate")
    kinds = [_load_certificate(context, files, key_password) for files in certificates]
    if any(kinds.count(kind) > 1 for kind in _KINDS):
        raise ValueError(f"of two certificates with keys of one kind only the last would be used; these are {kinds}")
    if client_ca is not None:
        _load_trust(context, client_ca)
        context.verify_mode = ssl.CERT_REQUIRED if client_certificates == "required" else ssl.CERT_OPTIONAL
        # Who resumes a session shows no certificate: it might be expired by now, or its authority no longer trusted.
        context.num_tickets = 0
        context.options |= ssl.OP_NO_TICKET
    return context


def client_context(
    ca: File | None = None,
    *,
    certificate: CertificateFiles | None = None,
    key_password: str | bytes | None = None,
    wildcards: bool = False,
) -> ssl.SSLContext:
    """Return the context of a charge point, which checks the central system's certificate and name.

    A `ChargePoint` with it refuses a certificate that is for the server's name by a wildcard alone, such as
    ``*.example.com``: OCPP wants the name itself (A00.FR.510), unless AllowCSMSTLSWildcards is set (2.x).

    Args:
        ca: a PEM file with the root certificates that are trusted; None: those that the system trusts.
        certificate: the charge point's own, for profile 3.
        key_password: of its private key, where it is encrypted.
        wildcards: whether they will do all the same.

    Raises:
        OSError: a file cannot be read.
        ValueError: a file does not hold what it should; the text names it.
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT, ssl.SSLContext if wildcards else _NameContext)
    if ca is None:
        context.load_default_certs()
    else:
        _load_trust(context, ca)
    if certificate is not None:
        _load_certificate(context, certificate, key_password)
    return context


class ServerTLS:
    """The TLS of a central system whose certificates are renewed while it runs.

    It goes where an `ssl.SSLContext` goes in `CentralSystem`. After `reload`, new connections get what the files hold
    then; open ones live on with what they have.

    Args: those of `server_context`, which raises what this does.
    """

    def __init__(
        self,
        certificates: Sequence[CertificateFiles],
        *,
        client_ca: File | None = None,
        client_certificates: ClientCertificates = "required",
        key_password: str | bytes | None = None,
    ) -> None:
        files = tuple(certificates)
        self._make: Callable[[], ssl.SSLContext] = lambda: server_context(
            files, client_ca=client_ca, client_certificates=client_certificates, key_password=key_password
        )
        self._context = self._make()
        self._reloading = threading.Lock()  # so that what was read last is what stays

    @property
    def context(self) -> ssl.SSLContext:
        """What new connections get."""
        return self._context

    def reload(self) -> None:
        """Read the files again. If one of them is not right, raise as the constructor does, and keep what was."""
        # Another context, not other certificates in this one: a handshake under way must not find half of each.
        with self._reloading:
            self._context = self._make()
        _logger.info("the TLS certificates were read again")


def server_fault(error: OSError) -> str | None:
    """Return which check of a server's certificate failed, in plain words; None where it was something else."""
    if not isinstance(error, ssl.SSLCertVerificationError):
        return None
    return f"the server's certificate was refused: {error.verify_message}"


class _NameObject(ssl.SSLObject):
    """A client's end of TLS that takes the name of the server for itself alone."""

    def do_handshake(self) -> None:
        super().do_handshake()
        host = self.server_hostname
        if host is None or not self.context.check_hostname or parse_ip(host) is not None:
            return
        if _plain(host) not in map(_plain, _names(self.getpeercert() or {})):
            # OpenSSL has found the name, and so in a wildcard.
            error = ssl.SSLCertVerificationError()
            error.verify_message = f"it is for {host} by a wildcard alone"
            raise error


class _NameContext(ssl.SSLContext):
    sslobject_class = _NameObject


def _names(certificate: Mapping[str, Any]) -> list[str]:
    """Return the host names of a certificate: the common name counts where there are no others."""
    others = [value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"]
    common = (value for part in certificate.get("subject", ()) for kind, value in part if kind == "commonName")
    return others or list(common)


def _plain(host: str) -> str:
    return host.casefold().rstrip(".")


def _context(protocol: int, kind: type[ssl.SSLContext] = ssl.SSLContext) -> ssl.SSLContext:
    context = kind(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_ciphers(":".join([*_SUITES, "@SECLEVEL=2"]))
    return context


def _load_certificate(context: ssl.SSLContext, files: CertificateFiles, password: str | bytes | None) -> str:
    """Load a certificate and return the kind of its key."""
    certificate, key = files
    text = _read(certificate)
    _read(key)
    try:
        # Without a function OpenSSL would ask at the terminal.
        context.load_cert_chain(certificate, key, password=lambda: password or b"")
    except ssl.SSLError as error:
        raise ValueError(f"{certificate} with the key {key}: {_fault(error)}") from error
    first = _FIRST.search(text)
    found = ssl.PEM_cert_to_DER_cert(first[0]) if first else b""
    return next((kind for kind, mark in _KINDS.items() if mark in found), "other")


def _load_trust(context: ssl.SSLContext, file: File) -> None:
    text = _read(file)
    try:
        context.load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError) as error:
        raise ValueError(f"{file} holds no certificates in PEM: {error}") from error


def _read(file: File) -> str:
    return Path(file).read_text(encoding="utf-8", errors="replace")


def _fault(error: ssl.SSLError) -> str:
    known = {
        "KEY_VALUES_MISMATCH": "the key is that of another certificate",
        "EE_KEY_TOO_SMALL": "the key is too short",
        "CA_MD_TOO_WEAK": "it is signed with too weak a digest",
    }
    return known.get(error.reason or "", "they are no PEM, or the key's password is wrong")
