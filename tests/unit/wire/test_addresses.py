"""Under which name an address is counted."""

from __future__ import annotations

import pytest

from ocppsync.wire.addresses import rate_limit_key


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("", ""),
        ("unix", "unix"),
    ],
)
def test_an_address_counts_as_itself_and_one_of_ipv6_as_its_network(address: str, name: str) -> None:
    assert rate_limit_key(address) == name
