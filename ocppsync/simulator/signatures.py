"""The signature of a firmware (W16 L01; 2/201 L01), checked with the package ``cryptography`` if it is installed."""

from __future__ import annotations

import base64
import importlib.util
from datetime import datetime, timezone

__all__ = ["can_check", "is_certificate_valid", "is_signed"]


def can_check() -> bool:
    """Return whether signatures can be checked: ``cryptography`` is an optional package."""
    return importlib.util.find_spec("cryptography") is not None


def is_certificate_valid(pem: str) -> bool:
    """Return whether a text is a PEM certificate of an RSA key that is valid now.

    Neither its issuer nor a revocation is checked: a simulator has no manufacturer. Certificates with other keys are
    refused, since the specification pairs them with ECSchnorr, which ``cryptography`` lacks.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import rsa

    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
        is_rsa = isinstance(certificate.public_key(), rsa.RSAPublicKey)
    except Exception:  # cryptography raises several types for what cannot be read
        return False
    now = datetime.now(timezone.utc)
    return is_rsa and certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc


def is_signed(sha256: bytes, signature: str, pem: str) -> bool:
    """Return whether a file with a digest has that signature: RSA-PSS with SHA-256, in base64 (L01.FR.04).

    Args:
        sha256: the digest of the file.
        signature: the signature.
        pem: a certificate for which `is_certificate_valid` returns True.
    """
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding, rsa
    from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

    key = x509.load_pem_x509_certificate(pem.encode()).public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    scheme = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.AUTO)
    try:
        key.verify(base64.b64decode(signature, validate=True), sha256, scheme, Prehashed(hashes.SHA256()))
    except (InvalidSignature, ValueError):  # ValueError: not base64
        return False
    return True
