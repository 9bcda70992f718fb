"""The passwords of HTTP Basic: salted hashes of bytes, compared in constant time, and changed without a lock-out.

What an identity may show is a tuple of hashes. The first belongs to the password that it has; the others to passwords
that were sent to it and may be in use already. All of them are kept where the application keeps them, so that a restart
in the middle of a change loses nothing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
import threading
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any, NamedTuple

__all__ = ["Passwords", "PendingPassword", "authorization_key", "hash_password", "verify_password"]

Hashes = str | Sequence[str] | None
"""The hash of one password, the hashes of several, or None for an identity that is not known."""

_HEX_KEY = re.compile(r"(?:[0-9A-Fa-f]{2}){16,20}")
_MOST = 4
"""How many passwords of one identity are good at a time: each costs a hash at every connection."""


class _Scrypt(NamedTuple):
    n: int
    r: int
    p: int
    salt: bytes
    key: bytes


def hash_password(password: bytes | str, *, n: int = 2**14, r: int = 8, p: int = 1) -> str:
    """Return a salted hash of a password, as text that holds its own parameters: ``scrypt$16384$8$1$salt$key``.

    Every connection costs one such hash. Random passwords of 16 bytes and more, as the specification wants them
    (A00.FR.205, A01.FR.06), nobody guesses whatever a guess costs: a large fleet of these does well with ``n=2**10``.

    Args:
        password: for OCPP 1.6 the decoded key (see `authorization_key`); text is taken as UTF-8.
        n: the cost, a power of two; a hash takes ``128 * n * r`` bytes of memory while it is made.
        r: the block size.
        p: how often over.
    """
    salt = os.urandom(16)
    return _format(n, r, p, salt, _derive(_to_bytes(password), _Scrypt(n, r, p, salt, b"")))


def verify_password(password: bytes | str, hashed: str) -> bool:
    """Return whether ``hashed`` was made of that password; the comparison takes the same time either way.

    Raises:
        ValueError: it is no hash of `hash_password`; the text does not show it.
    """
    wanted = _parse(hashed)
    return hmac.compare_digest(_derive(_to_bytes(password), wanted), wanted.key)


def authorization_key(value: str) -> bytes:
    """Return the password that a value of the configuration key AuthorizationKey stands for (1.6).

    That is the decoded key where the value is 32 to 40 hexadecimal digits, in pairs (J16 §6.2.2, W16 A00.FR.205); any
    other text is the password itself, as some charge points have it.
    """
    return bytes.fromhex(value) if _HEX_KEY.fullmatch(value) else value.encode()


class Passwords:
    """The passwords of charge points, as hashes of `hash_password`, in a mapping or behind a function.

    Safe from any thread. What is accepted changes with `set`, and with what the central system sends and the charge
    point answers, under `SecurityProfiles`.

    Args:
        hashes: by identity: a mapping, or a function that looks one up and may block. It gives one hash, several, or
            None for an identity that is not known. What changes is written into the mapping.
        on_change: ``on_change(charge_point_id, hashes)`` is called with a tuple of all hashes that are good from now
            on, to store them; a function for ``hashes`` must find them from then on. Before a new password is sent it
            is called on the thread that sends it, and an exception keeps it from being sent. Later calls come on the
            thread that reads the connection: it may block, but not send requests, and an exception ends in the log
            and leaves good what was.
        hex_text: accept from charge points that speak 1.6 the hexadecimal text of their key too, in either case, as
            some send it undecoded.
        hasher: makes the hashes of new passwords; ``functools.partial(hash_password, n=...)`` sets another cost.

    Raises:
        ValueError: nothing could be written and there is no ``on_change``, so that no password could ever change.
    """

    def __init__(
        self,
        hashes: Mapping[str, Any] | Callable[[str], Hashes],
        *,
        on_change: Callable[[str, tuple[str, ...]], object] | None = None,
        hex_text: bool = False,
        hasher: Callable[[bytes | str], str] = hash_password,
    ) -> None:
        if not isinstance(hashes, MutableMapping) and on_change is None:
            raise ValueError("hashes that cannot be written need on_change, which stores what changes")
        self._hashes = hashes
        self._on_change = on_change
        self._hex_text = hex_text
        self._lock = threading.RLock()  # serialises the changes, with the calls of on_change
        self._deferred: set[str] = set()  # hashes of what is to be used some day, not at the next connection
        # A fleet that reconnects at once must not take a hash's memory for each of its connections at a time.
        self._hashing = threading.BoundedSemaphore(os.cpu_count() or 1)
        self._hasher = hasher
        self._cost = _parse(hasher(b""))[:3]  # of the hash that was looked at last; that of nobody takes as long

    def __repr__(self) -> str:
        return f"<Passwords hex_text={self._hex_text}>"

    def hashes(self, charge_point_id: str) -> tuple[str, ...]:
        """Return the hashes of an identity; none for one that is not known."""
        source = self._hashes
        found = source.get(charge_point_id) if isinstance(source, Mapping) else source(charge_point_id)
        return (found,) if isinstance(found, str) else tuple(found or ())

    def check(self, charge_point_id: str, password: bytes, version: str | None = None) -> str | None:
        """Return the hash that a password fits, or None; an identity that is not known takes as long.

        Args:
            charge_point_id: who says so.
            password: the bytes that came.
            version: of OCPP, where it is known: only in 1.6 may they be hexadecimal text.
        """
        shown = [password]
        if self._hex_text and version == "1.6" and _HEX_KEY.fullmatch(text := password.decode("latin-1")):
            shown.append(bytes.fromhex(text))
        found = None
        # To the end, whatever fits: how long it takes must not tell. Nobody's hash fits nothing.
        for hashed in self.hashes(charge_point_id) or (_format(*self._cost, os.urandom(16), os.urandom(32)),):
            self._cost = _parse(hashed)[:3]
            for one in shown:
                with self._hashing:
                    fits = verify_password(one, hashed)
                if fits:
                    found = hashed
        return found

    def set(self, charge_point_id: str, password: bytes | str) -> None:
        """Accept this password and no other: that of a new charge point, or one that was changed by hand."""
        self._store(charge_point_id, (self._hasher(password),))

    # A change, from the request to the first use.

    def offer(self, charge_point_id: str, password: bytes | str) -> PendingPassword:
        """Accept this password as well, which is about to be sent."""
        known = self.check(charge_point_id, _to_bytes(password))
        if known is not None:
            return PendingPassword(self, charge_point_id, known, new=False)
        hashed = self._hasher(password)
        with self._lock:
            good = self.hashes(charge_point_id)
            # The one it has, the latest offers, and this one.
            self._store(charge_point_id, (*good[:1], *good[1:][2 - _MOST :], hashed))
        return PendingPassword(self, charge_point_id, hashed, new=True)

    def confirm(self, charge_point_id: str, hashed: str) -> None:
        """A charge point has connected with that password: forget those it had before, and offers it did not take."""
        if self.hashes(charge_point_id) == (hashed,):
            return
        with self._lock:
            good = self.hashes(charge_point_id)
            if hashed not in good:
                return
            later = good[good.index(hashed) + 1 :]
            kept = (hashed, *(one for one in later if one in self._deferred))
            self._deferred.discard(hashed)
            if kept != good:
                self._store(charge_point_id, kept)

    def _drop(self, charge_point_id: str, hashed: str, *, before: bool) -> None:
        with self._lock:
            good = self.hashes(charge_point_id)
            if hashed in good:
                place = good.index(hashed)
                self._store(charge_point_id, good[place:] if before else good[:place] + good[place + 1 :])

    def _defer(self, hashed: str) -> None:
        with self._lock:
            self._deferred.add(hashed)

    def _store(self, charge_point_id: str, hashes: tuple[str, ...]) -> None:
        with self._lock:
            before = self.hashes(charge_point_id)
            if self._on_change is not None:
                self._on_change(charge_point_id, hashes)
            if isinstance(self._hashes, MutableMapping):
                self._hashes[charge_point_id] = hashes
            self._deferred.difference_update(set(before) - set(hashes))


class PendingPassword:
    """A password that was sent to a charge point; until it answers, that one and those before are good."""

    def __init__(self, passwords: Passwords, charge_point_id: str, hashed: str, *, new: bool) -> None:
        self._passwords = passwords
        self._charge_point_id = charge_point_id
        self._hashed = hashed
        self._new = new

    def accepted(self) -> None:
        """Refuse from now on what the charge point had before (A01.FR.03)."""
        self._passwords._drop(self._charge_point_id, self._hashed, before=True)

    def refused(self) -> None:
        """Forget the password: the charge point keeps what it had (A01.FR.04)."""
        if self._new:
            self._passwords._drop(self._charge_point_id, self._hashed, before=False)

    def defer(self) -> None:
        """Keep both until this one is used: after a reboot, or with another network profile."""
        self._passwords._defer(self._hashed)


def _format(n: int, r: int, p: int, salt: bytes, key: bytes) -> str:
    return "$".join(["scrypt", str(n), str(r), str(p), _to_text(salt), _to_text(key)])


def _parse(hashed: str) -> _Scrypt:
    try:
        name, n, r, p, salt, key = hashed.split("$")
        parts = _Scrypt(int(n), int(r), int(p), base64.b64decode(salt), base64.b64decode(key))
    except (ValueError, binascii.Error):
        name, parts = "", None
    if name != "scrypt" or parts is None:
        # Not shown: it may be a password that was never hashed.
        raise ValueError("a password's hash is none of hash_password's")
    return parts


def _derive(password: bytes, parts: _Scrypt) -> bytes:
    # OpenSSL counts a little more than the formula.
    most = 128 * parts.r * (parts.n + parts.p + 2) + 2**20
    return hashlib.scrypt(password, salt=parts.salt, n=parts.n, r=parts.r, p=parts.p, maxmem=most, dklen=32)


def _to_bytes(password: bytes | str) -> bytes:
    return password.encode() if isinstance(password, str) else password


def _to_text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
