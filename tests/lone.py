"""One connection in memory, by a clock that stands still: a thread reads it, and the test is its peer."""

from __future__ import annotations

import json
import threading
from typing import Any

from contexts import make_context
from support import DEADLINE, WatchedLock

from ocppsync import Limits, Timeouts
from ocppsync.rpc.connection import Connection
from ocppsync.rpc.context import ConnectionOptions
from ocppsync.rpc.registration import MessagePolicy
from ocppsync.testing.inline import Clock, InlineExecutor
from ocppsync.testing.memory import memory_pair
from ocppsync.validation.catalogue import Role


class Lone:
    """One end of a connection with CP1, which speaks 1.6. Handlers and callbacks run in `Clock.advance`.

    Args:
        role: which end.
        clock: another clock.
        executor: another executor.
        policy: another policy.
        security: the checks of a security profile.
        limits, timeouts: as for a central system.
        options: further fields of `ConnectionOptions`.
    """

    def __init__(
        self,
        *,
        role: Role = "central_system",
        clock: Clock | None = None,
        executor: Any = None,
        policy: MessagePolicy | None = None,
        security: Any = None,
        limits: Limits | None = None,
        timeouts: Timeouts | None = None,
        **options: Any,
    ) -> None:
        self.clock = clock or Clock()
        self.executor = executor or InlineExecutor(self.clock)
        self.transport, self.peer = memory_pair("CP1", self.clock.now)
        self.lock = WatchedLock()
        self.context = make_context(
            role=role,
            executor=self.executor,
            timer=self.clock,
            policy=policy or MessagePolicy(),
            security=security,
            options=ConnectionOptions(
                limits=limits or Limits(queued_calls=10), timeouts=timeouts or Timeouts(), **options
            ),
        )
        self.router = self.context.router
        connection = Connection(self.transport, self.context)
        self.connection: Any = connection
        self.requester: Any = connection._requester
        self.engine: Any = connection._engine
        self.engine._lock = self.lock
        self._reader = threading.Thread(target=connection.run, name="test-reader", daemon=True)

    def __enter__(self) -> Lone:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.drop()

    def start(self) -> None:
        """Begin to read."""
        self._reader.start()
        self.settle()

    def settle(self) -> None:
        """Wait until the reader has dealt with all that came."""
        assert self.transport.wait_idle(DEADLINE)

    def drop(self) -> None:
        """Let the peer vanish, and wait for the end of the connection."""
        self.peer.abort()
        self.join()

    def join(self) -> None:
        """Wait for the end of the connection."""
        self._reader.join(DEADLINE)
        assert not self._reader.is_alive()

    def check_rest(self) -> None:
        """Check that nothing is left to wait for: the next look at the requests comes in vain, and is the last one."""
        self.clock.jump()
        assert not self.clock.jump()

    def ask(
        self,
        action: str = "ClearCache",
        payload: Any = None,
        timeout: float | None = None,
        queue_timeout: float | None = None,
    ) -> Any:
        """Send a request, and return its future."""
        return self.connection.request(action, payload or {}, timeout, queue_timeout)

    def came(self) -> list[list[Any]]:
        """Return the messages that the peer has been sent since it last looked."""
        return [json.loads(text) for text in iter(self.peer.receive_now, None)]

    def actions(self) -> list[str]:
        """Return the actions of the CALLs among those messages."""
        return [message[2] for message in self.came() if message[0] == 2]

    def say(self, message: Any) -> None:
        """Have the peer send a message, and wait until the reader has dealt with it."""
        self.peer.send_nowait(json.dumps(message))
        self.settle()

    def accept(self) -> str:
        """Have the peer answer the CALL that it was sent with Accepted; return its action."""
        (call,) = [message for message in self.came() if message[0] == 2]
        self.say([3, call[1], {"status": "Accepted"}])
        return call[2]
