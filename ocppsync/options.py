"""Checks of the options that central systems and charge points share."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .validation.catalogue import SUBPROTOCOLS


def check_positive(**options: float | None) -> None:
    """Raise ValueError unless every option is a finite number above 0; the text names the option."""
    for name, value in options.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
            raise ValueError(f"{name} must be a number above 0, not {value!r}")


def check_whole(**options: int | None) -> None:
    """Raise ValueError unless every option is a whole number above 0; the text names the option."""
    for name, value in options.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a whole number above 0, not {value!r}")


def check_protocols(protocols: Sequence[str], default_protocol: str | None) -> None:
    """Raise ValueError unless all are supported subprotocols; the text lists the supported ones."""
    if isinstance(protocols, str) or not protocols:
        raise ValueError(f"protocols must be a sequence of subprotocols such as ('ocpp1.6',), not {protocols!r}")
    for name in (*protocols, *([default_protocol] if default_protocol is not None else ())):
        if name not in SUBPROTOCOLS:
            raise ValueError(f"unsupported subprotocol {name!r}; supported: {', '.join(SUBPROTOCOLS)}")
