"""A small device model of OCPP 2.x: components with variables, read, set and reported (1/201 §4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["DeviceModel", "Variable", "is_meant"]


@dataclass
class Variable:
    """A variable of a component, with the one attribute Actual.

    Args:
        component, name: such as ``"OCPPCommCtrlr"`` and ``"HeartbeatInterval"``.
        value: what it is set to.
        data_type: in the words of the specification.
        writable: whether SetVariables may change it.
        instance: which of several variables of that name.
        evse, connector: what the component belongs to; None: the charging station.
    """

    component: str
    name: str
    value: str
    data_type: str = "string"
    writable: bool = False
    instance: str | None = None
    evse: int | None = None
    connector: int | None = None

    def suits(self, value: str) -> bool:
        """Return whether ``value`` is of the variable's type."""
        if self.data_type == "boolean":
            return value.lower() in ("true", "false")
        return value.isascii() and value.isdigit() if self.data_type == "integer" else True

    @property
    def wire_names(self) -> dict[str, Any]:
        """The component and the variable as messages name them."""
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
    """The variables of a charging station; names are compared without case.

    Args:
        variables: every one, in the order of a report.
    """

    def __init__(self, variables: list[Variable]) -> None:
        self._variables = {_key(**variable.wire_names): variable for variable in variables}

    def __iter__(self) -> Iterator[Variable]:
        return iter(self._variables.values())

    def __getitem__(self, names: tuple[str, str]) -> Variable:
        """Return a variable of the charging station itself, by the names of component and variable."""
        component, variable = names
        return self._variables[_key({"name": component}, {"name": variable})]

    def find(self, component: Mapping[str, Any], variable: Mapping[str, Any]) -> Variable | str:
        """Return the variable that a message names, or why there is none in the words of the specification."""
        found = self._variables.get(_key(component, variable))
        if found is not None:
            return found
        known = any(_component_key(one.wire_names["component"]) == _component_key(component) for one in self)
        return "UnknownVariable" if known else "UnknownComponent"

    def read(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Return the entry of a GetVariables answer for one of its request (2/201 B06)."""
        found = self._look(asked)
        if isinstance(found, str):
            return {"attributeStatus": found, **_echo(asked)}
        return {"attributeStatus": "Accepted", **_echo(asked), "attributeValue": found.value}

    def set(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Set a variable, and return the entry of a SetVariables answer for it (2/201 B05)."""
        found, value = self._look(asked), asked["attributeValue"]
        status = found if isinstance(found, str) else "Rejected"
        if isinstance(found, Variable) and found.writable and found.suits(value):
            found.value, status = value, "Accepted"
        return {"attributeStatus": status, **_echo(asked)}

    def report(self, wanted: Callable[[Variable], bool]) -> list[dict[str, Any]]:
        """Return the entries of a report for some of the variables."""
        return [variable.report for variable in self if wanted(variable)]

    def _look(self, asked: Mapping[str, Any]) -> Variable | str:
        found = self.find(asked["component"], asked["variable"])
        other = isinstance(found, Variable) and asked.get("attributeType", "Actual") != "Actual"
        return "NotSupportedAttributeType" if other else found


def is_meant(asked: Mapping[str, Any], variable: Variable) -> bool:
    """Return whether an entry of GetReport, which may leave out the variable, means this one."""
    names = variable.wire_names
    if _component_key(asked["component"]) != _component_key(names["component"]):
        return False
    return "variable" not in asked or _key(**names) == _key(asked["component"], asked["variable"])


def _echo(asked: Mapping[str, Any]) -> dict[str, Any]:
    return {name: asked[name] for name in ("component", "variable", "attributeType") if name in asked}


_Key = tuple[str, ...]


def _component_key(component: Mapping[str, Any]) -> _Key:
    evse = component.get("evse", {})
    parts = (component["name"], component.get("instance", ""), evse.get("id", ""), evse.get("connectorId", ""))
    return tuple(str(part).casefold() for part in parts)


def _key(component: Mapping[str, Any], variable: Mapping[str, Any]) -> _Key:
    return (*_component_key(component), variable["name"].casefold(), variable.get("instance", "").casefold())
