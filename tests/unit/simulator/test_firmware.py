"""Firmware updates of the simulator, from a real HTTP server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from certificates import Authority, Certificate, sign
from file_server import FileServer, Gate, file_server
from simulated import RecordingCentralSystem, simulated
from support import DEADLINE, WatchedLock, wait_until

from ocppsync.clock import as_text, now_ms
from ocppsync.simulator import SimulatedChargePoint, signatures
from ocppsync.simulator.firmware import Update, version_in
from ocppsync.simulator.jobs import Job
from ocppsync.simulator.transfers import Download

pytestmark = pytest.mark.slow

PAST = "2020-01-01T00:00:00Z"
FIRMWARE = b"2.0\nand the rest"


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server() as server:
        server.files["/fw"] = FIRMWARE
        yield server


@pytest.fixture
def waiting(central_system: RecordingCentralSystem, version: Any) -> Iterator[SimulatedChargePoint]:
    """A charge point with a scenario that charges only on request."""
    with simulated(central_system, version=version, sessions=0, pace=50) as station:
        station.start()
        central_system.wait("StatusNotification", 2 if version == "1.6" else 1)
        yield station


class CSMS:
    """Updates firmware as a central system does it, in the shape of each version."""

    def __init__(self, central_system: RecordingCentralSystem, version: Any) -> None:
        self.central_system = central_system
        self.is_16 = version == "1.6"

    def ask(self, action: Any, payload: Any) -> Any:
        return self.central_system.cs.send_request("SIM-1", action, payload)

    def update(self, location: str, request_id: int = 1, retrieve: str = PAST, **fields: Any) -> Any:
        if self.is_16:
            return self.ask("UpdateFirmware", {"location": location, "retrieveDate": retrieve, **fields})
        return self.secure_update(location, request_id, retrieve=retrieve, **fields)

    def secure_update(self, location: str, request_id: int = 1, retrieve: str = PAST, **fields: Any) -> Any:
        names = ("signingCertificate", "signature", "installDateTime")
        extra = {name: fields.pop(name) for name in names if name in fields}
        firmware = {"location": location, "retrieveDateTime": retrieve, **extra}
        action = "SignedUpdateFirmware" if self.is_16 else "UpdateFirmware"
        return self.ask(action, {"requestId": request_id, "firmware": firmware, **fields})

    def statuses(self, *, secure: bool = False, request_id: int | None = None) -> list[str]:
        action = "SignedFirmwareStatusNotification" if secure and self.is_16 else "FirmwareStatusNotification"
        payloads = self.central_system.payloads(action)
        return [one["status"] for one in payloads if request_id in (None, one.get("requestId"))]

    def wait_for(self, *statuses: str, **options: Any) -> None:
        wait_until(lambda: self.statuses(**options) == list(statuses))

    def known(self, *statuses: str) -> list[str]:
        """Return the statuses that the plain message of the version has."""
        new = {"DownloadScheduled", "InstallRebooting", "InstallScheduled", "InstallVerificationFailed"}
        return [one for one in statuses if not self.is_16 or one not in new]

    def trigger(self) -> None:
        assert self.ask("TriggerMessage", {"requestedMessage": "FirmwareStatusNotification"}) == {"status": "Accepted"}

    def security_events(self) -> list[str]:
        return [payload["type"] for payload in self.central_system.payloads("SecurityEventNotification")]


@pytest.fixture
def csms(central_system: RecordingCentralSystem, version: Any) -> CSMS:
    return CSMS(central_system, version)


def check_boot(central_system: RecordingCentralSystem, csms: CSMS) -> None:
    """Check that it booted with the new firmware, before it said so."""
    boots = central_system.payloads("BootNotification")
    station = [boot if csms.is_16 else boot["chargingStation"] for boot in boots]
    assert [one["firmwareVersion"] for one in station] == ["1.0", "2.0"]
    if not csms.is_16:
        assert [boot["reason"] for boot in boots] == ["PowerUp", "FirmwareUpdate"]
    calls = [(action, payload.get("status")) for action, payload in central_system.calls.items]
    later = calls[calls.index(("FirmwareStatusNotification", "Installing")) :]
    assert later.index(("BootNotification", None)) < later.index(("FirmwareStatusNotification", "Installed"))


STEPS = ("Downloading", "Downloaded", "Installing", "InstallRebooting", "Installed")


@pytest.mark.parametrize("scenario", [False, True])
def test_firmware_is_downloaded_and_installed(
    central_system: RecordingCentralSystem, csms: CSMS, server: FileServer, version: Any, scenario: bool
) -> None:
    with simulated(central_system, version=version, sessions=0) as station:
        if scenario:
            station.start()
            central_system.wait("StatusNotification", 2 if csms.is_16 else 1)
        else:
            station.boot()
        assert csms.update(server.url("/fw")) == ({} if csms.is_16 else {"status": "Accepted"})
        csms.wait_for(*csms.known(*STEPS))
        check_boot(central_system, csms)
        key = "status" if csms.is_16 else "connectorStatus"
        states = [payload[key] for payload in central_system.payloads("StatusNotification")]
        assert "Unavailable" in states
        wait_until(lambda: central_system.payloads("StatusNotification")[-1][key] == "Available")
        csms.trigger()
        central_system.wait("FirmwareStatusNotification", status="Idle")
    assert server.requests.items == [("GET", "/fw")]


def test_a_failed_download_is_retried(csms: CSMS, station: SimulatedChargePoint, server: FileServer) -> None:
    server.statuses["/fw"] = [500, 404]
    csms.update(server.url("/fw"), retries=2, retryInterval=1)
    csms.wait_for("Downloading", "Downloading", *csms.known(*STEPS))


def test_a_download_fails_in_the_end(
    csms: CSMS, station: SimulatedChargePoint, server: FileServer, caplog: pytest.LogCaptureFixture
) -> None:
    csms.update(server.url("/missing"), retries=1, retryInterval=0)
    csms.wait_for("Downloading", "Downloading", "DownloadFailed")
    assert "SIM-1: cannot download the firmware: the server answered 404, not 200" in caplog.messages
    csms.trigger()
    # 2/201 L01.FR.26: the last status; C16 §7.25: nothing is in progress.
    csms.wait_for("Downloading", "Downloading", "DownloadFailed", "Idle" if csms.is_16 else "DownloadFailed")


def test_another_scheme_fails(csms: CSMS, station: SimulatedChargePoint, caplog: pytest.LogCaptureFixture) -> None:
    csms.update("ftp://127.0.0.1/fw")
    csms.wait_for("Downloading", "DownloadFailed")
    assert any("the scheme 'ftp' is not supported" in line for line in caplog.messages)


@pytest.mark.parametrize(("content", "failure"), [(b"\x00\x01", "InstallationFailed"), (b"", None)])
def test_what_is_no_firmware_is_not_installed(
    csms: CSMS,
    station: SimulatedChargePoint,
    server: FileServer,
    central_system: RecordingCentralSystem,
    content: bytes,
    failure: str | None,
) -> None:
    server.files["/fw"] = content
    csms.update(server.url("/fw"))
    failure = failure or ("InstallationFailed" if csms.is_16 else "InstallVerificationFailed")
    csms.wait_for("Downloading", "Downloaded", "Installing", failure)
    key = "status" if csms.is_16 else "connectorStatus"
    wait_until(lambda: central_system.payloads("StatusNotification")[-1][key] == "Available")
    assert central_system.actions().count("BootNotification") == 1
    assert station.charge(samples=1) is not None


def test_it_waits_for_the_date(csms: CSMS, station: SimulatedChargePoint, server: FileServer) -> None:
    moment = now_ms() + 1500
    csms.update(server.url("/fw"), retrieve=as_text(moment))
    csms.wait_for(*csms.known("DownloadScheduled", *STEPS))
    assert now_ms() >= moment


@pytest.mark.parametrize("version", ["2.0.1", "2.1"], indirect=True)
def test_it_installs_at_the_date(csms: CSMS, station: SimulatedChargePoint, server: FileServer) -> None:
    moment = now_ms() + 1500
    csms.update(server.url("/fw"), installDateTime=as_text(moment))
    csms.wait_for("Downloading", "Downloaded", "InstallScheduled", *STEPS[2:])
    assert now_ms() >= moment


def start_remotely(csms: CSMS) -> Any:
    if csms.is_16:
        return csms.ask("RemoteStartTransaction", {"idTag": "APP"})["status"]
    token = {"idToken": "APP", "type": "Central"}
    return csms.ask("RequestStartTransaction", {"idToken": token, "remoteStartId": 1})["status"]


def test_it_installs_after_the_transaction(
    csms: CSMS, waiting: SimulatedChargePoint, server: FileServer, central_system: RecordingCentralSystem
) -> None:
    came = threading.Event()

    def firmware_status(payload: Any) -> Any:
        if payload["status"] == ("Downloaded" if csms.is_16 else "InstallScheduled"):
            came.set()
        return {}

    def end(payload: Any) -> Any:
        # The transaction lasts until then.
        assert payload.get("eventType", "Ended") != "Ended" or came.wait(DEADLINE)
        return {}

    central_system.answers["FirmwareStatusNotification"] = firmware_status
    central_system.answers["StopTransaction" if csms.is_16 else "TransactionEvent"] = end
    assert start_remotely(csms) == "Accepted"
    wait_until(lambda: waiting.answers.transaction_id is not None)
    csms.update(server.url("/fw"))
    csms.wait_for(*csms.known("Downloading", "Downloaded", "InstallScheduled", *STEPS[2:]))
    actions = [
        (action, payload.get("status") or payload.get("eventType")) for action, payload in central_system.calls.items
    ]
    ended = ("StopTransaction", None) if csms.is_16 else ("TransactionEvent", "Ended")
    assert actions.index(ended) < actions.index(("FirmwareStatusNotification", "Installing"))


def test_no_session_begins_during_the_installation(
    csms: CSMS, station: SimulatedChargePoint, server: FileServer, central_system: RecordingCentralSystem
) -> None:
    began, go_on = threading.Event(), threading.Event()

    def answer(payload: Any) -> Any:
        if payload["status"] == "Installing":
            began.set()
            assert go_on.wait(DEADLINE)
        return {}

    central_system.answers["FirmwareStatusNotification"] = answer
    csms.update(server.url("/fw"))
    assert began.wait(DEADLINE)
    station.answers.attended = True
    assert start_remotely(csms) == "Rejected"
    assert station.charge(samples=1) is None
    go_on.set()
    wait_until(lambda: "Installed" in csms.statuses())
    assert station.charge(samples=1) is not None


@pytest.mark.parametrize("version", ["2.0.1", "2.1"], indirect=True)
def test_a_second_request_cancels_the_first(
    csms: CSMS, station: SimulatedChargePoint, server: FileServer, central_system: RecordingCentralSystem
) -> None:
    gate = Gate()
    server.files["/slow"] = gate
    assert csms.update(server.url("/slow"), 1) == {"status": "Accepted"}
    assert gate.reached.wait(DEADLINE)
    csms.trigger()
    central_system.wait("FirmwareStatusNotification", 2, status="Downloading", requestId=1)
    assert csms.update(server.url("/fw"), 2) == {"status": "AcceptedCanceled"}
    csms.wait_for(*STEPS, request_id=2)
    assert csms.statuses(request_id=1) == ["Downloading"] * 2
    assert gate.opened.wait(DEADLINE)


@pytest.mark.parametrize("version", ["1.6"], indirect=True)
def test_in_16_a_second_request_replaces_the_first(
    csms: CSMS, station: SimulatedChargePoint, server: FileServer
) -> None:
    gate = Gate()
    server.files["/slow"] = gate
    csms.update(server.url("/slow"))
    assert gate.reached.wait(DEADLINE)
    csms.update(server.url("/fw"))
    csms.wait_for("Downloading", "Downloading", "Downloaded", "Installing", "Installed")


def test_what_is_being_installed_cannot_be_cancelled(
    csms: CSMS, station: SimulatedChargePoint, server: FileServer, central_system: RecordingCentralSystem
) -> None:
    answers: list[Any] = []

    def answer(payload: Any) -> Any:
        if payload["status"] == "Installing":
            answers.append(csms.update(server.url("/other"), 2))
        return {}

    central_system.answers["FirmwareStatusNotification"] = answer
    csms.update(server.url("/fw"))
    csms.wait_for(*csms.known(*STEPS))
    assert answers == [{} if csms.is_16 else {"status": "Rejected"}]
    assert server.requests.items == [("GET", "/fw")]


def test_stop_ends_a_download(csms: CSMS, station: SimulatedChargePoint, server: FileServer) -> None:
    gate = Gate()
    server.files["/slow"] = gate
    csms.update(server.url("/slow"))
    assert gate.reached.wait(DEADLINE)
    job = station._features.firmware._job
    station.stop()
    assert job is not None
    assert not job.alive
    assert gate.opened.wait(DEADLINE)


def test_stop_ends_the_wait_for_the_date(csms: CSMS, station: SimulatedChargePoint, server: FileServer) -> None:
    csms.update(server.url("/fw"), retrieve="2099-01-01T00:00:00Z")
    wait_until(lambda: station._features.firmware._job is not None)
    job = station._features.firmware._job
    station.stop()
    assert job is not None
    assert not job.alive
    assert server.requests.items == []


# Signed firmware.


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Authority(tmp_path_factory.mktemp("firmware")).issue("Manufacturer", kind="rsa")


def test_signed_firmware_is_checked(
    csms: CSMS, station: SimulatedChargePoint, server: FileServer, signer: Certificate
) -> None:
    pem = signer.certificate.read_text()
    answer = csms.secure_update(server.url("/fw"), 5, signingCertificate=pem, signature=sign(signer.key, FIRMWARE))
    assert answer == {"status": "Accepted"}
    csms.wait_for("Downloading", "Downloaded", "SignatureVerified", *STEPS[2:], secure=True, request_id=5)
    wait_until(lambda: csms.security_events() == ["FirmwareUpdated"])


def test_another_signature_is_refused(
    csms: CSMS, station: SimulatedChargePoint, server: FileServer, signer: Certificate
) -> None:
    pem = signer.certificate.read_text()
    csms.secure_update(server.url("/fw"), 5, signingCertificate=pem, signature=sign(signer.key, b"other"))
    csms.wait_for("Downloading", "Downloaded", "InvalidSignature", secure=True, request_id=5)
    wait_until(lambda: csms.security_events() == ["InvalidFirmwareSignature"])


@pytest.mark.parametrize("version", ["2.0.1", "2.1"], indirect=True)
def test_a_missing_signature_is_refused(
    csms: CSMS, station: SimulatedChargePoint, server: FileServer, signer: Certificate
) -> None:
    csms.secure_update(server.url("/fw"), signingCertificate=signer.certificate.read_text())
    csms.wait_for("Downloading", "Downloaded", "InvalidSignature")


def test_a_bad_certificate_is_refused(csms: CSMS, station: SimulatedChargePoint, server: FileServer) -> None:
    answer = csms.secure_update(server.url("/fw"), signingCertificate="no PEM", signature="eA==")
    assert answer == {"status": "InvalidCertificate"}
    wait_until(lambda: csms.security_events() == ["InvalidFirmwareSigningCertificate"])
    assert server.requests.items == []


@pytest.mark.parametrize("version", ["2.0.1", "2.1"], indirect=True)
def test_a_signature_without_a_certificate_is_refused(csms: CSMS, station: SimulatedChargePoint) -> None:
    assert csms.secure_update("http://127.0.0.1/fw", signature="eA==") == {"status": "InvalidCertificate"}


def test_without_cryptography_signed_firmware_is_rejected(
    csms: CSMS,
    station: SimulatedChargePoint,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(signatures, "can_check", lambda: False)
    answer = csms.secure_update("http://127.0.0.1/fw", signingCertificate="PEM", signature="eA==")
    assert answer == {"status": "Rejected"}
    assert "SIM-1: cannot check signatures: the package cryptography is missing" in caplog.messages


@pytest.mark.parametrize("version", ["1.6"], indirect=True)
def test_in_16_the_extended_trigger_asks_about_the_signed_update(
    csms: CSMS,
    station: SimulatedChargePoint,
    server: FileServer,
    central_system: RecordingCentralSystem,
    signer: Certificate,
) -> None:
    gate = Gate()
    server.files["/slow"] = gate
    pem = signer.certificate.read_text()
    csms.secure_update(server.url("/slow"), 5, signingCertificate=pem, signature="eA==")
    assert gate.reached.wait(DEADLINE)
    payload = {"requestedMessage": "FirmwareStatusNotification"}
    csms.ask("ExtendedTriggerMessage", payload)
    central_system.wait("SignedFirmwareStatusNotification", 2, status="Downloading", requestId=5)
    csms.trigger()
    assert central_system.wait("FirmwareStatusNotification") == {"status": "Idle"}
    station.stop()


@pytest.mark.parametrize(
    ("head", "version"),
    [
        (b"2.0", "2.0"),
        (b"2.0-rc 1\r\nrest", "2.0-rc 1"),
        (b"x" * 50 + b"\n", "x" * 50),
        (b"x" * 51, None),
        (b"\n2.0", None),
        (b"", None),
        ("2.0é".encode(), None),
        (b"2\x1b[0m\n", None),
    ],
)
def test_the_first_line_is_the_version(head: bytes, version: str | None) -> None:
    assert version_in(Download(len(head), head, b"")) == version


# Threads that meet.


def test_an_update_that_is_cancelled_just_before_its_installation_is_not_installed(
    csms: CSMS, station: SimulatedChargePoint
) -> None:
    updates = station._features.firmware
    update = Update("http://127.0.0.1/fw", 0, None, 0, 0, "FirmwareStatusNotification", None if csms.is_16 else 1)
    job = Job("test-job", lambda job: None)
    job.cancel()
    updates._install(job, update, Download(3, b"2.0", b""))
    assert csms.statuses() == []
    assert not updates._committed


def test_two_requests_start_one_after_the_other(csms: CSMS, station: SimulatedChargePoint, server: FileServer) -> None:
    updates = station._features.firmware
    lock: Any = WatchedLock()
    updates._lock = lock
    number = None if csms.is_16 else 1
    update = Update(server.url("/fw"), 0, None, 0, 0, "FirmwareStatusNotification", number)
    with lock:
        starting = lock.meanwhile(lambda: updates._start(update))
        assert not starting.done()
    starting.result(DEADLINE)
    wait_until(lambda: csms.statuses()[-1:] == ["Installed"])


# What comes between.


@pytest.mark.parametrize("between", ["line", "reset"])
@pytest.mark.parametrize("status", ["Downloading", "Downloaded", "Installing"])
def test_no_status_is_lost_if_something_comes_between(
    csms: CSMS,
    central_system: RecordingCentralSystem,
    waiting: SimulatedChargePoint,
    server: FileServer,
    version: Any,
    status: str,
    between: str,
) -> None:
    reset = {"type": "Soft" if csms.is_16 else "Immediate"}
    done: list[None] = []

    def interrupt(payload: Any) -> Any:
        if payload["status"] == status and not done:
            done.append(None)
            if between == "line":
                central_system.cs.close_connection("SIM-1")
            else:
                assert csms.ask("Reset", reset) == {"status": "Accepted"}
        return {}

    central_system.answers["FirmwareStatusNotification"] = interrupt
    csms.update(server.url("/fw"))
    wait_until(lambda: "Installed" in csms.statuses())
    last = [] if csms.is_16 else ["InstallRebooting"]
    assert list(dict.fromkeys(csms.statuses())) == ["Downloading", "Downloaded", "Installing", *last, "Installed"]
    # Installed follows the boot with the new firmware.
    actions = central_system.calls.items
    first = next(n for n, (_, payload) in enumerate(actions) if payload.get("status") == "Installed")
    boots = [str(payload) for action, payload in actions[:first] if action == "BootNotification"]
    assert "2.0" in boots[-1]
    assert boots[-1].count("FirmwareUpdate") == (0 if csms.is_16 else 1)
