"""Reads and makes text messages of one frame, as nearly all of OCPP are, and pings (RFC 6455 §5).

wsproto passes every frame through a chain of generators and objects, which costs more than everything else that is done
for a short message. This module reads the simple frames; everything else goes to wsproto, which also decides what is
wrong with it.
"""

from __future__ import annotations

import os
import struct
from typing import NamedTuple

TEXT, PING, PONG = 0x1, 0x9, 0xA
_WHOLE = 0x80
_CLOSE = 0x8
_MASK_BIT = 0x80


class Control(NamedTuple):
    """A ping or a pong."""

    opcode: int
    payload: bytes = b""


class FrameReader:
    """Splits the data of a peer into whole text messages, control frames, and the rest, which wsproto reads.

    The first frame that is none of a whole text, a ping and a pong (a fragment, a compressed message, a Close, a
    violation of the protocol) goes to wsproto with everything after it: only wsproto knows where such a message ends.

    Args:
        masked: whether the peer masks its frames, as a client must.
        limit: the longest message that is read here, in bytes.

    Attributes:
        buffer: what was received and not returned yet.
    """

    def __init__(self, *, masked: bool, limit: int) -> None:
        self._mask_bit = _MASK_BIT if masked else 0
        self._mask_size = 4 if masked else 0
        self._limit = limit
        self._fast_path = True
        self.buffer: bytes | bytearray = b""

    def next(self, data: bytes = b"") -> str | Control | bytes | None:
        """Return the next message or control frame, or bytes for wsproto; None: the frame is not complete yet.

        Args:
            data: what was received since the last call.
        """
        if not self.buffer:
            self.buffer = data
        elif data:
            if not isinstance(self.buffer, bytearray):
                # A long message comes in many pieces; with bytes, each would copy all those before it.
                self.buffer = bytearray(self.buffer)
            self.buffer.extend(data)
        buffer = self.buffer
        if not self._fast_path:
            return self._take(len(buffer)) if buffer else None
        if len(buffer) < 2:
            return None
        first, size, start = buffer[0], buffer[1] ^ self._mask_bit, 2
        if first != _WHOLE | TEXT or size > 127:
            return self._next_control(first, size)
        if size >= 126:
            start = 4 if size == 126 else 10
            if len(buffer) < start:
                return None
            size = int.from_bytes(buffer[2:start], "big")
            if size < (126 if start == 4 else 0x10000):
                return self._fall_back()  # the shortest form of a length is the only valid one
        if size > self._limit:
            return self._fall_back()
        start += self._mask_size
        if len(buffer) < start + size:
            return None
        payload = buffer[start : start + size]
        if self._mask_size:
            payload = mask(payload, buffer[start - 4 : start])
        try:
            text = payload.decode()
        except UnicodeDecodeError:
            return self._fall_back()
        self.buffer = buffer[start + size :]
        return text

    def _next_control(self, first: int, size: int) -> Control | bytes | None:
        if first not in (_WHOLE | PING, _WHOLE | PONG, _WHOLE | _CLOSE) or size >= 126:
            return self._fall_back()
        start = 2 + self._mask_size
        if len(self.buffer) < start + size:
            return None
        data = self._take(start + size)
        if first == _WHOLE | _CLOSE:
            self._fast_path = False  # what comes after a Close does not count
            return data
        return Control(first ^ _WHOLE, mask(data[start:], data[2:start]) if self._mask_size else data[start:])

    def _take(self, size: int) -> bytes:
        data, self.buffer = bytes(self.buffer[:size]), self.buffer[size:]
        return data

    def _fall_back(self) -> bytes:
        self._fast_path = False
        return self._take(len(self.buffer))


def whole_frame(opcode: int, data: bytes, *, masked: bool) -> bytes:
    """Return a whole frame; masked, if this end is the client."""
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
    """Return ``data`` masked or unmasked with the four bytes of ``key`` (RFC 6455 §5.3)."""
    # As one large integer, so that the loop over the bytes runs in C.
    size = len(data)
    long_key = bytes(key) * (size // 4 + 1)
    number = int.from_bytes(data, "little") ^ int.from_bytes(long_key[:size], "little")
    return number.to_bytes(size, "little")
