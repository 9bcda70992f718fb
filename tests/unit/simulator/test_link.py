"""What the functions of a simulated charge point use of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ocppsync.answers import ChargePointAnswers
from ocppsync.errors import OCPPError
from ocppsync.rpc.requester import not_connected
from ocppsync.simulator.jobs import Job
from ocppsync.simulator.link import Link


def link(send: Callable[[Any, Any], Any], *, stopping: bool = False) -> Link:
    return Link(
        charge_point_id="SIM-1",
        is_16=True,
        pace=1000.0,
        state=ChargePointAnswers(),
        send=send,
        signal=lambda: None,
        wait_until=lambda job, predicate: True,
        is_busy=lambda: False,
        is_away=lambda: False,
        settle=lambda: None,
        restart=lambda version: None,
        is_stopping=lambda: stopping,
    )


class Waits(Job):
    """Waits only in name."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.seconds: list[float] = []

    def wait(self, seconds: float) -> bool:
        self.seconds.append(seconds)
        return self.cancelled


def fail(action: Any, payload: Any) -> Any:
    raise not_connected("charge_point", "s3cret", action)


def test_a_notification_that_fails_is_logged_without_its_content(caplog: pytest.LogCaptureFixture) -> None:
    link(fail).notify("Heartbeat", {})
    assert caplog.messages == ["SIM-1: cannot send Heartbeat: NotConnectedError"]
    link(fail, stopping=True).notify("Heartbeat", {})
    assert len(caplog.messages) == 1


def test_the_message_of_a_job_is_sent_until_it_has_arrived() -> None:
    sent: list[Any] = []

    def send(action: Any, payload: Any) -> Any:
        sent.append(payload)
        if len(sent) < 3:
            fail(action, payload)

    job = Waits("test-job", lambda job: None)
    link(send).report(job, "Heartbeat", {})
    assert sent == [{}, {}, {}]
    assert job.seconds == [0.001, 0.001], "it does not spin: a second at pace 1"


def test_the_message_of_a_job_that_is_refused_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    sent: list[Any] = []

    def send(action: Any, payload: Any) -> Any:
        sent.append(payload)
        raise OCPPError("no")

    link(send).report(Job("test-job", lambda job: None), "Heartbeat", {})
    assert (sent, caplog.messages) == ([{}], ["SIM-1: cannot send Heartbeat: OCPPError"])


def test_a_security_event_is_sent_and_kept() -> None:
    sent: list[Any] = []
    one = link(lambda action, payload: sent.append((action, payload["type"])))
    one.report_security_event("FirmwareUpdated")
    assert sent == [("SecurityEventNotification", "FirmwareUpdated")]
    assert one.messages.text(security=True).endswith(" FirmwareUpdated\n")


def test_pauses_follow_the_pace_and_end_with_the_job() -> None:
    one, job = link(fail), Job("test-job", lambda job: None)
    assert one.pause(job, 1) is False
    job.cancel()
    assert one.pause(job, 10**9) is True
    assert one.pause(job, 10**400) is True, "what a request says may be more than a float can hold"
    assert one.pause(job, -1) is True


def test_threads_have_names() -> None:
    assert link(fail).thread_name("upload") == "ocppsync-simulator-SIM-1-upload"
