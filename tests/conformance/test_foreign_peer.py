"""The `ocpp` package at the other end, in both roles: every message, every error code, calls that cross."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import random
import threading
from collections.abc import Iterator, Mapping
from typing import Any, get_args

import payloads
import pytest
from foreign import CHARGE_POINT_ID, OTHER, Link, actions_of, as_call, as_payload, as_result, linked
from ocpp.exceptions import InternalError, NotImplementedError, NotSupportedError, OCPPError
from ocpp.v16 import call_result
from support import DEADLINE, Recorder

from ocppsync import CallError, CallErrorReceived, ConnectionLostError, InvalidResponseError
from ocppsync.validation.catalogue import Kind, Role

ROLES: tuple[Role, ...] = get_args(Role)
SIZES = ("minimal", "full", *range(4))
"""A number is the seed of an arbitrary payload: empty and longest strings, zeros, empty lists."""
ROUNDS = 200
ACCEPTED = {"status": "Accepted"}
ANY_VENDOR = {"vendorId": "com.example"}


@pytest.fixture(scope="module")
def links() -> Iterator[Mapping[Role, Link]]:
    """One connection for each role of ours, for all tests."""
    with linked("central_system") as central_system, linked("charge_point") as charge_point:
        yield {"central_system": central_system, "charge_point": charge_point}


@pytest.fixture
def link(links: Mapping[Role, Link], role: Role) -> Link:
    assert not links[role].stuck, "an earlier test still waits for an answer"
    return links[role]


def payload(action: str, kind: Kind, size: str | int) -> dict[str, Any]:
    if size == "minimal":
        return payloads.minimal("1.6", action, kind)
    if size == "full":
        return payloads.full("1.6", action, kind)
    return payloads.arbitrary("1.6", action, kind, random.Random(f"{action} {kind} {size}"))


def echo_ours(request: Any, metadata: Any) -> dict[str, Any]:
    return {**ACCEPTED, "data": request.payload["data"]}


def echo_theirs(action: str, fields: dict[str, Any]) -> Any:
    return as_result("DataTransfer", {**ACCEPTED, "data": fields["data"]})


def data_transfer(data: str) -> dict[str, str]:
    return {**ANY_VENDOR, "data": data}


# Every message.


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("role", "action"), [(role, action) for role in ROLES for action in actions_of(role)])
def test_the_package_understands_what_we_send(link: Link, action: str, size: str | int) -> None:
    request, response = payload(action, "request", size), payload(action, "response", size)
    handled = Recorder()

    def handler(action: str, fields: dict[str, Any]) -> Any:
        handled((action, as_payload(fields)))
        return as_result(action, response)

    link.foreign.handler = handler
    assert link.ask(action, request) == response
    assert handled.items == [(action, request)]
    message_id = link.foreign.wire.received[-1][1]
    assert link.foreign.wire.received[-1] == [2, message_id, action, request]
    assert link.foreign.wire.sent[-1] == [3, message_id, response]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("role", "action"), [(role, action) for role in ROLES for action in actions_of(OTHER[role])])
def test_we_understand_what_the_package_sends(link: Link, action: str, size: str | int) -> None:
    request, response = payload(action, "request", size), payload(action, "response", size)
    handled = Recorder()

    def handler(request: Any, metadata: Any) -> Any:
        handled((request.action, request.payload, metadata.message_id))
        return response

    link.handler = handler
    answer = link.be_asked(as_call(action, request))
    assert isinstance(answer, getattr(call_result, action))
    assert as_payload(answer) == response
    message_id = link.foreign.wire.sent[-1][1]
    assert handled.items == [(action, request, message_id)]
    assert link.foreign.wire.sent[-1] == [2, message_id, action, request]
    assert link.foreign.wire.received[-1] == [3, message_id, response]


@pytest.mark.parametrize("role", ROLES)
def test_every_script_arrives(link: Link) -> None:
    text = 'é 充电 🔌 \u2028 \x00 "\\/'
    link.handler, link.foreign.handler = echo_ours, echo_theirs
    assert link.ask("DataTransfer", data_transfer(text)) == {**ACCEPTED, "data": text}
    assert link.be_asked(as_call("DataTransfer", data_transfer(text))).data == text


@pytest.mark.parametrize("role", ROLES)
def test_compressed_messages(role: Role) -> None:
    text = "abc" * 100_000
    with linked(role, compression=True) as link:
        extensions = link.foreign.wire.websocket.protocol.extensions
        assert [extension.name for extension in extensions] == ["permessage-deflate"]
        link.handler, link.foreign.handler = echo_ours, echo_theirs
        for _ in range(3):
            assert link.ask("DataTransfer", data_transfer(text)) == {**ACCEPTED, "data": text}
            assert link.be_asked(as_call("DataTransfer", data_transfer(text))).data == text


# Errors that we send.

CODES_OF_16 = {
    "NotImplemented": "NotImplemented",
    "NotSupported": "NotSupported",
    "InternalError": "InternalError",
    "ProtocolError": "ProtocolError",
    "SecurityError": "SecurityError",
    "FormationViolation": "FormationViolation",
    "FormatViolation": "FormationViolation",
    "PropertyConstraintViolation": "PropertyConstraintViolation",
    "OccurenceConstraintViolation": "OccurenceConstraintViolation",
    "OccurrenceConstraintViolation": "OccurenceConstraintViolation",
    "TypeConstraintViolation": "TypeConstraintViolation",
    "GenericError": "GenericError",
    "RpcFrameworkError": "FormationViolation",
    "MessageTypeNotSupported": "GenericError",
}
"""Every code a handler may raise, and 1.6's spelling of it."""


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("code", CODES_OF_16)
def test_our_call_error_is_the_packages_exception(link: Link, code: str) -> None:
    def handler(request: Any, metadata: Any) -> Any:
        raise CallError(code, "because", {"reason": [1, "two"]})

    link.handler = handler
    with pytest.raises(OCPPError) as caught:
        link.be_asked(as_call("DataTransfer", ANY_VENDOR))
    error: Any = caught.value
    assert error.code == CODES_OF_16[code]
    assert error.description == "because"
    assert error.details == {"reason": [1, "two"]}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    "answer", [RuntimeError("secret"), {"status": "Perhaps"}, {}, [], {**ACCEPTED, "data": object()}]
)
def test_our_failing_handler_is_an_internal_error_without_details(link: Link, answer: Any) -> None:
    def handler(request: Any, metadata: Any) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    link.handler = handler
    with pytest.raises(InternalError) as caught:
        link.be_asked(as_call("DataTransfer", ANY_VENDOR))
    assert (caught.value.description, caught.value.details) == ("internal error", {})


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    ("theirs", "code", "place"),
    [
        (as_call("DataTransfer", {}), "ProtocolError", "vendorId"),
        (as_call("DataTransfer", {"vendorId": 7}), "TypeConstraintViolation", "vendorId"),
        (as_call("DataTransfer", {"vendorId": "x" * 256}), "PropertyConstraintViolation", "vendorId"),
        (as_call("DataTransfer", {**ANY_VENDOR, "data": {"a": 1}}), "TypeConstraintViolation", "data"),
        (dataclasses.make_dataclass("DataTransfer", ["vendor_id", "extra"])("x", 1), "FormationViolation", "extra"),
    ],
)
def test_an_invalid_request_of_the_package_is_refused(link: Link, theirs: Any, code: str, place: str) -> None:
    handled = Recorder()
    link.handler = handled
    with pytest.raises(OCPPError) as caught:
        link.be_asked(theirs, skip_schema_validation=True)
    error: Any = caught.value
    assert error.code == code
    assert place in error.description
    assert handled.items == []


@pytest.mark.parametrize(
    ("role", "theirs", "error"),
    [
        ("central_system", as_call("Reset", {"type": "Soft"}), NotSupportedError),
        ("charge_point", as_call("Heartbeat", {}), NotSupportedError),
        ("central_system", dataclasses.make_dataclass("Frobnicate", [])(), NotImplementedError),
        ("charge_point", dataclasses.make_dataclass("Frobnicate", [])(), NotImplementedError),
    ],
)
def test_an_action_that_the_package_may_not_send_is_refused(link: Link, theirs: Any, error: Any) -> None:
    handled = Recorder()
    link.handler = handled
    with pytest.raises(error):
        link.be_asked(theirs, skip_schema_validation=True)
    assert handled.items == []


# Errors that the package sends.

THEIR_SPELLINGS = {
    "FormatViolation": "FormationViolation",
    "OccurrenceConstraintViolation": "OccurenceConstraintViolation",
}
"""The codes of 2.x that the package also sends on a 1.6 connection, and what they are in 1.6."""


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("error", OCPPError.__subclasses__(), ids=lambda error: str(error.code))
def test_the_packages_exception_is_our_call_error_received(link: Link, error: Any) -> None:
    def handler(action: str, fields: Any) -> Any:
        raise error("because", {"reason": [1, "two"]})

    link.foreign.handler = handler
    with pytest.raises(CallErrorReceived) as caught:
        link.ask("DataTransfer", ANY_VENDOR)
    received = caught.value
    assert (received.code, received.raw_code) == (THEIR_SPELLINGS.get(error.code, error.code), error.code)
    assert (received.description, received.details) == ("because", {"reason": [1, "two"]})
    assert (received.charge_point_id, received.action) == (CHARGE_POINT_ID, "DataTransfer")
    assert received.delivery == "answered"
    assert received.message_id == link.foreign.wire.sent[-1][1]


class OddError(InternalError):
    code = "Odd"


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    ("error", "code", "raw_code", "description"),
    [
        (OddError("why", {}), "GenericError", "Odd", "why"),
        (InternalError("", {}), "InternalError", "InternalError", ""),
        (InternalError(), "InternalError", "InternalError", InternalError.default_description),
        (RuntimeError("theirs"), "InternalError", "InternalError", "An unexpected error occurred."),
    ],
)
def test_other_failures_of_the_package(
    link: Link, error: Exception, code: str, raw_code: str, description: str
) -> None:
    def handler(action: str, fields: Any) -> Any:
        raise error

    link.foreign.handler = handler
    with pytest.raises(CallErrorReceived) as caught:
        link.ask("DataTransfer", ANY_VENDOR)
    assert (caught.value.code, caught.value.raw_code) == (code, raw_code)
    assert (caught.value.description, caught.value.details) == (description, {})


@pytest.mark.parametrize("role", ROLES)
def test_the_package_has_no_handler(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(link.foreign.route_map, "DataTransfer")
    with pytest.raises(CallErrorReceived) as caught:
        link.ask("DataTransfer", ANY_VENDOR)
    assert caught.value.code == "NotImplemented"
    assert caught.value.details == {"cause": "No handler for DataTransfer registered."}


@pytest.mark.parametrize("role", ROLES)
def test_a_call_error_without_an_object_of_details_is_invalid(link: Link) -> None:
    def handler(action: str, fields: Any) -> Any:
        raise InternalError("why", "a text")

    link.foreign.handler = handler
    with pytest.raises(InvalidResponseError) as caught:
        link.ask("DataTransfer", ANY_VENDOR)
    assert caught.value.validation_error is None
    assert caught.value.delivery == "answered"


@pytest.fixture(scope="module")
def careless_links() -> Iterator[Mapping[Role, Link]]:
    """Connections to the package with its validation off."""
    with (
        linked("central_system", skip_schema_validation=True) as central_system,
        linked("charge_point", skip_schema_validation=True) as charge_point,
    ):
        yield {"central_system": central_system, "charge_point": charge_point}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    ("answer", "keyword", "path"),
    [
        (as_result("DataTransfer", {}), "required", "status"),
        (as_result("DataTransfer", {"status": "Perhaps"}), "enum", "status"),
        (as_result("DataTransfer", {"status": True}), "type", "status"),
        (as_result("DataTransfer", {**ACCEPTED, "data": 7}), "type", "data"),
        (dataclasses.make_dataclass("Answer", ["status", "extra"])("Accepted", 1), "additionalProperties", "extra"),
    ],
)
def test_an_invalid_answer_of_the_package(
    careless_links: Mapping[Role, Link], role: Role, answer: Any, keyword: str, path: str
) -> None:
    link = careless_links[role]
    link.foreign.handler = lambda action, fields: answer
    with pytest.raises(InvalidResponseError) as caught:
        link.ask("DataTransfer", ANY_VENDOR)
    error = caught.value
    assert error.validation_error is not None
    assert [violation.keyword for violation in error.validation_error.errors][:1] == [keyword]
    assert path in str(error.validation_error)
    assert error.payload == link.foreign.wire.sent[-1][2]
    assert error.delivery == "answered"
    link.foreign.handler = lambda action, fields: as_result("DataTransfer", ACCEPTED)
    assert link.ask("DataTransfer", ANY_VENDOR) == ACCEPTED


@pytest.mark.parametrize("role", ROLES)
def test_a_second_answer_of_the_package_is_dropped(link: Link) -> None:
    async def handler(action: str, fields: Any) -> Any:
        message_id = link.foreign.wire.received[-1][1]
        await link.foreign.wire.send(json.dumps([3, message_id, {"status": "Rejected"}]))
        return as_result("DataTransfer", ACCEPTED)

    link.foreign.handler = handler
    assert link.ask("DataTransfer", ANY_VENDOR) == {"status": "Rejected"}
    link.foreign.handler = echo_theirs
    assert link.ask("DataTransfer", data_transfer("next")) == {**ACCEPTED, "data": "next"}


# Calls that cross.


@pytest.mark.parametrize("role", ROLES)
def test_both_sides_call_at_once(link: Link) -> None:
    # No answer is given before both CALLs of a round have come: every pair crosses.
    both = threading.Barrier(2)

    def handler(request: Any, metadata: Any) -> Any:
        both.wait(DEADLINE)
        return echo_ours(request, metadata)

    async def foreign_handler(action: str, fields: Any) -> Any:
        await asyncio.to_thread(both.wait, DEADLINE)
        return echo_theirs(action, fields)

    link.handler, link.foreign.handler = handler, foreign_handler
    # One round after the other: the package reads no answer while a handler of its runs.
    for n in range(ROUNDS):
        theirs = link.submit_theirs(as_call("DataTransfer", data_transfer(f"theirs {n}")))
        ours = link.submit("DataTransfer", data_transfer(f"ours {n}"))
        assert link.wait(ours)["data"] == f"ours {n}"
        assert link.wait(theirs).data == f"theirs {n}"


@pytest.mark.parametrize("role", ROLES)
def test_a_handler_of_the_package_calls_us_back(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link.foreign, "overlapping", True)

    async def handler(action: str, fields: Any) -> Any:
        answer = await link.foreign.ask(as_call("DataTransfer", data_transfer(fields["data"] + "?")))
        return as_result("DataTransfer", {**ACCEPTED, "data": answer.data + "!"})

    link.handler, link.foreign.handler = echo_ours, handler
    assert link.ask("DataTransfer", data_transfer("ours")) == {**ACCEPTED, "data": "ours?!"}


@pytest.mark.parametrize("role", ROLES)
def test_the_package_calls_us_after_its_answer(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = Recorder()

    async def hook(action: str, fields: Any) -> None:
        answer = await link.foreign.ask(as_call("DataTransfer", data_transfer(fields["data"] + "?")))
        answers(answer.data)

    monkeypatch.setattr(link.foreign, "hook", hook)
    link.handler, link.foreign.handler = echo_ours, echo_theirs
    assert link.ask("DataTransfer", data_transfer("ours")) == {**ACCEPTED, "data": "ours"}
    assert answers.wait() == ["ours?"]


@pytest.mark.parametrize("role", ROLES)
def test_our_handler_calls_the_package_back(link: Link) -> None:
    def handler(request: Any, metadata: Any) -> Any:
        answer = link.ask("DataTransfer", data_transfer(request.payload["data"] + "?"))
        return {**ACCEPTED, "data": answer["data"] + "!"}

    link.handler, link.foreign.handler = handler, echo_theirs
    assert link.be_asked(as_call("DataTransfer", data_transfer("theirs"))).data == "theirs?!"


# The end.


@pytest.mark.parametrize("role", ROLES)
def test_the_package_sees_an_orderly_end(role: Role) -> None:
    with linked(role) as link:
        protocol = link.foreign.wire.websocket.protocol
        assert protocol.close_code is None
    assert protocol.close_code == {"central_system": 1001, "charge_point": 1000}[role]


@pytest.mark.parametrize("role", ROLES)
def test_the_package_closes_instead_of_answering(role: Role) -> None:
    with linked(role) as link:

        async def handler(action: str, fields: Any) -> Any:
            await link.foreign.wire.websocket.close()
            return as_result("DataTransfer", ACCEPTED)

        link.foreign.handler = handler
        with pytest.raises(ConnectionLostError) as caught:
            link.ask("DataTransfer", ANY_VENDOR)
        assert caught.value.delivery == "unknown"
