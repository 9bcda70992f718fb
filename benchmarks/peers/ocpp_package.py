"""A central system with the package `ocpp` and asyncio `websockets`, as in its documentation, without its log.

    python benchmarks/peers/ocpp_package.py [--tls CERTIFICATE KEY]

It validates requests and answers, as by default. Prints its port once it listens.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime
import logging
import ssl
from typing import Any

from ocpp.routing import on
from ocpp.v16 import ChargePoint as ChargePoint16
from ocpp.v16 import call_result as answers_16
from ocpp.v201 import ChargePoint as ChargePoint201
from ocpp.v201 import call_result as answers_201
from ocpp.v201.datatypes import IdTokenInfoType
from ocpp.v201.enums import AuthorizationStatusEnumType
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

ACCEPTED = IdTokenInfoType(status=AuthorizationStatusEnumType.accepted)


class Point16(ChargePoint16):
    """The central system's side of a 1.6 charge point."""

    @on("Heartbeat")
    def heartbeat(self) -> Any:
        """Answer with the time."""
        now = datetime.datetime.now(datetime.timezone.utc)
        return answers_16.Heartbeat(current_time=now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))

    @on("MeterValues")
    def meter_values(self, **fields: Any) -> Any:
        """Answer with an empty payload."""
        return answers_16.MeterValues()


class Point201(ChargePoint201):
    """The central system's side of a 2.0.1 charging station."""

    @on("TransactionEvent")
    def transaction_event(self, **fields: Any) -> Any:
        """Accept the token."""
        return answers_201.TransactionEvent(id_token_info=ACCEPTED)


async def handle(websocket: ServerConnection) -> None:
    """Serve a connection."""
    assert websocket.request is not None
    kind = Point201 if websocket.subprotocol == "ocpp2.0.1" else Point16
    with contextlib.suppress(ConnectionClosed):
        await kind(websocket.request.path, websocket).start()


async def main() -> None:
    """Serve until the process is killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tls", nargs=2, metavar=("CERTIFICATE", "KEY"))
    files = parser.parse_args().tls
    context = None
    if files:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*files)
    logging.disable(logging.CRITICAL)
    protocols: Any = ["ocpp1.6", "ocpp2.0.1"]
    async with serve(handle, "127.0.0.1", 0, subprotocols=protocols, ssl=context) as server:
        print(next(iter(server.sockets)).getsockname()[1], flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
