"""What ends the program goes on, on the main thread; on others it is a fault of the function that raised it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
from ends import plain
from support import DEADLINE

from ocppsync import Headers, HttpRequest, Passwords, SecurityProfiles
from ocppsync.events import Refused, observed_by
from ocppsync.interrupts import raise_interrupt
from ocppsync.server.admission import AdmissionPolicy
from ocppsync.wire.http import RefusalError

Background = Callable[..., Future[Any]]
REQUEST = HttpRequest("GET", "/CP1", "", Headers(), ("127.0.0.1", 1))


def interrupt(*_: object) -> Any:
    raise KeyboardInterrupt


@pytest.mark.parametrize("error", [SystemExit(), KeyboardInterrupt(), GeneratorExit()])
def test_what_ends_the_program_goes_on_only_on_the_main_thread(error: BaseException, background: Background) -> None:
    with pytest.raises(type(error)):
        raise_interrupt(error)
    background(raise_interrupt, error).result(DEADLINE)


def test_an_exception_never_goes_on() -> None:
    raise_interrupt(RuntimeError())


def observe() -> None:
    notify = observed_by([interrupt])
    assert notify is not None
    notify(Refused("127.0.0.1", "/CP1", 401, "wrong"))


def identify() -> None:
    AdmissionPolicy(["ocpp1.6"], identify=interrupt)._identify(REQUEST)


def authorize() -> None:
    AdmissionPolicy(["ocpp1.6"], authorize=interrupt)._authorize(REQUEST, "CP1")


def check_profile() -> None:
    SecurityProfiles(passwords=Passwords({}), minimum_profile=interrupt).admit(REQUEST, "CP1", "1.6")


def read() -> None:
    with plain(on_data=interrupt) as (stream, peer):
        peer.send(b"x")
        assert stream.recv(1) == b"x"


@pytest.mark.parametrize("function", [observe, identify, authorize, check_profile, read])
def test_an_interrupt_in_a_function_of_the_application(
    function: Callable[[], None], background: Background, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(KeyboardInterrupt):
        function()
    assert caplog.records == []
    error = background(function).exception(DEADLINE)
    assert error is None or (isinstance(error, RefusalError) and error.status == 500)
    assert len(caplog.records) == 1
