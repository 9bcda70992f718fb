"""Test kit for applications: a central system without network or threads, and scripted charge points.

    class ChargingTest(CentralSystemTestCase):
        def make_central_system(self):
            return charging.make_central_system(port=None)

        def test_boot(self):
            self.assertEqual(self.charge_point("CP1").boot()["status"], "Accepted")

Without the test case, for example under pytest, use `inline` and `fake_charge_point`.
"""

from .fake_charge_point import FakeChargePoint, ScriptedAnswer
from .inline import Clock
from .kit import CentralSystemTestCase, HandlerErrors, fake_charge_point, inline
from .memory import MemoryTransport, memory_pair
from .replay import assert_replays
from .script import Expectation, PayloadMatcher, ReceivedCall

__all__ = [
    "CentralSystemTestCase",
    "Clock",
    "Expectation",
    "FakeChargePoint",
    "HandlerErrors",
    "MemoryTransport",
    "PayloadMatcher",
    "ReceivedCall",
    "ScriptedAnswer",
    "assert_replays",
    "fake_charge_point",
    "inline",
    "memory_pair",
]
