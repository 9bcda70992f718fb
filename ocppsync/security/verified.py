"""Remembers verified passwords, so that a reconnect costs no slow hash."""

from __future__ import annotations

import hashlib
import hmac
import os
import threading
from collections import OrderedDict
from collections.abc import Sequence

__all__ = ["VerifiedPasswords"]

_NONE = ("", b"")
"""In place of the hash and the digest of an identity that is not known."""


class VerifiedPasswords:
    """The last verified password of each identity, as a digest with a key that only this object knows.

    It forgets nothing by time: a digest counts only as long as the hash that the password was verified against is
    stored. An attacker who reads the memory of this process can try passwords against the digests, which takes far less
    time than against the stored hashes.

    Args:
        size: how many identities are remembered; of more, those used longest ago are forgotten. 0: none.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._key = os.urandom(hashlib.blake2b.MAX_KEY_SIZE)
        self._lock = threading.Lock()  # guards the next field
        # The hash and the digest of each identity, used longest ago first.
        self._digests: OrderedDict[str, tuple[str, bytes]] = OrderedDict()

    def __repr__(self) -> str:
        return f"<VerifiedPasswords identities={len(self._digests)}>"

    def find(self, charge_point_id: str, candidates: Sequence[bytes]) -> str | None:
        """Return the hash that one of these passwords was verified against, or None; compares in constant time."""
        with self._lock:
            hashed, expected = self._digests.get(charge_point_id, _NONE)
            if expected:
                self._digests.move_to_end(charge_point_id)
        # The same work for an unknown identity, and for a wrong password.
        found = [hmac.compare_digest(self._digest(charge_point_id, one, hashed), expected) for one in candidates]
        return hashed if any(found) else None

    def add(self, charge_point_id: str, password: bytes, hashed: str) -> None:
        """Remember that a password matched a hash."""
        digest = self._digest(charge_point_id, password, hashed)
        with self._lock:
            self._digests[charge_point_id] = hashed, digest
            self._digests.move_to_end(charge_point_id)
            while len(self._digests) > self._size:
                self._digests.popitem(last=False)

    def keep(self, charge_point_id: str, hashes: Sequence[str]) -> None:
        """Forget the password of an identity unless its hash is one of these."""
        with self._lock:
            hashed, _ = self._digests.get(charge_point_id, _NONE)
            if hashed not in hashes:
                self._digests.pop(charge_point_id, None)

    def _digest(self, charge_point_id: str, password: bytes, hashed: str) -> bytes:
        # With their lengths: no other parts give the same bytes.
        digest = hashlib.blake2b(key=self._key, digest_size=32)
        for part in (charge_point_id.encode("utf-8", "surrogatepass"), hashed.encode(), password):
            digest.update(len(part).to_bytes(8, "big") + part)
        return digest.digest()
