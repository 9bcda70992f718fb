"""A central system with ocppsync, as in its documentation.

    python benchmarks/peers/ours.py [--tls CERTIFICATE KEY] [--switch-interval SECONDS]

Prints its port once it listens.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from ocppsync import CentralSystem, Limits, server_context, utc_now


def main() -> None:
    """Serve until the process is killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tls", nargs=2, metavar=("CERTIFICATE", "KEY"))
    parser.add_argument("--switch-interval", type=float, default=sys.getswitchinterval(), metavar="SECONDS")
    options = parser.parse_args()
    files = options.tls
    sys.setswitchinterval(options.switch_interval)
    cs = CentralSystem(
        0,
        host="127.0.0.1",
        protocols=["ocpp1.6", "ocpp2.0.1"],
        ssl_context=server_context([(files[0], files[1])]) if files else None,
        # All charge points connect from one address.
        limits=Limits(connections_per_address=None, handshakes_per_address=None),
    )

    @cs.on("Heartbeat")
    def heartbeat(payload: Any, metadata: Any) -> Any:
        return {"currentTime": utc_now()}

    @cs.on("MeterValues")
    def meter_values(payload: Any, metadata: Any) -> Any:
        return {}

    @cs.on("TransactionEvent")
    def transaction_event(payload: Any, metadata: Any) -> Any:
        return {"idTokenInfo": {"status": "Accepted"}}

    print(cs.port, flush=True)
    cs.serve_forever()


if __name__ == "__main__":
    main()
