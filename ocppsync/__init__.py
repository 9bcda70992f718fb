"""OCPP for threads: a central system and charge points with blocking calls, and no asyncio.

from ocppsync import CentralSystem

cs = CentralSystem(9000)

@cs.on("BootNotification")
def boot(payload, metadata):
    return {"status": "Accepted", "currentTime": utc_now(), "interval": 300}

with cs:
    cs.send_request("CP1", "Reset", {"type": "Soft"})
"""

from ._version import __version__
from .central_system import CentralSystem
from .charge_point import ChargePoint
from .clock import utc_now
from .errors import (
    CallError,
    CallErrorReceived,
    ConnectionLostError,
    Delivery,
    HandshakeError,
    InvalidResponseError,
    NotConnectedError,
    NotRegisteredError,
    OCPPError,
    OCPPRequestError,
    ProtocolError,
    QueueFullError,
    RequestTimeoutError,
    ValidationError,
    VersionMismatchError,
    Violation,
)
from .lenient import Lenient, Validation, ValidationMode
from .limits import Limits
from .registry import ConnectionListener, ConnectionStatus
from .request import CallResultErrorReceived, ConnectionMetadata, Headers, HttpRequest, Request, RequestMetadata
from .vendor import VendorAction

__all__ = [
    "CallError",
    "CallErrorReceived",
    "CallResultErrorReceived",
    "CentralSystem",
    "ChargePoint",
    "ConnectionListener",
    "ConnectionLostError",
    "ConnectionMetadata",
    "ConnectionStatus",
    "Delivery",
    "HandshakeError",
    "Headers",
    "HttpRequest",
    "InvalidResponseError",
    "Lenient",
    "Limits",
    "NotConnectedError",
    "NotRegisteredError",
    "OCPPError",
    "OCPPRequestError",
    "ProtocolError",
    "QueueFullError",
    "Request",
    "RequestMetadata",
    "RequestTimeoutError",
    "Validation",
    "ValidationError",
    "ValidationMode",
    "VendorAction",
    "VersionMismatchError",
    "Violation",
    "__version__",
    "utc_now",
]
