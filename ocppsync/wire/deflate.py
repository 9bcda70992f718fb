"""permessage-deflate with a limit on the size of the inflated message (RFC 7692)."""

from __future__ import annotations

import zlib

from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import CloseReason, FrameDecoder, FrameProtocol, Opcode, RsvBits


class Deflate(PerMessageDeflate):
    """permessage-deflate that stops inflating at the size limit, since one byte can inflate to a thousand.

    Unlike wsproto's extension, it also remembers across a control frame that the message around it is compressed.

    Args:
        limit: the longest inflated message, in bytes.
        no_context_takeover: whether the server compresses each message independently. Its compression context takes
            256 KiB per connection, and OCPP messages are too short to gain much from it.
    """

    _in_control_frame = False

    def __init__(self, limit: int, *, no_context_takeover: bool) -> None:
        super().__init__(server_no_context_takeover=no_context_takeover)
        self._limit = limit
        self._inflated = 0

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        self._in_control_frame = opcode.iscontrol()
        if self._in_control_frame:
            return RsvBits(False, False, False)
        return super().frame_inbound_header(proto, opcode, rsv, payload_length)

    def frame_inbound_payload_data(self, proto: FrameDecoder | FrameProtocol, data: bytes) -> bytes | CloseReason:
        if self._in_control_frame or not self._inbound_compressed or self._decompressor is None:
            return data
        room = self._limit - self._inflated
        if self._decompressor.eof:
            # After the end of the stream, zlib would store all further data, without a limit.
            self._inflated += len(data)
            return b"" if len(data) <= room else CloseReason.MESSAGE_TOO_BIG
        try:
            inflated = self._decompressor.decompress(bytes(data), room + 1)
        except zlib.error:
            return CloseReason.INVALID_FRAME_PAYLOAD_DATA
        self._inflated += len(inflated)
        return inflated if len(inflated) <= room else CloseReason.MESSAGE_TOO_BIG

    def frame_inbound_complete(self, proto: FrameDecoder | FrameProtocol, fin: bool) -> bytes | CloseReason | None:
        if self._in_control_frame:
            return None
        if fin:
            self._inflated = 0
        rest = super().frame_inbound_complete(proto, fin)
        if fin and self._decompressor is not None and self._decompressor.eof:
            # The peer ended its stream with this message (RFC 7692 §7.2.3.5) and starts a new one with the next.
            self._decompressor = None
        return rest
