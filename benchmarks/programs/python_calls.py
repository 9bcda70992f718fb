"""Counts the Python functions of ocppsync that a message passes, on all threads of a central system together.

    python benchmarks/programs/python_calls.py

Prints a line of JSON with the calls for a CALL of a charge point, and for a `send_request`. A function counts if its
code is in a file of ocppsync, so the generated predicates do not. The test of the same counts imports this module.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from websockets.sync.client import ClientConnection, connect

import ocppsync
from ocppsync import CentralSystem

_PACKAGE = str(Path(ocppsync.__file__).parent)
_FEW, _MANY = 50, 150
_METER_VALUES = {
    "connectorId": 1,
    "meterValue": [{"timestamp": "2026-01-01T00:00:00Z", "sampledValue": [{"value": "1"}]}],
}

Function = tuple[str, str]
"""A function: its file and its name."""
Exchange = Callable[[CentralSystem], object]
"""Exchanges one message and its answer."""


class Passed(NamedTuple):
    """What a message passes."""

    #: Calls of functions, on average.
    calls: float
    #: Files with a function that at least nine of ten messages call.
    files: int


def of_a_call() -> Passed:
    """Return what a CALL of a charge point passes, with its answer."""

    @contextlib.contextmanager
    def calling(charger: ClientConnection) -> Iterator[Exchange]:
        yield lambda cs: _call(charger)

    return _per_message(calling)


def of_a_request() -> Passed:
    """Return what a `send_request` passes, with its answer."""

    @contextlib.contextmanager
    def answering(charger: ClientConnection) -> Iterator[Exchange]:
        _call(charger)  # when this is answered, the charge point is registered
        thread = threading.Thread(target=_answer, args=(charger,), name="charger", daemon=True)
        thread.start()
        yield lambda cs: cs.send_request("CP1", "Reset", {"type": "Soft"})
        charger.close()
        thread.join()

    return _per_message(answering)


def _call(charger: ClientConnection) -> None:
    message_id = str(uuid.uuid4())  # a new one: a repeated CALL takes another way
    charger.send(json.dumps([2, message_id, "MeterValues", _METER_VALUES]))
    answer = json.loads(charger.recv())
    assert answer == [3, message_id, {}], answer


def _answer(charger: ClientConnection) -> None:
    for text in charger:
        charger.send(json.dumps([3, json.loads(text)[1], {"status": "Accepted"}]))


def _per_message(connection: Callable[[ClientConnection], contextlib.AbstractContextManager[Exchange]]) -> Passed:
    """Return what each message passes beyond what a connection passes anyway.

    That is the difference of two connections which differ only in the number of their messages. Both are counted until
    the central system is closed, when all threads are done with the last message.
    """
    _count(connection, 1)  # schemas are read and predicates compiled
    few, many = _count(connection, _FEW), _count(connection, _MANY)
    messages = _MANY - _FEW
    files = {file for (file, name), calls in many.items() if calls - few[file, name] >= 0.9 * messages}
    return Passed((many.total() - few.total()) / messages, len(files))


def _count(
    connection: Callable[[ClientConnection], contextlib.AbstractContextManager[Exchange]], messages: int
) -> Counter[Function]:
    with _recording() as calls:
        with (
            CentralSystem(0, lambda request, metadata: {}, host="127.0.0.1") as cs,
            connect(f"ws://127.0.0.1:{cs.port}/CP1", subprotocols=[_SUBPROTOCOL]) as charger,
            connection(charger) as exchange,
        ):
            for _ in range(messages):
                exchange(cs)
        return Counter(calls)


@contextlib.contextmanager
def _recording() -> Iterator[list[Function]]:
    """Record the calls of this thread, and of all threads that start meanwhile."""
    calls: list[Function] = []
    append = calls.append  # a single step of the interpreter, so it needs no lock

    def record(frame: FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(_PACKAGE):
            append((code.co_filename, code.co_name))

    before = sys.getprofile()
    threading.setprofile(record)
    sys.setprofile(record)
    try:
        yield calls
    finally:
        sys.setprofile(before)
        threading.setprofile(None)


_SUBPROTOCOL: Any = "ocpp1.6"


def main() -> int:
    """Count; return the exit status."""
    print(json.dumps({"a CALL": of_a_call().calls, "a send_request": of_a_request().calls}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
