"""A central system that is killed: what it has promised, its next process keeps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
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
