"""The catalogue knows the messages of each version, and reads nothing before it is asked."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from ocppsync.catalogue import SUBPROTOCOLS, Catalogue, Kind, catalogue, closest, unknown_action


@pytest.fixture
def messages() -> Catalogue:
    return catalogue("1.6")


def test_counts_of_1_6(messages: Catalogue) -> None:
    initiators = [messages.initiator(action) for action in messages.actions]
    blocks = [messages.block(action) for action in messages.actions]
    assert len(messages.actions) == 39
    assert {who: initiators.count(who) for who in ("station", "csms", "both")} == {"station": 13, "csms": 25, "both": 1}
    assert blocks.count("Security ext.") == 11
    assert messages.version == "1.6"
    assert repr(messages) == "<Catalogue of OCPP 1.6: 39 actions>"


@pytest.mark.parametrize(
    ("action", "block", "charge_point", "central_system"),
    [
        ("BootNotification", "Core", True, False),
        ("Reset", "Core", False, True),
        ("DataTransfer", "Core", True, True),
        ("SetChargingProfile", "SmartCharging", False, True),
        ("SignCertificate", "Security ext.", True, False),
    ],
)
def test_who_may_send(messages: Catalogue, action: str, block: str, charge_point: bool, central_system: bool) -> None:
    assert messages.known(action)
    assert messages.block(action) == block
    assert messages.may_send("charge_point", action) is charge_point
    assert messages.may_send("central_system", action) is central_system


@pytest.mark.parametrize("action", ["Rest", "reset", "", "TransactionEvent", "GetInstalledCertificateIDs"])
def test_unknown_actions(messages: Catalogue, action: str) -> None:
    assert not messages.known(action)
    assert not messages.may_send("charge_point", action)
    assert not messages.may_send("central_system", action)
    with pytest.raises(KeyError):
        messages.initiator(action)
    with pytest.raises(KeyError):
        messages.block(action)
    with pytest.raises(KeyError):
        messages.schema(action, "request")


@pytest.mark.parametrize(("kind", "required"), [("request", ["connectorId", "meterValue"]), ("response", None)])
def test_schema_stands_alone(messages: Catalogue, kind: Kind, required: list[str] | None) -> None:
    schema = messages.schema("MeterValues", kind)
    assert schema["type"] == "object"
    assert schema.get("required") == required
    assert schema["$defs"] == messages.definitions
    assert "SampledValue" in messages.definitions


def test_subprotocols() -> None:
    assert SUBPROTOCOLS == {"ocpp1.6": "1.6", "ocpp2.0.1": "2.0.1", "ocpp2.1": "2.1"}
    assert [catalogue(version).version for version in SUBPROTOCOLS.values()] == ["1.6", "2.0.1", "2.1"]


@pytest.mark.parametrize("version", ["1.5", "", "ocpp1.6", "../ocpp16"])
def test_unknown_version(version: str) -> None:
    with pytest.raises(ValueError, match=r"known versions are 1\.6"):
        catalogue(version)


@pytest.mark.parametrize(
    ("action", "text"),
    [
        ("Rest", "OCPP 1.6 has no action 'Rest'; did you mean 'Reset'?"),
        ("HEARTBEAT", "OCPP 1.6 has no action 'HEARTBEAT'; did you mean 'Heartbeat'?"),
        ("Fly", "OCPP 1.6 has no action 'Fly'"),
        ("a\nb", "OCPP 1.6 has no action 'a\\nb'"),
    ],
)
def test_text_for_an_unknown_action(action: str, text: str) -> None:
    assert unknown_action("1.6", action) == text


def test_text_for_a_long_unknown_action_is_short() -> None:
    assert len(unknown_action("1.6", "BootNotification" * 100_000)) < 150


@pytest.mark.parametrize(
    ("word", "nearest"),
    [("kwh", "kWh"), ("Kwh", "kWh"), ("WH", "Wh"), ("Celsuis", "Celsius"), ("zzz", None), ("", None)],
)
def test_closest(word: str, nearest: str | None) -> None:
    assert closest(word, ["Wh", "kWh", "Celsius"]) == nearest


def test_first_use_by_many_threads_at_once() -> None:
    catalogue.cache_clear()
    barrier = threading.Barrier(8)

    def first_use() -> int:
        barrier.wait(timeout=10)
        return len(catalogue("1.6").actions)

    with ThreadPoolExecutor(8) as pool:
        counts = [future.result(timeout=30) for future in [pool.submit(first_use) for _ in range(8)]]
    assert counts == [39] * 8
    assert catalogue("1.6") is catalogue("1.6")


def test_importing_reads_no_schema() -> None:
    script = """
import sys
opened = []
sys.addaudithook(lambda event, arguments: event == "open" and opened.append(str(arguments[0])))
from ocppsync.catalogue import catalogue
before = [name for name in opened if name.endswith(".json")]
catalogue("1.6")
after = [name for name in opened if name.endswith(".json")]
catalogue("1.6")
again = [name for name in opened if name.endswith(".json")]
print(len(before), len(after), len(again))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["0", "1", "1"]
