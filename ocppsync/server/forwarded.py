"""The client address of requests from a trusted proxy: Forwarded (RFC 7239) or X-Forwarded-For."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from ..wire.addresses import parse_ip
from ..wire.http import Headers, HttpRequest

__all__ = ["ClientAddress", "parse_forwarded"]

_SPACE = re.compile(r"[ \t]*")
_PAIR = re.compile(r"""([!#$%&'*+.^_`|~0-9A-Za-z-]+)=(?:"((?:[^"\\]|\\.)*)"|([^",;\\\s]+))""")
_ESCAPED = re.compile(r"\\(.)")
_NODE = re.compile(r"(?:\[([0-9A-Fa-f:.]+:[0-9A-Fa-f:.]*)\]|([0-9.]+))(?::(?:[0-9]{1,5}|_[0-9A-Za-z._-]+))?")
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class ClientAddress:
    """Finds the address of the client behind trusted proxies.

    Args:
        trusted_proxies: addresses or networks.

    Raises:
        ValueError: an entry is neither; the text names it.
    """

    def __init__(self, trusted_proxies: Sequence[str]) -> None:
        if isinstance(trusted_proxies, str):
            raise ValueError(f"trusted_proxies must be a sequence of addresses, not {trusted_proxies!r}")
        try:
            self._trusted: tuple[_Network, ...] = tuple(ipaddress.ip_network(proxy) for proxy in trusted_proxies)
        except ValueError as error:
            raise ValueError(f"trusted_proxies: {error}") from None

    def add_to(self, request: HttpRequest) -> HttpRequest:
        """Return a request that was just read, with the address of its client if a trusted proxy tells it.

        Before anything else is done with it: limits, log and events are about the client.
        """
        peer = request.remote_address[0]
        client = self(peer, request.headers)
        return request if client == peer else replace(request, forwarded_for=client)

    def __call__(self, peer: str, headers: Headers) -> str:
        """Return the address of the client: the last address in the header that is not of a trusted proxy.

        The client itself may have written the entries before it. It may also have sent the header that the proxy does
        not write, so if both headers are present and disagree, the address of the peer is returned. The chain ends at
        an entry that is not an address, and at a malformed line: with nothing behind it, at the peer.
        """
        if not self.trusts(peer):
            return peer
        chains = [hops(headers) for name, hops in _HOPS.items() if name in headers]
        clients = {self._last(peer, hops) for hops in chains}
        return clients.pop() if len(clients) == 1 else peer

    def _last(self, peer: str, hops: Iterator[str]) -> str:
        client = peer
        for hop in hops:
            # The scope of a link-local address (RFC 4007 §11) may be any text, and means nothing on another machine.
            address = None if "%" in hop else parse_ip(hop)
            if address is None:
                break
            client = str(address)  # one text for each address, however it was written
            if not self.trusts(client):
                break
        return client

    def trusts(self, address: str) -> bool:
        """Return whether the address is one of a trusted proxy."""
        parsed = parse_ip(address) if self._trusted else None
        return parsed is not None and any(parsed in network for network in self._trusted)


def _forwarded(headers: Headers) -> Iterator[str]:
    # Each line by itself: a proxy that adds a line of its own must not be misread because of what stands before it.
    for line in reversed(headers.get_all("forwarded")):
        elements = parse_forwarded(line)
        if elements is None:
            # Which part of it the proxy wrote cannot be told.
            yield ""
            return
        for element in reversed(elements):
            yield _node_address(element.get("for", ""))


def parse_forwarded(value: str) -> list[dict[str, str]] | None:
    """Return the elements of a Forwarded header, each with its parameters by name in small letters (RFC 7239 §4).

    Quotes and escapes of the values are removed. Whitespace around a semicolon is let pass, and so are colons and
    brackets outside quotes, which some proxies write: neither changes where an element ends. Empty elements are left
    out (RFC 9110 §5.6.1).

    Returns:
        None if it is malformed: a quote that is not closed, a parameter without value, a name that occurs twice.
    """
    elements: list[dict[str, str]] = []
    position = 0
    while True:
        element: dict[str, str] = {}
        begin = position = _end_of(_SPACE, value, position)
        while True:
            pair = _PAIR.match(value, position)
            if pair is not None:
                name, quoted, bare = pair.groups()
                if name.lower() in element:
                    return None
                element[name.lower()] = bare if quoted is None else _ESCAPED.sub(r"\1", quoted)
                position = _end_of(_SPACE, value, pair.end())
            if value[position : position + 1] != ";":
                break
            position = _end_of(_SPACE, value, position + 1)
        if position > begin:
            elements.append(element)
        if position == len(value):
            return elements
        if value[position] != ",":
            return None
        position += 1


def _end_of(pattern: re.Pattern[str], value: str, position: int) -> int:
    match = pattern.match(value, position)
    return position if match is None else match.end()


def _node_address(node: str) -> str:
    """Return the address of a node, without its port; empty if it is hidden, unknown or malformed (RFC 7239 §6)."""
    match = _NODE.fullmatch(node)
    return "" if match is None else match[1] or match[2]


def _x_forwarded_for(headers: Headers) -> Iterator[str]:
    # It has no quotes: the lines are one list.
    for entry in reversed(headers["x-forwarded-for"].split(",")):
        hop = entry.strip(" \t")
        # It holds IPv6 addresses without brackets, which the pattern does not match.
        yield _node_address(hop) or hop


_HOPS: Mapping[str, Callable[[Headers], Iterator[str]]] = {
    "forwarded": _forwarded,
    "x-forwarded-for": _x_forwarded_for,
}
"""Reads the addresses of each header, the nearest first."""
