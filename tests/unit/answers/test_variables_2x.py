"""The variables of a charging station of 2.x."""

from __future__ import annotations

import pytest

from ocppsync.answers import ChargingStationAnswers
from ocppsync.answers.local_authorization import LocalList
from ocppsync.answers.settings_16 import default_settings
from ocppsync.answers.variables_2x import VARIABLE_OF_KEY, default_variables
from ocppsync.validation.validators import validator

VARIABLES = default_variables(LocalList())
MODEL = ChargingStationAnswers().device_model


@pytest.mark.parametrize("variable", VARIABLES, ids=lambda variable: f"{variable.component}.{variable.name}")
def test_each_default_is_a_value_of_its_type(variable: object) -> None:
    assert [one for one in VARIABLES if one is variable and not one.suits(one.actual)] == []


def test_names_are_unique_and_sorted_by_component() -> None:
    keys = [(one.component, one.name, one.instance, one.evse, one.connector) for one in VARIABLES]
    assert len(set(keys)) == len(keys)
    components = [key[0] for key in keys]
    assert len(set(components)) == sum(
        before != after for before, after in zip(components, [*components[1:], ""], strict=True)
    ), "a component stands in one place"


@pytest.mark.parametrize("version", ["2.0.1", "2.1"])
def test_every_variable_can_be_reported(version: str) -> None:
    report = {
        **{"requestId": 1, "generatedAt": "2026-01-01T00:00:00Z", "seqNo": 0},
        "reportData": [variable.report for variable in VARIABLES],
    }
    assert validator(version).check("NotifyReport", "request", report) is None
    for entry in report["reportData"]:
        (attribute,) = entry["variableAttribute"]
        assert attribute.get("persistent", False) is (attribute["mutability"] == "ReadWrite")


@pytest.mark.parametrize("key", VARIABLE_OF_KEY)
def test_each_setting_has_its_variable(key: str) -> None:
    assert ChargingStationAnswers().setting(key) == MODEL[VARIABLE_OF_KEY[key]].value


def test_the_settings_of_both_versions_have_the_same_defaults() -> None:
    keys = {setting.key: setting.value for setting in default_settings() if setting.key in VARIABLE_OF_KEY}
    variables = {key: ChargingStationAnswers().setting(key) for key in keys}
    # In 2.x the register at the beginning and at the end is part of the Ended event.
    assert {**keys, "StopTxnSampledData": "Energy.Active.Import.Register"} == variables


def test_characteristics_say_what_may_be_set() -> None:
    interval = MODEL["OCPPCommCtrlr", "HeartbeatInterval"].report["variableCharacteristics"]
    assert interval == {"unit": "s", "dataType": "integer", "minLimit": 1, "supportsMonitoring": False}
    measurands = MODEL["SampledDataCtrlr", "TxUpdatedMeasurands"].report["variableCharacteristics"]
    assert measurands["valuesList"].split(",")[0] == "Energy.Active.Import.Register"
    power = next(one for one in MODEL if one.name == "Power").report["variableCharacteristics"]
    assert (power["maxLimit"], power["unit"]) == (7400, "W")
