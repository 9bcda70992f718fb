"""The typed methods: an overload for every action of every version, and their code."""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ocppsync import CentralSystem, ChargePoint, methods
from ocppsync.vendor import VendorAction

ROOT = Path(__file__).resolve().parents[2]
STUB = ast.parse((ROOT / "ocppsync" / "methods.pyi").read_text(encoding="utf-8"))
BUNDLES = {
    version: json.loads((ROOT / "schemas" / f"ocpp{version.replace('.', '')}.json").read_text(encoding="utf-8"))
    for version in ("1.6", "2.0.1", "2.1")
}
SENDERS = {"CentralSystem": ("csms", "both"), "ChargePoint": ("station", "both")}
PEER = {"CentralSystem": "ChargePoint", "ChargePoint": "CentralSystem"}
PING = VendorAction("Ping", {}, {})
each_side = pytest.mark.parametrize("side", PEER)


class Known(NamedTuple):
    """An action of a bundle."""

    version: str
    action: str
    facts: Mapping[str, Any]

    @property
    def module(self) -> str:
        return "v" + self.version.replace(".", "")

    @property
    def version_parameter(self) -> tuple[str, bool]:
        """The type of the version parameter, and whether it may be omitted."""
        oldest = next(version for version, bundle in BUNDLES.items() if self.action in bundle["actions"])
        literal = f"Literal['{self.version}']"
        return (f"{literal} | None", True) if oldest == self.version else (literal, False)


def sent_by(side: str) -> Iterator[Known]:
    for version, bundle in BUNDLES.items():
        for action, facts in bundle["actions"].items():
            if facts["initiator"] in SENDERS[side]:
                yield Known(version, action, facts)


def overloads(side: str, method: str) -> Iterator[ast.FunctionDef]:
    for node in ast.walk(STUB):
        if isinstance(node, ast.ClassDef) and node.name == f"{side}Methods":
            yield from (item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == method)


def of_actions(side: str, method: str) -> dict[tuple[str, str], ast.FunctionDef]:
    """Return the overloads of the specification's actions by action and version, one each."""
    found = {}
    for function in overloads(side, method):
        action = annotation(function, "action")
        if action.startswith("Literal"):
            key = ast.literal_eval(action[len("Literal[") : -1]), literal_version(function)
            assert key not in found
            found[key] = function
    return found


def literal_version(function: ast.FunctionDef) -> str:
    return annotation(function, "version").split("'")[1]


def parameter(function: ast.FunctionDef, name: str) -> ast.arg:
    return next(item for item in (*function.args.args, *function.args.kwonlyargs) if item.arg == name)


def annotation(function: ast.FunctionDef, name: str) -> str:
    found = parameter(function, name).annotation
    assert found is not None
    return ast.unparse(found)


def result(function: ast.FunctionDef) -> str:
    assert function.returns is not None
    return ast.unparse(function.returns)


def version_parameter_of(function: ast.FunctionDef) -> tuple[str, bool]:
    default = dict(zip([item.arg for item in function.args.kwonlyargs], function.args.kw_defaults, strict=True))
    return annotation(function, "version"), default["version"] is not None


def bounds() -> dict[str, str]:
    """Return the bound of each type variable of the stub."""
    return {
        node.targets[0].id: ast.unparse(node.value.keywords[0].value)
        for node in STUB.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and node.value.keywords
        if isinstance(node.targets[0], ast.Name)
    }


@each_side
@pytest.mark.parametrize(("method", "answer"), [("send_request", "{}"), ("submit_request", "Future[{}]")])
def test_every_action_can_be_sent(side: str, method: str, answer: str) -> None:
    found = of_actions(side, method)
    expected = {(known.action, known.version): known for known in sent_by(side) if "response" in known.facts}
    assert found.keys() == expected.keys()
    for key, known in expected.items():
        function = found[key]
        assert annotation(function, "payload") == f"{known.module}.{known.action}Request"
        assert result(function) == answer.format(f"{known.module}.{known.action}Response")
        assert version_parameter_of(function) == known.version_parameter
        assert bool(function.args.defaults) is not bool(known.facts["request"].get("required"))


@each_side
@pytest.mark.parametrize("method", ["on", "after"])
def test_every_action_of_the_peer_can_be_handled(side: str, method: str) -> None:
    found, bound = of_actions(side, method), bounds()
    handled = [known for known in sent_by(PEER[side]) if method == "on" or "response" in known.facts]
    assert found.keys() == {(known.action, known.version) for known in handled}
    for known in handled:
        function = found[known.action, known.version]
        variable = f"_{method.title()}{known.module[1:]}{known.action}"
        assert result(function) == f"Callable[[{variable}], {variable}]"
        request = f"{known.module}.{known.action}Request"
        assert bound[variable] == f"_Handler[{request}, {expected_answer(known, method)}]"
        assert version_parameter_of(function) == known.version_parameter


def expected_answer(known: Known, method: str) -> str:
    if method == "after" or "response" not in known.facts:
        return "object"
    response = f"{known.module}.{known.action}Response"
    return response if known.facts["response"].get("required") else f"{response} | None"


def test_only_charge_points_have_a_send_of_the_specification() -> None:
    assert of_actions("CentralSystem", "send") == {}
    ((key, function),) = of_actions("ChargePoint", "send").items()
    assert key == ("NotifyPeriodicEventStream", "2.1")
    assert annotation(function, "payload") == "v21.NotifyPeriodicEventStreamRequest"
    assert version_parameter_of(function) == ("Literal['2.1'] | None", True)


@each_side
@pytest.mark.parametrize("method", ["send_request", "submit_request", "send", "on", "after"])
def test_vendor_actions_have_overloads(side: str, method: str) -> None:
    (function,) = (each for each in overloads(side, method) if annotation(each, "action") == "VendorAction")
    assert version_parameter_of(function) == ("Version | None", True)


@each_side
def test_data_transfers_have_the_types_of_their_version(side: str) -> None:
    found = list(overloads(side, "on_data_transfer"))
    names = [f"_On{version.replace('.', '')}DataTransfer" for version in BUNDLES]
    assert [result(each) for each in found] == [f"Callable[[{name}], {name}]" for name in names]
    assert [version_parameter_of(each) for each in found] == [
        ("Literal['1.6'] | None", True),
        ("Literal['2.0.1']", False),
        ("Literal['2.1']", False),
    ]


@each_side
def test_the_stub_has_the_parameters_of_the_code(side: str) -> None:
    runs = {name: value for name, value in vars(getattr(methods, f"{side}Methods")).items() if callable(value)}
    assert len(runs) == 12
    for name, function in runs.items():
        assert inspect.signature(function).parameters.keys() == widest(side, name)


def widest(side: str, method: str) -> set[str]:
    """Return the parameters of the overload with the most of them; the last is for the error messages of mypy."""
    functions = [each for each in overloads(side, method) if each.args.kwarg is None]
    return max(({item.arg for item in (*each.args.args, *each.args.kwonlyargs)} for each in functions), key=len)


# At run time.


class Hooks:
    """Defines the abstract methods, and records their arguments."""

    def __init__(self) -> None:
        self.passed: list[tuple[Any, ...]] = []
        self.future: Future[Any] = Future()

    def _send_request(self, *arguments: Any, **named: Any) -> Any:
        self.passed.append((*arguments, *named.values()))
        return "answer"

    def _submit_request(self, *arguments: Any, **named: Any) -> Future[Any]:
        self.passed.append((*arguments, *named.values()))
        return self.future

    def _send(self, *arguments: Any, **named: Any) -> None:
        self.passed.append((*arguments, *named.values()))

    def _on(self, *arguments: Any, **named: Any) -> Callable[[Any], Any]:
        return lambda handler: ("on", *arguments, *named.values(), handler)

    def _after(self, *arguments: Any, **named: Any) -> Callable[[Any], Any]:
        return lambda handler: ("after", *arguments, *named.values(), handler)

    def _on_data_transfer(self, *arguments: Any, **named: Any) -> Callable[[Any], Any]:
        return lambda handler: ("on_data_transfer", *arguments, *named.values(), handler)


class HookedCentralSystem(Hooks, methods.CentralSystemMethods):
    pass


class HookedChargePoint(Hooks, methods.ChargePointMethods):
    pass


def test_the_methods_of_a_central_system_call_the_abstract_ones() -> None:
    central_system = HookedCentralSystem()
    answers: list[object] = [
        central_system.send_request("CP1", "Reset", {"type": "Soft"}, timeout=5),
        central_system.send_request("CP1", "ClearCache", version="2.1"),
        central_system.submit_request("CP1", "Reset", {"type": "Immediate"}, version="2.0.1"),
        central_system.submit_request("CP1", "ClearCache", timeout=1, queue_timeout=2),
        central_system.send_request("CP1", PING),
    ]
    assert answers == ["answer", "answer", central_system.future, central_system.future, "answer"]
    central_system.send("CP1", PING, {"a": 1})
    central_system.send("CP1", PING, version="2.1")
    assert central_system.passed == [
        ("CP1", "Reset", {"type": "Soft"}, 5, None, None),
        ("CP1", "ClearCache", {}, None, None, "2.1"),
        ("CP1", "Reset", {"type": "Immediate"}, None, None, "2.0.1"),
        ("CP1", "ClearCache", {}, 1, 2, None),
        ("CP1", PING, {}, None, None, None),
        ("CP1", PING, {"a": 1}, None),
        ("CP1", PING, {}, "2.1"),
    ]


def test_the_methods_of_a_charge_point_call_the_abstract_ones() -> None:
    charge_point = HookedChargePoint()
    answers: list[object] = [
        charge_point.send_request("Authorize", {"idTag": "T"}),
        charge_point.send_request("Heartbeat", timeout=5, queue_timeout=3, version="2.0.1"),
        charge_point.submit_request("Authorize", {"idTag": "T"}, timeout=1),
        charge_point.submit_request("Heartbeat", version="2.1"),
        charge_point.send_request(PING, {"a": 1}),
    ]
    assert answers == ["answer", "answer", charge_point.future, charge_point.future, "answer"]
    charge_point.send("NotifyPeriodicEventStream", {"id": 1, "pending": 0, "basetime": "", "data": []})
    charge_point.send(PING, version="2.1")
    assert charge_point.passed == [
        ("Authorize", {"idTag": "T"}, None, None, None),
        ("Heartbeat", {}, 5, 3, "2.0.1"),
        ("Authorize", {"idTag": "T"}, 1, None, None),
        ("Heartbeat", {}, None, None, "2.1"),
        (PING, {"a": 1}, None, None, None),
        ("NotifyPeriodicEventStream", {"id": 1, "pending": 0, "basetime": "", "data": []}, None),
        (PING, {}, "2.1"),
    ]


def test_the_decorators_of_both_ends_come_from_the_abstract_methods() -> None:
    def handler(payload: Mapping[str, object], metadata: object) -> Any:
        raise AssertionError("a decorator calls nothing")

    central_system, charge_point = HookedCentralSystem(), HookedChargePoint()
    results: list[object] = [
        central_system.on("Heartbeat")(handler),
        central_system.after("Heartbeat", version="2.0.1")(handler),
        central_system.on_data_transfer("V", "M", version="2.1")(handler),
        charge_point.on("Reset", version="2.1")(handler),
        charge_point.after("Reset")(handler),
        charge_point.on_data_transfer("V")(handler),
        charge_point.on(PING)(handler),
    ]
    assert results == [
        ("on", "Heartbeat", None, handler),
        ("after", "Heartbeat", "2.0.1", handler),
        ("on_data_transfer", "V", "M", "2.1", handler),
        ("on", "Reset", "2.1", handler),
        ("after", "Reset", None, handler),
        ("on_data_transfer", "V", None, None, handler),
        ("on", PING, None, handler),
    ]


def test_both_ends_have_these_methods() -> None:
    assert issubclass(CentralSystem, methods.CentralSystemMethods)
    assert issubclass(ChargePoint, methods.ChargePointMethods)
