"""The limit of several charging schedules: examples, and a comparison with a naive evaluation of each second."""

from __future__ import annotations

import itertools
import math

from hypothesis import given
from hypothesis import strategies as st

from ocppsync.clock import milliseconds
from ocppsync.simulator.composite_schedule import (
    Layer,
    Schedule,
    Unit,
    composite_periods,
    in_unit,
    limit_at,
    next_change,
    rounded_down,
)

NOON = milliseconds("2026-06-01T12:00:00Z")
SECOND = 1000
DAY = 86_400


def schedule(*periods: tuple[int, float], start: int = NOON, unit: Unit = "A", **options: float) -> Schedule:
    return Schedule(unit, periods, start, **options)  # type: ignore[arg-type]


def layer(purpose: str, schedule: Schedule, stack_level: int = 0, connector_id: int = 0) -> Layer:
    return Layer(purpose, (stack_level, connector_id), schedule)


def limits(one: Schedule, *seconds: int) -> list[float | None]:
    return [one.limit_at(NOON + second * SECOND) for second in seconds]


def test_a_period_lasts_until_the_next_one() -> None:
    assert limits(schedule((0, 10), (60, 6)), -1, 0, 59, 60, 10**6) == [None, 10, 10, 6, 6]


def test_a_schedule_ends_with_its_duration() -> None:
    one = schedule((0, 10), (60, 6), duration=30)
    assert limits(one, 0, 29, 30, 60) == [10, 10, None, None]
    assert one.next_change(NOON) == NOON + 30 * SECOND
    assert one.next_change(NOON + 60 * SECOND) == math.inf


def test_a_schedule_recurs() -> None:
    one = schedule((0, 10), (60, 6), duration=90, recurrence=DAY)
    assert limits(one, -1, 0, 60, 90, DAY - 1, DAY, DAY + 60, 7 * DAY + 89) == [None, 10, 6, None, None, 10, 6, 6]
    assert one.next_change(NOON + 90 * SECOND) == NOON + DAY * SECOND
    # C16 §5.16.4: periods beyond the recurrence are not executed.
    assert limits(schedule((0, 10), (DAY + 60, 6), recurrence=DAY), DAY + 60) == [10]


def test_a_schedule_counts_while_it_is_valid() -> None:
    one = schedule((0, 10), valid_from=NOON + 5 * SECOND, valid_to=NOON + 8 * SECOND)
    assert limits(one, 4, 5, 7, 8) == [None, 10, 10, None]
    assert [one.next_change(NOON + second * SECOND) for second in (0, 5, 8)] == [
        *(NOON + 5 * SECOND, NOON + 8 * SECOND, math.inf)
    ]


def test_the_highest_rank_counts_of_those_that_set_a_limit() -> None:
    layers = [
        layer("TxDefaultProfile", schedule((0, 10))),
        layer("TxDefaultProfile", schedule((0, 20), duration=60), stack_level=3),
        layer("TxDefaultProfile", schedule((0, 15), start=NOON + 30 * SECOND), connector_id=1),
    ]
    assert composite_periods(layers, NOON, 120, "A") == [(0, 20.0), (60, 15.0)]


def test_the_lowest_purpose_counts() -> None:
    layers = [
        layer("ChargePointMaxProfile", schedule((0, 3680), (60, 7360), unit="W")),
        layer("TxDefaultProfile", schedule((0, 20), (120, 10))),
    ]
    assert composite_periods(layers, NOON, 180, "A") == [(0, 16.0), (60, 20.0), (120, 10.0)]
    assert composite_periods(layers, NOON, 180, "W") == [(0, 3680.0), (60, 4600.0), (120, 2300.0)]


def test_a_transaction_profile_replaces_the_default_while_it_sets_a_limit() -> None:
    layers = [
        layer("TxDefaultProfile", schedule((0, 6))),
        layer("TxProfile", schedule((0, 20), duration=60), connector_id=1),
    ]
    assert composite_periods(layers, NOON, 120, "A") == [(0, 20.0), (60, 6.0)]


def test_without_schedules_the_connector_limits() -> None:
    assert composite_periods([], NOON, 60, "A") == [(0, 32.0)]
    assert composite_periods([layer("TxProfile", schedule((0, 99)))], NOON, 60, "W") == [(0, 7360.0)]
    assert next_change([], NOON) == math.inf


def test_a_period_begins_at_a_whole_second() -> None:
    layers = [layer("TxProfile", schedule((0, 6), start=NOON + 1_001))]
    assert composite_periods(layers, NOON, 10, "A") == [(0, 32.0), (2, 6.0)]


def test_the_first_period_has_the_limit_of_now() -> None:
    # A transaction, or a profile, that began within the current second.
    layers = [layer("TxProfile", schedule((0, 0), (2, 6), start=NOON + 300))]
    assert composite_periods(layers, NOON, 10, "A") == [(0, 32.0), (1, 0.0), (3, 6.0)]
    assert composite_periods(layers, NOON, 10, "A", NOON + 300) == [(0, 0.0), (3, 6.0)]
    assert composite_periods(layers, NOON, 10, "A", NOON + 299) == [(0, 32.0), (1, 0.0), (3, 6.0)]


def test_equal_neighbours_are_one_period() -> None:
    assert composite_periods([layer("TxProfile", schedule((0, 6), (5, 6.04), (9, 7)))], NOON, 10, "A") == [
        *((0, 6.0), (9, 7.0))
    ]


def test_limits_are_rounded_down() -> None:
    assert [rounded_down(limit) for limit in (64.1, 15.65217, 6.99, 0.0, 0.05, 16.0)] == [64.1, 15.6, 6.9, 0, 0, 16]
    assert in_unit(16, "A", "W") == 3680
    assert in_unit(3680, "W", "A") == 16


def seconds(first: int, last: int) -> st.SearchStrategy[int]:
    return st.integers(first, last)


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    starts = draw(st.lists(seconds(1, 40), max_size=4, unique=True).map(sorted))
    ceilings = draw(st.lists(st.integers(0, 40), min_size=len(starts) + 1, max_size=len(starts) + 1))
    unit: Unit = draw(st.sampled_from(["A", "W"]))
    edges = draw(st.tuples(*[st.none() | st.integers(-20_000, 60_000)] * 2))
    return Schedule(
        unit,
        [(start, ceiling * (1 if unit == "A" else 100)) for start, ceiling in zip([0, *starts], ceilings, strict=True)],
        NOON + draw(st.integers(-60_000, 30_000)),
        draw(st.none() | seconds(0, 50)),
        draw(st.none() | seconds(5, 30)),
        -math.inf if edges[0] is None else NOON + edges[0],
        math.inf if edges[1] is None else NOON + edges[1],
    )


@st.composite
def stacks(draw: st.DrawFn) -> list[Layer]:
    """Layers without two of the same purpose and rank."""
    places = st.tuples(
        st.sampled_from(["ChargePointMaxProfile", "TxDefaultProfile", "TxProfile"]),
        st.integers(0, 2),
        st.integers(0, 1),
    )
    return [
        Layer(purpose, (level, connector), draw(schedules()))
        for purpose, level, connector in draw(st.lists(places, max_size=6, unique=True))
    ]


def naive_limit(one: Schedule, moment: int) -> float | None:
    """Go through the periods from the start of the schedule, or of its last recurrence, second by second."""
    if moment < one.start or moment < one.valid_from or moment >= one.valid_to:
        return None
    elapsed = (moment - one.start) / SECOND
    while one.recurrence is not None and elapsed >= one.recurrence:
        elapsed -= one.recurrence
    if one.duration is not None and elapsed >= one.duration:
        return None
    result = None
    for start, limit in one.periods:
        if start <= elapsed:
            result = limit / 230 if one.unit == "W" else limit
    return result


def naive_composite(layers: list[Layer], moment: int) -> float:
    result = 32.0
    chosen = {}
    for purpose in ("ChargePointMaxProfile", "TxDefaultProfile", "TxProfile"):
        for one in sorted((one for one in layers if one.purpose == purpose), key=lambda one: one.rank):
            limit = naive_limit(one.schedule, moment)
            if limit is not None:
                chosen[purpose] = limit
    for purpose, limit in chosen.items():
        if purpose != "TxDefaultProfile" or "TxProfile" not in chosen:
            result = min(result, limit)
    return result


@given(stacks(), st.integers(0, 999), seconds(1, 60))
def test_the_periods_say_what_each_second_says(layers: list[Layer], offset: int, duration: int) -> None:
    start = NOON + offset
    periods = composite_periods(layers, start, duration, "A")
    assert periods[0][0] == 0
    assert [second for second, _ in periods] == sorted({second for second, _ in periods})
    for second in range(duration):
        reported = [limit for begin, limit in periods if begin <= second][-1]
        exact = naive_composite(layers, start + second * SECOND)
        assert exact - 0.1 - 1e-6 < reported <= exact + 1e-6
    assert all(before != after for (_, before), (_, after) in itertools.pairwise(periods))


@given(stacks(), st.integers(-20_000, 20_000))
def test_the_limit_stays_until_the_next_change(layers: list[Layer], offset: int) -> None:
    moment = NOON + offset
    change = next_change(layers, moment)
    assert change > moment
    last = min(change - 1, moment + 60_000)
    now = limit_at(layers, moment, "A")
    assert {limit_at(layers, int(moment + (last - moment) * part / 7), "A") for part in range(8)} == {now}
