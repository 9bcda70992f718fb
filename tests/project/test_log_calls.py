"""Whatever a peer can make the library log goes through the throttle, which counts it and cuts it.

tests/faults/test_log_floods.py floods each of those lines.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "ocppsync"
METHODS = frozenset({"debug", "info", "warning", "error", "exception", "critical", "log"})

DIRECT = {
    "throttled_log.LogThrottle.log": "the throttle itself",
    "faults.log_lines.log_line": "for all of these",
    "central_system.CentralSystem._close": "once in its life",
    "central_system.CentralSystem._stop": "once in its life",
    "recording.line_file.LineFile.append": "once when the journal can be written again or not any more",
    "recording.line_file.LineFile.close": "once in its life",
    "recording.reading._log": "the application reads a journal",
    "charge_point.ChargePoint._run": "once for each `connect` of ours",
    "events.LoggingObserver.__call__": "the application asked for each event; its line is cut",
    "security.profiles.SecurityProfiles._raise": "three times for each charge point that proved itself",
    "security.profiles._apply_outcome": "once for each password that the application sent",
    "server.listener.Listener._run": "counts by itself: the system fails, and has no peer yet",
    "simulator.delivery.Delivery.post": "waits between its attempts",
    "simulator.charge_point.SimulatedChargePoint._run": "waits between its attempts",
    "simulator.reconnection.Reconnection.run": "waits between its attempts",
    "threads.pool.log_failure": "callbacks of our own requests, and faults of the library",
    "threads.stuck_handlers.StuckHandlerDetector._check": "asks the throttle first, since the line must stay whole",
    "threads.timer.TimerHandle.run": "faults of the library",
    "wire.tls.ServerTLS.reload": "the application's call",
}
"""The functions that call a logger themselves, and why no peer floods the log with that."""


def is_log_call(node: ast.AST) -> bool:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "log_line":
        return True
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node.func.attr not in METHODS:
        return False
    return ast.unparse(node.func.value) in {"_logger", "logger", "self._logger"}


def direct_calls(node: ast.AST, where: str) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        inner = where
        if isinstance(child, (ast.FunctionDef, ast.ClassDef)):
            inner = f"{where}.{child.name}"
        elif is_log_call(child):
            yield where
        yield from direct_calls(child, inner)


def test_only_these_functions_log_without_the_throttle() -> None:
    found: Counter[str] = Counter()
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        found.update(direct_calls(ast.parse(path.read_text(encoding="utf-8")), name))
    assert set(found) == set(DIRECT)


def test_what_is_found() -> None:
    method = "class A:\n    def f(self):\n        _logger.info('x')\n"
    function = "def g():\n    throttle.log(_logger, 'x')\n    self._logger.log(1, 'x')\n"
    line = "def h():\n    log_line(_logger, 1, 'x')\n"
    assert list(direct_calls(ast.parse(method + function + line), "m")) == ["m.A.f", "m.g", "m.h"]
