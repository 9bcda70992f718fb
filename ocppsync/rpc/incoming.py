"""One CALL or SEND of the peer, from its arrival to its answer, and later for its repeats."""

from __future__ import annotations

from typing import Any, TypeAlias

from .route import Route

__all__ = ["IncomingCall", "MessageId"]

MessageId: TypeAlias = str | int
"""A message id: a string. A peer may send a number against the rules; answers repeat it unchanged."""


class IncomingCall:
    """A CALL, ``[2, id, action, payload]`` (J16 §4.2.1), or a SEND, ``[6, id, action, payload]`` (4/21 §4.2.4).

    Parsing makes it. The reader adds what is needed to handle and to repeat it; after that, the lock of the
    `IncomingCalls` that it was given to guards what changes.

    Attributes:
        message_id, action, payload: as received; the payload is gone once the CALL was answered.
        is_send: whether it is a SEND, which has no answer.
        text: the CALL as it was received; of a long one only the digest, once it is remembered.
        size: about how many bytes it takes until it was handled; see `parsed_size`.
        kept_size: about how many bytes it takes while its answer is kept.
        route: the handler of its action. It may have none, if the policy decides first what happens to the message.
        peer: the name of its peer in log lines.
        received_by: handles it, and may answer it when its time is over.
        reply_to: stands for the connection that gets the answer.
        asked_at: when it, or its last repeat while it was being handled, was received.
        due: when its time to be answered is over; None: never.
        claimed: whether a thread is about to answer it, or it gets no answer.
        thread: the thread that runs its handler.
        answer: its CALLRESULT, while that is kept.
    """

    __slots__ = (
        "action",
        "answer",
        "asked_at",
        "claimed",
        "due",
        "is_send",
        "kept_size",
        "message_id",
        "payload",
        "peer",
        "received_by",
        "reply_to",
        "route",
        "size",
        "text",
        "thread",
    )

    text: str | bytes
    size: int
    kept_size: int
    peer: str
    route: Route
    received_by: Any
    reply_to: Any
    asked_at: float
    due: float | None

    def __init__(self, message_id: MessageId, action: str, payload: Any, *, is_send: bool = False) -> None:
        self.message_id = message_id
        self.action = action
        self.payload = payload
        self.is_send = is_send
        self.claimed = False
        self.thread: int | None = None
        self.answer: str | None = None

    def __repr__(self) -> str:
        return f"<{'SEND' if self.is_send else 'CALL'} {self.message_id!r} {self.action!r}>"
