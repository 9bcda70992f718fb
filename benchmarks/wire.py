"""What the load generators need of WebSocket and TLS: frames as bytes, and a context without verification."""

from __future__ import annotations

import ssl
import struct

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA


def frame_head(size: int, opcode: int = TEXT) -> bytes:
    """Return the header of a frame with a payload of ``size`` bytes, below 64 KiB.

    The mask is zero: it costs nothing here, and costs the server the same as any other mask.
    """
    first = 0x80 | opcode
    head = struct.pack("!BB", first, 0x80 | size) if size < 126 else struct.pack("!BBH", first, 0xFE, size)
    return head + b"\0\0\0\0"


def split_frame(buffer: bytes) -> tuple[int, bytes, bytes] | None:
    """Return the opcode and payload of a server's first frame, and the rest; None if the frame is incomplete."""
    if len(buffer) < 2:
        return None
    size, begin = buffer[1], 2
    if size == 126:
        size, begin = int.from_bytes(buffer[2:4], "big"), 4
    if len(buffer) < begin + size:
        return None
    return buffer[0] & 15, buffer[begin : begin + size], buffer[begin + size :]


def trusting_context() -> ssl.SSLContext:
    """Return a context that accepts any certificate: verifying one would cost the load time, but not the server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
