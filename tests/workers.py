"""What tests run in another process: it is imported there, which test files cannot be."""

from __future__ import annotations

from typing import NoReturn

from ocppsync.errors import OCPPRequestError
from ocppsync.wire.transport import TransportClosedError


def fail_with(error: OCPPRequestError) -> NoReturn:
    """Raise it, with a cause and one attribute changed."""
    assert error.delivery == "unknown"
    error.message_id = "there and back"
    raise error from TransportClosedError("broken", written=True)
