"""Many changes of a password at once, and a charge point that does with them whatever a charge point may do."""

from __future__ import annotations

import contextlib
import functools
import json
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from bystander import Siege, besieged
from support import basic, wait_until
from wire import DEADLINE, Peer, dial, request

from ocppsync import Limits, OCPPRequestError, Passwords, SecurityProfiles, hash_password

KEY = b"the first password"
quick = functools.partial(hash_password, n=2)
CHANGES = 60
ANSWERS = ["Accepted", "Rejected", "RebootRequired", "NotSupported", "error", "has it", "lost"]
"""What the charge point does with a change; the last two give no answer, with the new password and without."""


def is_connected(items: list[Any]) -> bool:
    """Return whether the last change of the charge point is that it connected."""
    own = [status for name, status in items if name == "CP1"]
    return bool(own) and own[-1] == "connected"


class Fickle:
    """A charge point that knows its password, and gets in with it each time or says that it was locked out."""

    def __init__(self, siege: Siege, seed: int) -> None:
        self._siege = siege
        self._random = random.Random(seed)
        self._password = KEY
        self._after_reboot: bytes | None = None
        self.connections = 0
        self.locked_out: str | None = None
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="fickle")
        self._thread.start()

    def stop(self) -> None:
        self._stopped = True
        for _ in range(100):  # it may be about to connect once more
            self._siege.cs.close_connection("CP1")
            self._thread.join(DEADLINE / 100)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        # Ends: with the connection that `stop` closes.
        history: list[str] = []
        while not self._stopped and self.locked_out is None:
            if self._after_reboot is not None and self._random.random() < 0.5:
                self._password, self._after_reboot = self._after_reboot, None
                history.append("reboots")
            with dial(self._siege.port) as peer:
                status = self._status(peer)
                if status == 401:
                    # What it has just said may not have been read yet: like any charge point it tries again.
                    wait_until(lambda: "CP1" not in self._siege.cs.charge_points)
                    with dial(self._siege.port) as again:
                        status = self._status(again)
                    if status != 101:
                        self.locked_out = f"HTTP {status} after {history[-8:]}"
                    continue
                self.connections += 1
                with contextlib.suppress(EOFError, OSError):
                    while self._answers(peer, history):
                        pass

    def _status(self, peer: Peer) -> int:
        return peer.ask(request("/CP1", Authorization=basic("CP1", self._password))).status

    def _answers(self, peer: Peer, history: list[str]) -> bool:
        """Answer one change, in some way; return whether it stays connected."""
        got = peer.read_frame()
        if got.opcode != 1:
            return got.opcode != 8
        _, message_id, _, payload = json.loads(got.payload)
        new = payload["value"].encode()
        what = self._random.choice(
            ["Accepted", "Rejected", "RebootRequired", "NotSupported", "error", "has it", "lost"]
        )
        history.append(what)
        if what in ("Accepted", "has it"):
            self._password, self._after_reboot = new, None
        elif what == "RebootRequired":
            self._after_reboot = new
        if what in ("has it", "lost"):
            return False  # and nobody knows
        answer = [4, message_id, "InternalError", "", {}] if what == "error" else [3, message_id, {"status": what}]
        peer.send_text(json.dumps(answer))
        return self._random.random() < 0.5


@pytest.mark.parametrize("seed", range(4))
def test_a_charge_point_gets_in_whatever_becomes_of_many_changes(caplog: pytest.LogCaptureFixture, seed: int) -> None:
    stored = {"CP1": json.dumps([quick(KEY)])}  # as an application keeps them: nothing but text

    def store(charge_point_id: str, hashes: tuple[str, ...]) -> None:
        stored[charge_point_id] = json.dumps(hashes)

    security = SecurityProfiles(
        passwords=Passwords(lambda name: json.loads(stored.get(name, "null")), on_change=store, hasher=quick),
        minimum_profile=lambda name: int(name == "CP1"),
    )
    with besieged(caplog, security=security, limits=Limits(failed_authentications=None)) as siege:
        fickle = Fickle(siege, seed)

        def change(number: int) -> Any:
            # In half of the storms they come again: somebody takes a change back.
            key = {"key": "AuthorizationKey", "value": f"password number {number % (CHANGES if seed % 2 else 3)}"}
            siege.events.wait_until(lambda items: is_connected(items) or fickle.locked_out is not None)
            with contextlib.suppress(OCPPRequestError):
                return siege.cs.send_request("CP1", "ChangeConfiguration", key, timeout=DEADLINE)

        with ThreadPoolExecutor(6) as threads:
            list(threads.map(change, range(CHANGES)))
        fickle.stop()
        assert fickle.locked_out is None
        assert fickle.connections > 1
        assert len(json.loads(stored["CP1"])) <= 4
        assert "password number" not in caplog.text
