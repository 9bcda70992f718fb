"""The checks of options and of who sends what."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest

from ocppsync.options import check_positive, check_protocols


@pytest.mark.parametrize("value", [1, 0.001, 1e300, 10**400])
def test_positive_numbers(value: Any) -> None:
    check_positive(seconds=value, other=1)


@pytest.mark.parametrize("value", [0, -1, -0.0, math.inf, -math.inf, math.nan, True, False, None, "1", [1], 1j])
def test_anything_else_is_named(value: Any) -> None:
    with pytest.raises(ValueError, match=re.escape(f"seconds must be a number above 0, not {value!r}")):
        check_positive(other=1, seconds=value)


@pytest.mark.parametrize("protocols", [("ocpp1.6",), ["ocpp1.6"], ["ocpp2.1", "ocpp2.0.1", "ocpp1.6"]])
@pytest.mark.parametrize("default", [None, "ocpp1.6"])
def test_subprotocols_that_are_spoken(protocols: Any, default: str | None) -> None:
    check_protocols(protocols, default)


@pytest.mark.parametrize(
    ("protocols", "default", "text"),
    [
        ((), None, "protocols must be a sequence of subprotocols such as ('ocpp1.6',), not ()"),
        (None, None, "not None"),
        ("ocpp1.6", None, "not 'ocpp1.6'"),
        (
            ["ocpp1.6", "ocpp1.5"],
            None,
            "unsupported subprotocol 'ocpp1.5'; supported: ocpp1.6, ocpp2.0.1, ocpp2.1",
        ),
        (["OCPP1.6"], None, "unsupported subprotocol 'OCPP1.6'"),
        (["ocpp1.6"], "1.6", "unsupported subprotocol '1.6'"),
        (["ocpp1.6"], "", "unsupported subprotocol ''"),
        ([None], None, "unsupported subprotocol None"),
    ],
)
def test_other_subprotocols_are_named(protocols: Any, default: Any, text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text)):
        check_protocols(protocols, default)
