"""The client address of requests from a trusted proxy: Forwarded (RFC 7239) or X-Forwarded-For."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from ..wire.addresses import parse_ip
from ..wire.http import Headers

__all__ = ["ClientAddress"]

_FOR = re.compile(r'(?:^|;)\s*for\s*=\s*(?:"([^"]*)"|([^;\s"]+))', re.IGNORECASE)
_WITH_PORT = re.compile(r"\[([^\]]*)\](?::\d+)?|([^:]*)(?::\d+)?")
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

    def __call__(self, peer: str, headers: Headers) -> str:
        """Return the address of the client: the last address in the header that is not of a trusted proxy.

        The client itself may have written the entries before it. It may also have sent the header that the proxy does
        not write, so if both headers are present and disagree, the address of the peer is returned. The chain ends at
        an entry that is not an address.
        """
        if not self.trusts(peer):
            return peer
        chains = [_HOPS[name](headers[name]) for name in _HOPS if name in headers]
        clients = {self._last(peer, hops) for hops in chains}
        return clients.pop() if len(clients) == 1 else peer

    def _last(self, peer: str, hops: Iterator[str]) -> str:
        client = peer
        for hop in hops:
            if parse_ip(hop) is None or "%" in hop:
                break  # the zone of an IPv6 address may be any text, and means nothing here
            client = hop
            if not self.trusts(hop):
                break
        return client

    def trusts(self, address: str) -> bool:
        """Return whether the address is one of a trusted proxy."""
        parsed = parse_ip(address) if self._trusted else None
        return parsed is not None and any(parsed in network for network in self._trusted)


def _forwarded(value: str) -> Iterator[str]:
    matches = (_FOR.search(element) for element in reversed(value.split(",")))
    return (_without_port(match[1] or match[2] or "" if match is not None else "") for match in matches)


def _x_forwarded_for(value: str) -> Iterator[str]:
    return (_without_port(element.strip()) for element in reversed(value.split(",")))


def _without_port(name: str) -> str:
    match = _WITH_PORT.fullmatch(name)
    # X-Forwarded-For holds IPv6 addresses without brackets, which the pattern does not match.
    return name if match is None else match[1] or match[2] or ""


_HOPS: Mapping[str, Callable[[str], Iterator[str]]] = {"forwarded": _forwarded, "x-forwarded-for": _x_forwarded_for}
"""Reads the addresses of each header, the nearest first."""
