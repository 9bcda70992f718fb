"""Ready-made answers for both ends, as used by `ocppsync serve` and the simulator."""

from .availability import Availability
from .central_system import CentralSystemAnswers
from .charge_point_16 import ChargePointAnswers
from .charging_station_2x import ChargingStationAnswers
from .device_model import DeviceModel, Variable
from .local_authorization import AuthorizationCache, LocalList
from .settings_16 import Setting
from .station_state import StationState
from .table import Answer
from .value_types import ValueType

__all__ = [
    "Answer",
    "AuthorizationCache",
    "Availability",
    "CentralSystemAnswers",
    "ChargePointAnswers",
    "ChargingStationAnswers",
    "DeviceModel",
    "LocalList",
    "Setting",
    "StationState",
    "ValueType",
    "Variable",
]
