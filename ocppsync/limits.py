"""How much a central system takes from its peers before it refuses."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from .options import check_positive, check_whole

__all__ = ["Limits"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The bounds of a central system that stands on an open network; None switches one off.

    By address means by IPv4 address, and by the /64 network of an IPv6 address, all of which is one peer's to use.

    Attributes:
        connections: open connections in all; a further one gets 503.
        connections_per_address: open connections of one remote address; a further one gets 503.
        handshakes: connections whose handshake is under way. Over it the one that takes longest is cut off, if that is
            longer than a second; else the newcomer is.
        handshakes_per_address: the same among the connections of one remote address. Those of a trusted proxy count
            in all alone, since nobody knows yet whose they are.
        failed_authentications: refusals with 401 or 403 that one address may have for one identity, and five times as
            many for all identities together; beyond it gets 429 with Retry-After. Half of them are forgotten every
            minute. Attempts for the identity that are still being looked at count as well.
        malformed_frames: messages of one connection that are no OCPP-J; one more closes it with 1008.
        queued_requests: requests to one charge point that wait for their turn; one more raises `QueueFullError`.
        idle: seconds without any message of OCPP after which a connection is closed with 1000.
        trusted_proxies: addresses or networks (``"10.0.0.0/8"``) of proxies whose ``Forwarded`` or ``X-Forwarded-For``
            header is believed, or both where they agree; it then is the header's address that the limits count.

    Raises:
        ValueError: one is out of its range; the text names it.
    """

    connections: int | None = 20_000
    connections_per_address: int | None = 2_000
    handshakes: int | None = 500
    handshakes_per_address: int | None = 200
    failed_authentications: int | None = 10
    malformed_frames: int | None = 50
    queued_requests: int | None = 1_000
    idle: float | None = None
    trusted_proxies: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name in (
            "connections",
            "connections_per_address",
            "handshakes",
            "handshakes_per_address",
            "failed_authentications",
            "malformed_frames",
            "queued_requests",
        ):
            if getattr(self, name) is not None:
                check_whole(**{name: getattr(self, name)})
        if self.idle is not None:
            check_positive(idle=self.idle)
        if isinstance(self.trusted_proxies, str):
            raise ValueError(f"trusted_proxies must be a sequence of addresses, not {self.trusted_proxies!r}")
        for proxy in self.trusted_proxies:
            try:
                ipaddress.ip_network(proxy)
            except ValueError as error:
                raise ValueError(f"trusted_proxies: {error}") from None
