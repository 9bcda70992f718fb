"""Where a charge point connects to: its central system's URL, with the identity in it (J16 §3.1.1)."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from .request import Headers, HttpRequest

# What may stand in a path segment as it is (RFC 3986 §3.3), so that an ordinary identity looks ordinary on the wire.
_SEGMENT = "-._~!$&'()*+,;=:@"
# The endpoint may be percent-encoded already.
_PATH = _SEGMENT + "/%"
_QUERY = _PATH + "?"


class Endpoint:
    """Where a charge point connects to.

    Args:
        url: the endpoint without the identity.
        charge_point_id: percent-encoded and appended to the path.

    Raises:
        ValueError: it is no ws or wss URL, or there is no identity.
    """

    def __init__(self, url: str, charge_point_id: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("ws", "wss") or not parts.hostname or parts.fragment or parts.port == 0:
            raise ValueError(f"a URL such as ws://host:port/path or wss://host/path was expected, not {url!r}")
        if not charge_point_id:
            raise ValueError("the charge point needs an identity")
        self.secure = parts.scheme == "wss"
        self.host = parts.hostname
        self.port = parts.port or (443 if self.secure else 80)
        path = f"{quote(parts.path.rstrip('/'), safe=_PATH)}/{quote(charge_point_id, safe=_SEGMENT)}"
        query = quote(parts.query, safe=_QUERY)
        self.target = f"{path}?{query}" if query else path
        self.host_header = parts.netloc.rpartition("@")[2]
        self.url = f"{parts.scheme}://{self.host_header}{self.target}"
        self.http_request = HttpRequest("GET", path, query, Headers(), (self.host, self.port))
