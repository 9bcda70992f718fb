"""Ready-made answers for both ends, as used by `ocppsync serve` and the simulator."""

from .central_system import CentralSystemAnswers
from .charge_point_16 import ChargePointAnswers, Setting
from .charging_station_2x import ChargingStationAnswers
from .device_model import DeviceModel, Variable
from .table import Answer, StationState

__all__ = [
    "Answer",
    "CentralSystemAnswers",
    "ChargePointAnswers",
    "ChargingStationAnswers",
    "DeviceModel",
    "Setting",
    "StationState",
    "Variable",
]
