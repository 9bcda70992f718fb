"""An upper bound: threads and `websockets.sync`, without parsing or validation.

    python benchmarks/peers/echo_websockets_sync.py [--answer PAYLOAD]

The answer to a CALL has the copied message id and a fixed payload. Prints its port once it listens.
"""

from __future__ import annotations

import argparse
import logging
from typing import Any

from websockets.sync.server import ServerConnection, serve


def main() -> None:
    """Serve until the process is killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--answer", default="{}")
    answer = parser.parse_args().answer

    def handle(websocket: ServerConnection) -> None:
        for call in websocket:
            # [2,"<36 characters>",
            websocket.send(f"[3,{call[3:41]!s},{answer}]")

    logging.disable(logging.CRITICAL)
    protocols: Any = ["ocpp1.6", "ocpp2.0.1"]
    with serve(handle, "127.0.0.1", 0, subprotocols=protocols) as server:
        print(server.socket.getsockname()[1], flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
