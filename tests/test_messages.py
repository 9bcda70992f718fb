"""The messages of the versions that one end speaks: read when they are needed, judged, and written."""

from __future__ import annotations

from typing import Any

import pytest

from ocppsync.messages import Speech
from ocppsync.vendor import VendorAction


@pytest.mark.parametrize("version", ["1.6", "2.0.1", "2.1"])
def test_a_vendors_schema_may_ask_for_every_format_in_every_version(version: str) -> None:
    fields: Any = {"at": {"type": "string", "format": "date-time"}, "link": {"type": "string", "format": "uri"}}
    action = VendorAction("SetLink", {"type": "object", "properties": fields}, {"type": "object"})
    messages = Speech("central_system", vendor_actions=[action]).messages(version)
    good = {"at": "2025-01-31T12:00:00Z", "link": "https://example.com/a"}
    assert messages.fault_of_inbound("SetLink", "request", good) is None
    for name in good:
        fault = messages.fault_of_inbound("SetLink", "request", {**good, name: "no"})
        assert fault is not None
        assert [violation.path for violation in fault.errors] == [name]
