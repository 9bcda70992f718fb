"""The log that is uploaded: lines with times, without secrets, and not too many."""

from __future__ import annotations

from typing import Any

from support import DEADLINE, WatchedLock

from ocppsync.clock import milliseconds, now_ms
from ocppsync.events import Connected, MessageReceived, MessageSent
from ocppsync.simulator.message_log import MessageLog


def message(event: Any, text: str, kind: str = "CALL") -> Any:
    return event("SIM-1", "1.6", kind, "1", "ChangeConfiguration", text, None)


def test_messages_become_lines() -> None:
    log = MessageLog()
    assert log.text() == ""
    log(message(MessageSent, '[2,"1","Heartbeat",{}]'))
    log(message(MessageReceived, '[3,"1",{}]', "CALLRESULT"))
    log(Connected("SIM-1", "1.6", "ocpp1.6", "127.0.0.1"))  # type: ignore[call-arg]
    lines = [line.split(" ", 1) for line in log.text().splitlines()]
    assert [line for _, line in lines] == ['sent [2,"1","Heartbeat",{}]', 'received [3,"1",{}]']
    assert all(abs(milliseconds(moment) - now_ms()) < 10_000 for moment, _ in lines)


def test_secrets_are_masked() -> None:
    log = MessageLog()
    secret = '{"key":"AuthorizationKey","value":"5ecret"}'
    log(message(MessageReceived, f'[2,"1","ChangeConfiguration",{secret}]'))
    log(message(MessageSent, '[4,"1","PropertyConstraintViolation","5ecret is too short",{}]', "CALLERROR"))
    log(message(MessageReceived, '[2,"2","GetDiagnostics",{"location":"http://al:5ecret@127.0.0.1/logs"}]'))
    assert "5ecret" not in log.text()
    assert log.text().count("***") >= 2


def test_only_the_latest_lines_are_kept_and_long_ones_are_cut() -> None:
    log = MessageLog()
    for number in range(1001):
        log(message(MessageSent, f'[2,"{number}","Heartbeat",{{}}]'))
    log(message(MessageSent, f'[2,"x","DataTransfer",{{"vendorId":"a","data":"{"y" * 5000}"}}]'))
    lines = log.text().splitlines()
    assert len(lines) == 1000
    assert '"2"' in lines[0]
    assert len(lines[-1]) < 2100


def test_times_choose_lines() -> None:
    log = MessageLog()
    log(message(MessageSent, '[2,"1","Heartbeat",{}]'))
    moment = milliseconds(log.text().split(" ", 1)[0])
    assert log.text(oldest=moment, latest=moment)
    assert not log.text(oldest=moment + 1)
    assert not log.text(latest=moment - 1)


def test_security_events_are_apart() -> None:
    log = MessageLog()
    log.add_security_event("StartupOfTheDevice")
    assert log.text() == ""
    assert log.text(security=True).endswith(" StartupOfTheDevice\n")


def test_reading_and_writing_exclude_each_other() -> None:
    log = MessageLog()
    lock: Any = WatchedLock()
    log._lock = lock
    with lock:
        writing = lock.meanwhile(lambda: log.add_security_event("StartupOfTheDevice"))
        assert not writing.done()
    writing.result(DEADLINE)
    with lock:
        reading = lock.meanwhile(lambda: log.text(security=True))
        assert not reading.done()
    assert "StartupOfTheDevice" in reading.result(DEADLINE)
