"""A central system that is killed or stopped: what it has promised, it keeps afterwards, or its next process does."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from bystander import heartbeat
from programs import Program
from support import DEADLINE, basic
from websockets.sync.client import ClientConnection, connect
from wire import dial, request

from ocppsync import hash_password

KEY = b"the current password"
NEW = b"a new password: yes"
SERVER = """
import json, pathlib, sys
from ocppsync import CentralSystem, Passwords, SecurityProfiles

stored = pathlib.Path(sys.argv[1])

def find(charge_point_id):
    return json.loads(stored.read_text()).get(charge_point_id)

def store(charge_point_id, hashes):
    stored.write_text(json.dumps({**json.loads(stored.read_text()), charge_point_id: hashes}))

with CentralSystem(0, host="127.0.0.1", security=SecurityProfiles(passwords=Passwords(find, on_change=store))) as cs:
    print("port", cs.port)
    for line in sys.stdin:
        key = {"key": "AuthorizationKey", "value": line.strip()}
        print(cs.send_request("CP1", "ChangeConfiguration", key)["status"])
"""


class Site:
    """A central system in a process of its own, with what its application has in a file."""

    def __init__(self, directory: Path) -> None:
        self._stored = directory / "hashes.json"
        hashes = {"CP1": [hash_password(KEY, n=2)], "bystander": [hash_password(KEY, n=2)]}
        self._stored.write_text(json.dumps(hashes))

    def start(self) -> Program:
        return Program(["-c", SERVER, str(self._stored)])


def port_of(program: Program) -> int:
    return int(program.wait_for(r"^port (\d+)$")[1])


def get_in(program: Program, *passwords: bytes, name: str = "CP1") -> list[int]:
    """Connect with one password after the other; return the statuses."""
    found = []
    for password in passwords:
        with dial(port_of(program)) as peer:
            found.append(peer.ask(request(f"/{name}", Authorization=basic(name, password))).status)
    return found


def charge_point(program: Program) -> ClientConnection:
    headers = {"Authorization": basic("CP1", KEY)}
    url = f"ws://127.0.0.1:{port_of(program)}/CP1"
    return connect(url, subprotocols=["ocpp1.6"], additional_headers=headers, close_timeout=1)  # type: ignore[list-item]


@pytest.mark.slow
@pytest.mark.parametrize("status", ["RebootRequired", None])
def test_a_password_that_is_used_after_a_reboot_outlives_a_kill(tmp_path: Path, status: str | None) -> None:
    site = Site(tmp_path)
    with site.start() as program, charge_point(program) as peer:
        program.enter(NEW.decode())
        message_id = json.loads(peer.recv(DEADLINE))[1]
        if status is not None:
            peer.send(json.dumps([3, message_id, {"status": status}]))
            program.wait_for(f"^{status}$")
        program.process.kill()
        program.wait()
    with site.start() as program:
        assert get_in(program, KEY, KEY) == [101, 101], "it has not rebooted yet"
        assert get_in(program, KEY, name="bystander") == [101]
        program.process.kill()
        program.wait()
    with site.start() as program:
        assert get_in(program, NEW, KEY, NEW) == [101, 401, 101]
        assert get_in(program, KEY, NEW, name="bystander") == [101, 401]


BUSY = """
import os, resource, sys
from ocppsync import CentralSystem, Timeouts, utc_now

cs = CentralSystem(int(sys.argv[1]), host="127.0.0.1", websocket_ping_interval=60, timeouts=Timeouts(handler=30))

@cs.on("Heartbeat")
def heartbeat(payload, metadata):
    return {"currentTime": utc_now()}

with cs:
    print("port", cs.port)
    for line in sys.stdin:
        if line == "full\\n":
            lowest = os.dup(0)
            os.close(lowest)
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
            print("is full")
        elif line == "room\\n":
            resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
            print("has room")
        else:
            print("connected", len(cs.charge_points))
"""


@pytest.mark.slow
def test_a_stopped_process_goes_on_where_it_was() -> None:
    with Program(["-c", BUSY, "0"]) as program, contextlib.ExitStack() as stack:
        peers = [stack.enter_context(dial(port_of(program))) for _ in range(20)]
        for number, peer in enumerate(peers):
            peer.upgrade(f"/P{number}")
        program.process.send_signal(signal.SIGSTOP)
        for peer in peers:
            for number in range(3):
                peer.send_text(f'[2,"{number}","Heartbeat",{{}}]')
        newcomer = stack.enter_context(dial(port_of(program)))  # into the backlog: nobody accepts it yet
        newcomer.send(request("/newcomer"))
        program.process.send_signal(signal.SIGCONT)
        for peer in peers:
            assert [json.loads(peer.read_text())[:2] for _ in range(3)] == [[3, str(number)] for number in range(3)]
        assert newcomer.read_response().status == 101
        program.enter("count")
        program.wait_for(r"^connected 21$")


@pytest.mark.slow
def test_all_charge_points_are_back_at_once_after_a_kill() -> None:
    count = 150
    with Program(["-c", BUSY, "0"]) as program, contextlib.ExitStack() as stack:
        port = port_of(program)
        peers = [stack.enter_context(dial(port)) for _ in range(count)]
        for number, peer in enumerate(peers):
            peer.upgrade(f"/P{number}")
        for peer in peers:
            peer.send_text('[2,"lost","Heartbeat",{}]')
        program.process.kill()
        program.wait()
        for peer in peers:
            peer.wait_for_end()
        with Program(["-c", BUSY, str(port)]) as again:
            assert port_of(again) == port

            def come_back(number: int) -> None:
                with dial(port) as peer:
                    peer.upgrade(f"/P{number}")
                    heartbeat(peer, "again")
                    everybody.wait(6 * DEADLINE)

            everybody = threading.Barrier(count)
            with ThreadPoolExecutor(count) as threads:
                list(threads.map(come_back, range(count)))


@pytest.mark.slow
def test_without_descriptors_those_inside_are_served_and_the_others_wait() -> None:
    with Program(["-c", BUSY, "0"]) as program, contextlib.ExitStack() as stack:
        port = port_of(program)
        inside = [stack.enter_context(dial(port)) for _ in range(5)]
        for number, peer in enumerate(inside):
            peer.upgrade(f"/P{number}")
        program.enter("full")
        program.wait_for("^is full$")
        outside = [stack.enter_context(dial(port)) for _ in range(5)]
        for number, peer in enumerate(outside):
            peer.send(request(f"/O{number}"))
        for message_id in ("1", "2"):
            for peer in inside:
                heartbeat(peer, message_id)
        program.enter("count")
        program.wait_for(r"^connected 5$")
        program.enter("room")
        program.wait_for("^has room$")
        for peer in outside:
            assert peer.read_response().status == 101
            heartbeat(peer, "1")
        program.enter("count")
        program.wait_for(r"^connected 10$")
