"""What is known of one action: the record that a CALL finds by its action."""

from __future__ import annotations

from typing import Any

import pytest

from ocppsync.errors import CallError
from ocppsync.rpc.route import (
    NOT_SENT_BY_PEER,
    UNKNOWN,
    OwnAction,
    OwnActions,
    Route,
    Routes,
    always_sure,
    never_sure,
)


def handle(payload: Any, metadata: Any) -> Any:
    return {"got": payload}


@pytest.mark.parametrize(
    ("route", "call_refusal", "send_refusal"),
    [
        (Route(handle), None, "NotSupported"),
        (Route(handle, is_send=True), "NotSupported", None),
        (Route(None), "NotSupported", "NotSupported"),
        (Route(None, is_send=True), "NotSupported", "NotSupported"),
        (NOT_SENT_BY_PEER, "NotSupported", "NotSupported"),
        (UNKNOWN, "NotImplemented", "NotImplemented"),
    ],
)
def test_what_is_refused(route: Route, call_refusal: str | None, send_refusal: str | None) -> None:
    assert (route.call_refusal, route.send_refusal) == (call_refusal, send_refusal)


def test_a_route_without_a_handler_refuses_and_is_sure_of_nothing() -> None:
    metadata: Any = None
    for route in (Route(None), UNKNOWN, NOT_SENT_BY_PEER):
        with pytest.raises(CallError, match="NotSupported"):
            route.handle({}, metadata)
        assert (route.hooks, route.takes({}), route.gives({})) == ((), False, False)
    assert Route(handle).handle(1, metadata) == {"got": 1}


@pytest.mark.parametrize("payload", [None, {}, [], "text", object()])
def test_the_tests_that_need_no_look(payload: object) -> None:
    assert always_sure(payload) is True
    assert never_sure(payload) is False


def test_a_route_is_made_when_its_action_comes_and_again_if_it_is_not_stored() -> None:
    made: list[str] = []

    def make(action: str) -> Route:
        made.append(action)
        if action != "Bogus":
            routes[action] = Route(handle)
            return routes[action]
        return UNKNOWN

    routes = Routes(make)
    assert routes["Heartbeat"] is routes["Heartbeat"]
    assert routes["Bogus"] is routes["Bogus"] is UNKNOWN
    assert made == ["Heartbeat", "Bogus", "Bogus"]
    assert list(routes) == ["Heartbeat"]


def test_an_own_action_is_kept_unless_it_cannot_be_sent() -> None:
    made: list[str] = []

    def make(action: str) -> OwnAction:
        made.append(action)
        if action == "Bogus":
            raise ValueError(action)
        return OwnAction(gives=always_sure, takes=never_sure)

    own = OwnActions(make)
    assert own["Reset"] is own["Reset"]
    for _ in range(2):
        with pytest.raises(ValueError, match="Bogus"):
            own["Bogus"]
    assert (made, list(own)) == (["Reset", "Bogus", "Bogus"], ["Reset"])
