"""The security profiles of OCPP: who may connect over what, and how that changes (W16 and 2/201 A00, A01, A05).

profile    transport    the charge point proves itself with
-------    ---------    -----------------------------------
0          ws           nothing; 1.6 alone knows it
1          ws           a password
2          wss          a password
3          wss          a client certificate, whose common name is the serial number registered for the identity
"""

from __future__ import annotations

import functools
import hmac
import logging
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

from ..errors import CallErrorReceived, OCPPRequestError
from ..request import ConnectionMetadata
from ..rpc.registration import OutcomeListener
from ..server.admission import Credentials
from ..threads.pool import run_logged
from ..wire.http import HttpRequest, RefusalError
from .password_changes import PasswordChange, password_changes
from .passwords import Passwords, PendingPassword

__all__ = ["ConnectionChecks", "SecurityProfiles"]

_logger = logging.getLogger(__name__)
_Value = TypeVar("_Value")
_TOP = 3


class SecurityProfiles:
    """What a `CentralSystem` demands of charge points before their upgrade, and what it makes of their answers.

    Its functions run on the thread of the new connection and may block; one that raises refuses the connection with
    500. Where a mapping is given it is asked at each connection.

    Args:
        passwords: for profiles 1 and 2; None: nobody gets in with a password.
        serial_number_of: for profile 3: the serial number registered for an identity, as a mapping or a function that
            returns None for an identity that has none. None: nobody gets in with a certificate.
        minimum_profile: the lowest profile that is let in, one for all or by identity, as a mapping (1 for those it
            does not hold) or a function. 0 lets charge points that speak 1.6 in without any proof.
        organizations: names of which a client certificate must have one as its organization (A00.FR.404); none: any
            will do.
        is_revoked: ``is_revoked(certificate)`` is asked about client certificates, in the form of
            `ssl.SSLSocket.getpeercert`.
        on_profile_raised: ``on_profile_raised(charge_point_id, profile)`` is called when a charge point first connects
            with a higher profile than its minimum. From then on that is its minimum (A05.FR.09 in W16, A05.FR.07 in
            2.x): store it, and let ``minimum_profile`` say so after a restart.
        realm: what the challenge for a password names.

    Raises:
        ValueError: nobody could ever get in, or a profile is none.
    """

    def __init__(
        self,
        *,
        passwords: Passwords | None = None,
        serial_number_of: Mapping[str, str] | Callable[[str], str | None] | None = None,
        minimum_profile: int | Mapping[str, int] | Callable[[str], int] = 1,
        organizations: Collection[str] = (),
        is_revoked: Callable[[Mapping[str, Any]], bool] | None = None,
        on_profile_raised: Callable[[str, int], object] | None = None,
        realm: str = "ocpp",
    ) -> None:
        if isinstance(minimum_profile, int):
            _check_profile(minimum_profile)
        if passwords is None and serial_number_of is None and minimum_profile != 0:
            raise ValueError("nobody can get in without passwords and without serial_number_of")
        self.passwords = passwords
        self._serial_number_of = serial_number_of
        self._minimum_profile = minimum_profile
        self._organizations = frozenset([organizations] if isinstance(organizations, str) else organizations)
        self._is_revoked = is_revoked
        self._on_profile_raised = on_profile_raised
        self._challenge = [("WWW-Authenticate", f'Basic realm="{realm}"')]
        self._lock = threading.Lock()  # guards both below; never held over I/O or user code
        self._raised: dict[str, int] = {}
        # Whose rise is being told of: by one thread at a time, for the highest has to be the last that is stored.
        self._telling: set[str] = set()

    def __repr__(self) -> str:
        return f"<SecurityProfiles passwords={self.passwords} raised={len(self._raised)}>"

    def minimum_of(self, charge_point_id: str) -> int:
        """Return the lowest profile with which a charge point gets in."""
        found = self._minimum_profile
        least = found if isinstance(found, int) else _look_up(found, charge_point_id)
        with self._lock:
            raised = self._raised.get(charge_point_id, 0)
        return max(raised, _check_profile(1 if least is None else least))

    def allow_lower(self, charge_point_id: str) -> None:
        """Forget which profile a charge point has reached: it was replaced, say; ``minimum_profile`` counts again."""
        with self._lock:
            self._raised.pop(charge_point_id, None)

    # At the upgrade.

    def admit(self, request: HttpRequest, charge_point_id: str, version: str | None) -> Credentials:
        """Return how a charge point proved that it is who it says; ``version`` is the one that will be spoken.

        Raises:
            RefusalError: it did not; its text is for the log, and holds no secret.
        """
        try:
            return self._examine(request, charge_point_id, version)
        except RefusalError:
            raise
        except Exception as error:
            _logger.exception("what decides about %r failed", charge_point_id)
            raise RefusalError(500, "what decides about the security profile failed") from error

    def _examine(self, request: HttpRequest, charge_point_id: str, version: str | None) -> Credentials:
        profile = _profile_of(request)
        least = self.minimum_of(charge_point_id)
        if least == 0 == profile and version in (None, "1.6"):
            return Credentials(profile)
        # A charge point on ws that shows no password is asked for one.
        offered = max(profile, 1)
        if offered < least:
            raise RefusalError(403, f"security profile {offered}, and {charge_point_id!r} needs {least} at least")
        if request.peer_certificate is not None:
            return self._examine_certificate(request.peer_certificate, charge_point_id)
        return self._examine_password(request, charge_point_id, version, profile)

    def _examine_password(
        self, request: HttpRequest, charge_point_id: str, version: str | None, profile: int
    ) -> Credentials:
        if self.passwords is None:
            raise RefusalError(403, f"{charge_point_id!r} shows no client certificate")
        shown = request.basic_credentials
        if shown is None:
            raise RefusalError(401, f"{charge_point_id!r} shows no password", self._challenge)
        user, password = shown
        # A00.FR.204 and .303: the user name is the identity.
        named = hmac.compare_digest(user, charge_point_id.encode())
        hashed = self.passwords.check(charge_point_id, password, version)
        if not named:
            raise RefusalError(401, f"the user name is not the identity {charge_point_id!r}", self._challenge)
        if hashed is None:
            raise RefusalError(401, f"no or another password is known of {charge_point_id!r}", self._challenge)
        return Credentials(profile, password_hash=hashed)

    def _examine_certificate(self, certificate: Mapping[str, Any], charge_point_id: str) -> Credentials:
        source = self._serial_number_of
        registered = None if source is None else _look_up(source, charge_point_id)
        if registered is None:
            raise RefusalError(403, f"no serial number is registered for {charge_point_id!r}")
        names = _names(certificate, "commonName")
        if names != [registered]:
            raise RefusalError(403, f"the certificate is that of {names}, and {charge_point_id!r} is {registered!r}")
        if self._organizations and not self._organizations & set(_names(certificate, "organizationName")):
            raise RefusalError(403, f"the certificate of {charge_point_id!r} is of another organization")
        if self._is_revoked is not None and self._is_revoked(certificate):
            raise RefusalError(403, f"the certificate of {charge_point_id!r} is revoked")
        return Credentials(_TOP, serial_number=registered)

    def connected(self, charge_point_id: str, credentials: Credentials) -> None:
        """Take note that a charge point was let in: its profile is its minimum now, its password the one it has."""
        profile, hashed = credentials.profile, credentials.password_hash
        if profile > self.minimum_of(charge_point_id):
            self._raise(charge_point_id, profile)
        if hashed is not None and self.passwords is not None:
            run_logged(self.passwords.confirm, charge_point_id, hashed)

    def _raise(self, charge_point_id: str, profile: int) -> None:
        with self._lock:
            if self._raised.get(charge_point_id, 0) >= profile:
                return  # another connection of the same charge point was quicker
            self._raised[charge_point_id] = profile
            if charge_point_id in self._telling:
                return  # whoever tells of a lower one just now tells of this one next
            self._telling.add(charge_point_id)
        while profile:
            _logger.info("%s has reached security profile %d; lower ones are refused", charge_point_id, profile)
            if self._on_profile_raised is not None:
                run_logged(self._on_profile_raised, charge_point_id, profile)
            profile = self._higher_than(profile, charge_point_id)

    def _higher_than(self, told: int, charge_point_id: str) -> int:
        """Return the profile that was reached meanwhile, or 0 when there is no more to tell."""
        with self._lock:
            profile = self._raised[charge_point_id]
            if profile == told:
                self._telling.discard(charge_point_id)
                return 0
            return profile

    # While it is connected.

    def checks(self, metadata: ConnectionMetadata, credentials: Credentials) -> ConnectionChecks:
        """Take note that a charge point is connected, and return the checks of its messages."""
        self.connected(metadata.charge_point_id, credentials)
        return ConnectionChecks(self.passwords, metadata, credentials)


class ConnectionChecks:
    """The checks of one connection's messages under a security profile."""

    def __init__(self, passwords: Passwords | None, metadata: ConnectionMetadata, credentials: Credentials) -> None:
        self._passwords = passwords
        self._metadata = metadata
        self._serial_number = credentials.serial_number if metadata.ocpp_version != "1.6" else None

    def fatal_violation(self, action: str, payload: Any) -> str | None:
        """Object to a BootNotification with another serial number than the certificate's (2/201 B01.FR.11, .12)."""
        if self._serial_number is None or action != "BootNotification" or not isinstance(payload, Mapping):
            return None
        station = payload.get("chargingStation")
        shown = station.get("serialNumber") if isinstance(station, Mapping) else None
        if shown is None or shown == self._serial_number:
            return None
        return "the serial number is not that of the certificate"

    def before_request(self, action: str, payload: Any) -> OutcomeListener | None:
        """Accept the passwords that a request of ours sets, and return what is told how the request ended."""
        if self._passwords is None:
            return None
        charge_point_id = self._metadata.charge_point_id
        changes = password_changes(self._metadata.ocpp_version, action, payload)
        if not changes:
            return None
        offers = [(self._passwords.offer(charge_point_id, change.password), change) for change in changes]
        return functools.partial(_settle, charge_point_id, offers)


def _profile_of(request: HttpRequest) -> int:
    if request.peer_certificate is not None:
        return _TOP
    if request.secure:
        return 2
    return 0 if request.basic_credentials is None else 1


def _check_profile(profile: int) -> int:
    if isinstance(profile, bool) or not isinstance(profile, int) or not 0 <= profile <= _TOP:
        raise ValueError(f"a security profile is a number from 0 to 3, not {profile!r}")
    return profile


def _look_up(source: Mapping[str, _Value] | Callable[[str], _Value | None], charge_point_id: str) -> _Value | None:
    return source.get(charge_point_id) if isinstance(source, Mapping) else source(charge_point_id)


def _names(certificate: Mapping[str, Any], attribute: str) -> list[str]:
    return [value for part in certificate.get("subject", ()) for name, value in part if name == attribute]


def _settle(charge_point_id: str, offers: Sequence[tuple[PendingPassword, PasswordChange]], outcome: Any) -> None:
    if isinstance(outcome, OCPPRequestError) and not isinstance(outcome, CallErrorReceived):
        _logger.warning(
            "nobody knows whether %s has its new password; the old and the new are good until one is used",
            charge_point_id,
        )
        return
    for offer, change in offers:
        verdict = "refused" if isinstance(outcome, CallErrorReceived) else change.verdict(outcome)
        if verdict == "accepted":
            offer.accepted()
        elif verdict == "deferred":
            offer.defer()
        elif verdict == "refused":
            offer.refused()
