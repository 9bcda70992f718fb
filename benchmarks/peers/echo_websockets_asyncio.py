"""An upper bound: asyncio `websockets`, without parsing or validation.

    python benchmarks/peers/echo_websockets_asyncio.py [--answer PAYLOAD]

The answer to a CALL has the copied message id and a fixed payload. Prints its port once it listens.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
from typing import Any

from websockets.asyncio.server import ServerConnection, serve


async def main() -> None:
    """Serve until the process is killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--answer", default="{}")
    answer = parser.parse_args().answer

    async def handle(websocket: ServerConnection) -> None:
        async for call in websocket:
            # [2,"<36 characters>",
            await websocket.send(f"[3,{call[3:41]!s},{answer}]")

    logging.disable(logging.CRITICAL)
    protocols: Any = ["ocpp1.6", "ocpp2.0.1"]
    async with serve(handle, "127.0.0.1", 0, subprotocols=protocols) as server:
        print(next(iter(server.sockets)).getsockname()[1], flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
