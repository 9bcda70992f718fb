"""Signatures of firmware, made with real keys."""

from __future__ import annotations

import hashlib

import pytest
from certificates import Authority, sign

from ocppsync.simulator.signatures import can_check, is_certificate_valid, is_signed

FIRMWARE = b"2.0\nfirmware"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("signatures"))


def test_the_signature_of_the_key_is_accepted(authority: Authority) -> None:
    assert can_check()
    signer, other = authority.issue("A", kind="rsa", file="a"), authority.issue("B", kind="rsa", file="b")
    pem, digest = signer.certificate.read_text(), hashlib.sha256(FIRMWARE).digest()
    assert is_certificate_valid(pem)
    assert is_signed(digest, sign(signer.key, FIRMWARE), pem)
    assert not is_signed(digest, sign(other.key, FIRMWARE), pem)
    assert not is_signed(digest, sign(signer.key, b"another file"), pem)
    assert not is_signed(digest, "not base64!", pem)
    assert not is_signed(digest, "", pem)


def test_only_valid_certificates_of_rsa_keys_are_accepted(authority: Authority) -> None:
    expired = authority.issue("C", kind="rsa", file="c", days=(-3, -1)).certificate.read_text()
    later = authority.issue("D", kind="rsa", file="d", days=(1, 3)).certificate.read_text()
    elliptic = authority.issue("E", kind="ec", file="e").certificate.read_text()
    assert [is_certificate_valid(pem) for pem in (expired, later, elliptic, "", "no PEM", "é")] == [False] * 6
