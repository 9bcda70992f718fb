"""Pools of handler threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from support import DEADLINE

from ocppsync.threads.pool import HandlerPool


@pytest.fixture
def make_pool() -> Iterator[Callable[[int], HandlerPool]]:
    pools: list[HandlerPool] = []

    def make(size: int) -> HandlerPool:
        pools.append(HandlerPool(size, "test-pool"))
        return pools[-1]

    yield make
    for pool in pools:
        assert pool.close(DEADLINE), "a thread is left"
