"""Which handler gets a CALL, and which CALLs get none."""

from __future__ import annotations

from typing import Any

import pytest
from support import DEADLINE, WatchedLock

from ocppsync.errors import CallError
from ocppsync.lenient import Lenient, Validation
from ocppsync.request import Request, RequestMetadata
from ocppsync.rpc.message_sets import MessageSets
from ocppsync.rpc.route import Route
from ocppsync.rpc.router import Router
from ocppsync.validation.catalogue import catalogue
from ocppsync.vendor import VendorAction
from ocppsync.wire.http import Headers, HttpRequest

METADATA = RequestMetadata("CP1", "1.6", HttpRequest("GET", "/CP1", "", Headers(), ("127.0.0.1", 1)), "7")

OTHER: Any = {"charge_point": "central_system", "central_system": "charge_point"}


def refusal(router: Router, action: str, version: str, send: bool = False) -> str | None:
    route = router.routes(version)[action]
    return route.send_refusal if send else route.call_refusal


def handle(router: Router, action: str, payload: Any, metadata: RequestMetadata) -> Any:
    return router.routes(metadata.ocpp_version)[action].handle(payload, metadata)


def hooks(router: Router, action: str, version: str) -> tuple[Any, ...]:
    return router.routes(version)[action].hooks


def make(peer: Any = "charge_point", handler: Any = None) -> Router:
    return Router(MessageSets(OTHER[peer], ["ocpp1.6"]), handler)


def take_all(request: Any, metadata: Any) -> Any:
    return {}


# Refusals (J16 table 7).


@pytest.mark.parametrize("peer", ["charge_point", "central_system"])
@pytest.mark.parametrize("handler", [None, take_all])
@pytest.mark.parametrize("action", ["Bogus", "", "heartbeat", "Heartbeat.req", "HeartbeatRequest", "/Heartbeat"])
def test_an_unknown_action_is_not_implemented(peer: str, handler: Any, action: str) -> None:
    assert refusal(make(peer, handler), action, "1.6") == "NotImplemented"


@pytest.mark.parametrize("peer", ["charge_point", "central_system"])
def test_every_action_is_served_by_a_single_handler_and_from_one_end(peer: Any) -> None:
    entries = catalogue("1.6")
    assert len(entries.actions) == 39
    for action in entries.actions:
        expected = None if entries.may_send(peer, action) else "NotSupported"
        assert refusal(make(peer, take_all), action, "1.6") == expected


@pytest.mark.parametrize("peer", ["charge_point", "central_system"])
def test_without_handlers_only_data_transfer_is_served(peer: Any) -> None:
    router = make(peer)
    assert [action for action in catalogue("1.6").actions if refusal(router, action, "1.6") is None] == ["DataTransfer"]
    assert {refusal(router, action, "1.6") for action in catalogue("1.6").actions} == {None, "NotSupported"}


def test_a_handler_of_one_action_serves_that_one() -> None:
    router = make()
    router.on("Heartbeat")(lambda payload, metadata: {})
    router.after("BootNotification")(lambda payload, metadata: None)
    assert refusal(router, "Heartbeat", "1.6") is None
    assert refusal(router, "BootNotification", "1.6") == "NotSupported", "what runs afterwards answers nothing"


# Registration.


@pytest.mark.parametrize("register", ["on", "after"])
@pytest.mark.parametrize(
    ("peer", "action", "text"),
    [
        ("charge_point", "Bogus", "OCPP 1.6 has no action 'Bogus'"),
        ("charge_point", "heartbeat", "did you mean 'Heartbeat'?"),
        ("charge_point", "Reset", "a charge point never sends Reset"),
        ("central_system", "Heartbeat", "a central system never sends Heartbeat"),
    ],
)
def test_handlers_are_checked_at_once(register: str, peer: str, action: str, text: str) -> None:
    with pytest.raises(ValueError, match=text.replace("?", "[?]")):
        getattr(make(peer), register)(action)


def test_an_action_has_one_handler() -> None:
    router = make()
    router.on("Heartbeat")(lambda payload, metadata: {"a": 1})
    with pytest.raises(ValueError, match="Heartbeat has a handler already"):
        router.on("Heartbeat")(lambda payload, metadata: {"a": 2})
    assert handle(router, "Heartbeat", {}, METADATA) == {"a": 1}


def test_the_decorators_return_the_function() -> None:
    router = make()
    assert router.on("Heartbeat")(take_all) is take_all
    assert router.after("Heartbeat")(take_all) is take_all


@pytest.mark.parametrize("handler", [5, "handler", {}])
def test_the_single_handler_must_be_callable(handler: Any) -> None:
    with pytest.raises(TypeError, match="must be callable"):
        make(handler=handler)


# Handling.


def test_a_handler_of_one_action_gets_payload_and_metadata() -> None:
    router = make(handler=lambda request, metadata: pytest.fail("the other handler comes first"))
    seen: list[Any] = []
    router.on("Heartbeat")(lambda payload, metadata: seen.append((payload, metadata)))
    payload = {"a": [1]}
    assert handle(router, "Heartbeat", payload, METADATA) == {}, "None stands for an empty answer"
    assert seen == [(payload, METADATA)]
    assert seen[0][0] is payload


def test_the_single_handler_gets_a_request() -> None:
    seen: list[Any] = []

    def handler(request: Any, metadata: Any) -> Any:
        seen.append((request, metadata))
        return {"a": 1}

    assert handle(make(handler=handler), "Heartbeat", {"b": 2}, METADATA) == {"a": 1}
    assert seen == [(Request("Heartbeat", {"b": 2}), METADATA)]


@pytest.mark.parametrize("answer", [{}, {"a": 1}, [], "", 0, False])
def test_any_answer_but_none_is_passed_on(answer: Any) -> None:
    router = make(handler=lambda request, metadata: answer)
    router.on("Heartbeat")(lambda payload, metadata: answer)
    assert handle(router, "Heartbeat", {}, METADATA) is answer
    assert handle(router, "Authorize", {}, METADATA) is answer


def test_none_from_the_single_handler_is_not_implemented() -> None:
    with pytest.raises(CallError) as error:
        handle(make(handler=lambda request, metadata: None), "Heartbeat", {}, METADATA)
    assert error.value.code == "NotImplemented"


@pytest.mark.parametrize("handler", [None, lambda request, metadata: None])
@pytest.mark.parametrize("peer", ["charge_point", "central_system"])
def test_a_vendor_message_that_nobody_takes_has_an_unknown_vendor(handler: Any, peer: str) -> None:
    assert handle(make(peer, handler), "DataTransfer", {"vendorId": "x"}, METADATA) == {"status": "UnknownVendorId"}


@pytest.mark.parametrize("single", [False, True])
def test_a_vendor_message_may_be_handled(single: bool) -> None:
    router = make(handler=(lambda request, metadata: {"status": "Accepted"}) if single else None)
    if not single:
        router.on("DataTransfer")(lambda payload, metadata: {"status": "Accepted"})
    assert handle(router, "DataTransfer", {"vendorId": "x"}, METADATA) == {"status": "Accepted"}


@pytest.mark.parametrize("error", [CallError("SecurityError"), ValueError("x"), KeyError("Heartbeat")])
@pytest.mark.parametrize("single", [False, True])
def test_what_a_handler_raises_comes_through(error: Exception, single: bool) -> None:
    def fail(*_: Any) -> Any:
        raise error

    router = make(handler=fail if single else None)
    if not single:
        router.on("Heartbeat")(fail)
    with pytest.raises(type(error)) as raised:
        handle(router, "Heartbeat", {}, METADATA)
    assert raised.value is error


# What runs afterwards.


def test_hooks_come_in_their_order_each_for_its_action() -> None:
    router = make()

    def first(payload: Any, metadata: Any) -> None: ...
    def second(payload: Any, metadata: Any) -> None: ...

    assert hooks(router, "Heartbeat", "1.6") == ()
    router.after("Heartbeat")(first)
    router.after("Heartbeat")(second)
    router.after("Authorize")(first)
    assert hooks(router, "Heartbeat", "1.6") == (first, second)
    assert hooks(router, "Authorize", "1.6") == (first,)


# CALLs and SENDs (4/21 §4.2.4).


@pytest.mark.parametrize("handler", [None, take_all])
def test_a_send_is_served_as_a_send_alone_and_a_call_as_a_call(handler: Any) -> None:
    router = Router(MessageSets("central_system"), handler)
    if handler is None:
        router.on("NotifyPeriodicEventStream")(lambda payload, metadata: None)
        router.on("Heartbeat")(take_all)
    assert refusal(router, "NotifyPeriodicEventStream", "2.1", True) is None
    assert refusal(router, "NotifyPeriodicEventStream", "2.1", False) == "NotSupported"
    assert refusal(router, "Heartbeat", "2.1", True) == "NotSupported"
    assert refusal(router, "DataTransfer", "2.1", True) == "NotSupported"
    assert refusal(router, "NotifyPeriodicEventStream", "2.0.1", True) == "NotImplemented"


# Versions.


def metadata_of(version: str) -> RequestMetadata:
    return RequestMetadata("CP1", version, METADATA.http_request, "7")


def router_of_all(handler: Any = None) -> Router:
    return Router(MessageSets("central_system"), handler)


def test_a_handler_of_a_version_goes_before_one_of_all() -> None:
    router = router_of_all(lambda request, metadata: {"by": "single", "version": request.version})
    router.on("Heartbeat", "2.1")(lambda payload, metadata: {"by": "2.1"})
    assert handle(router, "Heartbeat", {}, metadata_of("2.1")) == {"by": "2.1"}
    assert handle(router, "Heartbeat", {}, metadata_of("1.6")) == {"by": "single", "version": "1.6"}
    router.on("Heartbeat")(lambda payload, metadata: {"by": "all"})
    answers = [handle(router, "Heartbeat", {}, metadata_of(version)) for version in ("1.6", "2.0.1", "2.1")]
    assert answers == [{"by": "all"}, {"by": "all"}, {"by": "2.1"}]


def test_a_handler_of_a_version_serves_no_other() -> None:
    router = router_of_all()
    router.on("Heartbeat", "2.1")(take_all)
    assert [refusal(router, "Heartbeat", version) for version in ("1.6", "2.0.1", "2.1")] == [
        "NotSupported",
        "NotSupported",
        None,
    ]


def test_each_version_has_one_handler_of_an_action() -> None:
    router = router_of_all()
    for version in (None, "1.6", "2.1"):
        router.on("Heartbeat", version)(take_all)
        with pytest.raises(ValueError, match="Heartbeat has a handler already"):
            router.on("Heartbeat", version)(take_all)


def test_hooks_of_the_version_come_before_those_of_all() -> None:
    router = router_of_all()

    def general(payload: Any, metadata: Any) -> None: ...
    def special(payload: Any, metadata: Any) -> None: ...

    router.after("Heartbeat")(general)
    router.after("Heartbeat", "2.1")(special)
    assert hooks(router, "Heartbeat", "2.1") == (special, general)
    assert hooks(router, "Heartbeat", "1.6") == (general,)


@pytest.mark.parametrize("register", ["on", "after"])
@pytest.mark.parametrize(
    ("action", "version", "text"),
    [
        ("StartTransaction", "2.1", "OCPP 2.1 has no action 'StartTransaction'"),
        ("TransactionEvent", "1.6", "OCPP 1.6 has no action 'TransactionEvent'"),
        ("Reset", "2.0.1", "a charge point never sends Reset, so it needs no handler here"),
        ("Reset", None, "a charge point never sends Reset, so it needs no handler here"),
        ("Heartbeat", "2.0", "unsupported OCPP version '2.0'; supported: 1.6, 2.0.1, 2.1"),
        ("Bogus", None, "OCPP 1.6, 2.0.1 and 2.1 have no action 'Bogus'"),
    ],
)
def test_a_version_is_checked_at_once(register: str, action: str, version: str | None, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        getattr(router_of_all(), register)(action, version)


def test_an_action_of_any_version_may_have_a_handler() -> None:
    router = router_of_all()
    for action in ("StartTransaction", "TransactionEvent", "BatterySwap"):
        router.on(action)(take_all)
        router.after(action)(take_all)
    assert refusal(router, "StartTransaction", "1.6") is None
    assert refusal(router, "StartTransaction", "2.1") == "NotImplemented"


def test_nothing_runs_after_a_send() -> None:
    for version in (None, "2.1"):
        with pytest.raises(ValueError, match="NotifyPeriodicEventStream is never answered, so nothing runs after it"):
            router_of_all().after("NotifyPeriodicEventStream", version)


def test_a_send_is_given_to_its_handler_or_to_the_single_one() -> None:
    seen: list[Any] = []
    router = router_of_all(lambda request, metadata: seen.append(request))
    handle(router, "NotifyPeriodicEventStream", {"id": 1}, metadata_of("2.1"))
    router.on("NotifyPeriodicEventStream")(lambda payload, metadata: seen.append(payload))
    handle(router, "NotifyPeriodicEventStream", {"id": 2}, metadata_of("2.1"))
    assert seen == [Request("NotifyPeriodicEventStream", {"id": 1}, "2.1"), {"id": 2}]


# Vendors' messages.


def transfers() -> Router:
    router = router_of_all()
    for key in ((None, None), ("m", None), (None, "2.1"), ("m", "2.1"), ("only", "1.6")):
        router.on_data_transfer("x", *key)(lambda payload, metadata, key=key: {"by": key})
    return router


@pytest.mark.parametrize(
    ("version", "message_id", "key"),
    [
        ("2.1", "m", ("m", "2.1")),
        ("2.0.1", "m", ("m", None)),
        ("2.1", "other", (None, "2.1")),
        ("2.1", None, (None, "2.1")),
        ("1.6", "other", (None, None)),
        ("1.6", "only", ("only", "1.6")),
        ("2.0.1", "only", (None, None)),
    ],
)
def test_the_nearest_handler_of_a_vendors_message_gets_it(version: str, message_id: Any, key: Any) -> None:
    payload = {"vendorId": "x"} if message_id is None else {"vendorId": "x", "messageId": message_id}
    assert handle(transfers(), "DataTransfer", payload, metadata_of(version)) == {"by": key}


def test_what_is_not_known_of_a_vendor() -> None:
    router = router_of_all()
    router.on_data_transfer("x", "m", "2.1")(lambda payload, metadata: None)
    known, unknown = {"vendorId": "x", "messageId": "m"}, {"vendorId": "x", "messageId": "other"}
    assert handle(router, "DataTransfer", known, metadata_of("2.1")) == {"status": "Accepted"}
    assert handle(router, "DataTransfer", unknown, metadata_of("2.1")) == {"status": "UnknownMessageId"}
    assert handle(router, "DataTransfer", known, metadata_of("1.6")) == {"status": "UnknownVendorId"}
    assert handle(router, "DataTransfer", {"vendorId": "y"}, metadata_of("2.1")) == {"status": "UnknownVendorId"}


@pytest.mark.parametrize("single", [False, True])
def test_other_vendors_are_left_to_the_other_handlers(single: bool) -> None:
    router = router_of_all((lambda request, metadata: {"by": "rest"}) if single else None)
    if not single:
        router.on("DataTransfer")(lambda payload, metadata: {"by": "rest"})
    router.on_data_transfer("x")(lambda payload, metadata: {"by": "x"})
    assert handle(router, "DataTransfer", {"vendorId": "x"}, METADATA) == {"by": "x"}
    assert handle(router, "DataTransfer", {"vendorId": "y"}, METADATA) == {"by": "rest"}


def test_a_vendors_message_has_one_handler() -> None:
    router = transfers()
    with pytest.raises(ValueError, match="DataTransfer of x has a handler already"):
        router.on_data_transfer("x", "m")(take_all)
    with pytest.raises(ValueError, match="unsupported OCPP version '9'"):
        router.on_data_transfer("x", "m", "9")


# Routes are kept.


def test_a_route_is_kept_until_a_handler_is_registered() -> None:
    router = make()
    routes = router.routes("1.6")
    first = routes["Heartbeat"]
    assert routes["Heartbeat"] is first
    router.on("Heartbeat")(lambda payload, metadata: {"n": 1})
    assert first.call_refusal == "NotSupported", "what was read before is not changed"
    second = routes["Heartbeat"]
    assert second.call_refusal is None
    router.after("Heartbeat")(print)
    assert routes["Heartbeat"].hooks == (print,)
    assert second.hooks == ()


def test_a_peer_cannot_fill_the_memory_with_actions() -> None:
    router = make(handler=take_all)
    for number in range(100):
        assert refusal(router, f"Bogus{number}", "1.6") == "NotImplemented"
    assert refusal(router, "Reset", "1.6") == "NotSupported", "a charge point does not send it"
    assert refusal(router, "Heartbeat", "1.6") is None
    assert list(router.routes("1.6")) == ["Reset", "Heartbeat"]


def test_a_route_that_is_made_while_a_handler_is_registered_has_the_handler() -> None:
    """It is made of the handlers before; then it must not outlive the registration."""
    router = make()
    lock = router._lock = WatchedLock()  # type: ignore[assignment]
    make_route, began = router._make_route, []

    def make_while_it_is_registered(*args: Any) -> Any:
        route = make_route(*args)
        if not began:
            # It waits for the lock. Without one it would be registered now, and the old route stored after that.
            began.append(lock.meanwhile(lambda: router.on("Heartbeat")(lambda payload, metadata: {})))
        return route

    router._make_route = make_while_it_is_registered  # type: ignore[method-assign]
    assert refusal(router, "Heartbeat", "1.6") == "NotSupported"
    began[0].result(DEADLINE)
    assert refusal(router, "Heartbeat", "1.6") is None


# The quick tests of payloads.


def route_of(action: str, version: str = "1.6", handler: Any = take_all, **options: Any) -> Route:
    return Router(MessageSets("central_system", **options), handler).routes(version)[action]


def test_a_route_takes_what_is_valid_and_gives_what_is_valid() -> None:
    route = route_of("Authorize")
    assert route.takes({"idTag": "A"})
    assert not route.takes({})
    assert route.gives({"idTagInfo": {"status": "Accepted"}})
    assert not route.gives({})


def test_a_vendors_action_is_tested_by_its_own_schemas() -> None:
    level: Any = {"type": "object", "required": ["level"], "properties": {"level": {"type": "integer"}}}
    actions = [VendorAction("Light", level, {"type": "object"}), VendorAction("Beat", level, None)]
    for version in ("1.6", "2.1"):
        route = route_of("Light", version, vendor_actions=actions)
        assert (route.takes({"level": 1}), route.takes({}), route.gives({})) == (True, False, True)
    send = route_of("Beat", "2.1", vendor_actions=actions)
    assert (send.takes({"level": 1}), send.takes({}), send.gives({}), send.send_refusal) == (True, False, False, None)
    assert route_of("Beat", "1.6", vendor_actions=actions).send_refusal == "NotImplemented"


@pytest.mark.parametrize(
    ("options", "takes", "gives"),
    [
        ({"validation": Validation(inbound="off")}, True, False),
        ({"validation": Validation(outbound="off")}, False, True),
        ({"validation": Validation(inbound_actions={"Authorize": "off"})}, True, False),
        ({"validation": Validation(outbound_actions={"Authorize": "off"})}, False, True),
        ({"validation": Validation(inbound="warn", outbound="warn")}, False, False),
    ],
)
def test_a_route_is_sure_of_anything_where_nothing_is_validated(options: Any, takes: bool, gives: bool) -> None:
    route = route_of("Authorize", **options)
    assert (route.takes({}), route.gives({})) == (takes, gives)


def test_a_route_is_sure_of_no_payload_that_may_have_to_be_changed() -> None:
    for validation in (Validation(), Validation(inbound="off")):
        route = route_of("Authorize", lenient=Lenient(strip_nulls=True), validation=validation)
        assert not route.takes({"idTag": "A"})
        assert route.gives({"idTagInfo": {"status": "Accepted"}})


def test_an_action_without_a_handler_has_no_tests() -> None:
    route = route_of("Authorize", handler=None)
    assert (route.takes({"idTag": "A"}), route.gives({})) == (False, False)
