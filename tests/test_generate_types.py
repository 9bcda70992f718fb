"""The generated modules: up to date, true to the schemas at run time, complete in both directions."""

from __future__ import annotations

import ast
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args

import pytest
from typing_extensions import get_type_hints

from ocppsync import v16

ROOT = Path(__file__).resolve().parent.parent
BUNDLE = json.loads((ROOT / "schemas" / "ocpp16.json").read_text(encoding="utf-8"))
MODULE = ROOT / "ocppsync" / "v16.py"
ACTIONS = sorted(BUNDLE["actions"])
SENT = {
    "CentralSystem": {action for action in ACTIONS if BUNDLE["actions"][action]["initiator"] in ("csms", "both")},
    "ChargePoint": {action for action in ACTIONS if BUNDLE["actions"][action]["initiator"] in ("station", "both")},
}
PEER = {"CentralSystem": "ChargePoint", "ChargePoint": "CentralSystem"}


def generate(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "tools" / "generate_types.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def generate_from(directory: Path, bundle: Mapping[str, Any]) -> subprocess.CompletedProcess[str]:
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
    return {"version": "9.9", "$defs": definitions, "actions": {"Ping": action}}


def test_the_tree_is_up_to_date() -> None:
    done = generate("--check")
    assert (done.returncode, done.stdout) == (0, "")


def test_what_is_written_passes_the_check(tmp_path: Path) -> None:
    assert generate("--output", tmp_path).returncode == 0
    assert (tmp_path / "v16.py").read_bytes() == MODULE.read_bytes()
    assert generate("--check", "--output", tmp_path).returncode == 0


def test_check_tells_what_is_out_of_date_and_leaves_it(tmp_path: Path) -> None:
    changed = MODULE.read_text(encoding="utf-8").replace("meterStart: int", "meterStart: str")
    copy = tmp_path / "v16.py"
    copy.write_text(changed, encoding="utf-8")
    done = generate("--check", "--output", tmp_path)
    assert done.returncode == 1
    assert str(copy) in done.stdout
    assert "-    meterStart: str\n+    meterStart: int" in done.stdout
    assert copy.read_text(encoding="utf-8") == changed


def test_check_fails_without_the_module(tmp_path: Path) -> None:
    assert generate("--check", "--output", tmp_path).returncode == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["request", "response"])
@pytest.mark.parametrize("action", ACTIONS)
def test_messages_have_the_fields_of_the_schema(action: str, kind: str) -> None:
    assert_same_fields(getattr(v16, action + kind.title()), BUNDLE["actions"][action][kind])


@pytest.mark.parametrize("name", [name for name, schema in BUNDLE["$defs"].items() if "enum" not in schema])
def test_objects_have_the_fields_of_the_schema(name: str) -> None:
    assert_same_fields(getattr(v16, name), BUNDLE["$defs"][name])


def assert_same_fields(typed_dict: Any, schema: Mapping[str, Any]) -> None:
    required = set(schema.get("required", ()))
    assert typed_dict.__required_keys__ == required
    assert typed_dict.__optional_keys__ == schema["properties"].keys() - required


@pytest.mark.parametrize("name", [name for name, schema in BUNDLE["$defs"].items() if "enum" in schema])
def test_enumerations_have_the_values_of_the_schema(name: str) -> None:
    assert list(get_args(getattr(v16, name))) == BUNDLE["$defs"][name]["enum"]


def test_fields_have_the_types_of_the_schema() -> None:
    assert get_type_hints(v16.ChargingSchedulePeriod) == {"startPeriod": int, "limit": float, "numberPhases": int}
    assert get_type_hints(v16.KeyValue) == {"key": str, "readonly": bool, "value": str}
    assert get_type_hints(v16.GetConfigurationRequest) == {"key": list[str]}
    assert get_type_hints(v16.MeterValue) == {"timestamp": str, "sampledValue": list[v16.SampledValue]}
    assert get_type_hints(v16.ResetRequest) == {"type": Literal["Hard", "Soft"]}


def test_messages_say_who_sends_them() -> None:
    assert v16.BootNotificationRequest.__doc__ == "Sent by the charge point (Core)."
    assert v16.ReserveNowRequest.__doc__ == "Sent by the central system (Reservation)."
    assert v16.DataTransferRequest.__doc__ == "Sent by either side (Core)."
    assert v16.ReserveNowResponse.__doc__ == "The answer to ReserveNow (Reservation)."


def test_actions_are_sorted_by_direction() -> None:
    assert set(get_args(v16.CentralSystemAction)) == SENT["CentralSystem"]
    assert set(get_args(v16.ChargePointAction)) == SENT["ChargePoint"]
    assert set(get_args(v16.Action)) == set(ACTIONS)


@pytest.mark.parametrize("side", ["CentralSystem", "ChargePoint"])
def test_the_single_handler_gets_all_that_the_peer_sends(side: str) -> None:
    union = [get_args(request) for request in get_args(getattr(v16, f"{side}Request"))]
    assert {(*get_args(action), payload) for action, payload in union} == {
        (action, getattr(v16, f"{action}Request")) for action in SENT[PEER[side]]
    }


# The methods: the overloads of every action, and what is left of them at run time.


def overloads(side: str, method: str) -> dict[str, ast.FunctionDef]:
    """Return the overloads of a method by their action."""
    found = {}
    for node in ast.walk(ast.parse(MODULE.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef) and node.name == f"{side}Methods":
            functions = [item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == method]
            for function in functions[:-1]:
                found[annotation(function, "action")[len('Literal["') : -len('"]')]] = function
    return found


def annotation(function: ast.FunctionDef, parameter: str) -> str:
    argument = next(item for item in function.args.args if item.arg == parameter)
    assert argument.annotation is not None
    return ast.unparse(argument.annotation).replace("'", '"')


@pytest.mark.parametrize(("method", "result"), [("send_request", "{}"), ("submit_request", "Future[{}]")])
@pytest.mark.parametrize("side", ["CentralSystem", "ChargePoint"])
def test_every_action_can_be_sent(side: str, method: str, result: str) -> None:
    found = overloads(side, method)
    assert found.keys() == SENT[side]
    for action, function in found.items():
        assert annotation(function, "payload") == f"{action}Request"
        assert function.returns is not None
        assert ast.unparse(function.returns) == result.format(f"{action}Response")
        needs_a_payload = bool(BUNDLE["actions"][action]["request"].get("required"))
        assert bool(function.args.defaults) is not needs_a_payload


@pytest.mark.parametrize("method", ["on", "after"])
@pytest.mark.parametrize("side", ["CentralSystem", "ChargePoint"])
def test_every_action_of_the_peer_can_be_handled(side: str, method: str) -> None:
    found = overloads(side, method)
    assert found.keys() == SENT[PEER[side]]
    for action, function in found.items():
        variable = f"_{method.title()}{action}"
        assert function.returns is not None
        assert ast.unparse(function.returns) == f"Callable[[{variable}], {variable}]"
        payload, answer = handler_shape(getattr(v16, variable))
        assert payload is getattr(v16, f"{action}Request")
        assert answer == expected_answer(action, method)


def handler_shape(variable: Any) -> tuple[Any, Any]:
    parameters, answer = get_args(variable.__bound__)
    return parameters[0], answer


def expected_answer(action: str, method: str) -> Any:
    if method == "after":
        return object
    response = getattr(v16, f"{action}Response")
    return response if response.__required_keys__ else response | None


class Hooks:
    """Defines what the typed methods lean on, and keeps what they pass on."""

    def __init__(self) -> None:
        self.passed: list[tuple[Any, ...]] = []
        self.future: Future[Any] = Future()

    def _send_request(self, *arguments: Any, **named: Any) -> Any:
        self.passed.append((*arguments, named))
        return "answer"

    def _submit_request(self, *arguments: Any, **named: Any) -> Future[Any]:
        self.passed.append((*arguments, named))
        return self.future

    def _on(self, action: str) -> Callable[[Any], Any]:
        return lambda handler: ("on", action, handler)

    def _after(self, action: str) -> Callable[[Any], Any]:
        return lambda handler: ("after", action, handler)


class CentralSystem(Hooks, v16.CentralSystemMethods):
    pass


class ChargePoint(Hooks, v16.ChargePointMethods):
    pass


def test_the_methods_of_a_central_system_reach_its_hooks() -> None:
    central_system = CentralSystem()
    answers = [
        central_system.send_request("CP1", "Reset", {"type": "Soft"}, timeout=5),
        central_system.send_request("CP1", "ClearCache"),
        central_system.submit_request("CP1", "Reset", {"type": "Hard"}),
        central_system.submit_request("CP1", "ClearCache", timeout=1),
    ]
    assert answers == ["answer", "answer", central_system.future, central_system.future]
    assert central_system.passed == [
        ("CP1", "Reset", {"type": "Soft"}, 5, {}),
        ("CP1", "ClearCache", {}, None, {}),
        ("CP1", "Reset", {"type": "Hard"}, None, {}),
        ("CP1", "ClearCache", {}, 1, {}),
    ]


def test_the_methods_of_a_charge_point_reach_its_hooks() -> None:
    charge_point = ChargePoint()
    answers = [
        charge_point.send_request("Authorize", {"idTag": "T"}),
        charge_point.send_request("Heartbeat", timeout=5),
        charge_point.submit_request("Authorize", {"idTag": "T"}, timeout=1),
        charge_point.submit_request("Heartbeat"),
    ]
    assert answers == ["answer", "answer", charge_point.future, charge_point.future]
    assert charge_point.passed == [
        ("Authorize", {"idTag": "T"}, None, {}),
        ("Heartbeat", {}, 5, {}),
        ("Authorize", {"idTag": "T"}, 1, {}),
        ("Heartbeat", {}, None, {}),
    ]


def test_the_decorators_of_both_sides_come_from_their_hooks() -> None:
    def handler(payload: Mapping[str, object], metadata: object) -> Any:
        raise AssertionError("a decorator calls nothing")

    central_system, charge_point = CentralSystem(), ChargePoint()
    results: list[object] = [
        central_system.on("Heartbeat")(handler),
        central_system.after("Heartbeat")(handler),
        charge_point.on("Reset")(handler),
        charge_point.after("Reset")(handler),
    ]
    assert results == [
        ("on", "Heartbeat", handler),
        ("after", "Heartbeat", handler),
        ("on", "Reset", handler),
        ("after", "Reset", handler),
    ]


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
        ({"PingRequest": message()}, message(), "more than one meaning for PingRequest"),
        ({"Future": message()}, message(), "more than one meaning for Future"),
        ({"Action": {"type": "string", "enum": ["A"]}}, message(), "more than one meaning for Action"),
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
