"""Parses IP addresses, and groups them for rate limits."""

from __future__ import annotations

import ipaddress

__all__ = ["parse_ip", "rate_limit_key"]

_HOST_BITS = 64
"""The bits of an IPv6 address that its owner can change at will (RFC 4291 §2.5.1, RFC 8981)."""


def parse_ip(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the parsed address, an IPv4-mapped one as IPv4; None if the text is not an address."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None
    # A socket for both IPv4 and IPv6 shows IPv4 peers as ::ffff:192.0.2.1.
    return getattr(parsed, "ipv4_mapped", None) or parsed


def rate_limit_key(address: str) -> str:
    """Return the key that an address shares with others of the same owner: the /64 for IPv6, else the text itself."""
    if ":" not in address:
        return address  # IPv4, or not an address
    parsed = parse_ip(address)
    if not isinstance(parsed, ipaddress.IPv6Address):
        return address if parsed is None else str(parsed)
    network = ipaddress.IPv6Address(int(parsed) >> _HOST_BITS << _HOST_BITS)
    return f"{network}/{128 - _HOST_BITS}"
