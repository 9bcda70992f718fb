"""The generated modules: up to date, true to the schemas at run time, complete in both directions."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args

import pytest
from typing_extensions import get_type_hints

from ocppsync import v16, v21, v201

ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = ROOT / "schemas"
PACKAGE = ROOT / "ocppsync"
MODULES = {"1.6": v16, "2.0.1": v201, "2.1": v21}
FILES = ("v16.py", "v201.py", "v21.py", "methods.pyi")
BUNDLES = {
    version: json.loads((SCHEMAS / f"ocpp{version.replace('.', '')}.json").read_text(encoding="utf-8"))
    for version in MODULES
}
MESSAGES = [(version, action) for version, bundle in BUNDLES.items() for action in bundle["actions"]]
DEFINITIONS = [(version, name) for version, bundle in BUNDLES.items() for name in bundle["$defs"]]
SENDERS = {"CentralSystem": ("csms", "both"), "ChargePoint": ("station", "both")}
PEER = {"CentralSystem": "ChargePoint", "ChargePoint": "CentralSystem"}
each_version = pytest.mark.parametrize("version", MODULES)


def sent(side: str, version: str) -> set[str]:
    """Return what a side may send."""
    actions: Mapping[str, Any] = BUNDLES[version]["actions"]
    return {action for action, facts in actions.items() if facts["initiator"] in SENDERS[side]}


def generate(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "tools" / "generate_types.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def generate_from(directory: Path, bundle: Mapping[str, Any]) -> subprocess.CompletedProcess[str]:
    """Generate with that bundle in the place of 1.6's."""
    for path in SCHEMAS.glob("ocpp2*.json"):
        shutil.copy(path, directory)
    (directory / "ocpp16.json").write_text(json.dumps(bundle), encoding="utf-8")
    return generate("--schemas", directory, "--output", directory)


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("ocppsync.made_up", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def message(fields: Mapping[str, Any] = {}, *required: str) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": dict(fields), "additionalProperties": False}


def bundle_of(definitions: Mapping[str, Any], request: Mapping[str, Any]) -> dict[str, Any]:
    action = {"initiator": "both", "block": "Core", "request": request, "response": message()}
    return {"version": "1.6", "$defs": definitions, "actions": {"Ping": action}}


def test_the_tree_is_up_to_date() -> None:
    done = generate("--check")
    assert (done.returncode, done.stdout) == (0, "")


def test_what_is_written_passes_the_check(tmp_path: Path) -> None:
    assert generate("--output", tmp_path).returncode == 0
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        name: (PACKAGE / name).read_bytes() for name in FILES
    }
    assert generate("--check", "--output", tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("name", "line", "change"),
    [
        ("v16.py", "    meterStart: int", "    meterStart: str"),
        ("v201.py", "    evseId: int", "    evseId: str"),
        ("v21.py", "    evseId: int", "    evseId: str"),
        ("methods.pyi", "class ChargePointMethods(ABC):", "class ChargePointMethods:"),
    ],
)
def test_check_tells_what_is_out_of_date_and_leaves_it(tmp_path: Path, name: str, line: str, change: str) -> None:
    for each in FILES:
        shutil.copy(PACKAGE / each, tmp_path)
    changed = (PACKAGE / name).read_text(encoding="utf-8").replace(line, change, 1)
    (tmp_path / name).write_text(changed, encoding="utf-8")
    done = generate("--check", "--output", tmp_path)
    assert done.returncode == 1
    assert str(tmp_path / name) in done.stdout
    assert f"-{change}\n+{line}" in done.stdout
    assert (tmp_path / name).read_text(encoding="utf-8") == changed


def test_check_fails_without_the_files(tmp_path: Path) -> None:
    assert generate("--check", "--output", tmp_path).returncode == 1
    assert list(tmp_path.iterdir()) == []


def test_the_package_does_not_load_the_types() -> None:
    # They take half as long to load as all the rest, and only annotations need them.
    program = "import sys, ocppsync; print(*(name for name in sys.modules if name.startswith('ocppsync.')))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    loaded = set(done.stdout.split())
    assert "ocppsync.methods" in loaded
    assert loaded & {module.__name__ for module in MODULES.values()} == set()


@pytest.mark.parametrize(("version", "action"), MESSAGES)
def test_messages_have_the_fields_of_the_schema(version: str, action: str) -> None:
    facts = BUNDLES[version]["actions"][action]
    assert_same_fields(getattr(MODULES[version], f"{action}Request"), facts["request"])
    if "response" in facts:
        assert_same_fields(getattr(MODULES[version], f"{action}Response"), facts["response"])


@pytest.mark.parametrize(("version", "name"), DEFINITIONS)
def test_shared_types_are_those_of_the_schema(version: str, name: str) -> None:
    shared, schema = getattr(MODULES[version], name), BUNDLES[version]["$defs"][name]
    if "enum" in schema:
        assert list(get_args(shared)) == schema["enum"]
    elif schema.get("additionalProperties") is False:
        assert_same_fields(shared, schema)
    else:
        assert shared == dict[str, Any]


def assert_same_fields(typed_dict: Any, schema: Mapping[str, Any]) -> None:
    required = set(schema.get("required", ()))
    assert typed_dict.__required_keys__ == required
    assert typed_dict.__optional_keys__ == schema["properties"].keys() - required


@each_version
def test_the_modules_hold_nothing_else(version: str) -> None:
    bundle = BUNDLES[version]
    names = {"Action", *bundle["$defs"]}
    names |= {f"{side}{kind}" for side in PEER for kind in ("Action", "Handler", "Request")}
    for action, facts in bundle["actions"].items():
        names |= {f"{action}{kind.title()}" for kind in ("request", "response") if kind in facts}
    assert set(MODULES[version].__all__) == names


def test_fields_have_the_types_of_the_schema() -> None:
    assert get_type_hints(v16.ChargingSchedulePeriod) == {"startPeriod": int, "limit": float, "numberPhases": int}
    assert get_type_hints(v16.KeyValue) == {"key": str, "readonly": bool, "value": str}
    assert get_type_hints(v16.GetConfigurationRequest) == {"key": list[str]}
    assert get_type_hints(v16.MeterValue) == {"timestamp": str, "sampledValue": list[v16.SampledValue]}
    assert get_type_hints(v16.ResetRequest) == {"type": Literal["Hard", "Soft"]}


@pytest.mark.parametrize("module", [v201, v21])
def test_what_is_open_to_vendors_may_be_anything(module: Any) -> None:
    hints = get_type_hints(module.DataTransferRequest)
    assert hints == {"messageId": str, "data": Any, "vendorId": str, "customData": dict[str, Any]}


def test_a_field_may_be_called_action() -> None:
    hints = get_type_hints(v201.Get15118EVCertificateRequest)
    assert hints["action"] == v201.CertificateActionEnumType


def test_messages_say_who_sends_them() -> None:
    assert v16.BootNotificationRequest.__doc__ == "Sent by the charge point (Core)."
    assert v16.ReserveNowRequest.__doc__ == "Sent by the central system (Reservation)."
    assert v16.DataTransferRequest.__doc__ == "Sent by either side (Core)."
    assert v16.ReserveNowResponse.__doc__ == "The answer to ReserveNow (Reservation)."


def test_a_send_has_no_answer() -> None:
    sends = [(version, action) for version, action in MESSAGES if "response" not in BUNDLES[version]["actions"][action]]
    assert sends == [("2.1", "NotifyPeriodicEventStream")]
    assert "Sent by the charge point, without an answer" in (v21.NotifyPeriodicEventStreamRequest.__doc__ or "")
    assert not hasattr(v21, "NotifyPeriodicEventStreamResponse")


@each_version
def test_actions_are_sorted_by_direction(version: str) -> None:
    module = MODULES[version]
    assert set(get_args(module.CentralSystemAction)) == sent("CentralSystem", version)
    assert set(get_args(module.ChargePointAction)) == sent("ChargePoint", version)
    assert set(get_args(module.Action)) == BUNDLES[version]["actions"].keys()


@each_version
@pytest.mark.parametrize("side", PEER)
def test_the_single_handler_gets_all_that_the_peer_sends(side: str, version: str) -> None:
    module = MODULES[version]
    union = [get_args(request) for request in get_args(getattr(module, f"{side}Request"))]
    assert {(*get_args(action), payload, *get_args(spoken)) for action, payload, spoken in union} == {
        (action, getattr(module, f"{action}Request"), version) for action in sent(PEER[side], version)
    }


# Bundles that are not 1.6's.


def test_objects_come_after_those_that_they_are_made_of(tmp_path: Path) -> None:
    outer = message({"inner": {"type": "array", "items": {"type": "array", "items": {"$ref": "#/$defs/Zone"}}}})
    bundle = bundle_of({"Area": outer, "Zone": message({"id": {"type": "integer"}}, "id")}, message())
    assert generate_from(tmp_path, bundle).returncode == 0
    module = load(tmp_path / "v16.py")
    (inner,) = get_args(get_type_hints(module.Area)["inner"])
    assert get_args(inner) == (module.Zone,)


def test_a_field_without_a_type_may_be_anything(tmp_path: Path) -> None:
    assert generate_from(tmp_path, bundle_of({}, message({"data": {}}, "data"))).returncode == 0
    assert get_type_hints(load(tmp_path / "v16.py").PingRequest) == {"data": Any}


def test_an_object_that_allows_more_keys_is_a_dict(tmp_path: Path) -> None:
    custom = {"type": "object", "required": ["vendorId"], "properties": {"vendorId": {"type": "string"}}}
    request = message({"customData": {"$ref": "#/$defs/CustomDataType"}, "inline": {"type": "object"}})
    assert generate_from(tmp_path, bundle_of({"CustomDataType": custom}, request)).returncode == 0
    hints = get_type_hints(load(tmp_path / "v16.py").PingRequest)
    assert hints == {"customData": dict[str, Any], "inline": dict[str, Any]}


def test_an_enumeration_may_stand_in_its_field(tmp_path: Path) -> None:
    assert generate_from(tmp_path, bundle_of({}, message({"side": {"enum": ["L", "R"]}}))).returncode == 0
    assert get_type_hints(load(tmp_path / "v16.py").PingRequest) == {"side": Literal["L", "R"]}


@pytest.mark.parametrize(
    ("definitions", "request_schema", "complaint"),
    [
        ({"PingRequest": message()}, message(), "names used twice: PingRequest"),
        ({"Request": message()}, message(), "names used twice: Request"),
        ({"Action": {"type": "string", "enum": ["A"]}}, message(), "names used twice: Action"),
        ({"Area": message({"a": {"$ref": "#/$defs/Area"}})}, message(), "nodes are in a cycle"),
        ({}, message({"a": {"type": "null"}}), "no Python type for"),
        ({}, message({"a": message()}), "no Python type for"),
    ],
)
def test_what_cannot_be_typed_is_refused(
    tmp_path: Path, definitions: dict[str, Any], request_schema: dict[str, Any], complaint: str
) -> None:
    done = generate_from(tmp_path, bundle_of(definitions, request_schema))
    assert done.returncode == 1
    assert complaint in done.stderr
    assert not (tmp_path / "v16.py").exists()
