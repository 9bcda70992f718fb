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
from .limits import Limits, Timeouts
from .request import CallResultErrorReceived, ConnectionMetadata, Request, RequestMetadata
from .security.passwords import Passwords, authorization_key, hash_password, verify_password
from .security.profiles import SecurityProfiles
from .server.registry import ConnectionListener, ConnectionStatus
from .splitting import split_request
from .validation.catalogue import action_names, message_schema
from .vendor import VendorAction
from .wire.http import Headers, HttpRequest
from .wire.tls import CertificateFiles, ServerTLS, client_context, server_context

__all__ = [
    "CallError",
    "CallErrorReceived",
    "CallResultErrorReceived",
    "CentralSystem",
    "CertificateFiles",
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
    "Passwords",
    "ProtocolError",
    "QueueFullError",
    "Request",
    "RequestMetadata",
    "RequestTimeoutError",
    "SecurityProfiles",
    "ServerTLS",
    "Timeouts",
    "Validation",
    "ValidationError",
    "ValidationMode",
    "VendorAction",
    "VersionMismatchError",
    "Violation",
    "__version__",
    "action_names",
    "authorization_key",
    "client_context",
    "hash_password",
    "message_schema",
    "server_context",
    "split_request",
    "utc_now",
    "verify_password",
]
