"""The codes in the Close frames of a peer (RFC 6455 §7.4)."""

from __future__ import annotations

import struct

from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, FrameDecoder, FrameProtocol, Opcode, ParseFailed, RsvBits

from .transport import is_close_code

_KNOWN_CODE = b"\x03\xe8"  # 1000


class CloseFrames(Extension):
    """Checks the code of a Close frame as this library does; wsproto refuses some that may be sent, such as 1014.

    It stands between the frames and wsproto, as an extension does, and shows wsproto a code that it accepts.

    Attributes:
        code: the code of the Close frame that came; 1005, which is never sent, for one without a code.
    """

    name = "close-frames"
    code: int = CloseReason.NO_STATUS_RCVD

    def __init__(self) -> None:
        self._in_close_frame = False

    def enabled(self) -> bool:
        return True

    def offer(self) -> bool:
        return False  # it is never part of a handshake

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> RsvBits:
        self._in_close_frame = opcode is Opcode.CLOSE
        return RsvBits(False, False, False)

    def frame_inbound_payload_data(self, proto: FrameDecoder | FrameProtocol, data: bytes) -> bytes:
        if not self._in_close_frame or len(data) < 2:
            return data
        (code,) = struct.unpack("!H", data[:2])
        if not is_close_code(code):
            raise ParseFailed(f"a Close with the code {code}, which must not be sent")
        self.code = code
        return _KNOWN_CODE + data[2:]
