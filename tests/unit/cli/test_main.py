"""The command line as a program: options, version, help and exit status."""

from __future__ import annotations

import re

import pytest
from programs import Program

from ocppsync import __version__

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "arguments",
    [
        ("serve", "--port", "99999"),
        ("serve", "--port", "-1"),
        ("serve", "--port", "http"),
        ("serve", "--simulate", "-1"),
        ("serve", "--simulate", "1000000"),
        ("serve", "--ocpp", "2.2"),
        ("serve", "--ocpp", "1.6,"),
        ("serve", "--pace", "0"),
        ("serve", "--pace", "nan"),
        ("serve", "--nonsense"),
        ("nonsense",),
        (),
    ],
)
def test_a_wrong_option_is_reported_in_one_line(arguments: tuple[str, ...]) -> None:
    with Program(["-m", "ocppsync", *arguments]) as program:
        status, errors = program.wait()
    assert (status, program.output) == (2, "")
    assert re.fullmatch(r"ocppsync( serve)?: .+\n", errors)
    assert all(word in errors for word in arguments[1:2])


def test_version_prints_the_version() -> None:
    with Program(["-m", "ocppsync", "--version"]) as program:
        assert program.wait() == (0, "")
    assert program.output == f"ocppsync {__version__}\n"


def test_help_names_every_option() -> None:
    with Program(["-m", "ocppsync", "serve", "--help"]) as program:
        assert program.wait() == (0, "")
    for option in ("--host", "--port", "--simulate", "--ocpp", "--pace", "--verbose"):
        assert option in program.output
