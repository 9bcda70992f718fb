"""The current time in the format of OCPP."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

import pytest

from ocppsync import clock, utc_now
from ocppsync.validation.validators import validator


def test_it_is_the_current_time_in_utc() -> None:
    before = datetime.now(timezone.utc)
    text = utc_now()
    after = datetime.now(timezone.utc)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text)
    parsed = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
    assert before - timedelta(milliseconds=1) < parsed <= after


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 11, 24, 8, 15, 0, 123999), "2026-11-24T08:15:00.123Z"),
        (datetime(2026, 1, 2, 3, 4, 5, 0), "2026-01-02T03:04:05.000Z"),
        (datetime(2026, 12, 31, 23, 59, 59, 999999), "2026-12-31T23:59:59.999Z"),
    ],
)
def test_it_is_truncated_to_three_digits(monkeypatch: pytest.MonkeyPatch, moment: datetime, text: str) -> None:
    class Stopped(datetime):
        @classmethod
        def now(cls, tz: timezone | None = None) -> datetime:  # type: ignore[override]
            assert tz is timezone.utc
            return moment.replace(tzinfo=tz)

    monkeypatch.setattr(clock, "datetime", Stopped)
    assert utc_now() == text


def test_the_schemas_accept_it() -> None:
    assert validator("1.6").check("Heartbeat", "response", {"currentTime": utc_now()}) is None


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01t00:00:01.5z", 1_500),
        ("1970-01-01T00:00:00,123999", 123),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1970-01-01T00:00:00-0130", 5_400_000),
        ("1970-01-01T02:00:00+02", 0),
        ("2016-12-31T23:59:60Z", 1_483_228_800_000),
        ("0000-02-29T00:00:00Z", -62_035_891_200_000),
    ],
)
def test_times_of_messages_are_read(text: str, moment: int) -> None:
    assert clock.milliseconds(text) == moment


@pytest.mark.parametrize("text", ["", "2026-11-24", "2026-11-24T08:15:00Zulu", "2026-13-24T08:15:00Z"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected a date|must be in"):
        clock.milliseconds(text)


def test_a_time_is_written_as_it_was_read() -> None:
    assert clock.as_text(clock.milliseconds("2026-11-24T08:15:00.123Z")) == "2026-11-24T08:15:00.123Z"
    assert abs(clock.now_ms() - clock.milliseconds(utc_now())) < 10_000
