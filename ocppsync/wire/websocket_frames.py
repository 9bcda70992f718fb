"""Text messages that come whole in one frame, as nearly all of OCPP's do, and pings (RFC 6455 §5).

The WebSocket library takes every frame through a chain of generators and objects, which costs more than all else that
is done for a short message. What is read here is what needs no judgement: anything else is left to the library, and
what it judges wrong stays wrong.
"""

from __future__ import annotations

import os
import struct
from typing import NamedTuple

PING, PONG = 0x9, 0xA
_WHOLE = 0x80
_TEXT = 0x1
_CLOSE = 0x8
_MASK_BIT = 0x80


class Control(NamedTuple):
    """A ping or a pong."""

    opcode: int
    payload: bytes = b""


class FrameReader:
    """Sorts what a peer sends into whole text messages and the rest, which is the library's to read.

    From the first frame on that is neither a whole text nor a ping or pong (a fragment, a compressed message, a Close,
    a breach of the protocol), all is the library's: only it knows where such a message ends.

    Args:
        masked: whether the peer has to mask, as a client does.
        limit: the longest message that is read here, in bytes.
        fast_path: whether anything is; False: all is the library's from the start.
    """

    def __init__(self, *, masked: bool, limit: int, fast_path: bool = True) -> None:
        self._mask_bit = _MASK_BIT if masked else 0
        self._mask_size = 4 if masked else 0
        self._limit = limit
        self._buffer: bytes | bytearray = b""
        self._fast_path = fast_path

    def feed(self, data: bytes) -> None:
        """Add bytes that came."""
        if not self._buffer:
            self._buffer = data
        elif isinstance(self._buffer, bytearray):
            self._buffer += data
        else:
            # A long message comes in many pieces; each would copy all those before it.
            self._buffer = bytearray(self._buffer) + data

    def next(self) -> str | Control | bytes | None:
        """Return the next message, ping or pong, or as bytes what is the library's to read; None: more has to come."""
        buffer = self._buffer
        if not self._fast_path:
            return self._take(len(buffer)) if buffer else None
        if len(buffer) < 2:
            return None
        first, size = buffer[0], buffer[1] ^ self._mask_bit
        if first == _WHOLE | _TEXT and size <= 127:
            return self._next_text(size)
        if first in (_WHOLE | PING, _WHOLE | PONG, _WHOLE | _CLOSE) and size < 126:
            return self._next_control(first ^ _WHOLE, 2 + self._mask_size, size)
        return self._fall_back()

    def _next_control(self, opcode: int, start: int, size: int) -> Control | bytes | None:
        if len(self._buffer) < start + size:
            return None
        data = self._take(start + size)
        if opcode == _CLOSE:
            self._fast_path = False  # nothing counts that comes after it
            return data
        return Control(opcode, mask(data[start:], data[start - 4 : start]) if self._mask_size else data[start:])

    def _next_text(self, size: int) -> str | bytes | None:
        buffer, start = self._buffer, 2
        if size >= 126:
            start = 4 if size == 126 else 10
            if len(buffer) < start:
                return None
            size = int.from_bytes(buffer[2:start], "big")
            if size < (126 if start == 4 else 0x10000):
                return self._fall_back()  # a length may not be written longer than it needs
        if size > self._limit:
            return self._fall_back()
        start += self._mask_size
        if len(buffer) < start + size:
            return None
        data = buffer[start : start + size]
        if self._mask_size:
            data = mask(data, buffer[start - 4 : start])
        try:
            text = data.decode()
        except UnicodeDecodeError:
            return self._fall_back()
        self._buffer = buffer[start + size :]
        return text

    def _take(self, size: int) -> bytes:
        data, self._buffer = bytes(self._buffer[:size]), self._buffer[size:]
        return data

    def _fall_back(self) -> bytes:
        self._fast_path = False
        return self._take(len(self._buffer))


def text_frame(text: str, *, masked: bool) -> bytes:
    """Return the one frame of a text message; masked if this end is the client."""
    return _frame(_TEXT, text.encode(), masked)


def control_frame(control: Control, *, masked: bool) -> bytes:
    """Return the frame of a ping or a pong; masked if this end is the client."""
    return _frame(control.opcode, control.payload, masked)


def _frame(opcode: int, data: bytes, masked: bool) -> bytes:
    first, size, mask_bit = _WHOLE | opcode, len(data), _MASK_BIT if masked else 0
    if size < 126:
        head = bytes((first, mask_bit | size))
    elif size < 0x10000:
        head = struct.pack("!BBH", first, mask_bit | 126, size)
    else:
        head = struct.pack("!BBQ", first, mask_bit | 127, size)
    if not masked:
        return head + data
    key = os.urandom(4)
    return head + key + mask(data, key)


def mask(data: bytes | bytearray, key: bytes | bytearray) -> bytes:
    """Return ``data`` masked, or unmasked, with the four bytes of ``key`` (RFC 6455 §5.3)."""
    # As one long number: the loop over the bytes is then the interpreter's own.
    size = len(data)
    long_key = bytes(key) * (size // 4 + 1)
    number = int.from_bytes(data, "little") ^ int.from_bytes(long_key[:size], "little")
    return number.to_bytes(size, "little")
