"""Which secrets a test uses, and whether anything that was logged meanwhile shows one of them."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from ocppsync.wire.http import Headers

_OF_PASSWORDS = {"Passwords", "authorization_key", "hash_password", "password_changes", "verify_password"}
USERS = frozenset({"SecurityProfiles", "basic"} | _OF_PASSWORDS)
"""Names of the library and of the helpers: a test file that imports one of them deals in secrets."""
_SHORTEST = 6
"""Bytes; what is shorter may be in a line by chance."""
_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization"})


def deals_in_secrets(module: Any) -> bool:
    """Return whether the tests of a file are watched."""
    return bool(USERS & vars(module).keys()) or any(word in module.__name__ for word in ("secret", "secur", "password"))


class Secrecy(logging.Handler):
    """Keeps all that the library logs, from DEBUG on, and every password and credential that passes through it.

    A password is any that is hashed, which each is: the stored ones, those that peers send, right or wrong, and the new
    ones. A credential is what a header holds.
    """

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(logging.Formatter("%(message)s"))
        self.lines: list[str] = []
        self.secrets: set[str] = {"scrypt$"}  # every hash begins so

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))  # with the traceback

    def add(self, secret: bytes) -> None:
        if len(secret) >= _SHORTEST:
            text = secret.decode("utf-8", "replace")
            shown = {text, repr(text)[1:-1], repr(secret)[2:-1], secret.hex(), base64.b64encode(secret).decode()}
            self.secrets |= shown | {secret.hex().upper()}

    def check(self) -> None:
        """Fail if one of the secrets was logged."""
        for line in self.lines:
            for secret in list(self.secrets):
                assert secret not in line, f"a secret was logged: {line}"

    @contextlib.contextmanager
    def watching(self, monkeypatch: pytest.MonkeyPatch, shown: logging.Handler) -> Iterator[None]:
        """Keep what happens; ``shown`` sees of the log what it would see without this."""
        scrypt, fill = hashlib.scrypt, Headers.__init__

        def spy(password: bytes, **options: Any) -> bytes:
            self.add(password)
            return scrypt(password, **options)

        def look(headers: Headers, fields: tuple[tuple[str, str], ...] = ()) -> None:
            fill(headers, fields)
            for name, value in fields:
                if name.lower() in _HEADERS:
                    self.add(value.partition(" ")[2].encode("latin-1", "replace"))

        logger, before = logging.getLogger("ocppsync"), shown.level
        level = logger.level
        with monkeypatch.context() as patch:
            patch.setattr(hashlib, "scrypt", spy)
            patch.setattr(Headers, "__init__", look)
            shown.setLevel(max(before, logger.getEffectiveLevel()))
            logger.setLevel(logging.DEBUG)
            logger.addHandler(self)
            try:
                yield
            finally:
                logger.removeHandler(self)
                logger.setLevel(level)
                shown.setLevel(before)
