"""Diagnostics and logs of the simulator, uploaded to a real HTTP server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from file_server import FileServer, file_server
from simulated import RecordingCentralSystem
from support import DEADLINE, WatchedLock, wait_until

from ocppsync.simulator import SimulatedChargePoint
from ocppsync.simulator.uploads import with_file_name

pytestmark = pytest.mark.slow

PAST, FUTURE = "2020-01-01T00:00:00Z", "2099-01-01T00:00:00Z"


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server() as server:
        yield server


def ask(central_system: RecordingCentralSystem, action: Any, payload: Any) -> Any:
    return central_system.cs.send_request("SIM-1", action, payload)


def get_log(central_system: RecordingCentralSystem, location: str, request_id: int = 1, **fields: Any) -> Any:
    log = {"remoteLocation": location, **fields.pop("log", {})}
    payload = {"logType": "DiagnosticsLog", "requestId": request_id, "log": log, **fields}
    return ask(central_system, "GetLog", payload)


def statuses(central_system: RecordingCentralSystem, action: str = "LogStatusNotification") -> list[Any]:
    return [(payload["status"], payload.get("requestId")) for payload in central_system.payloads(action)]


only_16 = pytest.mark.parametrize("version", ["1.6"], indirect=True)


@only_16
def test_diagnostics_are_uploaded(
    central_system: RecordingCentralSystem, station: SimulatedChargePoint, server: FileServer
) -> None:
    answer = ask(central_system, "GetDiagnostics", {"location": server.url("/diagnostics/")})
    central_system.wait("DiagnosticsStatusNotification", status="Uploaded")
    ((path, _, content),) = server.uploads.items
    assert path == f"/diagnostics/{answer['fileName']}"
    assert answer["fileName"].startswith("SIM-1-diagnostics-")
    assert b'sent [2,"' in content
    assert b"BootNotification" in content
    assert statuses(central_system, "DiagnosticsStatusNotification") == [("Uploading", None), ("Uploaded", None)]


@only_16
def test_diagnostics_over_ftp_fail_with_a_log_line(
    central_system: RecordingCentralSystem, station: SimulatedChargePoint, caplog: pytest.LogCaptureFixture
) -> None:
    ask(central_system, "GetDiagnostics", {"location": "ftp://al:5ecret@127.0.0.1/"})
    central_system.wait("DiagnosticsStatusNotification", status="UploadFailed")
    assert "SIM-1: cannot upload the log: the scheme 'ftp' is not supported; supported: http, https" in caplog.messages
    assert "5ecret" not in caplog.text


@only_16
def test_without_diagnostics_of_that_time_there_is_no_file(
    central_system: RecordingCentralSystem, station: SimulatedChargePoint, server: FileServer
) -> None:
    for times in ({"stopTime": PAST}, {"startTime": FUTURE}):
        assert ask(central_system, "GetDiagnostics", {"location": server.url("/"), **times}) == {}
    trigger: Any = {"requestedMessage": "DiagnosticsStatusNotification"}
    ask(central_system, "TriggerMessage", trigger)
    assert central_system.wait("DiagnosticsStatusNotification") == {"status": "Idle"}
    assert server.uploads.items == []


@only_16
def test_the_failed_upload_of_diagnostics_is_retried(
    central_system: RecordingCentralSystem, station: SimulatedChargePoint, server: FileServer
) -> None:
    server.statuses["/a"] = [500, 403]
    ask(central_system, "GetDiagnostics", {"location": server.url("/a"), "retries": 2, "retryInterval": 1})
    central_system.wait("DiagnosticsStatusNotification", status="Uploaded")
    assert [path for path, _, _ in server.uploads.items] == ["/a"] * 3


def test_a_log_is_uploaded(
    central_system: RecordingCentralSystem, station: SimulatedChargePoint, server: FileServer
) -> None:
    answer = get_log(central_system, server.url("/logs/"), 7)
    assert answer["status"] == "Accepted"
    central_system.wait("LogStatusNotification", status="Uploaded")
    ((path, _, content),) = server.uploads.items
    assert path == f"/logs/{answer['filename']}"
    assert b"BootNotification" in content
    assert statuses(central_system) == [("Uploading", 7), ("Uploaded", 7)]


def test_the_log_of_security_events_is_another(
    central_system: RecordingCentralSystem, station: SimulatedChargePoint, server: FileServer
) -> None:
    assert get_log(central_system, server.url("/a"), logType="SecurityLog")["status"] == "Accepted"
    central_system.wait("LogStatusNotification", status="Uploaded")
    ((_, _, content),) = server.uploads.items
    assert content.decode().split(" ", 1)[1] == "StartupOfTheDevice\n"


def test_a_log_that_is_not_there_is_rejected(
    central_system: RecordingCentralSystem, station: SimulatedChargePoint, server: FileServer, version: Any
) -> None:
    assert get_log(central_system, server.url("/a"), log={"latestTimestamp": PAST}) == {"status": "Rejected"}
    if version == "2.1":
        assert get_log(central_system, server.url("/a"), logType="DataCollectorLog") == {"status": "Rejected"}
    assert server.uploads.items == []


@pytest.mark.parametrize(
    ("http_status", "expected"),
    [(400, "BadMessage"), (401, "PermissionDenied"), (405, "NotSupportedOperation"), (500, "UploadFailure")],
)
def test_the_status_says_why_an_upload_failed(
    central_system: RecordingCentralSystem,
    station: SimulatedChargePoint,
    server: FileServer,
    http_status: int,
    expected: str,
) -> None:
    server.statuses["/a"] = [http_status]
    get_log(central_system, server.url("/a"))
    wait_until(lambda: statuses(central_system) == [("Uploading", 1), (expected, 1)])


def trigger(central_system: RecordingCentralSystem, version: Any) -> None:
    action: Any = "ExtendedTriggerMessage" if version == "1.6" else "TriggerMessage"
    assert ask(central_system, action, {"requestedMessage": "LogStatusNotification"}) == {"status": "Accepted"}


def test_a_second_request_cancels_the_first(
    central_system: RecordingCentralSystem, station: SimulatedChargePoint, server: FileServer, version: Any
) -> None:
    server.statuses["/a"] = [500]
    assert get_log(central_system, server.url("/a"), 1, retries=1, retryInterval=10**6)["status"] == "Accepted"
    wait_until(lambda: server.uploads.items)
    trigger(central_system, version)
    central_system.wait("LogStatusNotification", 2, status="Uploading", requestId=1)
    assert get_log(central_system, server.url("/b"), 2)["status"] == "AcceptedCanceled"
    central_system.wait("LogStatusNotification", status="Uploaded", requestId=2)
    # 2/201 N01.FR.20; W16 §6.19 does not have that status.
    expected = [] if version == "1.6" else [("AcceptedCanceled", 1)]
    assert [one for one in statuses(central_system) if one[0] == "AcceptedCanceled"] == expected
    trigger(central_system, version)
    assert central_system.wait("LogStatusNotification", status="Idle") == {"status": "Idle"}


def test_stop_ends_an_upload(
    central_system: RecordingCentralSystem, station: SimulatedChargePoint, server: FileServer
) -> None:
    server.statuses["/a"] = [500]
    get_log(central_system, server.url("/a"), retries=1, retryInterval=10**6)
    wait_until(lambda: server.uploads.items)
    job = station._features.uploads._jobs["LogStatusNotification"]
    station.stop()
    assert not job.alive


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("http://h", "http://h/a%20b.log"),
        ("http://h/d/?x=1", "http://h/d/a%20b.log?x=1"),
        ("http://h/d", "http://h/d"),
        ("http://[", "http://["),
    ],
)
def test_a_directory_gets_the_name_of_the_file(location: str, expected: str) -> None:
    assert with_file_name(location, "a b.log") == expected


def test_two_requests_start_one_after_the_other(
    central_system: RecordingCentralSystem, station: SimulatedChargePoint, server: FileServer
) -> None:
    uploads = station._features.uploads
    lock: Any = WatchedLock()
    uploads._lock = lock
    with lock:
        starting = lock.meanwhile(lambda: uploads._start("LogStatusNotification", "http://127.0.0.1/"))
        assert not starting.done()
    starting.result(DEADLINE)
