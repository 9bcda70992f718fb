"""Peers that would take all handler threads, or all memory, if they could; and what keeps its order meanwhile."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from bystander import PATIENCE, Siege, besieged
from support import DEADLINE, Recorder, connected, serving
from wire import Peer

from ocppsync import ChargePoint, Limits, OCPPRequestError

BOOT = {"chargePointVendor": "Acme", "chargePointModel": "One"}
START = {"connectorId": 1, "idTag": "TAG", "meterStart": 0, "timestamp": "2026-01-01T00:00:00Z"}
METER_VALUES = {
    "connectorId": 1,
    "transactionId": 7,
    "meterValue": [{"timestamp": "2026-01-01T00:00:00Z", "sampledValue": [{"value": "1"}]}],
}


def call(peer: Peer, message_id: object, action: str, payload: Any) -> None:
    peer.send_text(json.dumps([2, str(message_id), action, payload]))


def answers(peer: Peer, count: int) -> dict[str, Any]:
    """Read until so many CALLs are answered; return the kind, or the error description, of each message id."""
    found: dict[str, Any] = {}
    while len(found) < count:
        message = json.loads(peer.read_text())
        if message[0] != 2:
            found[message[1]] = message[3] if message[0] == 4 else message[0]
    return found


# Handler threads.


def ask_after_boot(siege: Siege) -> Recorder:
    """After each BootNotification, ask the charge point for its configuration, as docs/threads.md does."""
    begun = Recorder()

    def configure(payload: Any, metadata: Any) -> None:
        begun(metadata.charge_point_id)
        with pytest.raises(OCPPRequestError):
            siege.cs.send_request(metadata.charge_point_id, "GetConfiguration", timeout=10 * DEADLINE)

    siege.cs.after("BootNotification")(configure)
    return begun


def test_a_charge_point_that_answers_nothing_keeps_no_thread_from_others(caplog: pytest.LogCaptureFixture) -> None:
    with besieged(caplog) as siege:
        begun = ask_after_boot(siege)
        with siege.attacker() as silent:
            for number in range(64):
                call(silent, number, "BootNotification", BOOT)
            assert answers(silent, 64) == {str(number): 3 for number in range(64)}
            begun.wait(3)
            siege.bystanders.serve_on(5)
            assert len(begun.items) == 3, "with the handler of its CALLs, four threads"
        siege.wait_gone()
        begun.wait(64)


def test_many_that_answer_nothing_leave_threads_to_the_others(caplog: pytest.LogCaptureFixture) -> None:
    with besieged(caplog) as siege:
        begun = ask_after_boot(siege)
        silent = [siege.attacker(f"attacker-{number}") for number in range(30)]
        for peer in silent:
            call(peer, 1, "BootNotification", BOOT)
            assert answers(peer, 1) == {"1": 3}
        begun.wait(12)
        siege.bystanders.serve_on(5)
        assert len(begun.items) == 12
        for peer in silent:
            peer.sock.close()
        begun.wait(30)


def test_connecting_again_and_again_gains_no_threads(caplog: pytest.LogCaptureFixture) -> None:
    begun, go_on = Recorder(), threading.Event()

    def transfer(payload: Any, metadata: Any) -> dict[str, str]:
        begun(payload["data"])
        assert go_on.wait(PATIENCE * 3)
        return {"status": "Accepted"}

    with besieged(caplog) as siege:
        siege.cs.on("DataTransfer")(transfer)
        for number in range(20):
            with siege.attacker() as peer:
                call(peer, number, "DataTransfer", {"vendorId": "v", "data": str(number)})
                begun.wait()
            siege.wait_gone()
            siege.events.items.clear()
        siege.bystanders.serve_on(5)
        assert begun.items == ["0"], "the others wait for their turn"
        go_on.set()
        assert begun.wait(20) == [str(number) for number in range(20)]


def test_listeners_that_hang_for_one_charge_point_keep_no_thread_from_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen, go_on = Recorder(), threading.Event()

    def listen(charge_point_id: str, status: str) -> None:
        if charge_point_id == "attacker":
            seen(status)
            assert go_on.wait(PATIENCE * 3)

    with besieged(caplog) as siege:
        siege.cs.add_connection_listener(listen)
        for _ in range(20):
            with siege.attacker() as peer:
                call(peer, 1, "Heartbeat", {})
                assert answers(peer, 1) == {"1": 3}
        siege.bystanders.serve_on(5)
        assert seen.items == ["connected"]
        go_on.set()
        seen.wait_until(lambda items: "disconnected" in items)
    assert seen.items[:2] == ["connected", "disconnected"]
    assert all(one != other for one, other in zip(seen.items, seen.items[1:], strict=False)), "they alternate"


def test_hooks_of_a_charge_point_leave_a_thread_to_its_calls() -> None:
    begun, go_on = Recorder(), threading.Event()
    with serving() as cs:
        events = connected(cs)
        point = ChargePoint("CP1", url=f"ws://127.0.0.1:{cs.port}")

        @point.on("TriggerMessage")
        def trigger(payload: Any, metadata: Any) -> dict[str, str]:
            return {"status": "Accepted"}

        @point.after("TriggerMessage")
        def after(payload: Any, metadata: Any) -> None:
            begun("hook")
            assert go_on.wait(PATIENCE * 3)

        with point:
            events.wait()
            for _ in range(10):
                cs.send_request("CP1", "TriggerMessage", {"requestedMessage": "Heartbeat"})
            assert begun.wait(3) == ["hook"] * 3
            go_on.set()
            begun.wait(10)


# Order.


def test_what_comes_over_a_new_connection_waits_for_what_came_over_the_last(caplog: pytest.LogCaptureFixture) -> None:
    done, go_on = Recorder(), threading.Event()

    def start(payload: Any, metadata: Any) -> dict[str, Any]:
        done("begins")
        assert go_on.wait(PATIENCE * 3)
        done("is written")
        return {"transactionId": 7, "idTagInfo": {"status": "Accepted"}}

    def meter_values(payload: Any, metadata: Any) -> dict[str, Any]:
        done("is metered")
        return {}

    with besieged(caplog) as siege:
        siege.cs.on("StartTransaction")(start)
        siege.cs.on("MeterValues")(meter_values)
        with siege.attacker("CP1") as first:
            call(first, 1, "StartTransaction", START)
            done.wait()
        siege.wait_gone("CP1")
        with siege.attacker("CP1") as second:
            call(second, 2, "MeterValues", METER_VALUES)
            call(second, 3, "Unknown", {})
            assert json.loads(second.read_text())[:2] == [4, "3"], "it is refused at once, so that the other was read"
            assert done.items == ["begins"]
            go_on.set()
            assert answers(second, 1) == {"2": 3}
        assert done.items == ["begins", "is written", "is metered"]


# Memory.


@pytest.mark.parametrize(
    ("characters", "most", "text"),
    [(1_000_000, 0, "the CALL is too large"), (100_000, 3, "too many CALLs are waiting")],
)
def test_large_calls_that_wait_take_no_more_memory_than_the_limit(
    caplog: pytest.LogCaptureFixture, characters: int, most: int, text: str
) -> None:
    begun, go_on = Recorder(), threading.Event()

    def transfer(payload: Any, metadata: Any) -> dict[str, str]:
        begun(payload["data"][:5])
        assert go_on.wait(PATIENCE * 3)
        return {"status": "Accepted"}

    data = [{}] * (characters // 3)
    with besieged(caplog, reject_invalid_requests=False) as siege:
        siege.cs.on("DataTransfer")(transfer)
        with siege.attacker() as peer:
            call(peer, "small", "DataTransfer", {"vendorId": "v", "data": "small"})
            begun.wait()
            for number in range(8):
                peer.send_text(f'[2,"{number}","DataTransfer",{{"vendorId":"v","data":[{"{}," * len(data)}1]}}]')
            refused = answers(peer, 8 - most)
            assert set(refused.values()) == {text}
            siege.bystanders.serve_on(5)
            go_on.set()
            assert set(answers(peer, most + 1).values()) == {3}


def test_all_peers_together_have_a_limit(caplog: pytest.LogCaptureFixture) -> None:
    begun, go_on = Recorder(), threading.Event()

    def transfer(payload: Any, metadata: Any) -> dict[str, str]:
        begun(metadata.charge_point_id)
        assert go_on.wait(PATIENCE * 3)
        return {"status": "Accepted"}

    big = {"vendorId": "v", "data": "x" * 100_000}
    limits = Limits(call_bytes_total=1_000_000)
    with besieged(caplog, reject_invalid_requests=False, limits=limits) as siege:
        siege.cs.on("DataTransfer")(transfer)
        peers = [siege.attacker(f"attacker-{number}") for number in range(4)]
        for peer in peers:
            call(peer, "first", "DataTransfer", {"vendorId": "v"})
        begun.wait(4)
        for peer in peers:
            for number in range(5):
                call(peer, number, "DataTransfer", big)
            call(peer, "last", "Unknown", {})
        waiting = 0
        for peer in peers:
            found = answers_until(peer, "last")
            assert set(found.values()) <= {"too many CALLs are waiting"}
            waiting += 5 - len(found)
        assert 9 <= waiting < 12, "a million bytes, and 16 KiB of each"
        go_on.set()
        for peer in peers:
            peer.sock.close()


def answers_until(peer: Peer, last: str) -> dict[str, Any]:
    """Read the answers before that to the CALL ``last``."""
    found: dict[str, Any] = {}
    while True:
        message = json.loads(peer.read_text())
        if message[1] == last:
            return found
        found[message[1]] = message[3] if message[0] == 4 else message[0]
