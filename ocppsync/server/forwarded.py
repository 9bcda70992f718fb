"""Whose request it is that a trusted proxy passes on: Forwarded (RFC 7239), or X-Forwarded-For."""

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
    """Finds the address of the client behind the proxies that are trusted.

    Args:
        trusted_proxies: addresses or networks.

    Raises:
        ValueError: one of them is neither.
    """

    def __init__(self, trusted_proxies: Sequence[str]) -> None:
        if isinstance(trusted_proxies, str):
            raise ValueError(f"trusted_proxies must be a sequence of addresses, not {trusted_proxies!r}")
        try:
            self._trusted: tuple[_Network, ...] = tuple(ipaddress.ip_network(proxy) for proxy in trusted_proxies)
        except ValueError as error:
            raise ValueError(f"trusted_proxies: {error}") from None

    def __call__(self, peer: str, headers: Headers) -> str:
        """Return the address of the client: the last one of the chain that no trusted proxy stands for.

        What stands before it could have been written by the client itself, and so could be the one header where the
        proxy writes the other: where they do not agree, neither is believed. A chain that holds something else than an
        address ends there.
        """
        if not self.trusts(peer):
            return peer
        chains = [_HOPS[name](headers[name]) for name in _HOPS if name in headers]
        clients = {self._last(peer, hops) for hops in chains}
        return clients.pop() if len(clients) == 1 else peer

    def _last(self, peer: str, hops: Iterator[str]) -> str:
        client = peer
        for hop in hops:
            if parse_ip(hop) is None:
                break
            client = hop
            if not self.trusts(hop):
                break
        return client

    def trusts(self, address: str) -> bool:
        """Whether a trusted proxy has that address."""
        parsed = parse_ip(address) if self._trusted else None
        return parsed is not None and any(parsed in network for network in self._trusted)


def _forwarded(value: str) -> Iterator[str]:
    matches = (_FOR.search(element) for element in reversed(value.split(",")))
    return (_without_port(match[1] or match[2] or "" if match is not None else "") for match in matches)


def _x_forwarded_for(value: str) -> Iterator[str]:
    return (_without_port(element.strip()) for element in reversed(value.split(",")))


def _without_port(name: str) -> str:
    match = _WITH_PORT.fullmatch(name)
    # An IPv6 address in X-Forwarded-For stands without brackets.
    return name if match is None else match[1] or match[2] or ""


_HOPS: Mapping[str, Callable[[str], Iterator[str]]] = {"forwarded": _forwarded, "x-forwarded-for": _x_forwarded_for}
"""How to read the addresses of each header, the nearest first."""
