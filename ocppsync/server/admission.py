"""Admits or refuses upgrade requests: identity, authentication, OCPP version (J16 §3)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol

from ..faults.interrupts import raise_interrupt
from ..request import ConnectionMetadata
from ..rpc.context import SecurityChecks
from ..throttled_log import LogThrottle
from ..validation.catalogue import COMPRESSED_BY_DEFAULT, SUBPROTOCOLS
from ..wire.addresses import rate_limit_key
from ..wire.http import HttpRequest, RefusalError, check_upgrade, identity_fault, identity_of, offered_protocols

_logger = logging.getLogger(__name__)

Authorize = Callable[[HttpRequest, str], bool | int]
Identify = Callable[[HttpRequest], str | None]


@dataclass(frozen=True)
class Credentials:
    """How a charge point authenticated itself."""

    profile: int
    """The security profile of the connection."""
    minimum_profile: int = 1
    """The lowest profile that the application accepted then."""
    password_hash: str | None = field(default=None, repr=False)
    """The stored hash that the password matched."""
    serial_number: str | None = None
    """The serial number in the client certificate."""


class Security(Protocol):
    """Authenticates charge points and checks their messages."""

    def admit(
        self, request: HttpRequest, charge_point_id: str, version: str | None, has_gone: Callable[[], bool] | None
    ) -> Credentials:
        """Authenticate a charge point.

        Args:
            request: its upgrade request.
            charge_point_id: the identity in it.
            version: the OCPP version of the connection, None if there is none.
            has_gone: returns whether the peer has hung up; None: not known.

        Raises:
            RefusalError: the charge point is not authenticated.
            DisconnectedError: the peer has gone while it waited.
        """
        raise NotImplementedError

    def remembers(self, request: HttpRequest, charge_point_id: str, version: str | None) -> bool:
        """Return whether the password in a request was verified before; quick, and asks nobody."""
        raise NotImplementedError

    def connected(self, charge_point_id: str, credentials: Credentials) -> None:
        """Record that a charge point is about to connect; it may block."""
        raise NotImplementedError

    def checks(self, metadata: ConnectionMetadata, credentials: Credentials) -> SecurityChecks:
        """Return the checks for the messages of a connection."""
        raise NotImplementedError


class AttemptLimiter(Protocol):
    """Limits failed authentications."""

    def attempt(self, address: str, charge_point_id: str, *, remembered: bool) -> AbstractContextManager[None]:
        """Return the context for one authentication; entering it raises RefusalError after too many failures."""
        raise NotImplementedError

    def proved(self, address: str, charge_point_id: str, connected_from: str) -> None:
        """Remember that a charge point at an address has authenticated itself, over a connection from another."""
        raise NotImplementedError


@dataclass(frozen=True)
class UpgradeDecision:
    """How to answer an admitted upgrade request."""

    charge_point_id: str
    subprotocol: str | None
    """None without a common subprotocol: upgrade, then close at once (J16 §3.2)."""
    key: str
    extensions: str
    announce: bool = True
    """Whether the response names the subprotocol; False if the client offered none."""
    credentials: Credentials | None = None
    """None if the policy has no ``security``."""


@dataclass(frozen=True)
class AdmissionPolicy:
    """Admits or refuses upgrade requests.

    Args:
        protocols: the supported subprotocols.
        default_protocol: the subprotocol of clients that offer none; None: there is no common subprotocol then.
        refuse_unknown_protocol: answer 400 if there is no common subprotocol, instead of upgrading and closing.
        security: the security profiles, checked before ``authorize``.
        authorize: called with the request and the identity; see `CentralSystem`.
        identify: returns the identity instead of the last path segment; None answers 404.
        compression: whether to accept permessage-deflate; None: for 2.0.1 and 2.1, for which the specification requires
            it (4/201 §3.3), but not for 1.6 (J16 §5.1).
        limiter: limits failed authentications; None: no limit.
        realm: named by the challenge of a 401 response.
        throttle: counts what peers cause, for the log.
    """

    protocols: Sequence[str]
    default_protocol: str | None = None
    refuse_unknown_protocol: bool = False
    security: Security | None = None
    authorize: Authorize | None = field(default=None, repr=False)
    identify: Identify | None = field(default=None, repr=False)
    compression: bool | None = None
    limiter: AttemptLimiter | None = None
    realm: str = field(default="ocpp")
    throttle: LogThrottle = field(default_factory=LogThrottle, compare=False, repr=False)

    def admit(self, request: HttpRequest, has_gone: Callable[[], bool] | None = None) -> UpgradeDecision:
        """Return how to answer a request; checks the path first, then the credentials, then the subprotocol.

        Args:
            request: the request.
            has_gone: returns whether the peer has hung up; None: not known.

        Raises:
            RefusalError: the request is refused; the error holds the response.
            DisconnectedError: the peer has gone while it waited.
        """
        key = check_upgrade(request)
        charge_point_id = self._identify(request)
        offered = offered_protocols(request)
        chosen = self._choose_subprotocol(offered)
        version = None if chosen is None else SUBPROTOCOLS[chosen]
        credentials = self._authenticate(request, charge_point_id, version, has_gone)
        if chosen is None and self.refuse_unknown_protocol:
            raise RefusalError(
                400, f"no common subprotocol: the client offered {offered}; supported: {list(self.protocols)}"
            )
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
        except BaseException as error:
            raise_interrupt(error)
            self._log_fault(request, "identify raised an exception", error=error)
            raise RefusalError(500, "identify raised an exception") from error
        if not identity:
            raise RefusalError(404, "identify returned no identity")
        if not isinstance(identity, str):
            text = "identify must return the identity as str, or None, not %s"
            self._log_fault(request, text, type(identity).__name__)
            raise RefusalError(500, "identify returned neither str nor None")
        fault = identity_fault(identity)
        if fault is not None:
            text = "identify returned %r, which %s; return None to refuse a charge point"
            self._log_fault(request, text, identity[:50], fault)
            raise RefusalError(500, f"the identity from identify {fault}")
        return identity

    def _authenticate(
        self, request: HttpRequest, charge_point_id: str, version: str | None, has_gone: Callable[[], bool] | None
    ) -> Credentials | None:
        if self.security is None and self.authorize is None:
            return None
        limiter, security, credentials = self.limiter, self.security, None
        client = request.client_address
        remembered = security is not None and security.remembers(request, charge_point_id, version)
        with nullcontext() if limiter is None else limiter.attempt(client, charge_point_id, remembered=remembered):
            if security is not None:
                credentials = security.admit(request, charge_point_id, version, has_gone)
            self._authorize(request, charge_point_id)
        # Profile 0 proves nothing.
        if limiter is not None and (credentials is None or credentials.profile > 0):
            limiter.proved(client, charge_point_id, request.remote_address[0])
        return credentials

    def _authorize(self, request: HttpRequest, charge_point_id: str) -> None:
        if self.authorize is None:
            return
        try:
            result = self.authorize(request, charge_point_id)
        except BaseException as error:
            raise_interrupt(error)
            self._log_fault(request, "authorize raised an exception for %.100r", charge_point_id, error=error)
            raise RefusalError(500, "authorize raised an exception") from error
        if result is True:
            return
        status = 401 if result is False else result
        if isinstance(status, bool) or not isinstance(status, int) or not 400 <= status <= 599:
            # The value of anything but a number may be what the application knows about the charge point.
            shown = result if isinstance(result, int) else type(result).__name__
            text = "authorize must return True, False or an HTTP status from 400 to 599, not %s"
            self._log_fault(request, text, shown)
            raise RefusalError(500, "authorize returned neither a bool nor an HTTP status from 400 to 599")
        challenge = [("WWW-Authenticate", f'Basic realm="{self.realm}"')] if status == 401 else []
        raise RefusalError(status, f"authorize refused {charge_point_id!r}", challenge)

    def _log_fault(self, request: HttpRequest, text: str, *args: object, error: BaseException | None = None) -> None:
        who = rate_limit_key(request.client_address)
        self.throttle.log(_logger, who, text, text, *args, level=logging.ERROR, error=error)

    def _choose_subprotocol(self, offered: Sequence[str]) -> str | None:
        if not offered:
            return self.default_protocol
        # The client's order decides: it lists its versions by preference (J16 §3.1.3).
        return next((name for name in offered if name in self.protocols), None)
