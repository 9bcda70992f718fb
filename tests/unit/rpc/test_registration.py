"""Who may send what before BootNotification was accepted: both ends, all versions (C16 §4.2; 2/201 B01-B03)."""

from __future__ import annotations

from typing import Any

import pytest

from ocppsync.rpc.registration import CentralSystemPolicy, ChargePointPolicy, MessagePolicy, Registration

ACCEPTED = {"status": "Accepted"}
ODD: list[Any] = [None, [], "Accepted", 5, {}, {"status": None}, {"status": []}, {"status": {}}, {"status": "accepted"}]


def registered(status: str) -> Registration:
    registration = Registration()
    if status != "unknown":
        registration.on_boot_response({"status": status.capitalize()})
    assert registration.status == status
    return registration


@pytest.mark.parametrize("status", ["unknown", "pending", "rejected", "accepted"])
@pytest.mark.parametrize("answer", ODD)
def test_an_answer_that_is_none_changes_nothing(status: str, answer: Any) -> None:
    registration = registered(status)
    registration.on_boot_response(answer)
    assert registration.status == status


@pytest.mark.parametrize(
    "payload", [None, [], "x", {}, {"requestedMessage": None}, {"requestedMessage": ["Heartbeat"]}]
)
@pytest.mark.parametrize("answer", [*ODD, ACCEPTED])
def test_an_odd_trigger_brings_nothing(payload: Any, answer: Any) -> None:
    registration = registered("pending")
    registration.on_trigger_accepted("TriggerMessage", payload, answer)
    assert not registration.was_asked_for("Heartbeat")


STATUSES = ["unknown", "pending", "rejected", "accepted"]
VERSIONS = ["1.6", "2.0.1", "2.1"]


# The table: what the central system lets a station send.


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("action", ["Heartbeat", "StatusNotification", "NotifyPeriodicEventStream", "NotifyReport"])
def test_what_the_central_system_takes(status: str, action: str) -> None:
    gate = CentralSystemPolicy(registered(status))
    assert gate.decide_inbound(action) == ("refuse" if status in ("pending", "rejected") else "handle")
    assert gate.decide_inbound("BootNotification") == "handle"
    assert gate.outbound_error(action) is None, "what the central system sends is its own affair"


# ... what a station may send ...


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("status", "objection"),
    [
        ("unknown", "the BootNotification was not sent, and nothing else may be sent before it is accepted"),
        ("pending", "the BootNotification is pending, and nothing else may be sent before it is accepted"),
        ("rejected", "the BootNotification is rejected, and nothing else may be sent before it is accepted"),
        ("accepted", None),
    ],
)
def test_what_a_station_may_send(version: str, status: str, objection: str | None) -> None:
    gate = ChargePointPolicy(registered(status), version)
    assert gate.outbound_error("Heartbeat") == objection
    assert gate.outbound_error("BootNotification") is None


# ... and what it does about what the central system sends.

HANDLED, SECURITY, REJECTED, SILENCE = "handle", "refuse", "reject", "ignore"


@pytest.mark.parametrize(
    ("version", "action", "pending", "rejected"),
    [
        ("1.6", "GetConfiguration", HANDLED, SILENCE),
        ("1.6", "TriggerMessage", HANDLED, SILENCE),
        ("1.6", "DataTransfer", HANDLED, SILENCE),
        ("1.6", "RemoteStartTransaction", SECURITY, SILENCE),
        ("1.6", "RemoteStopTransaction", SECURITY, SILENCE),
        *(
            (version, action, ruling, SECURITY)
            for version in ("2.0.1", "2.1")
            for action, ruling in {
                "GetVariables": HANDLED,
                "SetVariables": HANDLED,
                "GetBaseReport": HANDLED,
                "GetReport": HANDLED,
                "TriggerMessage": HANDLED,
                "CertificateSigned": HANDLED,
                "RequestStartTransaction": REJECTED,
                "RequestStopTransaction": REJECTED,
                "Reset": HANDLED,
                "DataTransfer": HANDLED,
                "InstallCertificate": HANDLED,
                "SetNetworkProfile": HANDLED,
            }.items()
        ),
    ],
)
def test_what_a_station_does_about_a_call(version: str, action: str, pending: str, rejected: str) -> None:
    for status, ruling in {"unknown": HANDLED, "pending": pending, "rejected": rejected, "accepted": HANDLED}.items():
        assert ChargePointPolicy(registered(status), version).decide_inbound(action) == ruling


# What a trigger brings.


def central_system(status: str) -> Any:
    gate = CentralSystemPolicy(registered(status))
    return (
        gate.on_answer,
        lambda action: gate.decide_inbound(action) == "handle",
        lambda answer: gate.before_answer(*boot(answer)),
    )


def station(status: str) -> Any:
    gate = ChargePointPolicy(registered(status), "2.1")
    return (
        gate.before_answer,
        lambda action: gate.outbound_error(action) is None,
        lambda answer: gate.on_answer(*boot(answer)),
    )


def boot(answer: Any) -> tuple[str, Any, Any]:
    return "BootNotification", {}, answer


BOTH = pytest.mark.parametrize("end", [central_system, station])
TRIGGERS = [
    ("TriggerMessage", {"requestedMessage": "Heartbeat"}, ["Heartbeat"]),
    ("TriggerMessage", {"requestedMessage": "StatusNotification", "connectorId": 1}, ["StatusNotification"]),
    ("TriggerMessage", {"requestedMessage": "SignChargingStationCertificate"}, ["SignCertificate"]),
    ("TriggerMessage", {"requestedMessage": "SignV2GCertificate"}, ["SignCertificate"]),
    ("TriggerMessage", {"requestedMessage": "SignV2G20Certificate"}, ["SignCertificate"]),
    ("TriggerMessage", {"requestedMessage": "SignCombinedCertificate"}, ["SignCertificate"]),
    ("ExtendedTriggerMessage", {"requestedMessage": "SignChargePointCertificate"}, ["SignCertificate"]),
    ("ExtendedTriggerMessage", {"requestedMessage": "LogStatusNotification"}, ["LogStatusNotification"]),
    (
        "ExtendedTriggerMessage",
        {"requestedMessage": "FirmwareStatusNotification"},
        ["FirmwareStatusNotification", "SignedFirmwareStatusNotification"],
    ),
    ("GetBaseReport", {"requestId": 1, "reportBase": "FullInventory"}, ["NotifyReport"]),
    ("GetReport", {"requestId": 1}, ["NotifyReport"]),
]


@BOTH
@pytest.mark.parametrize(("action", "payload", "brought"), TRIGGERS)
def test_a_trigger_brings_its_message_until_the_next_boot(
    end: Any, action: str, payload: Any, brought: list[str]
) -> None:
    asked, passes, on_boot_response = end("pending")
    assert not any(passes(message) for message in brought)
    asked(action, payload, {"status": "Accepted"})
    assert all(passes(message) for message in brought)
    assert not passes("MeterValues"), "nothing else"
    on_boot_response({"status": "Pending"})
    assert not any(passes(message) for message in brought)
    on_boot_response({"status": "Accepted"})
    assert passes("MeterValues")


@BOTH
def test_a_vendors_trigger_may_bring_anything(end: Any) -> None:
    asked, passes, on_boot_response = end("pending")
    asked("TriggerMessage", {"requestedMessage": "CustomTrigger", "customTrigger": "x"}, {"status": "Accepted"})
    asked("TriggerMessage", {"requestedMessage": "Heartbeat"}, {"status": "Accepted"})
    assert passes("MeterValues")
    on_boot_response({"status": "Pending"})
    assert not passes("MeterValues")


@BOTH
def test_triggers_add_up(end: Any) -> None:
    asked, passes, _ = end("pending")
    for message in ("Heartbeat", "MeterValues"):
        asked("TriggerMessage", {"requestedMessage": message}, {"status": "Accepted"})
    assert passes("Heartbeat")
    assert passes("MeterValues")


@BOTH
@pytest.mark.parametrize("status", ["Rejected", "NotImplemented", "NotSupported", None])
def test_a_trigger_that_was_turned_down_brings_nothing(end: Any, status: Any) -> None:
    asked, passes, _ = end("pending")
    for action, payload, brought in TRIGGERS:
        asked(action, payload, {"status": status})
        assert not any(passes(message) for message in brought)


@BOTH
@pytest.mark.parametrize("action", ["GetMonitoringReport", "Reset", "GetLog", "BootNotification"])
def test_no_other_request_brings_anything(end: Any, action: str) -> None:
    asked, passes, _ = end("pending")
    asked(action, {"requestedMessage": "Heartbeat"}, {"status": "Accepted"})
    assert not passes("Heartbeat")
    assert not passes("NotifyReport")


def test_a_rejected_station_sends_nothing_but_the_central_system_takes_what_it_asked_for() -> None:
    asked, passes, _ = central_system("rejected")
    asked("TriggerMessage", {"requestedMessage": "Heartbeat"}, {"status": "Accepted"})
    assert passes("Heartbeat")
    asked, passes, _ = station("rejected")
    asked("TriggerMessage", {"requestedMessage": "Heartbeat"}, {"status": "Accepted"})
    assert not passes("Heartbeat")


@pytest.mark.parametrize("status", ["unknown", "accepted"])
def test_what_was_triggered_before_a_boot_is_not_remembered_after_it(status: str) -> None:
    asked, passes, on_boot_response = central_system(status)
    asked("TriggerMessage", {"requestedMessage": "Heartbeat"}, {"status": "Accepted"})
    on_boot_response({"status": "Pending"})
    assert not passes("Heartbeat")


def test_the_answer_to_anything_else_is_no_boot() -> None:
    registration = registered("pending")
    CentralSystemPolicy(registration).before_answer("DataTransfer", {}, {"status": "Accepted"})
    ChargePointPolicy(registration, "1.6").on_answer("DataTransfer", {}, {"status": "Accepted"})
    assert registration.status == "pending"


def test_an_open_gate_lets_everything_through() -> None:
    gate = MessagePolicy()
    gate.before_answer("BootNotification", {}, {"status": "Rejected"})
    gate.on_answer("BootNotification", {}, {"status": "Rejected"})
    assert gate.decide_inbound("Heartbeat") == "handle"
    assert gate.outbound_error("Heartbeat") is None


def test_it_shows_its_state() -> None:
    assert repr(registered("pending")) == "<Registration pending>"
    assert [registered(status).restricted for status in STATUSES] == [False, True, True, False]
