"""TLS contexts for OCPP: version 1.2 or later, few cipher suites, two certificates, no compression (W16, 2/201 A00).

For TLS 1.2, the specification names the cipher suites with ECDHE_ECDSA and RSA and AES GCM (A00.FR.317 and .421 in W16,
.318 and .421 in 2.x). ECDHE_RSA is added between them, because RSA lacks forward secrecy. TLS 1.3 has its own suites.
Keys have at least 112 bits of strength: RSA with 2048 bits, EC with 224 (A00.FR.503).
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
"""The PEM file of a certificate with its intermediate certificates, and that of its private key."""
ClientCertificates = Literal["required", "optional"]

_SUITES = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
)
_FIRST_CERTIFICATE = re.compile("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
# The object identifiers of the key types. The issuer's signature uses others, so they identify the certificate's key.
_KEY_TYPES: Mapping[str, bytes] = {
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
    """Return the context of a central system; `ServerTLS` makes one with certificates that can be renewed.

    Args:
        certificates: one with an RSA key and one with an EC key, because a charge point may support the cipher suites
            of only one (A00.FR.317 and .318). One certificate is enough if all charge points support it.
        client_ca: a PEM file with the certificates of the authorities that issue the charge points' certificates.
            None: no client certificates are requested, as in profile 2.
        client_certificates: ``"required"``: a charge point without a certificate is rejected (profile 3 only).
            ``"optional"``: it may use a password instead (profiles 2 and 3 on one port).
        key_password: the password of encrypted private keys.

    Raises:
        OSError: a file cannot be read.
        ValueError: the content of a file is invalid (the text names the file), or there is no certificate, or one is
            not given as a pair of files, or two have the same type of key.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER)
    if not certificates:
        raise ValueError("certificates is empty: a server needs at least one")
    types = [_load_certificate(context, files, key_password) for files in certificates]
    if any(types.count(kind) > 1 for kind in _KEY_TYPES):
        raise ValueError(f"expected at most one certificate for each type of key, not {types}: TLS uses only the last")
    # A charge point has one connection, so it needs one session ticket, not the two that OpenSSL makes for browsers.
    context.num_tickets = 1
    if client_ca is not None:
        _load_trust(context, client_ca)
        context.verify_mode = ssl.CERT_REQUIRED if client_certificates == "required" else ssl.CERT_OPTIONAL
        # No session tickets: a resumed session skips the check for an expired or no longer trusted certificate.
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
    """Return the context of a charge point, which checks the central system's certificate and host name.

    A `ChargePoint` with this context rejects a certificate that matches only by a wildcard such as ``*.example.com``:
    OCPP requires the exact name (A00.FR.510), unless AllowCSMSTLSWildcards is set (2.x).

    Args:
        ca: a PEM file with the trusted root certificates; None: the system trust store.
        certificate: the charge point's own certificate, for profile 3.
        key_password: the password of its private key, if encrypted.
        wildcards: whether to accept wildcard certificates.

    Raises:
        OSError: a file cannot be read.
        ValueError: the content of a file is invalid (the text names the file), or ``certificate`` is not a pair.
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT, ssl.SSLContext if wildcards else _ExactNameContext)
    if ca is None:
        context.load_default_certs()
    else:
        _load_trust(context, ca)
    if certificate is not None:
        _load_certificate(context, certificate, key_password)
    return context


class ServerTLS:
    """The TLS context of a central system, with certificates that can be renewed while it runs.

    Pass it to `CentralSystem` instead of an `ssl.SSLContext`. After `reload`, new connections use the current content
    of the files; open connections are not affected.

    The arguments and the errors raised are those of `server_context`.
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
        self._reloading = threading.Lock()  # concurrent reloads: the last one read wins

    @property
    def context(self) -> ssl.SSLContext:
        """The context for new connections."""
        return self._context

    def reload(self) -> None:
        """Read the files again; if that fails, raise as the constructor does and keep the current certificates."""
        # A new context: loading into the current one could give a running handshake a mix of old and new.
        with self._reloading:
            self._context = self._make()
        _logger.info("reloaded the TLS certificates")


def server_fault(error: OSError) -> str | None:
    """Return why the check of a server's certificate failed; None if ``error`` is another error."""
    if not isinstance(error, ssl.SSLCertVerificationError):
        return None
    return f"the server's certificate was refused: {error.verify_message}"


class _ExactNameObject(ssl.SSLObject):
    """A TLS client that accepts the server's exact host name only, not a wildcard."""

    def do_handshake(self) -> None:
        super().do_handshake()
        host = self.server_hostname
        if host is None or not self.context.check_hostname or parse_ip(host) is not None:
            return
        if _normalized(host) not in map(_normalized, _host_names(self.getpeercert() or {})):
            # OpenSSL accepted the certificate, so a wildcard matched.
            error = ssl.SSLCertVerificationError()
            error.verify_message = f"it matches {host} only by a wildcard"
            raise error


class _ExactNameContext(ssl.SSLContext):
    sslobject_class = _ExactNameObject


def _host_names(certificate: Mapping[str, Any]) -> list[str]:
    """Return the host names of a certificate: its alternative names, or else its common name."""
    alternative = [value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"]
    common = (value for part in certificate.get("subject", ()) for kind, value in part if kind == "commonName")
    return alternative or list(common)


def _normalized(host: str) -> str:
    return host.casefold().rstrip(".")


def _context(protocol: int, kind: type[ssl.SSLContext] = ssl.SSLContext) -> ssl.SSLContext:
    context = kind(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_ciphers(":".join([*_SUITES, "@SECLEVEL=2"]))
    return context


def _load_certificate(context: ssl.SSLContext, files: CertificateFiles, password: str | bytes | None) -> str:
    """Load a certificate and return the type of its key: ``"RSA"``, ``"EC"`` or ``"other"``."""
    if isinstance(files, (str, os.PathLike)) or len(files) != 2:
        # Such as one pair instead of a list of them.
        raise ValueError(f"a certificate is a pair of files such as ('own.pem', 'own.key'), not {files!r}")
    certificate, key = files
    text = _read(certificate)
    _read(key)
    try:
        # Without a password function, OpenSSL would prompt on the terminal.
        context.load_cert_chain(certificate, key, password=lambda: password or b"")
    except ssl.SSLError as error:
        raise ValueError(f"cannot load {certificate} with the key {key}: {_reason(error)}") from error
    first = _FIRST_CERTIFICATE.search(text)
    encoded = ssl.PEM_cert_to_DER_cert(first[0]) if first else b""
    return next((kind for kind, identifier in _KEY_TYPES.items() if identifier in encoded), "other")


def _load_trust(context: ssl.SSLContext, file: File) -> None:
    text = _read(file)
    try:
        context.load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError) as error:
        raise ValueError(f"{file} is not a PEM file with certificates: {error}") from error


def _read(file: File) -> str:
    return Path(file).read_text(encoding="utf-8", errors="replace")


def _reason(error: ssl.SSLError) -> str:
    reasons = {
        "KEY_VALUES_MISMATCH": "the key belongs to another certificate",
        "EE_KEY_TOO_SMALL": "the key is too short",
        "CA_MD_TOO_WEAK": "the digest of the signature is too weak",
    }
    return reasons.get(error.reason or "", "not PEM files, or the password of the key is wrong")
