"""Which parts are in service. test_station_state.py tests this together with transactions."""

from __future__ import annotations

from ocppsync.answers.availability import CONNECTOR, EVSE, STATION, Availability


def states(availability: Availability) -> list[bool]:
    return [availability.is_operative(part) for part in (STATION, EVSE, CONNECTOR)]


def test_a_part_is_out_of_service_with_what_it_belongs_to() -> None:
    availability = Availability()
    assert states(availability) == [True] * 3
    assert availability.change([EVSE], operative=False, in_use=False) == "Accepted"
    assert states(availability) == [True, False, False]
    assert availability.change([STATION], operative=False, in_use=False) == "Accepted"
    assert states(availability) == [False] * 3
    assert availability.change([STATION], operative=True, in_use=False) == "Accepted"
    assert states(availability) == [True, False, False], "the EVSE returns to the state that it had"


def test_a_change_waits_for_the_transaction() -> None:
    availability = Availability()
    assert availability.change([CONNECTOR], operative=True, in_use=True) == "Accepted", "it is so already"
    assert availability.change([CONNECTOR], operative=False, in_use=True) == "Scheduled"
    assert availability.change([STATION, CONNECTOR], operative=False, in_use=True) == "Scheduled"
    assert states(availability) == [True] * 3
    assert availability.change([STATION], operative=True, in_use=True) == "Accepted"
    assert repr(availability) == "<Availability out=[] scheduled={(1, 1): False}>"
    availability.apply_scheduled()
    assert states(availability) == [True, True, False]
    availability.change([CONNECTOR], operative=True, in_use=False)
    availability.apply_scheduled()
    assert states(availability) == [True] * 3, "it is made once"
