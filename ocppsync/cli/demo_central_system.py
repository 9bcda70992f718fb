"""The central system behind ``ocppsync serve``: accepts every charge point and shows its messages."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from .._version import __version__
from ..answers import Answer, CentralSystemAnswers
from ..central_system import CentralSystem
from ..errors import CallError, CallErrorReceived, OCPPError
from ..journal import Journal
from ..limits import Timeouts
from ..masking.messages import masked
from ..request import Request, RequestMetadata
from ..server.registry import ConnectionStatus
from ..validation.catalogue import SUBPROTOCOLS, Version, catalogue
from .conversation import Conversation
from .readable import quantity

__all__ = ["VERSIONS", "VERSIONS_TEXT", "DemoCentralSystem", "reachable_host"]

VERSIONS: tuple[Version, ...] = tuple(SUBPROTOCOLS.values())
"""The supported versions of OCPP."""
VERSIONS_TEXT = f"{', '.join(VERSIONS[:-1])} and {VERSIONS[-1]}"
"""The same, as a phrase: ``"1.6, 2.0.1 and 2.1"``."""


class DemoCentralSystem:
    """A central system that accepts every charge point and shows its messages.

    Args:
        conversation: shows the messages.
        host: the address to listen on.
        port: the port to listen on; 0 picks a free one.
        journal: gets every message; None: no journal.

    Raises:
        OSError: the port cannot be opened.
    """

    def __init__(self, conversation: Conversation, host: str, port: int, journal: Journal | None = None) -> None:
        self._conversation = conversation
        self._host = host
        self._began = time.monotonic()
        # From the clock, so that a restart does not reuse the ids of running transactions.
        self._answers = CentralSystemAnswers(first_transaction_id=int(time.time()) % 10_000_000 + 1)
        self._transactions: set[tuple[str, int | str]] = set()
        # Accept charge points that name no subprotocol, and show invalid requests, too.
        self._central_system = CentralSystem(
            port,
            self._handle,
            host=host,
            reject_invalid_requests=False,
            default_protocol="ocpp1.6",
            timeouts=Timeouts(close=1.0),
            journal=journal,
        )
        self._central_system.after("BootNotification")(self._request_configuration)
        self._central_system.add_connection_listener(self._show_connection)

    @property
    def local_url(self) -> str:
        """The URL for charge points on this machine."""
        return _url({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._host, self._host), self._central_system.port)  # noqa: S104

    def open(self) -> None:
        """Start to accept charge points, and show the URL to configure in them."""
        port, say = self._central_system.port, self._conversation.say
        url = _url(reachable_host(self._host), port)
        say(f"ocppsync {__version__}: central system for OCPP {VERSIONS_TEXT} on port {port}; Ctrl-C stops it")
        say()
        say(f"  URL to enter in the charge point:  {url}")
        say(f"  It appends its identity:           {url}CP1")
        say()
        self._central_system.start()

    def close(self) -> None:
        """Disconnect all charge points and stop."""
        self._central_system.close(grace=2.0)

    def summary(self) -> str:
        """Return the totals of the run, in one line."""
        return (
            f"Goodbye: {quantity(self._conversation.messages, 'message')},"
            f" {quantity(len(self._conversation.charge_points), 'charge point')},"
            f" {quantity(len(self._transactions), 'transaction')} in {time.monotonic() - self._began:.0f} s"
        )

    def _handle(self, request: Request[str, Any], metadata: RequestMetadata) -> Answer:
        charge_point_id, action = metadata.charge_point_id, request.action
        self._conversation.request(charge_point_id, True, action, request.payload)
        if catalogue(request.version).is_send(action):
            return self._answer(request, metadata)  # a SEND has no response (4/21 §4.2.4)
        try:
            answer = self._answer(request, metadata)
        except CallError as error:
            self._conversation.error(charge_point_id, False, action, f"CALLERROR {error}")
            raise
        self._conversation.answer(charge_point_id, False, action, answer)
        return answer

    def _answer(self, request: Request[str, Any], metadata: RequestMetadata) -> Answer:
        violation = metadata.validation_error
        if violation is not None:
            raise CallError(violation.error_code, str(violation).removeprefix(f"{request.action} request: ")[:255])
        answer = self._answers(request, metadata)
        if answer is None:
            raise CallError("NotImplemented")
        self._count(request, answer, metadata.charge_point_id)
        return answer

    def _count(self, request: Request[str, Any], answer: Answer, charge_point_id: str) -> None:
        if request.action == "StartTransaction":
            self._transactions.add((charge_point_id, answer["transactionId"]))
        elif request.action == "TransactionEvent":
            self._transactions.add((charge_point_id, request.payload["transactionInfo"]["transactionId"]))

    def _show_connection(self, charge_point_id: str, status: ConnectionStatus) -> None:
        version = self._central_system.ocpp_version(charge_point_id) if status == "connected" else None
        self._conversation.connection(charge_point_id, status, version)

    def _request_configuration(self, _: Any, metadata: RequestMetadata) -> None:
        # Does not wait: charge points that never answer would occupy all the handler threads.
        charge_point_id, (action, payload) = metadata.charge_point_id, _CONFIGURATION_REQUESTS[metadata.ocpp_version]
        self._conversation.request(charge_point_id, False, action, payload)
        future = self._central_system.submit_request(charge_point_id, action, payload)
        future.add_done_callback(lambda future: self._show_result(charge_point_id, action, future))

    def _show_result(self, charge_point_id: str, action: str, future: Future[Any]) -> None:
        try:
            self._conversation.answer(charge_point_id, True, action, future.result())
        except CallErrorReceived as error:
            text = f"CALLERROR {error.raw_code}: {masked(error.description)}"
            self._conversation.error(charge_point_id, True, action, text)
        except OCPPError as error:
            self._conversation.error(charge_point_id, True, action, str(error))


def _get_variables(*names: tuple[str, str]) -> tuple[Any, Any]:
    variables = [{"component": {"name": component}, "variable": {"name": variable}} for component, variable in names]
    return "GetVariables", {"getVariableData": variables}


# The action and payload sent to a charge point after its BootNotification. A full report does not fit on one line, so
# 2.x is asked for a few variables that nearly every charging station has.
_GET_VARIABLES = _get_variables(
    ("OCPPCommCtrlr", "HeartbeatInterval"),
    ("TxCtrlr", "TxStartPoint"),
    ("SampledDataCtrlr", "TxUpdatedInterval"),
    ("SecurityCtrlr", "SecurityProfile"),
)
_CONFIGURATION_REQUESTS: Mapping[str, tuple[Any, Any]] = {
    "1.6": ("GetConfiguration", {}),
    "2.0.1": _GET_VARIABLES,
    "2.1": _GET_VARIABLES,
}


def _url(host: str, port: int | None) -> str:
    return f"ws://[{host}]:{port}/" if ":" in host else f"ws://{host}:{port}/"


def reachable_host(host: str) -> str:
    """Return the address at which other machines reach a server that listens on ``host``.

    For a wildcard address that is this machine's address in the local network.
    """
    if host not in ("", "0.0.0.0", "::"):  # noqa: S104
        return host
    # Connecting a UDP socket sends nothing, but selects the local address. The remote ones are reserved for
    # documentation (RFC 5737, RFC 3849).
    family, remote = (socket.AF_INET6, "2001:db8::1") if host == "::" else (socket.AF_INET, "192.0.2.1")
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect((remote, 9))
            return str(sock.getsockname()[0])
    except OSError:
        return socket.gethostname() or "127.0.0.1"
