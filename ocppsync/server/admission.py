"""The server's side of the opening handshake: who is it, may it come in, which OCPP (J16 §3)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol

from ..request import ConnectionMetadata
from ..rpc.context import SecurityChecks
from ..validation.catalogue import COMPRESSED_BY_DEFAULT, SUBPROTOCOLS
from ..wire.http import HttpRequest, RefusalError, check_upgrade, identity_of, offered_protocols

_logger = logging.getLogger(__name__)

Authorize = Callable[[HttpRequest, str], bool | int]
Identify = Callable[[HttpRequest], str | None]


@dataclass(frozen=True)
class Credentials:
    """How a charge point proved that it is who it says."""

    profile: int
    """The security profile of its connection."""
    password_hash: str | None = field(default=None, repr=False)
    """The hash that its password fitted."""
    serial_number: str | None = None
    """What its client certificate names it."""


class Security(Protocol):
    """What decides about the credentials of charge points, and about what they send."""

    def admit(self, request: HttpRequest, charge_point_id: str, version: str | None) -> Credentials:
        """Return how a charge point proved its identity; ``version`` is the one that will be spoken.

        Raises:
            RefusalError: it did not.
        """
        raise NotImplementedError

    def checks(self, metadata: ConnectionMetadata, credentials: Credentials) -> SecurityChecks:
        """Take note that a charge point is connected, and return the checks of its messages."""
        raise NotImplementedError


class Attempts(Protocol):
    """Remembers who failed to authenticate."""

    def attempt(self, address: str, charge_point_id: str) -> AbstractContextManager[None]:
        """Return what surrounds an attempt; entering it raises RefusalError if there were too many."""
        raise NotImplementedError


@dataclass(frozen=True)
class UpgradeDecision:
    """An upgrade request that was let in."""

    charge_point_id: str
    subprotocol: str | None
    """None when there is none in common: upgrade, then close at once (J16 §3.2)."""
    key: str
    extensions: str
    announce: bool = True
    """Whether the answer names the subprotocol; not to a client that named none."""
    credentials: Credentials | None = None
    """None where nothing looks at them."""


@dataclass(frozen=True)
class AdmissionPolicy:
    """What decides about an upgrade request.

    Args:
        protocols: the subprotocols that are served.
        default_protocol: the one that a client gets which names none; None: nothing in common.
        refuse_unknown_protocol: answer 400 where nothing is in common, instead of upgrading and closing.
        security: decides before ``authorize`` by the security profiles.
        authorize: called with the request and the identity; see `CentralSystem`.
        identify: returns the identity instead of the last path segment; None answers 404.
        limiter: remembers failed authentications; None lets everybody try as often as they like.
        compression: whether permessage-deflate is accepted; None: by those who speak 2.x, whose specification asks for
            it (4/201 §3.3), and by no others (J16 §5.1).
    """

    protocols: Sequence[str]
    default_protocol: str | None = None
    refuse_unknown_protocol: bool = False
    security: Security | None = None
    authorize: Authorize | None = None
    identify: Identify | None = None
    compression: bool | None = None
    limiter: Attempts | None = None
    realm: str = field(default="ocpp")

    def admit(self, request: HttpRequest) -> UpgradeDecision:
        """Return how to go on with a request: path first, then credentials, then subprotocol.

        Raises:
            RefusalError: what to answer instead.
        """
        key = check_upgrade(request)
        charge_point_id = self._identify(request)
        offered = offered_protocols(request)
        chosen = self._common(offered)
        version = None if chosen is None else SUBPROTOCOLS[chosen]
        credentials = self._authenticate(request, charge_point_id, version)
        if chosen is None and self.refuse_unknown_protocol:
            raise RefusalError(400, f"no common subprotocol: {offered} offered, {list(self.protocols)} served")
        compressing = chosen in COMPRESSED_BY_DEFAULT if self.compression is None else self.compression
        extensions = request.headers.get("sec-websocket-extensions", "") if compressing else ""
        return UpgradeDecision(
            charge_point_id, chosen, key, extensions, announce=bool(offered), credentials=credentials
        )

    def _identify(self, request: HttpRequest) -> str:
        if self.identify is None:
            return identity_of(request.path)
        try:
            identity = self.identify(request)
        except Exception as error:
            _logger.exception("identify failed")
            raise RefusalError(500, "identify failed") from error
        if not identity:
            raise RefusalError(404, "identify knows no such charge point")
        if not isinstance(identity, str):
            _logger.error("identify must return the identity as text, or None, not %r", identity)
            raise RefusalError(500, "identify returned something else than an identity")
        return identity

    def _authenticate(self, request: HttpRequest, charge_point_id: str, version: str | None) -> Credentials | None:
        if self.security is None and self.authorize is None:
            return None
        keeper = self.limiter
        with nullcontext() if keeper is None else keeper.attempt(request.client_address, charge_point_id):
            credentials = None if self.security is None else self.security.admit(request, charge_point_id, version)
            self._authorize(request, charge_point_id)
        return credentials

    def _authorize(self, request: HttpRequest, charge_point_id: str) -> None:
        if self.authorize is None:
            return
        try:
            verdict = self.authorize(request, charge_point_id)
        except Exception as error:
            _logger.exception("authorize failed for %r", charge_point_id)
            raise RefusalError(500, "authorize failed") from error
        if verdict is True:
            return
        status = 401 if verdict is False else verdict
        if isinstance(status, bool) or not isinstance(status, int) or not 400 <= status <= 599:
            _logger.error("authorize must return True, False or an HTTP status from 400 to 599, not %r", verdict)
            raise RefusalError(500, "authorize returned something else than a verdict")
        challenge = [("WWW-Authenticate", f'Basic realm="{self.realm}"')] if status == 401 else []
        raise RefusalError(status, f"authorize refused {charge_point_id!r}", challenge)

    def _common(self, offered: Sequence[str]) -> str | None:
        if not offered:
            return self.default_protocol
        # The client's order decides: it lists its versions by preference (J16 §3.1.3).
        return next((name for name in offered if name in self.protocols), None)
