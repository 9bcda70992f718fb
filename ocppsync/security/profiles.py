"""The security profiles of OCPP, and the minimum profile of each charge point (W16 and 2/201 A00, A01, A05).

profile    transport    the charge point authenticates with
-------    ---------    -----------------------------------
0          ws           nothing; only in 1.6
1          ws           a password
2          wss          a password
3          wss          a client certificate; its common name is the serial number registered for the identity
"""

from __future__ import annotations

import functools
import hmac
import logging
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from ..errors import CallErrorReceived, OCPPRequestError
from ..faults.interrupts import raise_interrupt
from ..faults.log_lines import log_line
from ..request import ConnectionMetadata
from ..rpc.registration import OutcomeListener
from ..server.admission import Credentials
from ..threads.pool import run_logged
from ..throttled_log import LogThrottle
from ..wire.addresses import rate_limit_key
from ..wire.http import DisconnectedError, HttpRequest, RefusalError
from .password_changes import PasswordChange, Verdict, password_changes
from .passwords import Passwords, PendingPassword

__all__ = ["ConnectionChecks", "SecurityProfiles"]

_logger = logging.getLogger(__name__)
_Value = TypeVar("_Value")
_HIGHEST_PROFILE = 3


class SecurityProfiles:
    """Authenticates the charge points of a `CentralSystem` by security profile, and follows their password changes.

    The functions run on the thread of the new connection and may block; if one raises, the connection is refused with
    500. Mappings are looked up at each connection. All who do not authenticate get one answer, for known and unknown
    identities, whatever was missing: 401, or 403 without ``passwords``.

    Args:
        passwords: for profiles 1 and 2; None: no charge point can connect with a password.
        serial_number_of: for profile 3: the serial number registered for an identity, as a mapping or a function that
            returns None for an unknown identity. None: no charge point can connect with a certificate.
        minimum_profile: the lowest profile that is accepted: one for all, or by identity as a mapping (1 for
            identities that are not in it) or a function. 0 accepts charge points that speak 1.6 without
            authentication.
        organizations: a client certificate must have one of these as its organization (A00.FR.404); empty: any.
        is_revoked: ``is_revoked(certificate)`` returns True to refuse a client certificate, which it gets in the form
            of `ssl.SSLSocket.getpeercert`.
        on_profile_raised: ``on_profile_raised(charge_point_id, profile)`` is called when a charge point first connects
            with a higher profile than its minimum. That profile is its minimum from then on (A05.FR.09 in W16,
            A05.FR.07 in 2.x): store it, and return it from ``minimum_profile`` after a restart.
        realm: named by the challenge for a password.

    Raises:
        ValueError: no charge point could connect, or ``minimum_profile`` is not 0 to 3.
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
            raise ValueError("no charge point can connect without passwords and without serial_number_of")
        self.passwords = passwords
        self._serial_number_of = serial_number_of
        self._minimum_profile = minimum_profile
        self._organizations = frozenset([organizations] if isinstance(organizations, str) else organizations)
        self._is_revoked = is_revoked
        self._on_profile_raised = on_profile_raised
        self._challenge = [("WWW-Authenticate", f'Basic realm="{realm}"')]
        self._throttle = LogThrottle()
        self._lock = threading.Lock()  # guards both below; never held over I/O or user code
        self._raised: dict[str, int] = {}
        # Charge points for which a thread calls on_profile_raised now. One thread at a time, so that the highest
        # profile is stored last.
        self._notifying: set[str] = set()

    def __repr__(self) -> str:
        return f"<SecurityProfiles passwords={self.passwords} raised={len(self._raised)}>"

    def minimum_of(self, charge_point_id: str) -> int:
        """Return the lowest profile that is accepted from a charge point."""
        return max(self._minimum_from_application(charge_point_id), self._reached(charge_point_id))

    def _minimum_from_application(self, charge_point_id: str) -> int:
        source = self._minimum_profile
        minimum = source if isinstance(source, int) else _look_up(source, charge_point_id)
        return _check_profile(1 if minimum is None else minimum)

    def _reached(self, charge_point_id: str) -> int:
        with self._lock:
            return self._raised.get(charge_point_id, 0)

    def allow_lower(self, charge_point_id: str) -> None:
        """Forget the profile that a charge point has reached, such as after its replacement; ``minimum_profile``
        applies again.
        """
        with self._lock:
            self._raised.pop(charge_point_id, None)

    # At the upgrade.

    def admit(
        self,
        request: HttpRequest,
        charge_point_id: str,
        version: str | None,
        has_gone: Callable[[], bool] | None = None,
    ) -> Credentials:
        """Authenticate a charge point; ``version`` is the OCPP version of the connection, None if there is none.

        Raises:
            RefusalError: the charge point is not authenticated, or too many passwords wait to be checked. The text is
                for the log and contains no secret.
            DisconnectedError: the peer has gone, as ``has_gone`` says, before its password was checked.
        """
        try:
            return self._authenticate(request, charge_point_id, version, has_gone)
        except (RefusalError, DisconnectedError):
            raise
        except BaseException as error:
            raise_interrupt(error)
            who = rate_limit_key(request.client_address)
            text = "checking the security profile of %.100r raised an exception"
            self._throttle.log(_logger, who, "check", text, charge_point_id, level=logging.ERROR, error=error)
            raise RefusalError(500, "checking the security profile raised an exception") from error

    def _authenticate(
        self,
        request: HttpRequest,
        charge_point_id: str,
        version: str | None,
        has_gone: Callable[[], bool] | None,
    ) -> Credentials:
        wanted = self._minimum_from_application(charge_point_id)
        return replace(
            self._check(request, charge_point_id, version, max(wanted, self._reached(charge_point_id)), has_gone),
            minimum_profile=wanted,
        )

    def _check(
        self,
        request: HttpRequest,
        charge_point_id: str,
        version: str | None,
        minimum: int,
        has_gone: Callable[[], bool] | None,
    ) -> Credentials:
        profile = _profile_of(request)
        if minimum == 0 == profile and version in (None, "1.6"):
            return Credentials(profile)
        if request.peer_certificate is not None:
            return self._check_certificate(request.peer_certificate, charge_point_id)
        # Also if the profile is too low: a sooner answer would tell strangers that there is such a charge point.
        hashed, fault = self._check_password(request, charge_point_id, version, has_gone)
        # Without a password on ws, it counts as profile 1: the charge point may send its password next.
        offered = max(profile, 1)
        # Again: the wait may have been long, and another connection have reached a higher profile.
        minimum = max(minimum, self._reached(charge_point_id))
        if offered < minimum:
            fault = f"security profile {offered} is not enough: {charge_point_id!r} needs at least {minimum}"
        if fault is not None:
            raise self._refusal(fault)
        return Credentials(profile, password_hash=hashed)

    def _refusal(self, reason: str) -> RefusalError:
        """Return the one answer to strangers: it depends neither on the identity nor on what they sent."""
        if self.passwords is None:
            return RefusalError(403, reason)
        return RefusalError(401, reason, self._challenge)

    def _check_password(
        self, request: HttpRequest, charge_point_id: str, version: str | None, has_gone: Callable[[], bool] | None
    ) -> tuple[str | None, str | None]:
        """Return the hash that the password matches, and the reason to refuse it: one of them is None."""
        if self.passwords is None:
            return None, f"{charge_point_id!r} sent no client certificate"
        basic = request.basic_credentials
        if basic is None:
            return None, f"{charge_point_id!r} sent no password"
        user, password = basic
        # A00.FR.204 and .303: the user name is the identity.
        user_matches = hmac.compare_digest(user, charge_point_id.encode())
        hashed = self.passwords.check(charge_point_id, password, version, has_gone=has_gone)
        if not user_matches:
            return None, f"the user name is not the identity {charge_point_id!r}"
        if hashed is None:
            return None, f"wrong password for {charge_point_id!r}, or none is known"
        return hashed, None

    def remembers(self, request: HttpRequest, charge_point_id: str, version: str | None) -> bool:
        """Return whether the password in a request was verified before; quick, and asks nobody."""
        basic = request.basic_credentials
        if self.passwords is None or basic is None or request.peer_certificate is not None:
            return False
        user, password = basic
        # Both in any case: the same time for each user.
        remembered = self.passwords.remembers(charge_point_id, password, version)
        return hmac.compare_digest(user, charge_point_id.encode("utf-8", "surrogatepass")) and remembered

    def _check_certificate(self, certificate: Mapping[str, Any], charge_point_id: str) -> Credentials:
        source = self._serial_number_of
        registered = None if source is None else _look_up(source, charge_point_id)
        if registered is None:
            raise self._refusal(f"no serial number is registered for {charge_point_id!r}")
        names = _names(certificate, "commonName")
        if names != [registered]:
            raise self._refusal(
                f"the certificate has the common name {names}; {charge_point_id!r} needs {registered!r}"
            )
        organizations = _names(certificate, "organizationName")
        if self._organizations and not self._organizations & set(organizations):
            expected = sorted(self._organizations)
            raise self._refusal(f"the certificate has the organization {organizations}; expected one of {expected}")
        if self._is_revoked is not None and self._is_revoked(certificate):
            raise self._refusal(f"the certificate of {charge_point_id!r} is revoked")
        return Credentials(_HIGHEST_PROFILE, serial_number=registered)

    def connected(self, charge_point_id: str, credentials: Credentials) -> None:
        """Record that a charge point is about to connect: its profile is now its minimum, its password the current one.

        Not its minimum as it is now: the application is asked once for each connection.
        """
        profile, hashed = credentials.profile, credentials.password_hash
        if profile > credentials.minimum_profile:
            self._raise(charge_point_id, profile)
        if hashed is not None and self.passwords is not None:
            self._confirm(self.passwords, charge_point_id, hashed)

    def _confirm(self, passwords: Passwords, charge_point_id: str, hashed: str) -> None:
        try:
            passwords.confirm(charge_point_id, hashed)
        except BaseException as error:
            # Each connection tries it again, so the charge point decides how often it fails.
            text = "storing the hashes of %s failed; the previous ones stay valid"
            self._throttle.log(
                _logger, charge_point_id, "confirm", text, charge_point_id, level=logging.ERROR, error=error
            )

    def _raise(self, charge_point_id: str, profile: int) -> None:
        with self._lock:
            if self._raised.get(charge_point_id, 0) >= profile:
                return  # another connection of the same charge point was faster
            self._raised[charge_point_id] = profile
            if charge_point_id in self._notifying:
                return  # the thread that reports a lower profile now reports this one next
            self._notifying.add(charge_point_id)
        while profile:
            text = "%s has reached security profile %d; lower ones are refused"
            log_line(_logger, logging.INFO, text, charge_point_id, profile)
            if self._on_profile_raised is not None:
                run_logged(self._on_profile_raised, charge_point_id, profile)
            profile = self._next_to_report(profile, charge_point_id)

    def _next_to_report(self, reported: int, charge_point_id: str) -> int:
        """Return the profile that was reached in the meantime; 0 if there is nothing left to report."""
        with self._lock:
            profile = self._raised[charge_point_id]
            if profile == reported:
                self._notifying.discard(charge_point_id)
                return 0
            return profile

    # During the connection.

    def checks(self, metadata: ConnectionMetadata, credentials: Credentials) -> ConnectionChecks:
        """Return the checks for the messages of a connection."""
        return ConnectionChecks(self.passwords, metadata, credentials)


class ConnectionChecks:
    """The security checks for the messages of one connection."""

    def __init__(self, passwords: Passwords | None, metadata: ConnectionMetadata, credentials: Credentials) -> None:
        self._passwords = passwords
        self._metadata = metadata
        self._serial_number = credentials.serial_number if metadata.ocpp_version != "1.6" else None

    def fatal_violation(self, action: str, payload: Any) -> str | None:
        """Return the error for a BootNotification if its serial number differs from the certificate's
        (2/201 B01.FR.11, .12).
        """
        if self._serial_number is None or action != "BootNotification" or not isinstance(payload, Mapping):
            return None
        station = payload.get("chargingStation")
        serial_number = station.get("serialNumber") if isinstance(station, Mapping) else None
        if serial_number is None or serial_number == self._serial_number:
            return None
        return "the serial number is not the one in the client certificate"

    def before_request(self, action: str, payload: Any) -> OutcomeListener | None:
        """Accept the new passwords in a request, and return the function that handles the outcome of the request."""
        if self._passwords is None:
            return None
        charge_point_id = self._metadata.charge_point_id
        changes = password_changes(self._metadata.ocpp_version, action, payload)
        if not changes:
            return None
        pending: list[tuple[PendingPassword, PasswordChange]] = []
        try:
            for change in changes:
                offered = self._passwords.offer(charge_point_id, change.password, for_later=change.for_later)
                pending.append((offered, change))
        except BaseException:
            # The request is not sent, so the charge point gets none of them.
            for password, _ in pending:
                run_logged(password.refused)
            raise
        return functools.partial(_apply_outcome, charge_point_id, pending)


def _profile_of(request: HttpRequest) -> int:
    if request.peer_certificate is not None:
        return _HIGHEST_PROFILE
    if request.secure:
        return 2
    return 0 if request.basic_credentials is None else 1


def _check_profile(profile: int) -> int:
    if isinstance(profile, bool) or not isinstance(profile, int) or not 0 <= profile <= _HIGHEST_PROFILE:
        raise ValueError(f"{profile!r} is not a valid security profile: expected 0 to {_HIGHEST_PROFILE}")
    return profile


def _look_up(source: Mapping[str, _Value] | Callable[[str], _Value | None], charge_point_id: str) -> _Value | None:
    return source.get(charge_point_id) if isinstance(source, Mapping) else source(charge_point_id)


def _names(certificate: Mapping[str, Any], attribute: str) -> list[str]:
    return [value for part in certificate.get("subject", ()) for name, value in part if name == attribute]


def _apply_outcome(
    charge_point_id: str, pending: Sequence[tuple[PendingPassword, PasswordChange]], outcome: Any
) -> None:
    for password, change in pending:
        verdict = _verdict(change, outcome)
        end = {"accepted": password.accepted, "refused": password.refused}.get(verdict, password.defer)
        run_logged(end)  # one that cannot be stored must not hold up the others
        if verdict == "unknown":
            text = "unknown whether %s accepted its new password; the previous one is valid until it uses the new one"
            log_line(_logger, logging.WARNING, text, charge_point_id)


def _verdict(change: PasswordChange, outcome: Any) -> Verdict:
    if isinstance(outcome, CallErrorReceived):
        return "refused"
    if isinstance(outcome, OCPPRequestError):
        return "refused" if outcome.delivery == "not_sent" else "unknown"
    return change.verdict(outcome)
