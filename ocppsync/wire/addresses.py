"""IP addresses as peers show them, and as they are counted."""

from __future__ import annotations

import ipaddress

__all__ = ["parse_ip", "rate_limit_key"]

_HOST_BITS = 64
"""Bits of an IPv6 address that its owner chooses, as often as he likes (RFC 4291 §2.5.1, RFC 8981)."""


def parse_ip(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return an address, or None for what is none; the IPv4 address where it is that of an IPv4 peer."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None
    # A socket that listens on both sees IPv4 peers as ::ffff:192.0.2.1.
    return getattr(parsed, "ipv4_mapped", None) or parsed


def rate_limit_key(address: str) -> str:
    """Return under which name an address is counted: an IPv6 address under its /64, any other text as it is."""
    if ":" not in address:
        return address  # of IPv4, or none, which both count as they are
    parsed = parse_ip(address)
    if not isinstance(parsed, ipaddress.IPv6Address):
        return address if parsed is None else str(parsed)
    network = ipaddress.IPv6Address(int(parsed) >> _HOST_BITS << _HOST_BITS)
    return f"{network}/{128 - _HOST_BITS}"
