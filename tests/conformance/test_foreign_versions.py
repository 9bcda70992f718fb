"""The `ocpp` package at the other end, in both roles, with every message of OCPP 2.0.1 and 2.1."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Any, get_args

import payloads
import pytest
from foreign import (
    OTHER,
    PACKAGES,
    Link,
    Raw,
    actions_of,
    as_call,
    as_fields,
    as_result,
    linked,
)
from ocpp.charge_point import camel_to_snake_case, remove_nones
from ocpp.exceptions import OCPPError
from support import Recorder

from ocppsync import CallError, CallErrorReceived
from ocppsync.validation.catalogue import Kind, Role, Version

ROLES: tuple[Role, ...] = get_args(Role)
VERSIONS: tuple[Version, ...] = tuple(
    version for version in get_args(Version) if version in PACKAGES and version != "1.6"
)
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
