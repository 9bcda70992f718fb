"""Metrics for Prometheus; requires the extra ``metrics``."""

from __future__ import annotations

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from .events import (
    Closed,
    Connected,
    Event,
    HandlerFailed,
    MessageReceived,
    MessageSent,
    Refused,
    TimedOut,
    ValidationFailed,
)
from .validation.catalogue import SUBPROTOCOLS, catalogue

__all__ = ["PrometheusObserver"]

_VERSIONS = frozenset(SUBPROTOCOLS.values())
_OTHER = "other"
_LAST_NAMED = 1015
"""The last close code that RFC 6455 §7.4.1 defines."""


class PrometheusObserver:
    """An observer that counts events for Prometheus: ``CentralSystem(9000, observers=[PrometheusObserver()])``.

    | metric | labels | |
    | --- | --- | --- |
    | `ocpp_connections` | version | open connections |
    | `ocpp_connections_opened_total` | version | |
    | `ocpp_connections_closed_total` | version, code | |
    | `ocpp_connections_refused_total` | status | |
    | `ocpp_messages_received_total`, `ocpp_messages_sent_total` | version, kind, action | |
    | `ocpp_handling_seconds` | version, action | from a received CALL to its answer |
    | `ocpp_response_seconds` | version, action | from a sent CALL to its answer |
    | `ocpp_validation_failures_total` | direction, action | |
    | `ocpp_timeouts_total` | action, delivery | |
    | `ocpp_handler_failures_total` | action | |

    A peer may send any action and any close code, so an unknown action is counted as ``other``, and close codes above
    1015 by their thousand, as ``4xxx``.

    Args:
        registry: the registry for the metrics; by default that of ``prometheus_client``.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"ocpp_{name}", text, labels, registry=registry)

        self._connections = Gauge("ocpp_connections", "Open connections", ["version"], registry=registry)
        self._opened = counter("connections_opened", "Opened connections", "version")
        self._closed = counter("connections_closed", "Closed connections", "version", "code")
        self._refused = counter("connections_refused", "Refused connections", "status")
        self._received = counter("messages_received", "Received messages", "version", "kind", "action")
        self._sent = counter("messages_sent", "Sent messages", "version", "kind", "action")
        self._handling = Histogram(
            "ocpp_handling_seconds",
            "Seconds from a received CALL to its answer",
            ["version", "action"],
            registry=registry,
        )
        self._response = Histogram(
            "ocpp_response_seconds", "Seconds from a sent CALL to its answer", ["version", "action"], registry=registry
        )
        self._invalid = counter("validation_failures", "Invalid payloads", "direction", "action")
        self._timeouts = counter("timeouts", "Requests without an answer in time", "action", "delivery")
        self._failures = counter("handler_failures", "Handlers that failed", "action")
        self._known: dict[str, frozenset[str]] = {}

    def __call__(self, event: Event) -> None:
        """Count an event."""
        if isinstance(event, (MessageReceived, MessageSent)):
            self._count(event)
        elif isinstance(event, Connected):
            self._connections.labels(event.version).inc()
            self._opened.labels(event.version).inc()
        elif isinstance(event, Closed):
            self._connections.labels(event.version).dec()
            self._closed.labels(event.version, _close_code(event.code)).inc()
        elif isinstance(event, Refused):
            self._refused.labels(str(event.status)).inc()
        elif isinstance(event, ValidationFailed):
            self._invalid.labels(event.direction, self._label(event.action)).inc()
        elif isinstance(event, TimedOut):
            self._timeouts.labels(self._label(event.action), event.delivery).inc()
        elif isinstance(event, HandlerFailed):
            self._failures.labels(self._label(event.action)).inc()

    def _count(self, event: MessageReceived | MessageSent) -> None:
        received = isinstance(event, MessageReceived)
        action = self._label(event.action, event.version) if event.action else ""
        (self._received if received else self._sent).labels(event.version, event.kind, action).inc()
        if event.seconds is not None:
            (self._response if received else self._handling).labels(event.version, action).observe(event.seconds)

    def _label(self, action: str, version: str | None = None) -> str:
        versions = _VERSIONS if version is None else {version}
        return action if any(action in self._actions(one) for one in versions) else _OTHER

    def _actions(self, version: str) -> frozenset[str]:
        if version not in self._known:
            self._known[version] = frozenset(catalogue(version).actions)
        return self._known[version]


def _close_code(code: int | None) -> str:
    if code is None:
        return "none"
    return str(code) if code <= _LAST_NAMED else f"{code // 1000}xxx"
