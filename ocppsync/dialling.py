"""Opens the connection of a charge point up to where HTTP begins: TCP, and TLS where the URL says wss."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable

from .endpoint import Endpoint
from .errors import HandshakeError
from .streams import Stream, TLSStream
from .tls import server_fault

__all__ = ["dial"]


def dial(
    endpoint: Endpoint,
    deadline: float,
    *,
    ssl_context: ssl.SSLContext | None = None,
    write_timeout: float,
    on_data: Callable[[bytes], object] | None = None,
) -> Stream:
    """Return a stream to the central system.

    Args:
        endpoint: where it is.
        deadline: on `time.monotonic`, for TCP and TLS together.
        ssl_context: for a wss URL; None: whom the system trusts is trusted.
        write_timeout: seconds that one write may take.
        on_data: called with all bytes read, after TLS.

    Raises:
        HandshakeError: nobody is there, or proves to be somebody else.
    """
    try:
        sock = socket.create_connection((endpoint.host, endpoint.port), timeout=max(0.001, deadline - time.monotonic()))
    except OSError as error:
        raise HandshakeError(f"cannot connect to {endpoint.host}:{endpoint.port}: {error}") from error
    try:
        if not endpoint.secure:
            return Stream(sock, write_timeout=write_timeout, on_data=on_data)
        stream = TLSStream(
            sock,
            context=ssl_context or ssl.create_default_context(),
            server_hostname=endpoint.host,
            write_timeout=write_timeout,
            on_data=on_data,
        )
        stream.handshake(deadline)
    except OSError as error:
        sock.close()
        what = "no TLS with" if endpoint.secure else "the connection broke:"
        fault = server_fault(error) or str(error)
        raise HandshakeError(f"{what} {endpoint.host}:{endpoint.port}: {fault}") from error
    return stream
