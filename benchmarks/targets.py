"""The performance targets of ocppsync."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from figures import Figure
from servers import ECHO_SIMPLE_WEBSOCKET, OCPP_PACKAGE, OCPP_RPC, OURS, TS_OCPP


@dataclass(frozen=True)
class FigureKey:
    """Names a figure: its scenario, variant and peer."""

    scenario: str
    variant: str
    peer: str = OURS.name

    def find(self, figures: Sequence[Figure]) -> float | None:
        """Return the median of the figure, or None if it was not measured."""
        for figure in figures:
            if (figure.scenario, figure.variant, figure.peer) == (self.scenario, self.variant, self.peer):
                return figure.median
        return None


@dataclass(frozen=True)
class Target:
    """A bound for a figure, or for the ratio of two."""

    text: str
    bound: float
    key: FigureKey
    #: The figure to divide by; None: no division.
    base: FigureKey | None = None
    #: The multiplication sign for a ratio, or the figure's unit.
    unit: str = "\N{MULTIPLICATION SIGN}"
    #: Whether the bound is an upper one.
    at_most: bool = False
    #: Whether this is a long-term aim.
    is_aim: bool = False

    def value(self, figures: Sequence[Figure]) -> float | None:
        """Return the value reached, or None if it was not measured."""
        figure = self.key.find(figures)
        if self.base is None or figure is None:
            return figure
        base = self.base.find(figures)
        return figure / base if base else None

    def is_met(self, value: float) -> bool:
        """Return whether a value is within the bound."""
        return value <= self.bound if self.at_most else value >= self.bound

    def shortfall(self, value: float) -> float:
        """Return by how many per cent of the bound a value misses the bound."""
        return 100 * abs(value - self.bound) / self.bound


def _against(message: str, bound: float, peer: str, *, is_aim: bool = False) -> Target:
    key = FigureKey(f"validated {message}", "100 connections")
    text = f"validated {message} at 100 connections, relative to {peer}"
    return Target(text, bound, key, FigureKey(key.scenario, key.variant, peer), is_aim=is_aim)


_METER_VALUES = "validated MeterValues"
TARGETS = (
    _against("MeterValues", 5, OCPP_PACKAGE.name),
    _against("MeterValues", 3, TS_OCPP.name),
    _against("TransactionEvent", 8, OCPP_PACKAGE.name),
    _against("Heartbeat", 0.85, ECHO_SIMPLE_WEBSOCKET.name),
    Target(
        "validated MeterValues at 100 connections, relative to 1000",
        1.5,
        FigureKey(_METER_VALUES, "100 connections"),
        FigureKey(_METER_VALUES, "1000 connections"),
        at_most=True,
    ),
    Target(
        "memory of an idle connection, of 10000", 36, FigureKey("idle memory", "10000 connections"), None, "kB", True
    ),
    Target("handshakes", 1_000, FigureKey("handshakes", "plain"), None, "/s"),
    Target("MeterValues over TLS, relative to plain", 0.7, FigureKey("TLS", "TLS"), FigureKey("TLS", "plain")),
    _against("MeterValues", 1, OCPP_RPC.name, is_aim=True),
    _against("TransactionEvent", 1, OCPP_RPC.name, is_aim=True),
)
