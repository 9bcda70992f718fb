"""How many validated CALLs a second one core answers, beside the `ocpp` package on `websockets`, in one run.

    python benchmarks/throughput.py --rounds 5

Each round starts a server of each kind in turn, pinned to one core, and asks it from another core; the table shows the
medians, and the ratio to the `ocpp` package. Needs the extra ``test``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent

OCPPSYNC = """
from ocppsync import CentralSystem, utc_now
cs = CentralSystem(0, host="127.0.0.1", protocols=["ocpp1.6"])
cs.on("MeterValues")(lambda payload, metadata: {})
cs.on("Heartbeat")(lambda payload, metadata: {"currentTime": utc_now()})
print(cs.port, flush=True)
cs.serve_forever()
"""
OCPP = """
import asyncio, datetime, logging
import websockets
from ocpp.routing import on
from ocpp.v16 import ChargePoint, call_result

logging.disable(logging.CRITICAL)

class Point(ChargePoint):
    @on("MeterValues")
    def meter_values(self, **fields):
        return call_result.MeterValues()

    @on("Heartbeat")
    def heartbeat(self):
        return call_result.Heartbeat(current_time=datetime.datetime.now(datetime.timezone.utc).isoformat())

async def attend(websocket):
    try:
        await Point(websocket.request.path, websocket).start()
    except websockets.ConnectionClosed:
        pass

async def main():
    async with websockets.serve(attend, "127.0.0.1", 0, subprotocols=["ocpp1.6"]) as server:
        print(next(iter(server.sockets)).getsockname()[1], flush=True)
        await asyncio.get_running_loop().create_future()

asyncio.run(main())
"""
SERVERS = {"ocppsync": OCPPSYNC, "ocpp": OCPP}


def measure(program: str, message: str, connections: int, seconds: float, cores: list[int]) -> float:
    """Return the answers a second of one server."""
    server = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        os.sched_setaffinity(server.pid, {cores[0]})
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        command = [sys.executable, str(HERE / "load.py"), port, "--message", message]
        command += ["--connections", str(connections), "--seconds", str(seconds)]
        load = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        os.sched_setaffinity(load.pid, {cores[-1]})
        output, _ = load.communicate(timeout=seconds + 60)
        return float(output)
    finally:
        server.kill()
        server.communicate()


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--connections", type=int, default=100)
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    print(f"{options.connections} connections, {options.rounds} rounds of {options.seconds:g} s, cores {cores}")
    print("| message | server | answers/s | lowest | highest | ratio |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    for message in ("heartbeat", "meter-values"):
        found: dict[str, list[float]] = {name: [] for name in SERVERS}
        for _ in range(options.rounds):
            for name, program in SERVERS.items():
                found[name].append(measure(program, message, options.connections, options.seconds, cores))
        base = statistics.median(found["ocpp"])
        for name, rates in found.items():
            median = statistics.median(rates)
            row = (message, name, f"{median:.0f}", f"{min(rates):.0f}", f"{max(rates):.0f}", f"{median / base:.1f}")
            print(f"| {' | '.join(row)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
