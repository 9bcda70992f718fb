"""Handlers that return or raise what no handler should, and requests that cross: each ends, and nobody else waits."""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import json
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from bystander import besieged, heartbeat
from support import DEADLINE

from ocppsync import CallError, CentralSystem, ChargePoint, HandshakeError, NotConnectedError, ValidationError
from ocppsync.errors import ProtocolError
from ocppsync.wire.http import DisconnectedError, RefusalError


class Rude(dict[str, Any]):
    """A dict that fails wherever it is looked at."""

    def __getitem__(self, key: str) -> Any:
        raise RuntimeError("rude")

    def items(self) -> Any:
        raise RuntimeError("rude")

    __iter__ = __len__ = __contains__ = items  # type: ignore[assignment]


class Liar:
    """Looks like anything."""

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        raise RuntimeError("no hash")

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    __str__ = __repr__


class Kind(enum.Enum):
    ACCEPTED = "Accepted"


def raises(error: BaseException) -> Callable[[], Any]:
    def handle() -> Any:
        raise error

    return handle


def cycle() -> Any:
    answer: dict[str, Any] = {"status": "Accepted"}
    answer["data"] = answer
    return answer


def deep() -> Any:
    answer: Any = "x"
    for _ in range(100_000):
        answer = [answer]
    return {"status": "Accepted", "data": answer}


def recursion() -> Any:
    return recursion()


ODD: dict[str, Callable[[], Any]] = {
    "True": lambda: True,
    "zero": lambda: 0,
    "text": lambda: "Accepted",
    "JSON": lambda: '{"status": "Accepted"}',
    "bytes": lambda: b'{"status": "Accepted"}',
    "a list": lambda: [],
    "a list of pairs": lambda: [("status", "Accepted")],
    "a tuple": lambda: ("status", "Accepted"),
    "a set": lambda: {"status"},
    "an object": object,
    "a class": lambda: dict,
    "a function": lambda: lambda: None,
    "a generator": lambda: (key for key in ("status",)),
    "an exception": lambda: CallError("GenericError"),
    "NotImplemented": lambda: NotImplemented,
    "Ellipsis": lambda: ...,
    "a lock": threading.Lock,
    "a mapping": lambda: collections.ChainMap({"status": "Accepted"}),
    "what fails": Rude,
    "what lies": Liar,
    "a liar inside": lambda: {"status": Liar()},
    "an enum": lambda: {"status": Kind.ACCEPTED},
    "None inside": lambda: {"status": None},
    "a number inside": lambda: {"status": 1},
    "a key that is no text": lambda: {"status": "Accepted", 1: 2},
    "a key that is None": lambda: {None: "Accepted"},
    "another status": lambda: {"status": "accepted"},
    "nothing inside": dict,
    "more than there is": lambda: {"status": "Accepted", "more": 1},
    "a date": lambda: {"status": "Accepted", "data": datetime.datetime.now(datetime.timezone.utc)},
    "a decimal": lambda: {"status": "Accepted", "data": decimal.Decimal(1)},
    "bytes inside": lambda: {"status": "Accepted", "data": b"x"},
    "not a number": lambda: {"status": "Accepted", "data": float("nan")},
    "infinity": lambda: {"status": float("inf")},
    "a set inside": lambda: {"status": "Accepted", "data": {1}},
    "a cycle": cycle,
    "depth": deep,
    "RecursionError": recursion,
    "MemoryError": raises(MemoryError()),
    "SystemExit": raises(SystemExit(1)),
    "sys.exit": sys.exit,
    "KeyboardInterrupt": raises(KeyboardInterrupt()),
    "GeneratorExit": raises(GeneratorExit()),
    "StopIteration": raises(StopIteration()),
    "BaseException": raises(BaseException("odd")),
    "HandshakeError": raises(HandshakeError("odd", status=200)),
    "ProtocolError": raises(ProtocolError("odd", error_code="GenericError")),
    "ValidationError": raises(ValidationError("odd", action="x", errors=[], error_code="GenericError")),
    "RefusalError": raises(RefusalError(401, "odd")),
    "DisconnectedError": raises(DisconnectedError("odd")),
    "TimeoutError": raises(TimeoutError("odd")),
    "ConnectionResetError": raises(ConnectionResetError("odd")),
    "NotConnectedError": raises(
        NotConnectedError("odd", charge_point_id="attacker", action="x", message_id=None, delivery="not_sent")
    ),
}


def test_every_odd_answer_is_an_internal_error(caplog: pytest.LogCaptureFixture) -> None:
    with besieged(caplog, may_fail=True) as siege, siege.attacker() as attacker:
        siege.cs.on_data_transfer("x")(lambda payload, metadata: ODD[payload["data"]]())
        for number, name in enumerate(ODD):
            call = [2, str(number), "DataTransfer", {"vendorId": "x", "data": name}]
            attacker.send_text(json.dumps(call))
            answer = json.loads(attacker.read_text())
            assert answer[:3] == [4, str(number), "InternalError"], (name, answer)
            assert "odd" not in str(answer), "the text of an exception is not for the peer"
        heartbeat(attacker, "after")
        assert siege.cs.charge_points.count("attacker") == 1


def test_requests_that_cross_in_handlers_end_though_all_threads_are_taken(caplog: pytest.LogCaptureFixture) -> None:
    with besieged(caplog, handler_threads=6) as siege:
        cs: CentralSystem = siege.cs
        others = {"A": "B", "B": "A"}

        @cs.on_data_transfer("cross")
        def cross(payload: Any, metadata: Any) -> Any:
            answer = cs.send_request(others[metadata.charge_point_id], "ClearCache", timeout=DEADLINE)
            return {"status": "Accepted", "data": answer["status"]}

        def open_point(name: str) -> ChargePoint:
            point = ChargePoint(name, url=f"ws://127.0.0.1:{siege.port}", enforce_registration=False)
            point.on("ClearCache")(lambda payload, metadata: {"status": "Accepted"})
            return point

        with open_point("A") as a, open_point("B") as b, ThreadPoolExecutor(8) as threads:
            calls: list[Any] = [
                threads.submit(point.send_request, "DataTransfer", {"vendorId": "cross"}, timeout=DEADLINE)
                for _ in range(20)
                for point in (a, b)
            ]
            for call in calls:
                assert call.result(DEADLINE) == {"status": "Accepted", "data": "Accepted"}
