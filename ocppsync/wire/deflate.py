"""permessage-deflate (RFC 7692): what both ends agree on, and a limit on the size of the inflated message.

parameter                     in an offer (§7.1.1, §7.1.2)    in the answer to it
--------------------------    ----------------------------    -------------------
server_no_context_takeover    no value                        no value
client_no_context_takeover    no value                        no value
server_max_window_bits        8 to 15                         8 to 15
client_max_window_bits        8 to 15, or no value            8 to 15

Each may be there once, and nothing else (§7.1). A value is a decimal number without a leading zero or quotes. An offer
that breaks this is declined, and the next one of the same request is looked at; an answer that does fails the
connection.
"""

from __future__ import annotations

import re
import zlib

from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import CloseReason, FrameDecoder, FrameProtocol, Opcode, RsvBits

_OFFER = re.compile(r"""(?:[^,"]|"(?:\\.|[^"\\])*"|".*)+""")  # commas inside quotes separate nothing
_FLAGS = frozenset({"server_no_context_takeover", "client_no_context_takeover"})
_WINDOWS = frozenset({"server_max_window_bits", "client_max_window_bits"})
_BITS = frozenset(map(str, range(8, 16)))
_LEAST_BITS = 9
"""The smallest window of zlib's compressor; it decompresses what was compressed with a smaller one in any."""


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

    # The handshake. wsproto overlooks wrong parameters, and mixes those of all offers.

    def agree(self, offers: str) -> str | None:
        """As the server: return the answer to the first offer that can be accepted; None: decline them all.

        Args:
            offers: the request's Sec-WebSocket-Extensions.
        """
        for offer in _OFFER.findall(offers):
            try:
                return self._accept_offer(_parameters(offer, in_offer=True))
            except ValueError:
                continue  # it declines this offer, not the connection (§7.1)
        return None

    def _accept_offer(self, offered: dict[str, int | None]) -> str:
        answer = [self.name]
        bits = offered.get("server_max_window_bits")
        if bits is not None:
            self.server_max_window_bits = bits  # raises ValueError for 8, in which zlib cannot compress
            answer.append(f"server_max_window_bits={bits}")
        if self.server_no_context_takeover or "server_no_context_takeover" in offered:
            self.server_no_context_takeover = True
            answer.append("server_no_context_takeover")
        if "client_no_context_takeover" in offered:
            self.client_no_context_takeover = True
            answer.append("client_no_context_takeover")
        bits = offered.get("client_max_window_bits")
        if bits is not None and bits >= _LEAST_BITS:
            self.client_max_window_bits = bits
            answer.append(f"client_max_window_bits={bits}")
        self._enabled = True
        return "; ".join(answer)

    def finalize(self, offer: str) -> None:
        """As the client: take the server's answer.

        Raises:
            ValueError: it is not one that the server may give, or not one that this end can follow.
        """
        if self._enabled:
            raise ValueError(f"the answer has {self.name} twice")
        answer = _parameters(offer, in_offer=False)
        self.server_no_context_takeover = "server_no_context_takeover" in answer
        self.client_no_context_takeover = "client_no_context_takeover" in answer
        bits = answer.get("client_max_window_bits")
        if bits is not None:
            self.client_max_window_bits = bits
        bits = answer.get("server_max_window_bits")
        if bits is not None:
            self.server_max_window_bits = max(bits, _LEAST_BITS)
        self._enabled = True

    # Messages.

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


def _parameters(text: str, *, in_offer: bool) -> dict[str, int | None]:
    """Return the parameters of one offer or answer, None for those without a value; see the table above.

    Raises:
        ValueError: it is not permessage-deflate, or a parameter is wrong.
    """
    name, *parts = (part.strip(" \t") for part in text.split(";"))
    if name != Deflate.name:
        raise ValueError(f"{name!r} is not permessage-deflate")
    found: dict[str, int | None] = {}
    for part in parts:
        parameter, equals, value = (piece.strip(" \t") for piece in part.partition("="))
        if equals:
            right = parameter in _WINDOWS and value in _BITS
        else:
            right = parameter in _FLAGS or (parameter == "client_max_window_bits" and in_offer)
        if not right or parameter in found:
            raise ValueError(f"the parameter {part!r} of permessage-deflate is not valid here")
        found[parameter] = int(value) if equals else None
    return found
