"""The `ocpp` package at the other end, in both roles, with every message of OCPP 2.0.1 and 2.1."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, get_args

import payloads
import pytest
from foreign import (
    CHARGE_POINT_ID,
    OTHER,
    Link,
    Raw,
    actions_of,
    as_call,
    as_fields,
    as_payload,
    as_result,
    linked,
    visiting,
)
from ocpp.charge_point import camel_to_snake_case, remove_nones
from ocpp.exceptions import OCPPError
from support import DEADLINE, Recorder, connected, raw, serving

from ocppsync import CallError, CallErrorReceived, VersionMismatchError
from ocppsync.catalogue import Kind, Role, Version

ROLES: tuple[Role, ...] = get_args(Role)
VERSIONS: tuple[Version, ...] = ("2.0.1", "2.1")
SIZES = ("minimal", "full")
QUICK = {"BootNotification", "TransactionEvent", "SetVariables", "DataTransfer", "BatterySwap"}
"""The actions that are tried on every Python."""
ACCEPTED = {"status": "Accepted"}
ANY_VENDOR = {"vendorId": "com.example"}

BROKEN_NAMES = re.compile(
    r"\w+_L[23]"  # limit_L2 and the like: it writes limitL2
    r"|ev(Duration|Maximum)Level[12]DCInjection|evSupportedDERControl|fixedPF\w*"  # ... DcInjection, Der, Pf
    r"|priceScheduleID|taxRuleID|prioritizedEMAIDs"  # priceScheduleId, taxRuleId, prioritizedEmaiDs
    r"|receiptUrl|so[cCH]"  # receiptURL, SoC, soh
)
"""Names of 2.1 that the package (2.1.0) does not get back when it converts them to snake_case and again to camelCase,
so that it can read the messages that hold them, but sends what its own schemas refuse. There it sends raw frames."""


def cases(sender: Callable[[Role], Role]) -> list[Any]:
    """Return every message that ``sender`` of our role may send, in every version, role and size."""
    return [
        pytest.param(
            *(version, role, action, size),
            id=f"{version}-{role}-{action}-{size}",
            marks=() if action in QUICK else pytest.mark.slow,
        )
        for version in VERSIONS
        for role in ROLES
        for action in actions_of(sender(role), version)
        for size in SIZES
    ]


def ours(role: Role) -> Role:
    return role


def theirs(role: Role) -> Role:
    return OTHER[role]


@pytest.fixture(scope="module")
def links() -> Iterator[Callable[[Version, Role], Link]]:
    """One connection for each version and role of ours, opened when it is first needed."""
    opened: dict[tuple[Version, Role], Link] = {}
    with contextlib.ExitStack() as stack:

        def open_link(version: Version, role: Role) -> Link:
            if (version, role) not in opened:
                opened[version, role] = stack.enter_context(linked(role, version=version))
            return opened[version, role]

        yield open_link


@pytest.fixture
def link(links: Callable[[Version, Role], Link], version: Version, role: Role) -> Link:
    link = links(version, role)
    assert not link.stuck, "an earlier test still waits for an answer"
    return link


def payload(version: Version, action: str, kind: Kind, size: str) -> dict[str, Any]:
    make = payloads.minimal if size == "minimal" else payloads.full
    return make(version, action, kind)


def sendable(payload: Any) -> Any:
    """Return the payload as far as the package can send it: never null, not even in a vendor's own data."""
    return remove_nones(payload)


def is_broken(payload: Any) -> bool:
    """Return whether the package would break a name in the payload."""
    if isinstance(payload, dict):
        return any(BROKEN_NAMES.fullmatch(name) or is_broken(part) for name, part in payload.items())
    return isinstance(payload, list) and any(map(is_broken, payload))


# Every message.


@pytest.mark.parametrize(("version", "role", "action", "size"), cases(ours))
def test_the_package_understands_what_we_send(link: Link, version: Version, action: str, size: str) -> None:
    request = payload(version, action, "request", size)
    response = sendable(payload(version, action, "response", size))
    handled = Recorder()
    link.foreign.raw_answers = {action} if is_broken(response) else set()

    def handler(action: str, fields: dict[str, Any]) -> Any:
        handled((action, fields))
        return response if link.foreign.raw_answers else as_result(action, response, version)

    link.foreign.handler = handler
    assert link.ask(action, request) == response
    assert handled.items == [(action, camel_to_snake_case(request))]
    message_id = link.foreign.wire.received[-1][1]
    assert link.foreign.wire.received[-1] == [2, message_id, action, request]
    assert link.foreign.wire.sent[-1] == [3, message_id, response]


@pytest.mark.parametrize(("version", "role", "action", "size"), cases(theirs))
def test_we_understand_what_the_package_sends(link: Link, version: Version, action: str, size: str) -> None:
    request = sendable(payload(version, action, "request", size))
    response = payload(version, action, "response", size)
    handled = Recorder()

    def handler(request: Any, metadata: Any) -> Any:
        handled((request.action, request.version, request.payload, metadata.message_id))
        return response

    link.handler = handler
    if is_broken(request):
        assert link.be_asked(Raw(action, request)) == response
    else:
        answer = link.be_asked(as_call(action, request, version))
        assert type(answer) is type(as_result(action, response, version))
        assert as_fields(answer) == camel_to_snake_case(sendable(response))
    message_id = link.foreign.wire.sent[-1][1]
    assert handled.items == [(action, version, request, message_id)]
    assert link.foreign.wire.sent[-1] == [2, message_id, action, request]
    assert link.foreign.wire.received[-1] == [3, message_id, response]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("version", VERSIONS)
def test_messages_are_compressed_by_default(link: Link) -> None:
    extensions = link.foreign.wire.websocket.protocol.extensions
    assert [extension.name for extension in extensions] == ["permessage-deflate"]


# Without an answer.

STREAMED = "NotifyPeriodicEventStream"


@pytest.mark.parametrize("size", SIZES)
def test_the_package_gets_our_send_and_does_not_answer(links: Callable[[Version, Role], Link], size: str) -> None:
    # It knows no type 6, and drops the message; what follows finds it as it was.
    link = links("2.1", "charge_point")
    request = payload("2.1", STREAMED, "request", size)
    received = Recorder()
    link.foreign.wire.hook = received
    link.foreign.handler = lambda action, fields: as_result("DataTransfer", ACCEPTED, "2.1")
    link.send(STREAMED, request)
    assert link.ask("DataTransfer", ANY_VENDOR) == ACCEPTED
    (kind, message_id, *sent), following = received.wait(2)
    assert (kind, sent) == (6, [STREAMED, request])
    assert len(message_id) == 36
    assert following[2] == "DataTransfer"
    assert link.foreign.wire.sent[-1] == [3, following[1], ACCEPTED]


@pytest.mark.parametrize("size", SIZES)
def test_we_take_a_send_and_do_not_answer(links: Callable[[Version, Role], Link], size: str) -> None:
    # The package cannot make one, so it goes over its wire by hand.
    link = links("2.1", "central_system")
    request = payload("2.1", STREAMED, "request", size)
    handled = Recorder()

    def handler(request: Any, metadata: Any) -> Any:
        handled((request.action, request.payload, metadata.message_id))
        return ACCEPTED

    link.handler = handler
    received = len(link.foreign.wire.received)
    text = json.dumps([6, "stream-1", STREAMED, request])
    asyncio.run_coroutine_threadsafe(link.foreign.wire.send(text), link.foreign.loop).result(DEADLINE)
    assert as_payload(link.be_asked(as_call("DataTransfer", ANY_VENDOR, "2.1"))) == ACCEPTED
    assert handled.items[0] == (STREAMED, request, "stream-1")
    assert [frame[0] for frame in link.foreign.wire.received[received:]] == [3]


# Errors.

CODES = {
    "NotImplemented": "NotImplemented",
    "NotSupported": "NotSupported",
    "InternalError": "InternalError",
    "ProtocolError": "ProtocolError",
    "SecurityError": "SecurityError",
    "FormationViolation": "FormatViolation",
    "FormatViolation": "FormatViolation",
    "PropertyConstraintViolation": "PropertyConstraintViolation",
    "OccurenceConstraintViolation": "OccurrenceConstraintViolation",
    "OccurrenceConstraintViolation": "OccurrenceConstraintViolation",
    "TypeConstraintViolation": "TypeConstraintViolation",
    "GenericError": "GenericError",
}
"""The codes that a handler raises and the package knows, and the spelling of 2.x."""


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("code", CODES)
def test_our_call_error_is_the_packages_exception(link: Link, version: Version, code: str) -> None:
    def handler(request: Any, metadata: Any) -> Any:
        raise CallError(code, "because" * 50, {"reason": [1, "two"]})

    link.handler = handler
    with pytest.raises(OCPPError) as caught:
        link.be_asked(as_call("DataTransfer", ANY_VENDOR, version))
    error: Any = caught.value
    assert error.code == CODES[code]
    assert error.description == ("because" * 50)[:255]
    assert error.details == {"reason": [1, "two"]}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("error", OCPPError.__subclasses__(), ids=lambda error: str(error.code))
def test_the_packages_exception_is_our_call_error_received(link: Link, error: Any) -> None:
    def handler(action: str, fields: Any) -> Any:
        raise error("because", {"reason": [1, "two"]})

    link.foreign.raw_answers = set()
    link.foreign.handler = handler
    with pytest.raises(CallErrorReceived) as caught:
        link.ask("DataTransfer", ANY_VENDOR)
    received = caught.value
    assert (received.code, received.raw_code) == (CODES.get(error.code, error.code), error.code)
    assert (received.description, received.details) == ("because", {"reason": [1, "two"]})


# Several versions at once.


def test_one_central_system_serves_three_versions_at_once() -> None:
    now = "2026-01-01T00:00:00Z"
    booted, old, new = Recorder(), Recorder(), Recorder()
    with serving() as cs:

        @cs.on("BootNotification")
        def boot(payload: Any, metadata: Any) -> Any:
            booted((metadata.charge_point_id, metadata.ocpp_version, sorted(payload)))
            return {**ACCEPTED, "currentTime": now, "interval": 300}

        @cs.on("StatusNotification", version="1.6")
        def old_status(payload: Any, metadata: Any) -> None:
            old((metadata.charge_point_id, payload["status"]))

        @cs.on("StatusNotification")
        def status(payload: Any, metadata: Any) -> None:
            new((metadata.charge_point_id, payload["connectorStatus"]))

        changes = connected(cs)
        with raw(cs, "A") as a, raw(cs, "B", subprotocols=["ocpp2.0.1"]) as b, visiting(cs, "2.1") as peer:
            changes.wait(3)
            assert cs.charge_points == ["A", "B", CHARGE_POINT_ID]
            extensions = [each.protocol.extensions for each in (a.websocket, b.websocket, peer.wire.websocket)]
            assert [[each.name for each in found] for found in extensions] == [
                [],
                ["permessage-deflate"],
                ["permessage-deflate"],
            ]

            def told(action: str, payload: dict[str, Any]) -> Any:
                asking = peer.ask(as_call(action, payload, "2.1"))
                return as_payload(asyncio.run_coroutine_threadsafe(asking, peer.loop).result(DEADLINE))

            answer = {**ACCEPTED, "currentTime": now, "interval": 300}
            station = {"reason": "PowerUp", "chargingStation": {"model": "One", "vendorName": "Acme"}}
            machine = {"chargePointVendor": "Acme", "chargePointModel": "One"}
            assert a.call("1", "BootNotification", machine) == [3, "1", answer]
            assert b.call("1", "BootNotification", station) == [3, "1", answer]
            assert told("BootNotification", station) == answer
            assert booted.items == [
                ("A", "1.6", ["chargePointModel", "chargePointVendor"]),
                ("B", "2.0.1", ["chargingStation", "reason"]),
                (CHARGE_POINT_ID, "2.1", ["chargingStation", "reason"]),
            ]
            # The payload of another version is none of this one's.
            assert a.call("2", "BootNotification", station)[2] == "ProtocolError"
            assert b.call("2", "BootNotification", machine)[2] == "OccurrenceConstraintViolation"

            state = {"timestamp": now, "connectorStatus": "Occupied", "evseId": 1, "connectorId": 1}
            assert a.call(
                "3", "StatusNotification", {"connectorId": 1, "errorCode": "NoError", "status": "Faulted"}
            ) == [3, "3", {}]
            assert b.call("3", "StatusNotification", state) == [3, "3", {}]
            assert told("StatusNotification", state) == {}
            assert old.items == [("A", "Faulted")]
            assert new.items == [("B", "Occupied"), (CHARGE_POINT_ID, "Occupied")]

            for charge_point, wanted in (("A", "2.1"), ("B", "1.6"), (CHARGE_POINT_ID, "2.0.1")):
                reset = {"type": "Hard" if wanted == "1.6" else "OnIdle"}
                with pytest.raises(VersionMismatchError) as caught:
                    cs.send_request(charge_point, "Reset", reset, version=wanted)
                assert caught.value.delivery == "not_sent"
            asked = [
                cs.submit_request("A", "Reset", {"type": "Hard"}, version="1.6"),
                cs.submit_request("B", "Reset", {"type": "OnIdle"}, version="2.0.1"),
            ]
            peer.handler = lambda action, fields: as_result(action, ACCEPTED, "2.1")
            assert cs.send_request(CHARGE_POINT_ID, "Reset", {"type": "ImmediateAndResume"}, version="2.1") == ACCEPTED
            for point, reset in ((a, "Hard"), (b, "OnIdle")):
                kind, message_id, *rest = point.read()
                assert (kind, rest) == (2, ["Reset", {"type": reset}]), "the first that came"
                point.send([3, message_id, ACCEPTED])
            assert [future.result(DEADLINE) for future in asked] == [ACCEPTED, ACCEPTED]
