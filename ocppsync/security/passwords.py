"""Passwords of HTTP Basic authentication: salted hashes, compared in constant time, changed without a lock-out.

Each identity has a tuple of valid hashes. The first one is of its current password, the others are of passwords that
were sent to the charge point and may be in use already, the oldest first. The tuple is all that decides, and the
application stores it, so a restart in the middle of a password change loses nothing:

* A charge point that connects with its current password changes nothing. It may have the new one all the same, and
  switch later: after a reboot, or although its answer was lost.
* Once a password is used, or accepted, it is the current one, and those before it are dropped. Those after it stay.
* A password of another network profile (2.1) has a mark at the end of its hash. A change of the current password does
  not replace it, wherever it stands.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
import threading
import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any, NamedTuple

from ..options import check_whole
from .hash_line import HashLine
from .verified import VerifiedPasswords

__all__ = ["Passwords", "PendingPassword", "authorization_key", "hash_password", "verify_password"]

Hashes = str | Sequence[str] | None
"""The hash of one password, the hashes of several, or None for an unknown identity."""

_HEX_KEY = re.compile(r"(?:[0-9A-Fa-f]{2}){16,20}")
_MAX_PASSWORDS = 4
"""How many passwords of one identity are valid at a time: each one costs a hash at every connection."""
_FOR_LATER = "$later"
"""The mark of the password of another network profile."""


class _Scrypt(NamedTuple):
    n: int
    r: int
    p: int
    salt: bytes
    key: bytes

    def __repr__(self) -> str:
        return f"<_Scrypt n={self.n} r={self.r} p={self.p}>"


def hash_password(password: bytes | str, *, n: int = 2**14, r: int = 8, p: int = 1) -> str:
    """Return a salted hash of a password, as text that includes its parameters: ``scrypt$16384$8$1$salt$key``.

    The first connection of each charge point costs one such hash. Random passwords of at least 16 bytes, which the
    specification requires (A00.FR.205, A01.FR.06), cannot be guessed even if the hash is cheap: use ``n=2**10`` for a
    large fleet with these.

    Args:
        password: the password; for OCPP 1.6 the decoded key (see `authorization_key`). Text is encoded as UTF-8.
        n: the cost, a power of two; computing a hash takes ``128 * n * r`` bytes of memory.
        r: the block size.
        p: the parallelization.
    """
    salt = os.urandom(16)
    return _format(n, r, p, salt, _derive(_to_bytes(password), _Scrypt(n, r, p, salt, b"")))


def verify_password(password: bytes | str, hashed: str) -> bool:
    """Return whether ``hashed`` is a hash of the password; compares in constant time.

    Raises:
        ValueError: ``hashed`` was not made by `hash_password`. The text does not include it.
    """
    expected = _parse(hashed)
    return hmac.compare_digest(_derive(_to_bytes(password), expected), expected.key)


def authorization_key(value: str) -> bytes:
    """Return the password for a value of the configuration key AuthorizationKey (1.6).

    An even number of 32 to 40 hexadecimal digits is decoded (J16 §6.2.2, W16 A00.FR.205). Any other text is the
    password itself, because some charge points use it that way.
    """
    return bytes.fromhex(value) if _HEX_KEY.fullmatch(value) else value.encode()


class Passwords:
    """The passwords of charge points, as hashes from `hash_password`, in a mapping or behind a function.

    Safe to use from any thread. The valid passwords change with `set`. With `SecurityProfiles` they also change when
    the central system sends a new password, and again when the charge point answers.

    A password that was verified is remembered until its hash is no longer stored: as a digest with a random key, in
    the memory of this process. So a charge point that comes again costs no slow hash, and is not refused for the wrong
    passwords of others. An attacker who reads that memory can guess weak passwords faster; ``remember=0`` avoids that.

    Args:
        hashes: the hashes by identity: a mapping, or a function that looks them up and may block. The value is one
            hash, several, or None for an unknown identity. If the mapping is mutable, changes are written to it.
        on_change: ``on_change(charge_point_id, hashes)`` is called to store a change. ``hashes`` is a tuple of all
            hashes that are valid from now on; if ``hashes`` of this class is a function, it must return them, in
            this order, from then on, also after a restart. The first call for a new password is on the thread that
            sends the password, before it is sent; an exception prevents that. Later calls are on the thread that reads
            the connection: they may block, but must not send requests; an exception is logged, and the previous hashes
            stay valid.
        hex_text: also accept the hexadecimal text of the key, in upper or lower case, from charge points that speak
            1.6, because some do not decode it.
        hasher: makes the hashes of new passwords; ``functools.partial(hash_password, n=...)`` sets another cost.
        remember: of how many identities the last verified password is remembered, about 500 bytes each; 0: of none.

    Raises:
        ValueError: ``remember`` is not a whole number of at least 0; or changes could not be stored: the mapping is not
            mutable, or ``hashes`` is a function, and there is no ``on_change``.
    """

    def __init__(
        self,
        hashes: Mapping[str, Any] | Callable[[str], Hashes],
        *,
        on_change: Callable[[str, tuple[str, ...]], object] | None = None,
        hex_text: bool = False,
        hasher: Callable[[bytes | str], str] = hash_password,
        remember: int = 20_000,
    ) -> None:
        if remember != 0:
            check_whole(remember=remember)
        if not isinstance(hashes, MutableMapping) and on_change is None:
            raise ValueError("on_change is required to store changes, unless hashes is a mutable mapping")
        self._hashes = hashes
        self._on_change = on_change
        self._hex_text = hex_text
        self._lock = threading.RLock()  # serialises changes, including the calls of on_change
        # Identities with the hash of a new password, and the number of requests that carry it, while all answers so far
        # refuse it.
        self._undecided: dict[tuple[str, str], int] = {}
        self._hasher = hasher
        began = time.perf_counter()
        self._cost = _parse(hasher(b""))[:3]  # n, r and p of the last hash that was checked, for dummy hashes
        self._line = HashLine(time.perf_counter() - began)
        self._verified = VerifiedPasswords(remember)

    def __repr__(self) -> str:
        return f"<Passwords hex_text={self._hex_text}>"

    def hashes(self, charge_point_id: str) -> tuple[str, ...]:
        """Return the valid hashes of an identity; an empty tuple for an unknown one."""
        source = self._hashes
        found = source.get(charge_point_id) if isinstance(source, Mapping) else source(charge_point_id)
        return (found,) if isinstance(found, str) else tuple(found or ())

    def check(
        self,
        charge_point_id: str,
        password: bytes,
        version: str | None = None,
        *,
        has_gone: Callable[[], bool] | None = None,
    ) -> str | None:
        """Return the hash that a password matches, or None; takes the same time for an unknown identity.

        Args:
            charge_point_id: the identity that sent the password.
            password: the received bytes.
            version: the OCPP version, None if not known; ``hex_text`` applies only to 1.6.
            has_gone: returns whether the peer that waits for the outcome has hung up. None: nobody waits in vain.

        Raises:
            RefusalError: 503, too many passwords wait to be checked. Only with ``has_gone``, like the next one.
            DisconnectedError: the peer has gone while it waited.
        """
        candidates = self._candidates(password, version)
        valid = self.hashes(charge_point_id)
        known = self._remembered(charge_point_id, candidates, valid)
        if known is not None:
            return known
        with self._line.turn(has_gone):
            # An earlier attempt of the same charge point may have waited in front of this one.
            known = self._remembered(charge_point_id, candidates, valid)
            matching = known or self._match(charge_point_id, candidates, valid)
        if matching is None:
            return None
        # The wait may have been long: a password that was replaced meanwhile is wrong now. But another connection with
        # it may have made it the current one.
        valid = self.hashes(charge_point_id)
        return next((hashed for hashed in (matching, matching.removesuffix(_FOR_LATER)) if hashed in valid), None)

    def remembers(self, charge_point_id: str, password: bytes, version: str | None = None) -> bool:
        """Return whether this password of the identity was verified before; costs no slow hash and no look-up.

        Its hash may have been replaced since: `check` finds out.
        """
        return self._verified.find(charge_point_id, self._candidates(password, version)) is not None

    def _candidates(self, password: bytes, version: str | None) -> list[bytes]:
        if self._hex_text and version == "1.6" and _HEX_KEY.fullmatch(text := password.decode("latin-1")):
            return [password, bytes.fromhex(text)]
        return [password]

    def _remembered(self, charge_point_id: str, candidates: Sequence[bytes], valid: tuple[str, ...]) -> str | None:
        self._verified.keep(charge_point_id, valid)
        return self._verified.find(charge_point_id, candidates)

    def _match(self, charge_point_id: str, candidates: Sequence[bytes], valid: tuple[str, ...]) -> str | None:
        matching = None
        # Constant time: check all hashes even after a match, and unknown identities against a dummy hash.
        for hashed in valid or (_format(*self._cost, os.urandom(16), os.urandom(32)),):
            self._cost = _parse(hashed)[:3]
            for candidate in candidates:
                # The first: the same password may be there again for another network profile.
                if verify_password(candidate, hashed) and matching is None:
                    matching = hashed
                    self._verified.add(charge_point_id, candidate, hashed)
        return matching

    def set(self, charge_point_id: str, password: bytes | str) -> None:
        """Accept only this password: for a new charge point, or after a change by hand."""
        hashed = self._hasher(password)
        with self._lock:
            self._store(charge_point_id, (hashed,))
            for undecided in [key for key in self._undecided if key[0] == charge_point_id]:
                del self._undecided[undecided]

    # A password change, from the request to the first use.

    def offer(self, charge_point_id: str, password: bytes | str, *, for_later: bool = False) -> PendingPassword:
        """Accept a new password as well, before it is sent to the charge point.

        Args:
            charge_point_id: the charge point.
            password: the new password.
            for_later: whether it is for another network profile than the one in use.
        """
        known = self._latest(charge_point_id, for_later)
        if known is not None and verify_password(password, known):
            with self._lock:
                # An earlier one has to come again, behind those that are sent before: they replace it.
                if self._latest(charge_point_id, for_later) == known:
                    if (charge_point_id, known) in self._undecided:
                        self._undecided[charge_point_id, known] += 1
                    return PendingPassword(self, charge_point_id, known)
        hashed = self._hasher(password) + _FOR_LATER * for_later
        with self._lock:
            current, decided, under_way = self._with_room(charge_point_id)
            self._store(charge_point_id, (*current, *decided, *under_way, hashed))
            self._undecided[charge_point_id, hashed] = 1
        return PendingPassword(self, charge_point_id, hashed)

    def confirm(self, charge_point_id: str, hashed: str) -> None:
        """Make this the current password, which the charge point uses or has accepted, and drop those it replaces."""
        current = hashed.removesuffix(_FOR_LATER)
        if self.hashes(charge_point_id)[:1] == (current,):
            return
        with self._lock:
            valid = self.hashes(charge_point_id)
            if hashed not in valid:
                return  # dropped meanwhile
            self._undecided.pop((charge_point_id, hashed), None)  # no answer counts more than its use
            index = valid.index(hashed)
            of_other_profiles = [other for other in valid[:index] if other.endswith(_FOR_LATER)]
            self._store(charge_point_id, (current, *of_other_profiles, *valid[index + 1 :]))

    def _latest(self, charge_point_id: str, for_later: bool) -> str | None:
        """Return the hash of the password that was sent last, of those for another network profile or of the others."""
        of_kind = [known for known in self.hashes(charge_point_id) if known.endswith(_FOR_LATER) == for_later]
        return of_kind[-1] if of_kind else None

    def _with_room(self, charge_point_id: str) -> tuple[tuple[str, ...], list[str], list[str]]:
        """Return the current hash, the latest of decided passwords, and those of requests under way; one more fits."""
        valid = self.hashes(charge_point_id)
        decided = [other for other in valid[1:] if (charge_point_id, other) not in self._undecided]
        under_way = [other for other in valid[1:] if (charge_point_id, other) in self._undecided]
        while len(decided) + len(under_way) > _MAX_PASSWORDS - 2:
            # Those under way first: they come back with their answers.
            del (under_way or decided)[0]
        return valid[:1], decided, under_way

    def _keep(self, charge_point_id: str, hashed: str) -> None:
        with self._lock:
            undecided = self._undecided.pop((charge_point_id, hashed), None) is not None
            known = {hashed, hashed.removesuffix(_FOR_LATER)}
            if undecided and known.isdisjoint(self.hashes(charge_point_id)):
                # Requests that wait for their turn carry so many passwords that this one had to give way.
                current, decided, under_way = self._with_room(charge_point_id)
                self._store(charge_point_id, (*current, *decided, hashed, *under_way))

    def _refuse(self, charge_point_id: str, hashed: str) -> None:
        with self._lock:
            requests = self._undecided.pop((charge_point_id, hashed), 0)
            if requests > 1:
                self._undecided[charge_point_id, hashed] = requests - 1
            valid = self.hashes(charge_point_id)
            if requests == 1 and hashed in valid:
                index = valid.index(hashed)
                self._store(charge_point_id, valid[:index] + valid[index + 1 :])

    def _store(self, charge_point_id: str, hashes: tuple[str, ...]) -> None:
        with self._lock:
            if self._on_change is not None:
                self._on_change(charge_point_id, hashes)
            if isinstance(self._hashes, MutableMapping):
                self._hashes[charge_point_id] = hashes
            self._verified.keep(charge_point_id, hashes)


class PendingPassword:
    """A new password that is sent to a charge point.

    Both it and the previous passwords are valid until one of the methods is called, or the charge point uses it.
    """

    def __init__(self, passwords: Passwords, charge_point_id: str, hashed: str) -> None:
        self._passwords = passwords
        self._charge_point_id = charge_point_id
        self._hashed = hashed

    def accepted(self) -> None:
        """The charge point accepted it: refuse the previous passwords (A01.FR.03)."""
        self._passwords._keep(self._charge_point_id, self._hashed)
        self._passwords.confirm(self._charge_point_id, self._hashed)

    def refused(self) -> None:
        """The charge point refused it, or it was not sent: drop it, keep the previous ones (A01.FR.04).

        Not if it was valid before, or if another request carries it as well.
        """
        self._passwords._refuse(self._charge_point_id, self._hashed)

    def defer(self) -> None:
        """Keep all passwords until the new one is used: after a reboot, with another network profile, or if the charge
        point has it without our knowing.
        """
        self._passwords._keep(self._charge_point_id, self._hashed)


def _format(n: int, r: int, p: int, salt: bytes, key: bytes) -> str:
    return "$".join(["scrypt", str(n), str(r), str(p), _to_text(salt), _to_text(key)])


def _parse(hashed: str) -> _Scrypt:
    try:
        name, n, r, p, salt, key = hashed.removesuffix(_FOR_LATER).split("$")
        parts = _Scrypt(int(n), int(r), int(p), base64.b64decode(salt), base64.b64decode(key))
    except (ValueError, binascii.Error):
        name, parts = "", None
    if name != "scrypt" or parts is None:
        # Do not include the value: it may be a plain password.
        raise ValueError("not a password hash: expected a value returned by hash_password")
    return parts


def _derive(password: bytes, parts: _Scrypt) -> bytes:
    # OpenSSL needs a little more memory than the formula says.
    max_memory = 128 * parts.r * (parts.n + parts.p + 2) + 2**20
    return hashlib.scrypt(password, salt=parts.salt, n=parts.n, r=parts.r, p=parts.p, maxmem=max_memory, dklen=32)


def _to_bytes(password: bytes | str) -> bytes:
    return password.encode() if isinstance(password, str) else password


def _to_text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
