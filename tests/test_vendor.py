"""A vendor's action: what may be declared."""

from __future__ import annotations

from typing import Any

import pytest

from ocppsync.vendor import VendorAction


def test_an_action_is_for_both_sides_and_every_version_unless_it_says_otherwise() -> None:
    action = VendorAction("SetLight", {"type": "object"}, {"type": "object"})
    assert (action.name, action.request, action.response) == ("SetLight", {"type": "object"}, {"type": "object"})
    assert (action.sender, action.versions) == ("both", None)


def test_an_action_without_a_response_is_a_send() -> None:
    assert VendorAction("Beat", {}, None, sender="charge_point", versions=["2.1"]).response is None


def test_an_action_is_itself_and_nothing_else() -> None:
    action = VendorAction("SetLight", {}, {})
    assert {action: 1}[action] == 1
    assert action != VendorAction("SetLight", {}, {})


@pytest.mark.parametrize(
    ("arguments", "options", "error", "complaint"),
    [
        (("", {}, {}), {}, ValueError, "a vendor's action needs a name"),
        (("A", [], {}), {}, TypeError, r"the schemas of A must be mappings, and \[\] is not"),
        (("A", {}, "{}"), {}, TypeError, "the schemas of A must be mappings, and '{}' is not"),
        (("A", {}, {}), {"sender": "csms"}, ValueError, "A is sent by one of .*, not by 'csms'"),
        (("A", {}, {}), {"versions": ["1.6", "2.0"]}, ValueError, "A is for OCPP '2.0', which is not known"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    arguments: tuple[Any, ...], options: dict[str, Any], error: type[Exception], complaint: str
) -> None:
    with pytest.raises(error, match=complaint):
        VendorAction(*arguments, **options)
