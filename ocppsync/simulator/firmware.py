"""Firmware updates of a simulated charge point (C16 §5.19; W16 L01; 2/201 L01, L02)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..answers.table import Answer, Table, status
from ..clock import milliseconds, now_ms
from ..errors import OCPPError
from . import signatures
from .driver import Effects
from .jobs import Job
from .link import Link
from .transfers import Download, TransferError, download

__all__ = ["FirmwareUpdates", "Update", "version_in"]

_logger = logging.getLogger(__name__)

_STEP = 0.7
_RETRY_INTERVAL = 10
_MAX_VERSION = 50
# The statuses that FirmwareStatusNotification has in 1.6 (C16 §7.25).
_STATUSES_16 = frozenset(
    {"DownloadFailed", "Downloaded", "Downloading", "InstallationFailed", "Installed", "Installing"}
)
_END_STATUSES = frozenset(
    {"DownloadFailed", "InstallVerificationFailed", "InstallationFailed", "Installed", "InvalidSignature"}
)


@dataclass(frozen=True)
class Update:
    """A requested update; the moments are in milliseconds since 1970, and the interval in seconds."""

    location: str
    retrieve_at: int
    install_at: int | None
    retries: int
    retry_interval: int
    action: str
    """The action that reports its statuses."""
    request_id: int | None = None
    certificate: str | None = None
    signature: str | None = None

    @property
    def is_secure(self) -> bool:
        """Whether it is signed, or should be."""
        return self.certificate is not None or self.signature is not None

    @property
    def identification(self) -> dict[str, Any]:
        """The field of a status that names the request."""
        return {} if self.request_id is None else {"requestId": self.request_id}


def version_in(firmware: Download) -> str | None:
    """Return the version that a firmware for the simulator has in its first line: up to 50 printable ASCII characters.

    None if the file does not begin so.
    """
    line = firmware.head.split(b"\n", 1)[0].strip(b"\r")
    valid = 0 < len(line) <= _MAX_VERSION and line.isascii() and line.decode("ascii").isprintable()
    return line.decode("ascii") if valid else None


class FirmwareUpdates:
    """Downloads and installs firmware on a thread of its own, one update at a time."""

    def __init__(self, link: Link) -> None:
        self._link = link
        # Guards the fields below.
        self._lock = threading.Lock()
        self._job: Job | None = None
        self._active: Update | None = None  # the update in progress, until its end is reported
        self._update: Update | None = None  # the one that the status belongs to
        self._status: str | None = None  # the last one that was sent
        self._committed = False  # an installation has begun, and cannot be cancelled any more

    # Requests.

    def table(self) -> Table:
        """Return the answers to the messages of firmware updates."""
        if self._link.is_16:
            return {"UpdateFirmware": {}, "SignedUpdateFirmware": self._answer}
        return {"UpdateFirmware": self._answer}

    def effects(self) -> Effects:
        """Return the functions that carry out accepted requests."""
        if self._link.is_16:
            return {
                "UpdateFirmware": lambda payload: self._start(_plain_update(payload)),
                "SignedUpdateFirmware": lambda payload: self._start_signed("SignedFirmwareStatusNotification", payload),
            }
        return {"UpdateFirmware": lambda payload: self._start_signed("FirmwareStatusNotification", payload)}

    def triggered(self, action: str) -> Answer:
        """Return the payload of a status notification that a TriggerMessage asks for.

        In 2.x that is the last status, unless it was Installed (L01.FR.25, .26). In 1.6 it is Idle when no update is in
        progress (C16 §7.25).
        """
        with self._lock:
            update, last = self._update, self._status
        if update is None or last is None or action != update.action or last == "Installed":
            return status("Idle")
        if self._link.is_16 and last in _END_STATUSES:
            return status("Idle")
        return {"status": last, **update.identification}

    def stop(self) -> None:
        """Cancel the update, and wait a moment for its thread to end."""
        with self._lock:
            job = self._job
        if job is not None:
            job.cancel()
            job.join(1.0)

    def _answer(self, payload: Any) -> Answer:
        firmware = payload["firmware"]
        certificate = firmware.get("signingCertificate")
        if (certificate is not None or "signature" in firmware) and not signatures.can_check():
            self._link.log.log(_logger, "cryptography", "cannot check signatures: the package cryptography is missing")
            return status("Rejected")
        if not _is_certificate_valid(firmware):
            return status("InvalidCertificate")
        with self._lock:
            if self._active is None:
                return status("Accepted")
            # L01.FR.24, .27: what is being installed cannot be cancelled any more.
            return status("Rejected" if self._committed else "AcceptedCanceled")

    def _start_signed(self, action: str, payload: Any) -> None:
        if not _is_certificate_valid(payload["firmware"]):
            self._link.report_security_event("InvalidFirmwareSigningCertificate")  # L01.FR.02
            return
        self._start(_signed_update(action, payload))

    def _start(self, update: Update) -> None:
        with self._lock:
            before = self._job
            if self._committed or self._link.is_stopping():  # `stop` does not look for later jobs
                return
            self._active = update
            job = self._job = Job(self._link.thread_name("firmware"), lambda job: self._run(job, update, before))
            if before is not None:
                before.cancel()
            job.start()

    # The update, on its thread.

    def _run(self, job: Job, update: Update, before: Job | None) -> None:
        if before is not None:
            before.join()
        firmware = self._fetch(job, update)
        if firmware is None or job.cancelled:
            return
        self._report(job, update, "Downloaded")
        if not self._link.pause(job, _STEP) and self._is_trusted(job, update, firmware):
            try:
                if self._prepare(job, update):
                    self._install(job, update, firmware)
            finally:
                self._release()

    def _fetch(self, job: Job, update: Update) -> Download | None:
        """Return the firmware; None if it cannot be downloaded, or the job was cancelled."""
        if not self._wait_for(job, update.retrieve_at, update, "DownloadScheduled"):
            return None
        for attempt in range(update.retries + 1):
            if attempt and self._link.pause(job, update.retry_interval):
                return None
            self._report(job, update, "Downloading")
            try:
                return download(update.location, job, self._link.ssl_context)
            except TransferError as error:
                if job.cancelled:
                    return None
                self._link.log.log(_logger, "download", "cannot download the firmware: %s", error.text)
        self._report(job, update, "DownloadFailed")
        return None

    def _is_trusted(self, job: Job, update: Update, firmware: Download) -> bool:
        if not update.is_secure:
            return True
        signature, certificate = update.signature, update.certificate
        if signature and certificate and signatures.is_signed(firmware.sha256, signature, certificate):
            self._report(job, update, "SignatureVerified")
            return True
        self._report(job, update, "InvalidSignature")
        self._link.report_security_event("InvalidFirmwareSignature")  # L01.FR.03
        return False

    def _prepare(self, job: Job, update: Update) -> bool:
        """Wait for the time of the installation and the end of the transaction; return whether it may begin."""
        if update.install_at is not None and not self._wait_for(job, update.install_at, update, "InstallScheduled"):
            return False
        self._link.state.installing = True  # L01.FR.07: no session begins any more
        self._link.signal()
        if self._link.is_busy():
            self._report(job, update, "InstallScheduled")  # L01.FR.34
        return self._link.wait_until(job, lambda: not self._link.is_busy())

    def _install(self, job: Job, update: Update, firmware: Download) -> None:
        with self._lock:
            if job.cancelled:
                return
            self._committed = True
        self._link.settle()
        self._report(job, update, "Installing")
        if self._link.pause(job, _STEP):
            return
        version = version_in(firmware)
        if version is None:
            self._link.log.log(_logger, "image", "cannot install the firmware: its first line is not a version")
            if firmware.size or not self._report(job, update, "InstallVerificationFailed"):  # L01.FR.29
                self._report(job, update, "InstallationFailed")
            return
        self._report(job, update, "InstallRebooting")
        if not self._link.wait_until(job, lambda: not self._link.is_away()):  # a reset may have come between
            return
        self._link.state.registered = False
        self._link.state.installing = False  # it boots as usual
        try:
            self._link.restart(version)
        except (OCPPError, RuntimeError) as error:
            # The program may boot the charge point again.
            self._link.log.log(_logger, "restart", "cannot boot with the new firmware: %s", type(error).__name__)
        if self._link.wait_until(job, lambda: self._link.state.registered):
            self._report(job, update, "Installed")
            if update.is_secure:
                self._link.report_security_event("FirmwareUpdated")  # 2/201 L01.FR.31

    def _wait_for(self, job: Job, moment: int, update: Update, scheduled: str) -> bool:
        """Wait for a moment, and report so; return whether the job was not cancelled."""
        if moment > now_ms():
            self._report(job, update, scheduled)
        while moment > now_ms() and not job.cancelled:
            job.wait((moment - now_ms()) / 1000)
        return not job.cancelled

    def _report(self, job: Job, update: Update, name: str) -> bool:
        """Send a status, if the action has it; return whether it has."""
        if update.action == "FirmwareStatusNotification" and self._link.is_16 and name not in _STATUSES_16:
            return False
        with self._lock:
            self._update, self._status = update, name
            if name in _END_STATUSES and self._active is update:
                self._active, self._committed = None, False
        self._link.report(job, update.action, {"status": name, **update.identification})
        return True

    def _release(self) -> None:
        """Put the connector back into service."""
        with self._lock:
            self._link.state.installing = self._committed = False
        self._link.signal()
        self._link.settle()


def _is_certificate_valid(firmware: Mapping[str, Any]) -> bool:
    """Return whether the certificate of a firmware is valid, or there is none and no signature."""
    if "signingCertificate" in firmware:
        return signatures.is_certificate_valid(firmware["signingCertificate"])
    return "signature" not in firmware


def _plain_update(payload: Mapping[str, Any]) -> Update:
    return Update(
        location=payload["location"],
        retrieve_at=milliseconds(payload["retrieveDate"]),
        install_at=None,
        retries=max(0, payload.get("retries", 0)),
        retry_interval=payload.get("retryInterval", _RETRY_INTERVAL),
        action="FirmwareStatusNotification",
    )


def _signed_update(action: str, payload: Mapping[str, Any]) -> Update:
    firmware = payload["firmware"]
    return Update(
        location=firmware["location"],
        retrieve_at=milliseconds(firmware["retrieveDateTime"]),
        install_at=milliseconds(firmware["installDateTime"]) if "installDateTime" in firmware else None,
        retries=max(0, payload.get("retries", 0)),
        retry_interval=payload.get("retryInterval", _RETRY_INTERVAL),
        action=action,
        request_id=payload["requestId"],
        certificate=firmware.get("signingCertificate"),
        signature=firmware.get("signature"),
    )
