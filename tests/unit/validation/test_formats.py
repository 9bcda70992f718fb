"""The rules for numbers, date-times and URIs: valid and invalid examples."""

from __future__ import annotations

import math
import time
from enum import IntEnum
from typing import Any

import pytest

from ocppsync.validation.catalogue import SUBPROTOCOLS
from ocppsync.validation.formats import FORMATS, RFC_3339_LONG, is_integer, is_number, multiple_of


class Small(IntEnum):
    ONE = 1


DATE_TIMES = (
    "2025-03-14T09:26:53Z",
    "2025-03-14T09:26:53",
    "2025-03-14T09:26:53.1Z",
    "2025-03-14T09:26:53.123Z",
    "2025-03-14T09:26:53.1234567Z",
    "2025-03-14T09:26:53." + "9" * 500,
    "2025-03-14T09:26:53,5Z",
    "2025-03-14T09:26:53+01:00",
    "2025-03-14T09:26:53-11:30",
    "2025-03-14T09:26:53.5+0100",
    "2025-03-14T09:26:53+01",
    "2025-03-14T09:26:53-00:00",
    "2025-03-14T09:26:53+23:59",
    "2025-03-14T00:00:00Z",
    "2025-03-14T23:59:59Z",
    "2016-12-31T23:59:60Z",
    "2024-02-29T00:00:00Z",
    "2000-02-29T00:00:00Z",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
)
NO_DATE_TIMES = (
    "",
    "now",
    "2025-03-14",
    "09:26:53Z",
    "2025-03-14 09:26:53Z",
    "2025-03-14t09:26:53Z",
    "2025-03-14T09:26:53z",
    "2025-03-14T09:26Z",
    "2025-03-14T09Z",
    "20250314T092653Z",
    "2025-W11-5T09:26:53Z",
    "2025-073T09:26:53Z",
    "2025-3-14T09:26:53Z",
    "25-03-14T09:26:53Z",
    "12025-03-14T09:26:53Z",
    "-2025-03-14T09:26:53Z",
    "2025-00-14T09:26:53Z",
    "2025-13-14T09:26:53Z",
    "2025-03-00T09:26:53Z",
    "2025-03-32T09:26:53Z",
    "2025-04-31T09:26:53Z",
    "2025-02-29T09:26:53Z",
    "2025-02-30T09:26:53Z",
    "1900-02-29T09:26:53Z",
    "2025-03-14T24:00:00Z",
    "2025-03-14T09:60:53Z",
    "2025-03-14T09:26:61Z",
    "2025-03-14T09:26:53.Z",
    "2025-03-14T09:26:53.5.5Z",
    "2025-03-14T09:26:53 Z",
    "2025-03-14T09:26:53UTC",
    "2025-03-14T09:26:53+1",
    "2025-03-14T09:26:53+24:00",
    "2025-03-14T09:26:53+01:60",
    "2025-03-14T09:26:53+01:0",
    "2025-03-14T09:26:53Z+01:00",
    " 2025-03-14T09:26:53Z",
    "2025-03-14T09:26:53Z ",
    "2025-03-14T09:26:53Z\n",
    "2025-03-14T09:26:53Z\x00",
    "\uff12025-03-14T09:26:53Z",
    "2025-03-14T09:26:5\u0969Z",
)
# The format of 2.x.
RFC_3339 = (
    "2025-03-14T09:26:53Z",
    "2025-03-14T09:26:53.1Z",
    "2025-03-14T09:26:53.12Z",
    "2025-03-14T09:26:53.123Z",
    "2025-03-14T09:26:53.000+00:00",
    "2025-03-14T09:26:53+01:00",
    "2025-03-14T09:26:53-11:30",
    "2025-03-14T09:26:53-00:00",
    "2025-03-14T09:26:53+23:59",
    "2025-03-14t09:26:53z",
    "2025-03-14t09:26:53.5Z",
    "2025-03-14T09:26:53z",
    "2016-12-31T23:59:60Z",
    "2024-02-29T00:00:00Z",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
)
# Valid except for more than 3 fraction digits.
LONG = (
    "2025-03-14T09:26:53.1234Z",
    "2025-03-14T09:26:53.123000Z",
    "2025-03-14T09:26:53.1234567+01:00",
    "2025-03-14t09:26:53." + "9" * 500 + "z",
)
NO_RFC_3339 = (
    "2025-03-14T09:26:53",
    "2025-03-14T09:26:53.123",
    "2025-03-14T09:26:53,5Z",
    "2025-03-14T09:26:53.5+0100",
    "2025-03-14T09:26:53+01",
    *(text for text in NO_DATE_TIMES if text.upper() not in RFC_3339),
)
URIS = (
    "https://example.com/firmware.bin",
    "http://example.com",
    "ftp://user:p%40ss@192.0.2.1:2121/upload/",
    "ftps://[2001:db8::1]/x",
    "sftp://host/~user/a_b-c.d?q=1&r=(2)#top",
    "HTTP://EXAMPLE.COM/",
    "http://example.com/a%20b%2Fc",
    "mailto:someone@example.com",
    "urn:ocpp:1.6",
    "file:///var/log/messages",
    "a+b-c.1:x",
    "x:",
    "http://example.com/?a=b?c/d#e/f?g",
    "http://example.com/$!*';,=",
)
NO_URIS = (
    "",
    "example.com/firmware.bin",
    "/firmware.bin",
    "//example.com/x",
    "firmware.bin",
    ":x",
    "1http://example.com",
    "ht_tp://example.com",
    "h ttp://example.com",
    "http://example.com/a b",
    " http://example.com",
    "http://example.com\n",
    "http://example.com/\t",
    "http://example.com/\x7f",
    "http://example.com/%",
    "http://example.com/%4",
    "http://example.com/%zz",
    "http://example.com/100%/x",
    "http://example.com/é",
    'http://example.com/"x"',
    "http://example.com/<x>",
    "http://example.com/{x}",
    "http://example.com/a|b",
    "http://example.com/a\\b",
    "http://example.com/a^b",
    "http://example.com/a`b",
    "http://example.com/#a#b",
)


def has(name: str, text: str, version: str = "1.6") -> bool:
    return FORMATS[version][name](text) is not None


@pytest.mark.parametrize("text", DATE_TIMES)
def test_date_time(text: str) -> None:
    assert has("date-time", text)


@pytest.mark.parametrize("text", NO_DATE_TIMES)
def test_invalid_date_time(text: str) -> None:
    assert not has("date-time", text)


@pytest.mark.parametrize("version", ["2.0.1", "2.1"])
@pytest.mark.parametrize("text", RFC_3339)
def test_date_time_of_2_x(version: str, text: str) -> None:
    assert has("date-time", text, version)
    assert RFC_3339_LONG(text) is not None


@pytest.mark.parametrize("version", ["2.0.1", "2.1"])
@pytest.mark.parametrize("text", LONG)
def test_date_time_of_2_x_with_too_many_digits(version: str, text: str) -> None:
    assert not has("date-time", text, version)
    assert RFC_3339_LONG(text) is not None


@pytest.mark.parametrize("version", ["2.0.1", "2.1"])
@pytest.mark.parametrize("text", NO_RFC_3339)
def test_invalid_date_time_of_2_x(version: str, text: str) -> None:
    assert not has("date-time", text, version)
    assert RFC_3339_LONG(text) is None


@pytest.mark.parametrize("version", SUBPROTOCOLS.values())
def test_every_day_of_400_years_is_valid(version: str) -> None:
    days = {
        f"{year:04}-{month:02}-{day:02}"
        for year in range(1800, 2200)
        for month in range(13)
        for day in range(33)
        if has("date-time", f"{year:04}-{month:02}-{day:02}T00:00:00Z", version)
    }
    assert len(days) == 400 * 365 + 97


@pytest.mark.parametrize("text", URIS)
def test_uri(text: str) -> None:
    assert has("uri", text)


@pytest.mark.parametrize("text", NO_URIS)
def test_invalid_uri(text: str) -> None:
    assert not has("uri", text)


def test_hostile_text_is_fast_with_long_fractions() -> None:
    started = time.process_time()
    assert RFC_3339_LONG("2025-03-14T09:26:53." + "1" * 300_000 + "x") is None
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("uri", "a" * 300_000),
        ("uri", "x:" + "a" * 300_000 + " "),
        ("uri", "x:" + "%41" * 100_000 + "%"),
        ("uri", "x:" + "a%41" * 100_000 + "#a%41" * 100_000 + "#"),
        ("date-time", "2025-03-14T09:26:53." + "1" * 300_000 + "x"),
    ],
)
def test_hostile_text_is_fast(name: str, text: str) -> None:
    started = time.process_time()
    assert not has(name, text)
    # Takes a few ms; a rule that backtracks would take minutes.
    assert time.process_time() - started < 1


def test_every_version_has_its_formats() -> None:
    assert set(FORMATS) == set(SUBPROTOCOLS.values())


@pytest.mark.parametrize("value", [0, 1, -1, 2**63, 10**400, Small.ONE, 1.0, -0.0, 1e300])
def test_integer(value: Any) -> None:
    assert is_integer(value)
    assert is_number(value)


@pytest.mark.parametrize("value", [1.5, 0.1, -21.4, 5e-324])
def test_number_that_is_not_an_integer(value: Any) -> None:
    assert not is_integer(value)
    assert is_number(value)


@pytest.mark.parametrize("value", [True, False, None, "1", [], {}, 1j, math.nan, math.inf, -math.inf])
def test_invalid_number(value: Any) -> None:
    assert not is_integer(value)
    assert not is_number(value)


@pytest.mark.parametrize(
    ("divisor", "value"),
    [
        *((0.1, value) for value in (21.4, 0.1, 0.7, 0.3, 2.3, -16.1, 0, 0.0, 3, 1e300, 10**400, 1234567.8)),
        *((0.01, value) for value in (21.45, 0.07, 1.1, 5)),
        *((1e-06, value) for value in (0.000001, 3.141592, 0.1)),
        *((5, value) for value in (0, 5, -10, 15.0, 10**400)),
        *((1, value) for value in (1, 2.0, 1e300)),
    ],
)
def test_multiple(divisor: float, value: float) -> None:
    assert multiple_of(divisor)(value)


@pytest.mark.parametrize(
    ("divisor", "value"),
    [
        *((0.1, value) for value in (21.45, 0.05, 0.30000000000000004, 1e-7, -0.15)),
        *((0.01, value) for value in (21.455, 0.001)),
        *((1e-06, value) for value in (0.0000001, 3.1415926)),
        *((5, value) for value in (1, 7.5, 5.000001, 10**400 + 1)),
        *((1, value) for value in (0.5, 21.4)),
    ],
)
def test_not_a_multiple(divisor: float, value: float) -> None:
    assert not multiple_of(divisor)(value)


def test_every_decimal_with_one_digit_is_a_multiple_of_a_tenth() -> None:
    test = multiple_of(0.1)
    assert all(test(float(f"{tenths // 10}.{tenths % 10}")) for tenths in range(100_000))


@pytest.mark.parametrize("divisor", [0.3, 0.25, 2.5, 0, -1, -0.1, True, 1e-16, math.nan, math.inf, "0.1", None])
def test_unsupported_divisor(divisor: Any) -> None:
    with pytest.raises(ValueError, match=r"multipleOf .* is not supported"):
        multiple_of(divisor)
