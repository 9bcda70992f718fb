"""The charging stations of the certification tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from certificates import Authority
from certification import Application, Station, connected_station


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def application() -> Application:
    return Application()


@pytest.fixture
def new_station(authority: Authority, application: Application) -> Iterator[Station]:
    """A station that has connected, but not booted."""
    with connected_station(authority, application) as station:
        yield station


@pytest.fixture
def station(new_station: Station) -> Station:
    """A station in the state Booted."""
    new_station.booted()
    return new_station
