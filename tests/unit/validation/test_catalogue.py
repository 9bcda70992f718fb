"""The messages of each version, and the lazy reading of the bundles."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import payloads
import pytest
from jsonschema import Draft202012Validator

from ocppsync import action_names, message_schema
from ocppsync.validation.catalogue import (
    SUBPROTOCOLS,
    Catalogue,
    Kind,
    Version,
    _read,
    catalogue,
    closest,
    unknown_action,
)


@pytest.fixture
def messages() -> Catalogue:
    return catalogue("1.6")


def test_counts_of_1_6(messages: Catalogue) -> None:
    initiators = [messages.initiator(action) for action in messages.actions]
    blocks = [messages.block(action) for action in messages.actions]
    assert len(messages.actions) == 39
    assert {initiator: initiators.count(initiator) for initiator in ("station", "csms", "both")} == {
        "station": 13,
        "csms": 25,
        "both": 1,
    }
    assert blocks.count("Security ext.") == 11
    assert messages.version == "1.6"
    assert repr(messages) == "<Catalogue of OCPP 1.6: 39 actions>"


@pytest.mark.parametrize(
    ("version", "station", "csms", "blocks"),
    [
        ("2.0.1", 24, 39, {"Security": 3, "Transactions": 2, "Diagnostics": 11, "Data Transfer": 1}),
        (
            "2.1",
            36,
            54,
            {"Security": 3, "Tariff and Cost": 5, "Diagnostics": 16, "DER Control": 6, "Battery Swapping": 2},
        ),
    ],
)
def test_counts_of_2_x(version: Version, station: int, csms: int, blocks: dict[str, int]) -> None:
    messages = catalogue(version)
    initiators = [messages.initiator(action) for action in messages.actions]
    assert {initiator: initiators.count(initiator) for initiator in ("station", "csms", "both")} == {
        "station": station,
        "csms": csms,
        "both": 1,
    }
    found = [messages.block(action) for action in messages.actions]
    assert {block: found.count(block) for block in blocks} == blocks
    assert messages.version == version


def test_2_1_has_the_actions_of_2_0_1_and_27_more() -> None:
    old, new = catalogue("2.0.1"), catalogue("2.1")
    assert set(old.actions) < set(new.actions)
    assert len(new.actions) - len(old.actions) == 27
    assert all(old.initiator(action) == new.initiator(action) for action in old.actions)
    assert all(old.block(action) == new.block(action) for action in old.actions)


def test_only_2_1_has_a_send() -> None:
    sends = [(version, action) for version in SUBPROTOCOLS.values() for action in sent(catalogue(version))]
    assert sends == [("2.1", "NotifyPeriodicEventStream")]
    messages = catalogue("2.1")
    assert messages.may_send("charge_point", "NotifyPeriodicEventStream")
    assert not messages.may_send("central_system", "NotifyPeriodicEventStream")
    assert messages.schema("NotifyPeriodicEventStream", "request")["type"] == "object"
    with pytest.raises(KeyError):
        messages.schema("NotifyPeriodicEventStream", "response")


def sent(messages: Catalogue) -> list[str]:
    return [action for action in messages.actions if messages.is_send(action)]


def schemas(messages: Catalogue) -> list[Mapping[str, Any]]:
    requests = [messages.schema(action, "request") for action in messages.actions]
    answered = [action for action in messages.actions if not messages.is_send(action)]
    return requests + [messages.schema(action, "response") for action in answered]


@pytest.mark.parametrize("version", ["2.0.1", "2.1"])
def test_every_class_of_2_x_accepts_custom_data(version: Version) -> None:
    messages = catalogue(version)
    classes = schemas(messages)
    classes += [part for name, part in messages.definitions.items() if part["type"] == "object"]
    closed = [part for part in classes if part.get("additionalProperties") is False]
    assert all(part["properties"]["customData"] == {"$ref": "#/$defs/CustomDataType"} for part in closed)
    # Except for one, which is open.
    assert [part for part in classes if part not in closed] == [messages.definitions["CustomDataType"]]


@pytest.mark.parametrize("version", SUBPROTOCOLS.values())
def test_every_shared_type_exists_and_is_used(version: Version) -> None:
    messages = catalogue(version)
    text = json.dumps(schemas(messages))
    assert set(re.findall(r'"#/\$defs/(\w+)"', text)) == set(messages.definitions)


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
def test_permitted_senders(
    messages: Catalogue, action: str, block: str, charge_point: bool, central_system: bool
) -> None:
    assert messages.known(action)
    assert messages.block(action) == block
    assert messages.may_send("charge_point", action) is charge_point
    assert messages.may_send("central_system", action) is central_system


@pytest.mark.parametrize("action", ["Rest", "reset", "", "TransactionEvent", "GetInstalledCertificateIDs"])
def test_unknown_actions(messages: Catalogue, action: str) -> None:
    assert not messages.known(action)
    assert not messages.is_send(action)
    assert not messages.may_send("charge_point", action)
    assert not messages.may_send("central_system", action)
    with pytest.raises(KeyError):
        messages.initiator(action)
    with pytest.raises(KeyError):
        messages.block(action)
    with pytest.raises(KeyError):
        messages.schema(action, "request")


@pytest.mark.parametrize(("kind", "required"), [("request", ["connectorId", "meterValue"]), ("response", None)])
def test_a_schema_has_the_shared_types(messages: Catalogue, kind: Kind, required: list[str] | None) -> None:
    schema = messages.schema("MeterValues", kind)
    assert schema["type"] == "object"
    assert schema.get("required") == required
    assert schema["$defs"] == messages.definitions
    assert "SampledValue" in messages.definitions


def test_subprotocols() -> None:
    assert SUBPROTOCOLS == {"ocpp1.6": "1.6", "ocpp2.0.1": "2.0.1", "ocpp2.1": "2.1"}
    assert [catalogue(version).version for version in SUBPROTOCOLS.values()] == ["1.6", "2.0.1", "2.1"]


@pytest.mark.parametrize("version", ["1.5", "2.0", "", "ocpp1.6", "../ocpp16"])
def test_unknown_version(version: str) -> None:
    with pytest.raises(ValueError, match=r"; supported: 1\.6, 2\.0\.1, 2\.1$"):
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
    assert unknown_action([catalogue("1.6")], action) == text


def test_text_for_a_long_unknown_action_is_short() -> None:
    assert len(unknown_action([catalogue("1.6")], "BootNotification" * 100_000)) < 150


def test_text_for_an_action_unknown_in_every_version() -> None:
    known = [catalogue(version) for version in ("1.6", "2.0.1", "2.1")]
    text = "OCPP 1.6, 2.0.1 and 2.1 have no action 'TransactonEvent'; did you mean 'TransactionEvent'?"
    assert unknown_action(known, "TransactonEvent") == text


@pytest.mark.parametrize(
    ("word", "nearest"),
    [("kwh", "kWh"), ("Kwh", "kWh"), ("WH", "Wh"), ("Celsuis", "Celsius"), ("zzz", None), ("", None)],
)
def test_closest(word: str, nearest: str | None) -> None:
    assert closest(word, ["Wh", "kWh", "Celsius"]) == nearest


def test_first_use_by_many_threads_at_once() -> None:
    _read.cache_clear()
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
from ocppsync.validation.catalogue import catalogue
before = [name for name in opened if name.endswith(".json")]
catalogue("1.6")
after = [name for name in opened if name.endswith(".json")]
catalogue("1.6")
again = [name for name in opened if name.endswith(".json")]
print(len(before), len(after), len(again))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["0", "1", "1"]


def test_the_bundle_of_an_unused_version_is_not_read() -> None:
    script = """
import pathlib, sys
opened = []
sys.addaudithook(lambda event, arguments: event == "open" and opened.append(pathlib.Path(str(arguments[0])).name))
import ocppsync
from ocppsync.validation.validators import validator
validator("1.6").validate("Reset", "request", {"type": "Soft"})
assert validator("1.6").check("Reset", "request", {}) is not None
print(*(name for name in opened if name.startswith("ocpp") and name.endswith(".json")))
validator("2.1").validate("Reset", "request", {"type": "OnIdle"})
print(*(name for name in opened if name.startswith("ocpp") and name.endswith(".json")))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines() == ["ocpp16.json", "ocpp16.json ocpp21.json"]


# The public functions.


@pytest.mark.parametrize(("version", "both"), [("1.6", 39), ("2.0.1", 64), ("2.1", 91)])
def test_the_actions_of_a_version(version: str, both: int) -> None:
    names = action_names(version)
    assert len(names) == both
    assert names == sorted(names)
    central_system, charge_point = (set(action_names(version, end)) for end in ("central_system", "charge_point"))
    assert central_system | charge_point == set(names)
    assert central_system & charge_point == {"DataTransfer"}


@pytest.mark.parametrize("version", ["1.6", "2.0.1", "2.1"])
def test_a_public_schema_has_only_the_types_it_uses(version: str) -> None:
    known = catalogue(version)
    for action in action_names(version):
        for kind in ("request",) if known.is_send(action) else ("request", "response"):
            schema = message_schema(action, kind, version)
            Draft202012Validator.check_schema(schema)
            named = set(re.findall(r'"#/\$defs/(\w+)"', json.dumps(schema)))
            assert set(schema["$defs"]) == named, action
            assert Draft202012Validator(schema).is_valid(payloads.minimal(version, action, kind))


def test_a_schema_is_a_copy() -> None:
    message_schema("Reset")["properties"].clear()
    assert message_schema("Reset")["required"] == ["type"]
    assert message_schema("Reset")["properties"] != {}


def test_an_unknown_message_has_no_schema() -> None:
    with pytest.raises(ValueError, match="no action 'Rest'; did you mean 'Reset'"):
        message_schema("Rest")
    with pytest.raises(ValueError, match="is a SEND"):
        message_schema("NotifyPeriodicEventStream", "response", "2.1")
    with pytest.raises(ValueError, match=r"unsupported OCPP version '1\.5'"):
        message_schema("Reset", "request", "1.5")
