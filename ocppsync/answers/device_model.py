"""A small device model of OCPP 2.x: variables of components to read, set and report (1/201 §4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["DeviceModel", "Variable", "matches"]


@dataclass
class Variable:
    """A variable of a component, with the one attribute Actual.

    Args:
        component, name: such as ``"OCPPCommCtrlr"`` and ``"HeartbeatInterval"``.
        value: the value of Actual.
        data_type: the dataType of the specification, such as ``"integer"``.
        writable: whether SetVariables may change it.
        instance: distinguishes variables of the same name.
        evse, connector: the ids of the component's EVSE and connector; None: it belongs to the charging station.
    """

    component: str
    name: str
    value: str = field(repr=False)
    data_type: str = "string"
    writable: bool = False
    instance: str | None = None
    evse: int | None = None
    connector: int | None = None

    def suits(self, value: str) -> bool:
        """Return whether ``value`` has the variable's type."""
        if self.data_type == "boolean":
            return value.lower() in ("true", "false")
        return value.isascii() and value.isdigit() if self.data_type == "integer" else True

    @property
    def wire_names(self) -> dict[str, Any]:
        """The fields ``component`` and ``variable`` that name it in messages."""
        component: dict[str, Any] = {"name": self.component}
        if self.evse is not None:
            connector = {} if self.connector is None else {"connectorId": self.connector}
            component["evse"] = {"id": self.evse, **connector}
        instance = {} if self.instance is None else {"instance": self.instance}
        return {"component": component, "variable": {"name": self.name, **instance}}

    @property
    def report(self) -> dict[str, Any]:
        """The entry of a NotifyReport."""
        mutability = "ReadWrite" if self.writable else "ReadOnly"
        return {
            **self.wire_names,
            "variableAttribute": [{"value": self.value, "mutability": mutability}],
            "variableCharacteristics": {"dataType": self.data_type, "supportsMonitoring": False},
        }


class DeviceModel:
    """The variables of a charging station; names are case-insensitive.

    Args:
        variables: all variables, in the order of a report.
    """

    def __init__(self, variables: list[Variable]) -> None:
        self._variables = {_key(**variable.wire_names): variable for variable in variables}

    def add(self, *variables: Variable) -> None:
        """Add variables; one with the names of another replaces it."""
        self._variables |= {_key(**variable.wire_names): variable for variable in variables}

    def __iter__(self) -> Iterator[Variable]:
        return iter(self._variables.values())

    def __getitem__(self, names: tuple[str, str]) -> Variable:
        """Return a variable of the charging station itself, by the names of its component and variable."""
        component, variable = names
        return self._variables[_key({"name": component}, {"name": variable})]

    def find(self, component: Mapping[str, Any], variable: Mapping[str, Any]) -> Variable | str:
        """Return the variable named by a message, or ``"UnknownVariable"`` or ``"UnknownComponent"``."""
        found = self._variables.get(_key(component, variable))
        if found is not None:
            return found
        known = any(_component_key(one.wire_names["component"]) == _component_key(component) for one in self)
        return "UnknownVariable" if known else "UnknownComponent"

    def read(self, requested: Mapping[str, Any]) -> dict[str, Any]:
        """Return the entry of the GetVariables response for one of the request (2/201 B06)."""
        found = self._look_up(requested)
        if isinstance(found, str):
            return {"attributeStatus": found, **_echo(requested)}
        return {"attributeStatus": "Accepted", **_echo(requested), "attributeValue": found.value}

    def set(self, requested: Mapping[str, Any]) -> dict[str, Any]:
        """Set a variable, and return the entry of the SetVariables response (2/201 B05)."""
        found, value = self._look_up(requested), requested["attributeValue"]
        status = found if isinstance(found, str) else "Rejected"
        if isinstance(found, Variable) and found.writable and found.suits(value):
            found.value, status = value, "Accepted"
        return {"attributeStatus": status, **_echo(requested)}

    def report(self, included: Callable[[Variable], bool]) -> list[dict[str, Any]]:
        """Return the entries of a report on the variables for which ``included`` returns True."""
        return [variable.report for variable in self if included(variable)]

    def _look_up(self, requested: Mapping[str, Any]) -> Variable | str:
        found = self.find(requested["component"], requested["variable"])
        unsupported = isinstance(found, Variable) and requested.get("attributeType", "Actual") != "Actual"
        return "NotSupportedAttributeType" if unsupported else found


def matches(requested: Mapping[str, Any], variable: Variable) -> bool:
    """Return whether an entry of GetReport includes a variable; without a variable it includes the whole component."""
    names = variable.wire_names
    if _component_key(requested["component"]) != _component_key(names["component"]):
        return False
    return "variable" not in requested or _key(**names) == _key(requested["component"], requested["variable"])


def _echo(requested: Mapping[str, Any]) -> dict[str, Any]:
    return {name: requested[name] for name in ("component", "variable", "attributeType") if name in requested}


_Key = tuple[str, ...]


def _component_key(component: Mapping[str, Any]) -> _Key:
    evse = component.get("evse", {})
    parts = (component["name"], component.get("instance", ""), evse.get("id", ""), evse.get("connectorId", ""))
    return tuple(str(part).casefold() for part in parts)


def _key(component: Mapping[str, Any], variable: Mapping[str, Any]) -> _Key:
    return (*_component_key(component), variable["name"].casefold(), variable.get("instance", "").casefold())
