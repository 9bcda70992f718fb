"""What observers are told of the messages of a connection, in both directions."""

from __future__ import annotations

from typing import Any

from lone import Lone

from ocppsync.events import MessageReceived, MessageSent


def told(events: list[Any]) -> list[tuple[str, str, str, str, float | None]]:
    """Return what matters of the events about messages."""
    return [
        ("<" if isinstance(event, MessageReceived) else ">", event.kind, event.message_id, event.action, event.seconds)
        for event in events
        if isinstance(event, (MessageReceived, MessageSent))
    ]


def test_our_call_and_its_answer_have_one_id_and_one_action() -> None:
    events: list[Any] = []
    with Lone(observe=events.append) as lone:
        lone.ask("Reset", {"type": "Soft"})
        (call,) = lone.came()
        lone.clock.advance(2)
        lone.say([3, call[1], {"status": "Accepted"}])
    assert told(events) == [(">", "CALL", call[1], "Reset", None), ("<", "CALLRESULT", call[1], "Reset", 2.0)]


def test_a_refusal_of_our_call_is_told_as_an_error() -> None:
    events: list[Any] = []
    with Lone(observe=events.append) as lone:
        lone.ask("Reset", {"type": "Soft"})
        (call,) = lone.came()
        lone.say([4, call[1], "GenericError", "", {}])
    assert told(events)[1:] == [("<", "CALLERROR", call[1], "Reset", 0.0)]


def test_a_late_answer_still_has_its_action() -> None:
    events: list[Any] = []
    with Lone(observe=events.append) as lone:
        lone.ask("Reset", {"type": "Soft"}, timeout=10)
        (call,) = lone.came()
        lone.clock.advance(11)
        lone.say([3, call[1], {"status": "Accepted"}])
    assert told(events)[-1] == ("<", "CALLRESULT", call[1], "Reset", 11.0)


def test_a_stray_answer_has_none() -> None:
    events: list[Any] = []
    with Lone(observe=events.append) as lone:
        lone.say([3, "nothing", {}])
    assert told(events) == [("<", "CALLRESULT", "nothing", "", None)]


def test_a_call_of_the_peer_and_our_answer_have_one_action() -> None:
    events: list[Any] = []
    with Lone(observe=events.append) as lone:
        lone.router.on("Heartbeat")(lambda payload, metadata: {"currentTime": "2025-01-31T12:00:00Z"})
        lone.say([2, "1", "Heartbeat", {}])
        lone.clock.advance(3)  # the handler runs at the end
    assert told(events) == [("<", "CALL", "1", "Heartbeat", None), (">", "CALLRESULT", "1", "Heartbeat", 3.0)]


def test_a_call_is_told_before_its_handler_runs_and_its_answer_after() -> None:
    order: list[str] = []

    def observe(event: object) -> None:
        if isinstance(event, (MessageReceived, MessageSent)):
            order.append(event.kind)

    def handle(payload: Any, metadata: Any) -> Any:
        order.append("handled")
        return {"currentTime": "2025-01-31T12:00:00Z"}

    with Lone(observe=observe) as lone:
        lone.router.on("Heartbeat")(handle)
        for number in range(2):
            lone.say([2, str(number), "Heartbeat", {}])
            lone.clock.advance(0)
    assert order == ["CALL", "handled", "CALLRESULT"] * 2


def test_an_action_without_a_handler_is_refused_at_once() -> None:
    events: list[Any] = []
    with Lone(observe=events.append) as lone:
        lone.say([2, "1", "Heartbeat", {}])
    assert told(events) == [("<", "CALL", "1", "Heartbeat", None), (">", "CALLERROR", "1", "Heartbeat", 0.0)]


def test_what_is_not_a_frame_is_malformed() -> None:
    events: list[Any] = []
    with Lone(observe=events.append) as lone:
        lone.say({"no": "frame"})
        lone.say([3, "1"])
    assert told(events) == [("<", "malformed", "", "", None), ("<", "malformed", "1", "", None)]


def test_a_message_is_told_before_anything_comes_of_it() -> None:
    seen: list[tuple[str, bool]] = []

    def observe(event: object) -> None:
        if isinstance(event, MessageReceived):
            seen.append((event.kind, future.done()))

    with Lone(observe=observe) as lone:
        future = lone.ask("Reset", {"type": "Soft"})
        (call,) = lone.came()
        lone.say([3, call[1], {"status": "Accepted"}])
    assert seen == [("CALLRESULT", False)]
    assert future.result(0) == {"status": "Accepted"}
