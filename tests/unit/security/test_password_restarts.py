"""A central system that restarts in the middle of a password change: it knows what the application has stored."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support import DEADLINE, RawChargePoint, basic, connected, raw, serving
from wire import dial, request

from ocppsync import (
    CallErrorReceived,
    CentralSystem,
    ConnectionLostError,
    InvalidResponseError,
    OCPPRequestError,
    Passwords,
    RequestTimeoutError,
    SecurityProfiles,
    hash_password,
)

KEY = b"the current password"
NEW = b"a new password: yes"
quick = functools.partial(hash_password, n=2)
VARIABLE = {"component": {"name": "SecurityCtrlr"}, "variable": {"name": "BasicAuthPassword"}}
SLOT = {"component": {"name": "NetworkConfiguration", "instance": "2"}, "variable": {"name": "BasicAuthPassword"}}
PROFILE = {
    "ocppInterface": "Wired0",
    "ocppTransport": "JSON",
    "messageTimeout": 30,
    "ocppCsmsUrl": "ws://127.0.0.1",
    "securityProfile": 1,
    "basicAuthPassword": NEW.decode(),
}
REQUESTS: dict[str, tuple[str, str, Any, Callable[[str], Any]]] = {
    "key": (
        "1.6",
        "ChangeConfiguration",
        {"key": "AuthorizationKey", "value": NEW.decode()},
        lambda status: {"status": status},
    ),
    "variable": (
        "2.0.1",
        "SetVariables",
        {"setVariableData": [{**VARIABLE, "attributeValue": NEW.decode()}]},
        lambda status: {"setVariableResult": [{**VARIABLE, "attributeStatus": status}]},
    ),
    "slot": (
        "2.1",
        "SetVariables",
        {"setVariableData": [{**SLOT, "attributeValue": NEW.decode()}]},
        lambda status: {"setVariableResult": [{**SLOT, "attributeStatus": status}]},
    ),
    "profile": (
        "2.1",
        "SetNetworkProfile",
        {"configurationSlot": 2, "connectionData": PROFILE},
        lambda status: {"status": status},
    ),
}
"""Version, action, payload, and the answer with a status."""


class Site:
    """An application that keeps hashes as text, and charge points that come and go; each visit is to a new process."""

    def __init__(self, kind: str) -> None:
        self.version, self.action, self.payload, self.answer = REQUESTS[kind]
        self._stored = json.dumps({"CP1": [quick(KEY)]})

    def _find(self, charge_point_id: str) -> Any:
        return json.loads(self._stored).get(charge_point_id)

    def _store(self, charge_point_id: str, hashes: tuple[str, ...]) -> None:
        self._stored = json.dumps({**json.loads(self._stored), charge_point_id: hashes})

    @contextlib.contextmanager
    def running(self) -> Iterator[CentralSystem]:
        passwords = Passwords(self._find, on_change=self._store, hasher=quick)
        with serving(security=SecurityProfiles(passwords=passwords)) as cs:
            yield cs

    def changes(self, end: Callable[[CentralSystem, RawChargePoint, Any], Any]) -> None:
        """Have the password changed, with some end of the request; then the process is gone."""
        with self.running() as cs:
            events = connected(cs)
            headers = {"Authorization": basic("CP1", KEY)}
            with raw(cs, additional_headers=headers, subprotocols=[f"ocpp{self.version}"]) as peer:
                events.wait()
                end(cs, peer, self)

    def gets_in(self, password: bytes) -> bool:
        with self.running() as cs, dial(cs.port) as peer:
            fields = {"Authorization": basic("CP1", password), "Sec_WebSocket_Protocol": f"ocpp{self.version}"}
            return peer.ask(request("/CP1", **fields)).status == 101


# Ends of the request.


def answered(status: str) -> Any:
    """Return an end with that status."""

    def end(cs: CentralSystem, peer: RawChargePoint, site: Site) -> None:
        future = cs.submit_request("CP1", site.action, site.payload)
        peer.send([3, peer.read()[1], site.answer(status)])
        future.result(DEADLINE)

    return pytest.param(end, id=status)


def call_error(cs: CentralSystem, peer: RawChargePoint, site: Site) -> None:
    future = cs.submit_request("CP1", site.action, site.payload)
    peer.send([4, peer.read()[1], "InternalError", "", {}])
    assert isinstance(future.exception(DEADLINE), CallErrorReceived)


def invalid_answer(cs: CentralSystem, peer: RawChargePoint, site: Site) -> None:
    future = cs.submit_request("CP1", site.action, site.payload)
    peer.send([3, peer.read()[1], {"status": "Perhaps"}])
    assert isinstance(future.exception(DEADLINE), InvalidResponseError)


def no_answer(cs: CentralSystem, peer: RawChargePoint, site: Site) -> None:
    with pytest.raises(RequestTimeoutError) as caught:
        cs.send_request("CP1", site.action, site.payload, timeout=0.05)
    assert caught.value.delivery == "unknown"


def lost_connection(cs: CentralSystem, peer: RawChargePoint, site: Site) -> None:
    future = cs.submit_request("CP1", site.action, site.payload)
    peer.read()
    peer.websocket.close()
    error = future.exception(DEADLINE)
    assert isinstance(error, ConnectionLostError)
    assert error.delivery == "unknown"


def too_late_for_its_turn(cs: CentralSystem, peer: RawChargePoint, site: Site) -> None:
    cs.submit_request("CP1", "DataTransfer", {"vendorId": "x"})
    with pytest.raises(RequestTimeoutError) as caught:
        cs.send_request("CP1", site.action, site.payload, timeout=0.05)
    assert caught.value.delivery == "not_sent"


def lost_before_its_turn(cs: CentralSystem, peer: RawChargePoint, site: Site) -> None:
    cs.submit_request("CP1", "DataTransfer", {"vendorId": "x"})
    future = cs.submit_request("CP1", site.action, site.payload)
    peer.websocket.close()
    error = future.exception(DEADLINE)
    assert isinstance(error, OCPPRequestError)
    assert error.delivery == "not_sent"


def cancelled(cs: CentralSystem, peer: RawChargePoint, site: Site) -> None:
    cs.submit_request("CP1", "DataTransfer", {"vendorId": "x"})
    assert cs.submit_request("CP1", site.action, site.payload).cancel()


KEEPS_THE_OLD = [answered("Rejected"), call_error, too_late_for_its_turn, lost_before_its_turn, cancelled]
WAITS_FOR_THE_NEW = [invalid_answer, no_answer, lost_connection]


@pytest.mark.parametrize(
    ("kind", "end"),
    [
        *((kind, end) for kind in REQUESTS for end in WAITS_FOR_THE_NEW),
        *(pytest.param(kind, *answered("RebootRequired").values) for kind in ("key", "variable", "slot")),
        *(pytest.param(kind, *answered("Accepted").values) for kind in ("slot", "profile")),
    ],
)
def test_a_charge_point_that_may_switch_later_is_not_locked_out(kind: str, end: Any) -> None:
    site = Site(kind)
    site.changes(end)
    assert [site.gets_in(one) for one in (KEY, KEY, NEW, NEW, KEY)] == [True, True, True, True, False]


@pytest.mark.parametrize("end", KEEPS_THE_OLD)
@pytest.mark.parametrize("kind", REQUESTS)
def test_a_password_that_the_charge_point_does_not_have_is_dropped(kind: str, end: Any) -> None:
    site = Site(kind)
    site.changes(end)
    assert [site.gets_in(one) for one in (NEW, KEY)] == [False, True]


@pytest.mark.parametrize("kind", ["key", "variable"])
def test_an_accepted_password_replaces_the_old_one(kind: str) -> None:
    site = Site(kind)
    site.changes(answered("Accepted").values[0])
    assert [site.gets_in(one) for one in (KEY, NEW, KEY)] == [False, True, False]


def test_a_key_that_is_not_supported_is_dropped() -> None:
    site = Site("key")
    site.changes(answered("NotSupported").values[0])
    assert [site.gets_in(one) for one in (NEW, KEY)] == [False, True]


def test_a_change_over_two_restarts_keeps_the_password_of_another_profile() -> None:
    site = Site("slot")
    site.changes(answered("Accepted").values[0])
    site.payload = {"setVariableData": [{**VARIABLE, "attributeValue": "another password"}]}
    site.answer = lambda status: {"setVariableResult": [{**VARIABLE, "attributeStatus": status}]}
    site.changes(answered("Accepted").values[0])
    assert [site.gets_in(one) for one in (KEY, b"another password", NEW)] == [False, True, True]
