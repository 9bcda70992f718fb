"""The upload of diagnostics and logs of a simulated charge point (C16 §5.9; W16 N01; 2/201 N01)."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from ..answers.table import Answer, Table, status
from ..clock import milliseconds, utc_now
from .driver import Effects
from .jobs import Job
from .link import Link
from .transfers import TransferError, upload

__all__ = ["Uploads", "with_file_name"]

_logger = logging.getLogger(__name__)

_STEP = 0.7
_RETRY_INTERVAL = 10
_MAX_IDENTITY = 100
# What an HTTP status means for LogStatusNotification.
_FAILURES: Mapping[int | None, str] = {
    400: "BadMessage",
    401: "PermissionDenied",
    403: "PermissionDenied",
    405: "NotSupportedOperation",
    501: "NotSupportedOperation",
}


@dataclass(frozen=True)
class _Upload:
    action: str
    """The action that reports its statuses."""
    location: str
    content: bytes
    retries: int
    retry_interval: int
    identification: Mapping[str, Any]


class Uploads:
    """Uploads the log of the charge point on a thread of its own, one at a time for each kind of request."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._lock = threading.Lock()  # guards the fields below
        self._prepared: dict[tuple[str, str], _Upload] = {}  # what was accepted and is not begun
        self._jobs: dict[str, Job] = {}  # the last one, by the action that reports
        self._active: dict[str, _Upload] = {}  # what is uploaded, until its end is reported

    # Requests.

    def table(self) -> Table:
        """Return the answers to the requests for uploads."""
        diagnostics: Table = {"GetDiagnostics": self._diagnostics} if self._link.is_16 else {}
        return {"GetLog": self._log, **diagnostics}

    def effects(self) -> Effects:
        """Return the functions that carry out accepted requests."""
        get_log: Effects = {
            "GetLog": lambda payload: self._start("LogStatusNotification", payload["log"]["remoteLocation"])
        }
        if not self._link.is_16:
            return get_log
        return {
            **get_log,
            "GetDiagnostics": lambda payload: self._start("DiagnosticsStatusNotification", payload["location"]),
        }

    def triggered(self, action: str) -> Answer:
        """Return the payload of a status notification that a TriggerMessage asks for."""
        with self._lock:
            active = self._active.get(action)
        return status("Idle") if active is None else {"status": "Uploading", **active.identification}

    def stop(self) -> None:
        """Cancel the uploads, and wait a moment for their threads to end."""
        with self._lock:
            jobs = list(self._jobs.values())
        for job in jobs:
            job.cancel()
        for job in jobs:
            job.join(1.0)

    def _diagnostics(self, payload: Any) -> Answer:
        oldest, latest = _moment(payload, "startTime"), _moment(payload, "stopTime")
        content = self._link.messages.text(oldest=oldest, latest=latest)
        if not content:
            return {}  # C16 §5.9
        name = self._file_name("diagnostics")
        self._prepare("DiagnosticsStatusNotification", payload["location"], name, content, payload, {})
        return {"fileName": name}

    def _log(self, payload: Any) -> Answer:
        parameters, kind = payload["log"], payload["logType"]
        oldest, latest = _moment(parameters, "oldestTimestamp"), _moment(parameters, "latestTimestamp")
        content = self._link.messages.text(security=kind == "SecurityLog", oldest=oldest, latest=latest)
        if not content or kind not in ("DiagnosticsLog", "SecurityLog"):
            return status("Rejected")  # N01.FR.05
        name, action = self._file_name(kind), "LogStatusNotification"
        identification = {"requestId": payload["requestId"]}
        with self._lock:
            running = action in self._active
        self._prepare(action, parameters["remoteLocation"], name, content, payload, identification)
        return {**status("AcceptedCanceled" if running else "Accepted"), "filename": name}

    def _prepare(
        self, action: str, location: str, name: str, content: str, payload: Any, identification: Mapping[str, Any]
    ) -> None:
        prepared = _Upload(
            action,
            with_file_name(location, name),
            content.encode(),
            max(0, payload.get("retries", 0)),
            payload.get("retryInterval", _RETRY_INTERVAL),
            identification,
        )
        with self._lock:
            self._prepared[action, location] = prepared

    def _file_name(self, kind: str) -> str:
        identity = re.sub(r"[^A-Za-z0-9._-]", "_", self._link.charge_point_id)[:_MAX_IDENTITY]
        return f"{identity}-{kind}-{re.sub('[^0-9]', '', utc_now())}.log"

    # The upload.

    def _start(self, action: str, location: str) -> None:
        with self._lock:
            prepared = self._prepared.pop((action, location), None)
            # There may be nothing to upload; and `stop` does not look for later jobs.
            if prepared is None or self._link.is_stopping():
                return
            before = self._jobs.get(action)
            job = self._jobs[action] = Job(
                self._link.thread_name("upload"), lambda job: self._run(job, prepared, before)
            )
            self._active[action] = prepared
            if before is not None:
                before.cancel()
            job.start()

    def _run(self, job: Job, prepared: _Upload, before: Job | None) -> None:
        if before is not None:
            before.join()
        failure = None
        for attempt in range(prepared.retries + 1):
            if attempt and self._link.pause(job, prepared.retry_interval):
                break
            self._report(prepared, "Uploading")
            if self._link.pause(job, _STEP):
                break
            try:
                upload(prepared.location, prepared.content, job, self._link.ssl_context)
            except TransferError as error:
                failure = error
                if job.cancelled:
                    break
                self._link.log.log(_logger, "upload", "cannot upload the log: %s", error.text)
            else:
                self._report(prepared, "Uploaded")
                return
        if not job.cancelled:
            self._report(prepared, self._failed(prepared, failure))
        elif not self._link.is_16:
            self._report(prepared, "AcceptedCanceled")  # 2/201 N01.FR.20

    def _failed(self, prepared: _Upload, failure: TransferError | None) -> str:
        if prepared.action == "DiagnosticsStatusNotification":
            return "UploadFailed"
        return _FAILURES.get(None if failure is None else failure.http_status, "UploadFailure")

    def _report(self, prepared: _Upload, name: str) -> None:
        with self._lock:
            if name != "Uploading" and self._active.get(prepared.action) is prepared:
                del self._active[prepared.action]
        self._link.notify(prepared.action, {"status": name, **prepared.identification})


def with_file_name(location: str, name: str) -> str:
    """Return a location with the name of the file, if it is a directory: its path is empty, or ends with a slash."""
    try:
        parts = urlsplit(location)
    except ValueError:
        return location  # its upload fails
    if parts.path and not parts.path.endswith("/"):
        return location
    return urlunsplit(parts._replace(path=f"{parts.path or '/'}{quote(name)}"))


def _moment(fields: Mapping[str, Any], name: str) -> int | None:
    return milliseconds(fields[name]) if name in fields else None
