"""The Prometheus metrics."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from support import BOOT, Recorder, accept_boots, raw, serving

from ocppsync import ChargePoint, HandshakeError, RequestTimeoutError
from ocppsync.events import Closed
from ocppsync.metrics import PrometheusObserver


def test_messages_and_connections_are_counted() -> None:
    registry, events = CollectorRegistry(), Recorder()

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(name, labels)

    with serving(observers=[PrometheusObserver(registry), events]) as cs:
        accept_boots(cs)
        with raw(cs) as peer:
            peer.call("1", "BootNotification", BOOT)
            peer.call("2", "BootNotification", {})
            peer.call("3", "Frobnicate", {})
            assert value("ocpp_connections", version="1.6") == 1
            with pytest.raises(RequestTimeoutError):
                cs.send_request("CP1", "ClearCache", timeout=0.05)
        events.wait_until(lambda items: any(isinstance(event, Closed) for event in items))
    assert value("ocpp_connections", version="1.6") == 0
    assert value("ocpp_connections_opened_total", version="1.6") == 1
    assert value("ocpp_connections_closed_total", version="1.6", code="1000") == 1
    calls: dict[str, Any] = {"version": "1.6", "kind": "CALL"}
    assert value("ocpp_messages_received_total", **calls, action="BootNotification") == 2
    assert value("ocpp_messages_received_total", **calls, action="other") == 1
    assert value("ocpp_messages_sent_total", **calls, action="ClearCache") == 1
    assert value("ocpp_messages_sent_total", version="1.6", kind="CALLERROR", action="other") == 1
    assert value("ocpp_handling_seconds_count", version="1.6", action="BootNotification") == 2
    assert value("ocpp_validation_failures_total", direction="inbound", action="BootNotification") == 1
    assert value("ocpp_timeouts_total", action="ClearCache", delivery="unknown") == 1


def test_refusals_and_failures_are_counted() -> None:
    registry = CollectorRegistry()
    with (
        serving(observers=[PrometheusObserver(registry)], identify=lambda http_request: None) as cs,
        pytest.raises(HandshakeError),
    ):
        ChargePoint("CP1", url=f"ws://127.0.0.1:{cs.port}").connect()
    assert registry.get_sample_value("ocpp_connections_refused_total", {"status": "404"}) == 1
    registry = CollectorRegistry()
    with serving(observers=[PrometheusObserver(registry)]) as cs, raw(cs) as peer:
        cs.on("Heartbeat")(lambda payload, metadata: {})
        assert peer.call("1", "Heartbeat", {})[2] == "InternalError"
    assert registry.get_sample_value("ocpp_handler_failures_total", {"action": "Heartbeat"}) == 1


def test_metrics_are_named_as_documented() -> None:
    registry = CollectorRegistry()
    PrometheusObserver(registry)
    kinds = {"counter": "_total", "histogram": "_seconds", "gauge": ""}
    names = set()
    for family in registry.collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        assert re.fullmatch("ocpp(_[a-z]+)+", name)
        assert name.endswith(kinds[family.type])
        assert family.documentation
        names.add(name)
    page = (Path(__file__).resolve().parents[2] / "docs" / "observing.md").read_text(encoding="utf-8")
    assert names == set(re.findall(r"^\| `(ocpp_\w+)`", page, re.MULTILINE))


def test_a_peer_cannot_create_unlimited_series() -> None:
    registry = CollectorRegistry()
    observer = PrometheusObserver(registry)
    for code in (1000, 1006, 1015, 2000, 3000, 3999, 4000, 4321, None):
        observer(Closed("CP1", "1.6", code, 1.0))
    samples = [sample for family in registry.collect() for sample in family.samples]
    codes = {sample.labels["code"] for sample in samples if sample.name == "ocpp_connections_closed_total"}
    assert codes == {"1000", "1006", "1015", "2xxx", "3xxx", "4xxx", "none"}
