"""The answers of both ends: valid for every message of every version."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from payloads import full, minimal

from ocppsync import Headers, HttpRequest, Request, RequestMetadata
from ocppsync.answers import CentralSystemAnswers, ChargePointAnswers, ChargingStationAnswers
from ocppsync.validation.catalogue import catalogue
from ocppsync.validation.validators import validator

VERSIONS = ("1.6", "2.0.1", "2.1")
METADATA = RequestMetadata("CP1", "1.6", HttpRequest("GET", "/CP1", "", Headers(), ("127.0.0.1", 1)), "1")


def sent_by(role: Any) -> list[tuple[str, str]]:
    every = [(catalogue(version), action) for version in VERSIONS for action in catalogue(version).actions]
    return [(messages.version, action) for messages, action in every if messages.may_send(role, action)]


def ask(answers: Any, action: str, payload: Any, version: str = "1.6") -> Any:
    answer = answers(Request(action, payload, version), METADATA)
    if not catalogue(version).is_send(action):
        assert validator(version).check(action, "response", answer) is None
    return answer


@pytest.mark.parametrize(
    ("version", "of_stations", "of_central_systems"), [("1.6", 14, 26), ("2.0.1", 25, 40), ("2.1", 37, 55)]
)
def test_every_message_of_the_specification_is_covered(version: str, of_stations: int, of_central_systems: int) -> None:
    assert [known for known, _ in sent_by("charge_point")].count(version) == of_stations
    assert [known for known, _ in sent_by("central_system")].count(version) == of_central_systems


# The central system.


@pytest.mark.parametrize(("version", "action"), sent_by("charge_point"))
@pytest.mark.parametrize("payload", [minimal, full])
def test_every_message_of_a_charge_point_gets_a_valid_answer(version: str, action: str, payload: Any) -> None:
    assert ask(CentralSystemAnswers(), action, payload(version, action, "request"), version) is not None


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("action", "status"),
    [("BootNotification", "Accepted"), ("DataTransfer", "UnknownVendorId"), ("SignCertificate", "Rejected")],
)
def test_the_central_system_accepts_or_declines(version: str, action: str, status: str) -> None:
    assert ask(CentralSystemAnswers(), action, minimal(version, action, "request"), version)["status"] == status


@pytest.mark.parametrize("version", VERSIONS)
def test_the_answer_to_a_boot_has_the_interval(version: str) -> None:
    assert ask(CentralSystemAnswers(interval=60), "BootNotification", {}, version)["interval"] == 60


@pytest.mark.parametrize("version", VERSIONS[1:])
def test_id_token_info_answers_an_id_token_only(version: str) -> None:
    event, answers = minimal(version, "TransactionEvent", "request"), CentralSystemAnswers()
    assert ask(answers, "TransactionEvent", event, version) == {}
    token = {"idToken": "X", "type": "Central"}
    answer = ask(answers, "TransactionEvent", {**event, "idToken": token}, version)
    assert answer == {"idTokenInfo": {"status": "Accepted"}}
    assert ask(answers, "Authorize", {"idToken": token}, version) == answer
    contract = ask(answers, "Authorize", {"idToken": token, "certificate": "PEM"}, version)
    assert contract == {**answer, "certificateStatus": "Accepted"}


def test_requests_to_a_certificate_authority_or_tax_office_are_declined() -> None:
    answers = CentralSystemAnswers()
    requested = minimal("2.1", "GetCertificateChainStatus", "request")
    chain = ask(answers, "GetCertificateChainStatus", requested, "2.1")["certificateStatus"]
    hashes = [entry["certificateHashData"] for entry in requested["certificateStatusRequests"]]
    assert [(entry["certificateHashData"], entry["status"]) for entry in chain] == [(hashes[0], "Failed")]
    number = {"vatNumber": "DE1", "evseId": 1}
    assert ask(answers, "VatNumberValidation", number, "2.1") == {**number, "status": "Rejected"}


def test_id_tag_info_answers_a_stop_with_an_id_tag_only() -> None:
    stop = minimal("1.6", "StopTransaction", "request")
    assert ask(CentralSystemAnswers(), "StopTransaction", stop) == {}
    answer = ask(CentralSystemAnswers(), "StopTransaction", {**stop, "idTag": "X"})
    assert answer == {"idTagInfo": {"status": "Accepted"}}


def test_transaction_ids_are_unique_across_threads() -> None:
    answers = CentralSystemAnswers(first_transaction_id=100)
    ids: list[int] = []

    def start_many() -> None:
        ids.extend(ask(answers, "StartTransaction", {})["transactionId"] for _ in range(50))

    threads = [threading.Thread(target=start_many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ids) == list(range(100, 300))


def test_an_unknown_action_has_no_answer() -> None:
    assert ChargePointAnswers()(Request("Foo", {}), METADATA) is None
    assert ChargingStationAnswers()(Request("Foo", {}, "2.1"), METADATA) is None
    for version in VERSIONS:
        assert CentralSystemAnswers()(Request("Foo", {}, version), METADATA) is None
    assert CentralSystemAnswers()(Request("BatterySwap", {}, "2.0.1"), METADATA) is None
    assert CentralSystemAnswers()(Request("StartTransaction", {}, "2.0.1"), METADATA) is None


# The charge point, of any version.


@pytest.mark.parametrize(("version", "action"), sent_by("central_system"))
@pytest.mark.parametrize("payload", [minimal, full])
def test_every_message_of_a_central_system_gets_a_valid_answer(version: str, action: str, payload: Any) -> None:
    answers: Any = ChargePointAnswers() if version == "1.6" else ChargingStationAnswers()
    answers.attended = True
    assert ask(answers, action, payload(version, action, "request"), version) is not None


# The charge point of 1.6.


@pytest.fixture
def answers() -> ChargePointAnswers:
    answers = ChargePointAnswers()
    answers.attended = True
    return answers


def test_the_configuration_is_returned_whole_or_by_key(answers: ChargePointAnswers) -> None:
    everything = ask(answers, "GetConfiguration", {})
    assert len(everything["configurationKey"]) == len(answers.configuration)
    assert "unknownKey" not in everything
    assert ask(answers, "GetConfiguration", {"key": ["numberofCONNECTORS", "Nonsense"]}) == {
        "configurationKey": [{"key": "NumberOfConnectors", "readonly": True, "value": "1"}],
        "unknownKey": ["Nonsense"],
    }
    assert ask(answers, "GetConfiguration", {"key": ["Nonsense"]}) == {"unknownKey": ["Nonsense"]}


@pytest.mark.parametrize(
    ("key", "value", "status"),
    [
        ("HeartbeatInterval", "60", "Accepted"),
        ("heartbeatinterval", "60", "Accepted"),
        ("HeartbeatInterval", "-60", "Rejected"),
        ("HeartbeatInterval", "soon", "Rejected"),
        ("LocalPreAuthorize", "TRUE", "Accepted"),
        ("LocalPreAuthorize", "1", "Rejected"),
        ("ConnectorPhaseRotation", "1.RTS", "Accepted"),
        ("ConnectorPhaseRotation", "2.RTS", "Rejected"),
        ("HeartbeatInterval", "2147483648", "Rejected"),
        ("MeterValueSampleInterval", "0", "Accepted"),
        ("MeterValueSampleInterval", "-1", "Rejected"),
        ("MeterValuesSampledData", "Voltage, SoC", "Accepted"),
        ("MeterValuesSampledData", "", "Accepted"),
        ("MeterValuesSampledData", "Voltage,Frequency", "Rejected"),
        ("MeterValuesAlignedData", "Nonsense", "Rejected"),
        ("StopTxnAlignedData", "Nonsense", "Rejected"),
        ("StopTxnSampledData", "Voltage.L1-N", "Rejected"),
        ("StopTransactionOnInvalidId", "false", "Accepted"),
        ("NumberOfConnectors", "2", "Rejected"),
        ("Nonsense", "1", "NotSupported"),
    ],
)
def test_a_setting_accepts_values_of_its_type(answers: ChargePointAnswers, key: str, value: str, status: str) -> None:
    before = {name: setting.value for name, setting in answers.configuration.items()}
    assert ask(answers, "ChangeConfiguration", {"key": key, "value": value}) == {"status": status}
    after = {name: setting.value for name, setting in answers.configuration.items()}
    assert after == ({**before, key.casefold(): value} if status == "Accepted" else before)


@pytest.mark.parametrize(
    ("state", "payload", "status"),
    [
        ({}, {"idTag": "X"}, "Accepted"),
        ({}, {"idTag": "X", "connectorId": 1}, "Accepted"),
        ({}, {"idTag": "X", "connectorId": 2}, "Rejected"),
        ({"transaction_id": 7}, {"idTag": "X"}, "Rejected"),
        ({"operative": False}, {"idTag": "X"}, "Rejected"),
        ({"attended": False}, {"idTag": "X"}, "Rejected"),
    ],
)
def test_a_remote_start_requires_a_free_connector(
    answers: ChargePointAnswers, state: dict[str, Any], payload: Any, status: str
) -> None:
    for name, value in state.items():
        setattr(answers, name, value)
    assert ask(answers, "RemoteStartTransaction", payload) == {"status": status}


def test_a_remote_stop_requires_the_running_transaction(answers: ChargePointAnswers) -> None:
    assert ask(answers, "RemoteStopTransaction", {"transactionId": 7}) == {"status": "Rejected"}
    answers.transaction_id = 7
    assert ask(answers, "RemoteStopTransaction", {"transactionId": 8}) == {"status": "Rejected"}
    assert ask(answers, "RemoteStopTransaction", {"transactionId": 7}) == {"status": "Accepted"}


def test_a_reset_requires_an_attended_charge_point(answers: ChargePointAnswers) -> None:
    assert ask(answers, "Reset", {"type": "Soft"}) == {"status": "Accepted"}
    answers.attended = False
    assert ask(answers, "Reset", {"type": "Soft"}) == {"status": "Rejected"}


def test_a_change_of_availability_waits_for_the_transaction(answers: ChargePointAnswers) -> None:
    down, up = {"connectorId": 0, "type": "Inoperative"}, {"connectorId": 1, "type": "Operative"}
    assert answers.begin_transaction()
    assert ask(answers, "ChangeAvailability", down) == {"status": "Scheduled"}
    assert ask(answers, "ChangeAvailability", up) == {"status": "Accepted"}, "it is so already"
    assert ask(answers, "ChangeAvailability", {**up, "connectorId": 2}) == {"status": "Rejected"}
    assert answers.operative
    answers.end_transaction()
    assert not answers.operative
    assert not answers.begin_transaction()
    assert ask(answers, "ChangeAvailability", down) == {"status": "Accepted"}
    assert ask(answers, "ChangeAvailability", up) == {"status": "Rejected"}, "the charge point is out of service"
    assert ask(answers, "ChangeAvailability", {**up, "connectorId": 0}) == {"status": "Accepted"}
    assert answers.operative


def test_a_scheduled_change_can_be_taken_back(answers: ChargePointAnswers) -> None:
    assert answers.begin_transaction()
    for kind, status in (("Inoperative", "Scheduled"), ("Operative", "Accepted")):
        assert ask(answers, "ChangeAvailability", {"connectorId": 1, "type": kind}) == {"status": status}
    answers.end_transaction()
    assert answers.operative


def test_connector_0_stands_for_all_connectors(answers: ChargePointAnswers) -> None:
    for connector_id, kind, operative in (
        (1, "Inoperative", False),
        (0, "Operative", True),
        (0, "Inoperative", False),
        (0, "Operative", True),
    ):
        request = {"connectorId": connector_id, "type": kind}
        assert ask(answers, "ChangeAvailability", request) == {"status": "Accepted"}
        assert answers.operative is operative


def test_the_local_list_is_stored_with_its_version(answers: ChargePointAnswers) -> None:
    def send(version: int, kind: str, *tags: str) -> Any:
        entries = [{"idTag": tag, "idTagInfo": {"status": "Accepted"}} for tag in tags]
        request = {"listVersion": version, "updateType": kind, "localAuthorizationList": entries}
        return ask(answers, "SendLocalList", request)["status"]

    def version() -> Any:
        return ask(answers, "GetLocalListVersion", {})["listVersion"]

    assert version() == 0
    assert (send(0, "Full", "A"), send(-1, "Full", "A"), version()) == ("Failed", "Failed", 0)
    assert (send(5, "Full", "A"), version()) == ("Accepted", 5)
    assert (send(5, "Differential", "B"), version()) == ("VersionMismatch", 5)
    assert (send(6, "Differential", "B"), version(), len(answers.local_list)) == ("Accepted", 6, 2)
    assert (send(2, "Full", "C"), version(), len(answers.local_list)) == ("Accepted", 2, 1)
    answers.configuration["localauthlistenabled"].value = "false"
    assert (send(7, "Full", "D"), version(), len(answers.local_list)) == ("NotSupported", 0, 1)
    answers.configuration["localauthlistenabled"].value = "true"
    assert (version(), send(3, "Full"), version()) == (2, "Accepted", 0), "an empty list has the version 0"
    answers.configuration["supportedfeatureprofiles"].value = "Core,RemoteTrigger"
    assert (send(7, "Full", "D"), version()) == ("NotSupported", -1)


def test_the_cache_is_cleared_if_there_is_one(answers: ChargePointAnswers) -> None:
    answers.learn(("x",), {"status": "Accepted"})
    assert len(answers.cache) == 1
    answers.configuration["authorizationcacheenabled"].value = "false"
    assert ask(answers, "ClearCache", {}) == {"status": "Rejected"}
    answers.configuration["authorizationcacheenabled"].value = "true"
    assert ask(answers, "ClearCache", {}) == {"status": "Accepted"}
    assert len(answers.cache) == 0


@pytest.mark.parametrize(
    ("action", "payload", "status"),
    [
        ("TriggerMessage", {"requestedMessage": "MeterValues", "connectorId": 1}, "Accepted"),
        ("TriggerMessage", {"requestedMessage": "MeterValues", "connectorId": 9}, "Rejected"),
        ("TriggerMessage", {"requestedMessage": "MeterValues", "connectorId": 0}, "Accepted"),
        ("TriggerMessage", {"requestedMessage": "StatusNotification", "connectorId": 2}, "Rejected"),
        ("TriggerMessage", {"requestedMessage": "BootNotification"}, "Accepted"),
        ("TriggerMessage", {"requestedMessage": "BootNotification", "connectorId": 9}, "Accepted"),
        ("TriggerMessage", {"requestedMessage": "Heartbeat", "connectorId": 9}, "Accepted"),
        ("ExtendedTriggerMessage", {"requestedMessage": "LogStatusNotification", "connectorId": 9}, "Accepted"),
        ("ExtendedTriggerMessage", {"requestedMessage": "SignChargePointCertificate"}, "NotImplemented"),
        ("UnlockConnector", {"connectorId": 1}, "Unlocked"),
        ("UnlockConnector", {"connectorId": 2}, "NotSupported"),
    ],
)
def test_missing_functions_are_declined(answers: ChargePointAnswers, action: str, payload: Any, status: str) -> None:
    assert ask(answers, action, payload) == {"status": status}


def test_a_registered_charge_point_rejects_a_trigger_of_its_boot(answers: ChargePointAnswers) -> None:
    answers.registered = True
    assert ask(answers, "TriggerMessage", {"requestedMessage": "BootNotification"}) == {"status": "Rejected"}


def test_overrides_replace_answers() -> None:
    answers = ChargePointAnswers({"ClearCache": {"status": "Rejected"}})
    assert ask(answers, "ClearCache", {}) == {"status": "Rejected"}
    assert ask(answers, "GetLocalListVersion", {}) == {"listVersion": 0}
