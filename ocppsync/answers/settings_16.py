"""The configuration keys of a charge point of OCPP 1.6."""

from __future__ import annotations

from dataclasses import dataclass, field

from .value_types import MEASURANDS, ValueType

__all__ = ["Setting", "default_settings"]


@dataclass
class Setting:
    """A configuration key of a charge point; the first fields are those of KeyValue (C16 §7.29, §9).

    Args:
        key: the name, such as ``"HeartbeatInterval"``.
        value: the value.
        readonly: whether ChangeConfiguration is refused.
        type: which values it accepts; None: booleans, natural numbers or any text, whichever the value is now.
    """

    key: str
    value: str = field(repr=False)
    readonly: bool = False
    type: ValueType | None = None

    def suits(self, value: str) -> bool:
        """Return whether the setting accepts a value."""
        return (self.type or self._present_type()).suits(value)

    @property
    def key_value(self) -> dict[str, object]:
        """The KeyValue of a GetConfiguration response."""
        return {"key": self.key, "readonly": self.readonly, "value": self.value}

    def _present_type(self) -> ValueType:
        if self.value in ("true", "false"):
            return _BOOLEAN
        return _NATURAL if self.value.isascii() and self.value.isdigit() else ValueType()


_BOOLEAN = ValueType("boolean")
_NATURAL = ValueType("integer", minimum=0)
_LIST = ValueType("MemberList")
_MEASURANDS = ValueType("MemberList", maximum=500, choices=MEASURANDS)
_ROTATIONS = ("NotApplicable", "Unknown", "RST", "RTS", "SRT", "STR", "TRS", "TSR")
_PHASES = ValueType("MemberList", choices=tuple(f"{number}.{order}" for number in (0, 1) for order in _ROTATIONS))


def default_settings() -> list[Setting]:
    """Return the keys that C16 §9.1 requires of every charge point, and those of the served profiles (§9.2)."""
    return [
        Setting("AuthorizationCacheEnabled", "true", type=_BOOLEAN),
        Setting("AuthorizeRemoteTxRequests", "false", type=_BOOLEAN),
        Setting("ClockAlignedDataInterval", "0", type=_NATURAL),
        Setting("ConnectionTimeOut", "60", type=_NATURAL),
        Setting("ConnectorPhaseRotation", "1.RST", type=_PHASES),
        Setting("GetConfigurationMaxKeys", "50", readonly=True, type=_NATURAL),
        Setting("HeartbeatInterval", "300", type=_NATURAL),
        Setting("LocalAuthorizeOffline", "true", type=_BOOLEAN),
        Setting("LocalPreAuthorize", "false", type=_BOOLEAN),
        Setting("MeterValuesAlignedData", MEASURANDS[0], type=_MEASURANDS),
        Setting("MeterValuesSampledData", ",".join(MEASURANDS), type=_MEASURANDS),
        Setting("MeterValueSampleInterval", "2", type=_NATURAL),
        Setting("NumberOfConnectors", "1", readonly=True, type=_NATURAL),
        Setting("ResetRetries", "1", type=_NATURAL),
        Setting("StopTransactionOnEVSideDisconnect", "true", readonly=True, type=_BOOLEAN),
        Setting("StopTransactionOnInvalidId", "true", type=_BOOLEAN),
        Setting("StopTxnAlignedData", "", type=_MEASURANDS),
        Setting("StopTxnSampledData", "", type=_MEASURANDS),
        Setting("SupportedFeatureProfiles", "Core,RemoteTrigger,LocalAuthListManagement", readonly=True, type=_LIST),
        Setting("TransactionMessageAttempts", "3", type=_NATURAL),
        Setting("TransactionMessageRetryInterval", "60", type=_NATURAL),
        Setting("UnlockConnectorOnEVSideDisconnect", "true", readonly=True, type=_BOOLEAN),
        Setting("LocalAuthListEnabled", "true", type=_BOOLEAN),
        Setting("LocalAuthListMaxLength", "100", readonly=True, type=_NATURAL),
        Setting("SendLocalListMaxLength", "100", readonly=True, type=_NATURAL),
    ]
