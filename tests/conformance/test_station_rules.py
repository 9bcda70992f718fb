"""What stations are held to: registration, availability, triggers, and the delivery of messages about transactions.

Each row is a requirement and a version; test_station_settings.py has those about settings, lists and meter values.
"""

from __future__ import annotations

from typing import Any

import pytest
from simulated import refuse
from station_bench import ALL, V2X, V16, Bench, Rule, Rules, bench
from support import BOOT, raw, serving, wait_until

from ocppsync import CallError, utc_now
from ocppsync.answers import CentralSystemAnswers

pytestmark = pytest.mark.slow

rule = Rules()


# The time.

BOOT_2X = {"reason": "PowerUp", "chargingStation": {"vendorName": "Acme", "model": "One"}}


@rule(ALL, "C16 §4.6", "G02.FR.03")
def a_repeated_heartbeat_gets_the_current_time(version: str) -> None:
    answers_with_the_current_time(version, "Heartbeat", {})


@rule(ALL, "C16 §4.2", "B01.FR.06")
def a_repeated_boot_gets_the_current_time(version: str) -> None:
    answers_with_the_current_time(version, "BootNotification", BOOT if version == "1.6" else BOOT_2X)


def answers_with_the_current_time(version: str, action: str, payload: Any) -> None:
    with (
        serving(CentralSystemAnswers(), protocols=[f"ocpp{version}"]) as cs,
        raw(cs, subprotocols=[f"ocpp{version}"]) as peer,
    ):
        first = peer.call("1", action, payload)[2]["currentTime"]
        wait_until(lambda: utc_now() > first)
        before = utc_now()
        again = peer.call("1", action, payload)
    assert again[:2] == [3, "1"]
    assert again[2]["currentTime"] >= before


# Registration.


def pending_until_triggered(here: Bench, interval: int) -> None:
    statuses = iter(["Pending"])
    here.answers["BootNotification"] = lambda payload: {
        **{"status": next(statuses, "Accepted"), "currentTime": utc_now()},
        "interval": interval if len(here.sent("BootNotification")) > 1 else 3600,
    }


@rule(ALL, "C16 §4.2 interval", "B01.FR.04")
def a_triggered_boot_starts_the_heartbeat_at_once(version: str) -> None:
    with bench(version, boot=False) as here:
        pending_until_triggered(here, interval=1)
        here.station.start()
        here.wait("BootNotification")
        wait_until(lambda: here.trigger("BootNotification") == "Accepted")
        here.wait("Heartbeat", 2)
        assert here.get("HeartbeatInterval") == "1"
        assert len(here.sent("BootNotification")) == 2
        assert here.trigger("BootNotification") == "Rejected"  # CE16 3.40, F06.FR.17


@rule(ALL, "CE16 3.22", "B01.FR.05")
def a_triggered_boot_wakes_the_scenario(version: str) -> None:
    with bench(version, boot=False, sessions=1) as here:
        pending_until_triggered(here, interval=300)
        here.station.start()
        here.wait("BootNotification")
        assert here.trigger("BootNotification") == "Accepted"
        here.wait_for_transaction()
        order = here.central_system.actions()
        assert order[:3] == ["BootNotification", "BootNotification", "StatusNotification"]
        assert here.statuses()[0] == "Available"


# Availability.


def while_preparing(here: Bench, act: Any) -> list[Any]:
    """Do something while the charge point waits for the answer to Authorize; return the results."""
    results: list[Any] = []

    def authorize() -> str:
        results.append(act())
        return "Accepted"

    here.answer_authorize(authorize)
    assert here.charge() is None
    return results


@rule(ALL, "C16 §5.2 Accepted", "G03.FR.04")
def accepted_while_preparing_means_that_no_transaction_begins(version: str) -> None:
    for connector_id in (0, 1):
        with bench(version) as here:
            results = while_preparing(here, lambda: here.change_availability("Inoperative", connector_id))  # noqa: B023
            assert results == ["Accepted"]
            assert here.begun() == []
            here.wait_for_status("Unavailable")
            assert here.statuses()[-1] == "Unavailable"
            assert here.charge() is None
            assert here.begun() == []


@rule(V16, "C16 §4.9")
def a_connector_takes_no_forbidden_way_to_unavailable(version: str) -> None:
    with bench(version) as here:
        while_preparing(here, lambda: here.change_availability("Inoperative", 1))
        assert here.statuses() == ["Available", "Preparing", "Finishing", "Unavailable"]


@rule(ALL, "C16 §5.2 Scheduled", "G03.FR.05")
@rule(V2X, "", "G04.FR.06")
def a_change_waits_from_the_very_start_of_a_transaction(version: str) -> None:
    statuses: list[str] = []
    for connector_id in (0, 1):
        with bench(version) as here:

            def change() -> str:
                statuses.append(here.change_availability("Inoperative", connector_id))  # noqa: B023
                return "Accepted"

            here.answer_to_start(change)
            session = here.charge()
            assert session is not None
            assert session.reason == "Local", "the transaction goes on"
            here.wait_for_status("Unavailable")
            assert len(here.ended()) == 1
            assert here.charge() is None
            assert len(here.begun()) == 1
    assert statuses == ["Scheduled"] * 2


@rule(ALL, "C16 §5.2 already", "G03.FR.03")
@rule(V2X, "", "G04.FR.04")
def a_change_to_the_present_state_is_accepted(version: str) -> None:
    with bench(version) as here:
        requests = [("Operative", 0), ("Operative", 1), ("Inoperative", 1), ("Inoperative", 1)]
        requests += [("Inoperative", 0), ("Inoperative", 0), ("Inoperative", 1), ("Operative", 0), ("Operative", 0)]
        assert [here.change_availability(*request) for request in requests] == ["Accepted"] * len(requests)
        assert here.change_availability("Operative", 1) == "Accepted"

        def change() -> str:
            assert here.change_availability("Operative", 1) == "Accepted", "also while a transaction runs"
            assert here.change_availability("Operative") == "Accepted"
            return "Accepted"

        here.answer_to_start(change)
        assert here.charge() is not None


@rule(ALL, "C16 §5.2 connector 0", "G04.FR.05")
@rule(V2X, "", "G04.FR.07")
def the_whole_charge_point_goes_out_of_service_and_back(version: str) -> None:
    with bench(version) as here:
        here.start()
        for kind, status in (("Inoperative", "Unavailable"), ("Operative", "Available")):
            assert here.change_availability(kind) == "Accepted"
            wait_until(lambda: here.statuses()[-1] == status)  # noqa: B023
            assert availability_states(here) == [status] * (2 if here.is_16 else 3)
        assert here.start_remotely() == "Accepted"


@rule(V16, "C16 §5.2 one connector")
@rule(V2X, "", "G03.FR.07")
def a_part_goes_out_of_service_alone(version: str) -> None:
    with bench(version) as here:
        assert here.change_availability("Inoperative", 1) == "Accepted"
        wait_until(lambda: here.statuses()[-1] == "Unavailable")
        rest = availability_states(here)[:-1]
        assert rest == ["Available"] * len(rest)
        assert here.change_availability("Operative", 1) == "Accepted"
        wait_until(lambda: here.statuses()[-1] == "Available")


def availability_states(here: Bench) -> list[str]:
    """Return the reported state of the charge point, (2.x) of the EVSE, and of the connector."""
    if here.is_16:
        reported = len(here.sent("StatusNotification"))
        assert here.trigger("StatusNotification") == "Accepted"
        here.wait("StatusNotification", reported + 2)
        return [here.statuses(0)[-1], here.statuses(1)[-1]]
    parts: list[Any] = [
        {"name": "ChargingStation"},
        {"name": "EVSE", "evse": {"id": 1}},
        {"name": "Connector", "evse": {"id": 1, "connectorId": 1}},
    ]
    wanted = [{"component": part, "variable": {"name": "AvailabilityState"}} for part in parts]
    results = here.ask("GetVariables", {"getVariableData": wanted})["getVariableResult"]
    return [result["attributeValue"] for result in results]


@rule(ALL, "C16 §5.2 persistent", "B01.FR.07")
@rule(V2X, "", "B11.FR.02")
def unavailability_persists_over_a_reset(version: str) -> None:
    for connector_id in (0, 1):
        with bench(version, boot=False) as here:
            here.start()
            assert here.change_availability("Inoperative", connector_id) == "Accepted"
            wait_until(lambda: here.statuses()[-1] == "Unavailable")
            reported = len(here.sent("StatusNotification"))
            assert here.reset() == "Accepted"
            here.wait("BootNotification", 2)
            here.wait("StatusNotification", reported + (2 if here.is_16 else 1))
            assert here.statuses()[-1] == "Unavailable"
            if here.is_16:
                assert here.statuses(0)[-1] == ("Available" if connector_id else "Unavailable")
            assert here.start_remotely() == "Rejected"


@rule(ALL, "C16 §5.2 reset", "B12.FR.06")
def a_scheduled_change_is_made_before_a_reset(version: str) -> None:
    with bench(version, boot=False, pace=4) as here:
        here.start()
        assert here.start_remotely() == "Accepted"
        here.wait_for_transaction()
        assert here.change_availability("Inoperative") == "Scheduled"
        here.status("Reset", {"type": "Hard" if here.is_16 else "Immediate"})
        here.wait("BootNotification", 2)
        wait_until(lambda: here.statuses()[-1] == "Unavailable")
        assert len(here.ended()) == 1


@rule(ALL, "C16 §5.2 unknown", "G03.FR.02")
def an_unknown_connector_is_refused(version: str) -> None:
    with bench(version) as here:
        assert here.change_availability("Inoperative", 2) == "Rejected"
        assert here.charge() is not None


@rule(ALL, "CE16 3.87", "F05.FR.03")
def the_charge_point_itself_has_no_lock_and_no_session(version: str) -> None:
    with bench(version, boot=False) as here:
        here.start()
        for connector_id in (0, 2):
            if here.is_16:
                assert here.status("UnlockConnector", {"connectorId": connector_id}) == "NotSupported"
                start: Any = {"idTag": "T", "connectorId": connector_id}
                assert here.status("RemoteStartTransaction", start) == "Rejected"
            else:
                where = {"evseId": connector_id, "connectorId": 1}
                assert here.status("UnlockConnector", where) == "UnknownConnector"
                token = {"idToken": "T", "type": "ISO14443"}
                start = {"idToken": token, "remoteStartId": 1, "evseId": connector_id}
                if connector_id:  # evseId is above 0: 2/201, RequestStartTransactionRequest
                    assert here.status("RequestStartTransaction", start) == "Rejected"
        assert here.begun() == []


# Triggers.


@rule(ALL, "C16 §5.17 irrelevant", "F06.FR.03")
def a_connector_that_does_not_matter_is_ignored(version: str) -> None:
    with bench(version) as here:
        for message in ("Heartbeat", "FirmwareStatusNotification"):
            assert here.trigger(message, 9) == "Accepted"
            here.wait(message)
        assert here.trigger("MeterValues", 9) == "Rejected"
        if here.is_16:
            assert here.trigger("StatusNotification", 9) == "Rejected"


@rule(V16, "C16 §5.17 absent")
@rule(V2X, "", "F06.FR.11")
def without_a_connector_the_message_is_sent_for_all(version: str) -> None:
    with bench(version) as here:
        number = "connectorId" if here.is_16 else "evseId"
        assert here.trigger("MeterValues") == "Accepted"
        here.wait("MeterValues", 2)
        assert [one[number] for one in here.sent("MeterValues")] == [0, 1]
        for connector_id in (0, 1):
            assert here.trigger("MeterValues", connector_id) == "Accepted"
            here.wait("MeterValues", 3 + connector_id)
        assert [one[number] for one in here.sent("MeterValues")] == [0, 1, 0, 1]
        before = len(here.sent("StatusNotification"))
        assert here.trigger("StatusNotification") == "Accepted"
        here.wait("StatusNotification", before + len(here.station._version_driver.connectors))
        assert {one["connectorId"] for one in here.sent("StatusNotification")[before:]} == (
            {0, 1} if here.is_16 else {1}
        )


@rule(ALL, "CE16 3.46", "F06.FR.06")
def triggered_meter_values_are_those_of_the_settings(version: str) -> None:
    with bench(version) as here:
        key = "MeterValuesSampledData" if here.is_16 else "MeterValuesAlignedData"
        assert here.set(key, "SoC,Voltage") == "Accepted"
        assert here.trigger("MeterValues", 1) == "Accepted"
        here.wait("MeterValues")
        assert here.periodic("Trigger") == [["SoC", "Voltage"]]
        assert here.set(key, "") == "Accepted"
        assert here.trigger("MeterValues", 1) == "Rejected", "there is nothing to send"


@rule(V2X, "", "F06.FR.07")
def a_triggered_event_has_the_charging_state(version: str) -> None:
    with bench(version, pace=5) as here:
        here.start()
        assert here.trigger("TransactionEvent") == "Rejected"
        assert here.set("MeterValuesSampledData", "SoC") == "Accepted"
        assert here.start_remotely() == "Accepted"
        here.wait_for_transaction()
        assert here.trigger("TransactionEvent", 1) == "Accepted"
        event = here.wait("TransactionEvent", triggerReason="Trigger")
        assert event["eventType"] == "Updated"
        assert event["transactionInfo"]["chargingState"] == "Charging"
        assert [one["measurand"] for one in event["meterValue"][0]["sampledValue"]] == ["SoC"]
        numbers = [one["seqNo"] for one in here.sent("TransactionEvent")]
        assert numbers == sorted(set(numbers))


@rule(V2X, "", "F06.FR.10")
def no_event_is_triggered_after_the_end_of_the_transaction(version: str) -> None:
    """What is Accepted has to be sent, and no event may be numbered after the one that ends the transaction."""
    with bench(version) as here:
        statuses: list[str] = []

        def event(payload: Any) -> Any:
            if payload["eventType"] == "Ended":
                # The event is made, and its answer is awaited: the transaction is over.
                statuses.append(here.trigger("TransactionEvent"))
            return {}

        here.answers["TransactionEvent"] = event
        assert here.charge() is not None
        assert statuses == ["Rejected"]
        assert here.sent("TransactionEvent")[-1]["eventType"] == "Ended"
        assert here.trigger("TransactionEvent") == "Rejected"


# Messages about transactions that the central system does not process.


def fail(times: int, code: str = "InternalError") -> Any:
    left = iter(range(times))

    def answer(payload: Any) -> Any:
        if next(left, None) is not None:
            raise CallError(code)
        return None

    return answer


def failing(here: Bench, which: str, times: int) -> None:
    """Let the central system refuse the first messages of a kind: Started, Updated or Ended."""
    refusal = fail(times)
    actions = {"Started": "StartTransaction", "Updated": "MeterValues", "Ended": "StopTransaction"}

    def answer(payload: Any) -> Any:
        if here.is_16 or payload["eventType"] == which:
            refusal(payload)
        return here.start_answer("Accepted") if "StartTransaction" in here.answers and which == "Started" else {}

    here.answers[actions[which] if here.is_16 else "TransactionEvent"] = answer


@rule(ALL, "C16 §3.7.1", "E13.FR.02")
def a_refused_message_is_sent_again(version: str) -> None:
    for which in ("Started", "Updated", "Ended"):
        with bench(version) as here:
            assert here.set("TransactionMessageRetryInterval", "1") == "Accepted"
            failing(here, which, times=2)
            session = here.charge(samples=1)
            assert session is not None
            assert session.reason == "Local"
            repeated = messages(here, which)
            assert len(repeated) >= 3
            assert repeated[0] == repeated[1] == repeated[2], "the message is the same, its seqNo too"
            assert (len(here.begun()), len(here.ended())) == (
                3 if which == "Started" else 1,
                3 if which == "Ended" else 1,
            )
            assert not here.station.answers.in_use


def messages(here: Bench, which: str) -> list[Any]:
    if not here.is_16:
        return [one for one in here.sent("TransactionEvent") if one["eventType"] == which]
    return here.sent({"Started": "StartTransaction", "Updated": "MeterValues", "Ended": "StopTransaction"}[which])


@rule(ALL, "C16 §3.7.1 wait", "E13.FR.03")
def each_wait_is_longer_than_the_one_before(version: str) -> None:
    waits: list[float] = []
    with bench(version) as here:
        here.set("TransactionMessageRetryInterval", "7")
        here.set("TransactionMessageAttempts", "4")
        delivery = here.station._version_driver._delivery
        wait = delivery._wait
        delivery._wait = lambda seconds: waits.append(seconds) or wait(seconds)  # type: ignore[func-returns-value]
        failing(here, "Ended", times=9)
        assert here.charge(samples=1) is not None
        assert len(here.ended()) == 4
    assert waits == [7, 14, 21]


@rule(ALL, "C16 §3.7.1 discard", "E13.FR.04")
def a_message_that_is_refused_to_the_end_is_discarded(version: str) -> None:
    for which in ("Updated", "Ended"):
        with bench(version) as here:
            here.set("TransactionMessageRetryInterval", "1")
            failing(here, which, times=3)
            assert here.charge(samples=2) is not None
            assert not here.station.answers.in_use, "the transaction is over"
            here.station.boot()
            assert len(here.ended()) == (3 if which == "Ended" else 1), "nothing is sent once more"
            assert here.charge(samples=1) is not None
            assert here.statuses()[-1] == "Available"


@rule(V2X, "", "E13.FR.04 Started")
def a_transaction_goes_on_without_its_first_event(version: str) -> None:
    with bench(version) as here:
        here.set("TransactionMessageRetryInterval", "1")
        failing(here, "Started", times=3)
        assert here.charge(samples=2) is not None
        assert [one["eventType"] for one in here.sent("TransactionEvent")][-1] == "Ended"


@rule(ALL, "J16 table 7", "B01.FR.10")
def a_security_error_makes_it_boot_before_it_sends_again(version: str) -> None:
    with bench(version, boot=False) as here:
        failing_once = fail(1, "SecurityError")

        def stop(payload: Any) -> Any:
            if here.is_16 or payload["eventType"] == "Ended":
                failing_once(payload)
            return {}

        here.answers["StopTransaction" if here.is_16 else "TransactionEvent"] = stop
        here.start()
        assert here.start_remotely() == "Accepted"
        here.wait("BootNotification", 2)
        wait_until(lambda: len(here.ended()) == 2)
        last = "StopTransaction" if here.is_16 else "TransactionEvent"
        order = [name for name in here.central_system.actions() if name in ("BootNotification", last)]
        assert order[-2:] == ["BootNotification", last]


@rule(V16, "CE16 3.36")
def a_refused_start_leaves_nothing_open(version: str) -> None:
    with bench(version) as here:
        here.set("TransactionMessageRetryInterval", "1")
        here.answers["StartTransaction"] = refuse("InternalError")
        with pytest.raises(Exception, match="InternalError"):
            here.charge()
        assert len(here.begun()) == 3
        assert not here.station.answers.in_use
        assert here.change_availability("Inoperative") == "Accepted"
        here.wait_for_status("Unavailable", 2)


@rule.parametrized
def test_rule(rule: Rule) -> None:
    rule.check(rule.version)
