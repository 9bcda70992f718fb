"""The variables of a charging station of OCPP 2.0.1 and 2.1, and the configuration keys of 1.6 that they replace."""

from __future__ import annotations

from collections.abc import Mapping

from ..clock import utc_now
from .device_model import Variable
from .local_authorization import LocalList
from .value_types import MEASURANDS, DataType

__all__ = ["VARIABLE_OF_KEY", "default_variables"]

VARIABLE_OF_KEY: Mapping[str, tuple[str, ...]] = {
    "AuthorizationCacheEnabled": ("AuthCacheCtrlr", "Enabled"),
    "AuthorizeRemoteTxRequests": ("AuthCtrlr", "AuthorizeRemoteStart"),
    "ClockAlignedDataInterval": ("AlignedDataCtrlr", "Interval"),
    "HeartbeatInterval": ("OCPPCommCtrlr", "HeartbeatInterval"),
    "LocalAuthListEnabled": ("LocalAuthListCtrlr", "Enabled"),
    "LocalPreAuthorize": ("AuthCtrlr", "LocalPreAuthorize"),
    "MeterValuesAlignedData": ("AlignedDataCtrlr", "Measurands"),
    "MeterValuesSampledData": ("SampledDataCtrlr", "TxUpdatedMeasurands"),
    "MeterValueSampleInterval": ("SampledDataCtrlr", "TxUpdatedInterval"),
    "StopTransactionOnInvalidId": ("TxCtrlr", "StopTxOnInvalidId"),
    "StopTxnAlignedData": ("AlignedDataCtrlr", "TxEndedMeasurands"),
    "StopTxnSampledData": ("SampledDataCtrlr", "TxEndedMeasurands"),
    "TransactionMessageAttempts": ("OCPPCommCtrlr", "MessageAttempts", "TransactionEvent"),
    "TransactionMessageRetryInterval": ("OCPPCommCtrlr", "MessageAttemptInterval", "TransactionEvent"),
    # Without a key in 1.6.
    "AlignedTxEndedInterval": ("AlignedDataCtrlr", "TxEndedInterval"),
    "SampledTxEndedInterval": ("SampledDataCtrlr", "TxEndedInterval"),
    "SampledTxStartedMeasurands": ("SampledDataCtrlr", "TxStartedMeasurands"),
}
"""The component, variable and instance of each setting that the simulator reads."""

_STATES = ("Available", "Occupied", "Reserved", "Unavailable", "Faulted")
_TX_POINTS = ("ParkingBayOccupancy", "EVConnected", "Authorized", "DataSigned", "PowerPathClosed", "EnergyTransfer")
_ID_TOKENS = ("Central", "eMAID", "ISO14443", "ISO15693", "KeyCode", "Local", "MacAddress", "NoAuthorization")


def default_variables(local_list: LocalList) -> list[Variable]:
    """Return the variables that 2/201 requires of every charging station, and those of the functions served here.

    2/201 B07.FR.08: those of the functional blocks General, Security, Authorization, Local Authorization List,
    Transaction, Metering and Charging Infrastructure (referenced components and variables), and of 4/201 §8.
    """
    return [
        *_metering(),
        *_authorization(local_list),
        *_infrastructure(),
        Variable("ClockCtrlr", "DateTime", "", "dateTime", live=utc_now),
        Variable("ClockCtrlr", "TimeSource", "Heartbeat", "SequenceList", writable=True, choices=("Heartbeat",)),
        *_limits("DeviceDataCtrlr", "GetReport", "GetVariables", "SetVariables"),
        *_communication(),
        Variable("SecurityCtrlr", "CertificateEntries", "0", "integer", maximum=0),
        Variable("SecurityCtrlr", "OrganizationName", "ocppsync", writable=True, maximum=64),
        Variable("SecurityCtrlr", "SecurityProfile", "0", "integer"),
        _number("TxCtrlr", "EVConnectionTimeOut", "60", unit="s"),
        Variable("TxCtrlr", "StopTxOnEVSideDisconnect", "true", "boolean"),
        _flag("TxCtrlr", "StopTxOnInvalidId", "true"),
        Variable("TxCtrlr", "TxStartPoint", "Authorized", "MemberList", choices=_TX_POINTS),
        Variable("TxCtrlr", "TxStopPoint", "Authorized", "MemberList", choices=_TX_POINTS),
    ]


def _metering() -> list[Variable]:
    return [
        _number("AlignedDataCtrlr", "Interval", "0", unit="s"),
        _measurands("AlignedDataCtrlr", "Measurands", MEASURANDS[0]),
        _number("AlignedDataCtrlr", "TxEndedInterval", "0", unit="s"),
        _measurands("AlignedDataCtrlr", "TxEndedMeasurands", ""),
        _number("SampledDataCtrlr", "TxEndedInterval", "0", unit="s"),
        _measurands("SampledDataCtrlr", "TxEndedMeasurands", MEASURANDS[0]),
        _measurands("SampledDataCtrlr", "TxStartedMeasurands", MEASURANDS[0]),
        _number("SampledDataCtrlr", "TxUpdatedInterval", "2", unit="s"),
        _measurands("SampledDataCtrlr", "TxUpdatedMeasurands", ",".join(MEASURANDS)),
    ]


def _authorization(local_list: LocalList) -> list[Variable]:
    return [
        Variable("AuthCacheCtrlr", "Available", "true", "boolean"),
        _flag("AuthCacheCtrlr", "Enabled", "true"),
        _flag("AuthCtrlr", "AuthorizeRemoteStart", "false"),
        _flag("AuthCtrlr", "LocalAuthorizeOffline", "true"),
        _flag("AuthCtrlr", "LocalPreAuthorize", "false"),
        Variable("AuthCtrlr", "SupportedIdTokenTypes", ",".join(_ID_TOKENS), "MemberList"),
        Variable("LocalAuthListCtrlr", "Available", "true", "boolean"),
        Variable("LocalAuthListCtrlr", "BytesPerMessage", "65536", "integer"),
        _flag("LocalAuthListCtrlr", "Enabled", "true"),
        Variable(
            *("LocalAuthListCtrlr", "Entries", "0", "integer"),
            maximum=local_list.max_entries,
            live=lambda: str(len(local_list)),
        ),
        Variable("LocalAuthListCtrlr", "ItemsPerMessage", str(local_list.max_entries), "integer"),
        Variable("LocalAuthListCtrlr", "SupportsExpiryDateTime", "true", "boolean"),
    ]


def _infrastructure() -> list[Variable]:
    return [
        Variable("ChargingStation", "AvailabilityState", "Available", "OptionList", choices=_STATES),
        Variable("ChargingStation", "Available", "true", "boolean"),
        Variable("ChargingStation", "Model", "Simulator"),
        Variable("ChargingStation", "SupplyPhases", "1", "integer"),
        Variable("ChargingStation", "VendorName", "ocppsync"),
        Variable("Connector", "AvailabilityState", "Available", "OptionList", evse=1, connector=1, choices=_STATES),
        Variable("Connector", "Available", "true", "boolean", evse=1, connector=1),
        Variable("Connector", "ConnectorType", "cType2", evse=1, connector=1),
        Variable("Connector", "SupplyPhases", "1", "integer", evse=1, connector=1),
        Variable("EVSE", "AvailabilityState", "Available", "OptionList", evse=1, choices=_STATES),
        Variable("EVSE", "Available", "true", "boolean", evse=1),
        Variable("EVSE", "Power", "7400", "decimal", evse=1, unit="W", maximum=7400),
        Variable("EVSE", "SupplyPhases", "1", "integer", evse=1),
    ]


def _communication() -> list[Variable]:
    name = "OCPPCommCtrlr"
    return [
        Variable(name, "ActiveNetworkProfile", "1", "integer"),
        Variable(name, "FileTransferProtocols", "", "MemberList"),
        _number(name, "HeartbeatInterval", "300", unit="s", minimum=1),
        _number(name, "MessageAttemptInterval", "60", unit="s", instance="TransactionEvent"),
        _number(name, "MessageAttempts", "3", instance="TransactionEvent"),
        Variable(name, "MessageTimeout", "30", "integer", instance="Default", unit="s"),
        Variable(name, "NetworkConfigurationPriority", "1", "SequenceList", writable=True, choices=("1",)),
        _number(name, "NetworkProfileConnectionAttempts", "3"),
        _number(name, "OfflineThreshold", "300", unit="s"),
        _number(name, "ResetRetries", "1"),
        _number(name, "RetryBackOffRandomRange", "1", unit="s"),
        _number(name, "RetryBackOffRepeatTimes", "5"),
        _number(name, "RetryBackOffWaitMinimum", "1", unit="s"),
        Variable(name, "UnlockOnEVSideDisconnect", "true", "boolean"),
        _number(name, "WebSocketPingInterval", "30", unit="s"),
    ]


def _limits(component: str, *messages: str) -> list[Variable]:
    return [
        Variable(component, name, value, "integer", instance=message)
        for name, value in (("BytesPerMessage", "65536"), ("ItemsPerMessage", "50"))
        for message in messages
    ]


def _number(
    component: str, name: str, value: str, *, unit: str | None = None, instance: str | None = None, minimum: int = 0
) -> Variable:
    return _writable(component, name, value, "integer", unit=unit, instance=instance, minimum=minimum)


def _flag(component: str, name: str, value: str) -> Variable:
    return _writable(component, name, value, "boolean")


def _measurands(component: str, name: str, value: str) -> Variable:
    return Variable(component, name, value, "MemberList", writable=True, maximum=500, choices=MEASURANDS)


def _writable(
    component: str,
    name: str,
    value: str,
    data_type: DataType,
    *,
    unit: str | None = None,
    instance: str | None = None,
    minimum: int | None = None,
) -> Variable:
    return Variable(component, name, value, data_type, True, instance, unit=unit, minimum=minimum)
