"""A small device model of OCPP 2.x: variables of components to read, set and report (1/201 §4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .value_types import DataType, ValueType

__all__ = ["DeviceModel", "Variable", "has_criterion", "matches"]


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
        unit: the unit of a number, such as ``"s"``.
        minimum, maximum: the limits of a number; ``maximum`` is the largest length of a text or a list.
        choices: the values, or the members of a list; none: anything.
        live: returns the value of Actual, instead of ``value``.
    """

    component: str
    name: str
    value: str = field(repr=False)
    data_type: DataType = "string"
    writable: bool = False
    instance: str | None = None
    evse: int | None = None
    connector: int | None = None
    unit: str | None = None
    minimum: int | None = None
    maximum: int | None = None
    choices: tuple[str, ...] = ()
    live: Callable[[], str] | None = field(default=None, repr=False)

    def suits(self, value: str) -> bool:
        """Return whether ``value`` has the variable's type, and is within its limits (2/201 B05.FR.07-08)."""
        return ValueType(self.data_type, self.minimum, self.maximum, self.choices).suits(value)

    @property
    def actual(self) -> str:
        """The value of Actual now."""
        return self.value if self.live is None else self.live()

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
        characteristics = {
            "unit": self.unit,
            "dataType": self.data_type,
            "minLimit": self.minimum,
            "maxLimit": self.maximum,
            "valuesList": ",".join(self.choices) or None,
            "supportsMonitoring": False,
        }
        attribute = {"type": "Actual", "value": self.actual, "mutability": "ReadWrite" if self.writable else "ReadOnly"}
        return {
            **self.wire_names,
            # What can be written survives a reboot (2/201, referenced components and variables).
            "variableAttribute": [{**attribute, "persistent": True} if self.writable else attribute],
            "variableCharacteristics": {name: value for name, value in characteristics.items() if value is not None},
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

    def __getitem__(self, names: tuple[str, ...]) -> Variable:
        """Return a variable of the charging station itself, by its component, its name and, if any, its instance."""
        component, variable, *instance = names
        instances = {"instance": instance[0]} if instance else {}
        return self._variables[_key({"name": component}, {"name": variable, **instances})]

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
        return {"attributeStatus": "Accepted", **_echo(requested), "attributeValue": found.actual}

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

    def sibling(self, variable: Variable, name: str) -> Variable | None:
        """Return the variable of another name in the same component, or None."""
        return self._variables.get(_key(variable.wire_names["component"], {"name": name}))

    def _look_up(self, requested: Mapping[str, Any]) -> Variable | str:
        found = self.find(requested["component"], requested["variable"])
        unsupported = isinstance(found, Variable) and requested.get("attributeType", "Actual") != "Actual"
        return "NotSupportedAttributeType" if unsupported else found


def matches(requested: Mapping[str, Any], variable: Variable) -> bool:
    """Return whether an entry of GetReport includes a variable (2/201 B08.FR.20-25).

    What the entry leaves out stands for all: every variable of the component, every instance of the variable, every
    EVSE and connector.
    """
    names = variable.wire_names
    return _covers(requested["component"], names["component"]) and _covers(
        requested.get("variable", {}), names["variable"]
    )


def has_criterion(model: DeviceModel, variable: Variable, criterion: str) -> bool:
    """Return whether a componentCriterion includes a variable's component (2/201 B08.FR.07-10).

    The component has the variable of that name, and it is true. Without it, the component is active, available and
    enabled, and has no problem.
    """
    found = model.sibling(variable, criterion)
    return criterion != "Problem" if found is None else found.actual.lower() == "true"


def _covers(requested: Mapping[str, Any], names: Mapping[str, Any]) -> bool:
    """Return whether each name or id in a part of a request is that of the variable."""
    for field_name, value in requested.items():
        if field_name == "customData":
            continue
        known = names.get(field_name, {} if isinstance(value, Mapping) else "")
        same = _covers(value, known) if isinstance(value, Mapping) else str(value).casefold() == str(known).casefold()
        # An empty instance counts as none.
        if not same and value != "":
            return False
    return True


def _echo(requested: Mapping[str, Any]) -> dict[str, Any]:
    # 2/201 B05.FR.12, B06.FR.11: the attribute is Actual where none is named.
    return {
        "component": requested["component"],
        "variable": requested["variable"],
        "attributeType": requested.get("attributeType", "Actual"),
    }


_Key = tuple[str, ...]


def _component_key(component: Mapping[str, Any]) -> _Key:
    evse = component.get("evse", {})
    parts = (component["name"], component.get("instance", ""), evse.get("id", ""), evse.get("connectorId", ""))
    return tuple(str(part).casefold() for part in parts)


def _key(component: Mapping[str, Any], variable: Mapping[str, Any]) -> _Key:
    return (*_component_key(component), variable["name"].casefold(), variable.get("instance", "").casefold())
