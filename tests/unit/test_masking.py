"""The secret fields: masked in payloads, not quoted in validation errors."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ocppsync.masking import _SECRET_FIELDS, is_secret, masked
from ocppsync.validation.catalogue import SUBPROTOCOLS, catalogue


@pytest.mark.parametrize(
    ("payload", "safe"),
    [
        ({"key": "AuthorizationKey", "value": "s3cret"}, {"key": "AuthorizationKey", "value": "***"}),
        ([{"value": "s3cret", "key": "authorizationkey"}], [{"value": "***", "key": "authorizationkey"}]),
        ({"key": "Other", "value": "1"}, {"key": "Other", "value": "1"}),
        ({"location": "ftp://user:s3cret@example.com/x"}, {"location": "ftp://***@example.com/x"}),
        ({"key": ["AuthorizationKey"]}, {"key": ["AuthorizationKey"]}),
        (
            {"component": {"name": "X"}, "variable": {"name": "basicauthpassword"}, "attributeValue": "s3cret"},
            {"component": {"name": "X"}, "variable": {"name": "basicauthpassword"}, "attributeValue": "***"},
        ),
        (
            {"variable": {"name": "VpnKey"}, "variableAttribute": [{"value": "s3cret"}], "actualValue": "s3cret"},
            {"variable": {"name": "VpnKey"}, "variableAttribute": "***", "actualValue": "***"},
        ),
        (
            {"variable": {"name": "HeartbeatInterval"}, "attributeValue": "300"},
            {"variable": {"name": "HeartbeatInterval"}, "attributeValue": "300"},
        ),
        (
            {
                "apn": {"apn": "a", "apnUserName": "u", "apnPassword": "s3cret", "simPin": 1234},
                "basicAuthPassword": "s3cret",
                "vpn": {"server": "v", "password": "s3cret", "key": "s3cret"},
            },
            {
                "apn": {"apn": "a", "apnUserName": "u", "apnPassword": "***", "simPin": "***"},
                "basicAuthPassword": "***",
                "vpn": {"server": "v", "password": "***", "key": "***"},
            },
        ),
    ],
)
def test_secrets_are_masked(payload: Any, safe: Any) -> None:
    assert masked(payload) == safe


def test_nested_payloads_are_masked_up_to_a_depth() -> None:
    payload: Any = {"key": "AuthorizationKey", "value": "s3cret"}
    for _ in range(900):
        payload = [payload]
    assert "s3cret" not in str(masked(payload))
    assert "…" in str(masked(payload))


@pytest.mark.parametrize(
    ("action", "field", "secret"),
    [
        ("ChangeConfiguration", "value", True),
        ("ChangeConfiguration", "key", False),
        ("SetNetworkProfile", "key", True),
        ("SetNetworkProfile", "apnPassword", True),
        ("SetNetworkProfile", "simPin", True),
        ("UpdateFirmware", "location", True),
        ("MeterValues", "location", False),
        ("NotifyReport", "variableAttribute", False),
        ("com.example.SetLight", "password", True),
    ],
)
def test_the_fields_that_errors_do_not_quote(action: str, field: str, secret: bool) -> None:
    assert is_secret(action, field) is secret


@pytest.mark.parametrize("field", _SECRET_FIELDS)
def test_every_listed_field_exists_in_its_actions(field: str) -> None:
    for action in _SECRET_FIELDS[field].actions:
        known = [catalogue(version) for version in SUBPROTOCOLS.values()]
        kinds: Any = ("request", "response")
        schemas = [
            messages.schema(action, kind)
            for messages in known
            for kind in kinds
            if messages.known(action) and kind in messages.entry(action)
        ]
        assert any(f'"{field}": {{' in json.dumps(schema) for schema in schemas), (action, field)
