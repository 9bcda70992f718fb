"""The configuration keys of 1.6."""

from __future__ import annotations

import pytest

from ocppsync.answers.settings_16 import Setting, default_settings

SETTINGS = {setting.key: setting for setting in default_settings()}
# C16 §9.1 and §9.2: the required keys that the central system may write, and those that it may only read. The charge
# point chooses for StopTransactionOnEVSideDisconnect and UnlockConnectorOnEVSideDisconnect (CE16 3.80, 3.84).
WRITABLE = [
    *("AuthorizeRemoteTxRequests", "ClockAlignedDataInterval", "ConnectionTimeOut", "ConnectorPhaseRotation"),
    *("HeartbeatInterval", "LocalAuthorizeOffline", "LocalPreAuthorize", "MeterValuesAlignedData"),
    *("MeterValuesSampledData", "MeterValueSampleInterval", "ResetRetries", "StopTransactionOnInvalidId"),
    *("StopTxnAlignedData", "StopTxnSampledData", "TransactionMessageAttempts", "TransactionMessageRetryInterval"),
    *("LocalAuthListEnabled", "AuthorizationCacheEnabled"),
]
READABLE = [
    *("GetConfigurationMaxKeys", "NumberOfConnectors", "StopTransactionOnEVSideDisconnect"),
    *("SupportedFeatureProfiles", "UnlockConnectorOnEVSideDisconnect", "LocalAuthListMaxLength"),
    "SendLocalListMaxLength",
]


def test_every_required_key_exists() -> None:
    assert {key: setting.readonly for key, setting in SETTINGS.items()} == {
        **dict.fromkeys(WRITABLE, False),
        **dict.fromkeys(READABLE, True),
    }


@pytest.mark.parametrize("setting", default_settings(), ids=lambda setting: setting.key)
def test_each_default_is_a_value_of_its_type(setting: Setting) -> None:
    assert setting.type is not None
    assert setting.suits(setting.value)
    assert not setting.suits("nonsense") or setting.readonly


def test_a_setting_without_a_type_takes_values_like_its_own() -> None:
    values = ["true", "FALSE", "12", "-1", "text"]
    found = {value: [one for one in values if Setting("K", value).suits(one)] for value in ("true", "5", "x")}
    assert found == {"true": ["true", "FALSE"], "5": ["12"], "x": values}


def test_only_the_fields_of_key_value_are_sent() -> None:
    assert SETTINGS["ResetRetries"].key_value == {"key": "ResetRetries", "readonly": False, "value": "1"}
