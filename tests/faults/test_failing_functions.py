"""Functions of the application that fail, or end their thread, while charge points connect and are served."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from bystander import besieged, heartbeat
from support import inside
from wire import dial, request

from ocppsync import Passwords, SecurityProfiles

ERRORS = [RuntimeError, SystemExit, KeyboardInterrupt]
SECRET = "what nobody may read"


class Failing:
    """Fails on the threads of the attacker once it is told to, and counts its calls."""

    def __init__(self, error: type[BaseException], result: Callable[..., Any]) -> None:
        self._error = error
        self._result = result
        self.calls: Counter[str] = Counter()

    def __call__(self, *args: Any) -> Any:
        subject = repr(args)
        name = threading.current_thread().name
        bystander = "bystander" in subject or "bystander" in name
        self.calls["bystander" if bystander else "attacker"] += 1
        if not bystander:
            raise self._error(SECRET)
        return self._result(*args)


def identify(http_request: Any) -> str:
    return str(http_request.path[1:])


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("function", ["identify", "authorize", "minimum_profile"])
def test_a_function_that_fails_at_the_upgrade_is_answered(
    function: str, error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    result: Any = {"identify": identify, "authorize": lambda *_: True, "minimum_profile": lambda _: 0}[function]
    failing: Any = Failing(error, result)
    options: dict[str, Any] = {function: failing}
    if function == "minimum_profile":
        options = {"security": SecurityProfiles(passwords=Passwords({}), **options)}
    with besieged(caplog, may_fail=True, **options) as siege:
        with dial(siege.port) as attacker:
            answer = attacker.ask(request("/attacker"))
            assert (answer.status, answer.body) == (500, "500 Internal Server Error\n")
            attacker.wait_for_end()
        siege.bystanders.serve_on()
        assert len(siege.said("HTTP 500")) == 1
        assert siege.cs.charge_points == ["bystander-0", "bystander-1", "bystander-2"]
        assert inside(siege.cs) == "3"
    # Once for each connection: a second call may fail, or answer otherwise.
    assert failing.calls == {"bystander": 3, "attacker": 1}


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("function", ["on_raw_socket_data", "on_raw_websocket_data", "observers"])
def test_a_function_that_fails_beside_a_connection_does_not_end_it(
    function: str, error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    failing: Any = Failing(error, lambda *_: None)
    with besieged(caplog, may_fail=True, **{function: [failing] if function == "observers" else failing}) as siege:
        with siege.attacker() as peer:
            for number in range(3):
                heartbeat(peer, str(number))
            peer.send_close()
            assert peer.read_close()[0] == 1000
            peer.wait_for_end()
        siege.wait_gone()
        assert failing.calls["attacker"] >= 3
        assert SECRET not in "".join(record.getMessage() for record in caplog.records)
        assert inside(siege.cs) == "3"


def test_a_refusal_is_answered_though_its_observer_fails(caplog: pytest.LogCaptureFixture) -> None:
    failing: Any = Failing(SystemExit, lambda *_: None)
    with besieged(caplog, may_fail=True, observers=[failing]) as siege, dial(siege.port) as attacker:
        assert attacker.ask(request("/")).status == 404
        attacker.wait_for_end()


def test_a_minimum_profile_that_fails_the_second_time_is_not_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    asked: list[str] = []

    def minimum_profile(charge_point_id: str) -> int:
        asked.append(charge_point_id)
        if asked.count(charge_point_id) > 1:
            raise KeyError(charge_point_id)
        return 0

    security = SecurityProfiles(passwords=Passwords({}), minimum_profile=minimum_profile)
    with besieged(caplog, security=security) as siege, siege.attacker() as peer:
        heartbeat(peer, "1")
    assert sorted(asked) == ["attacker", "bystander-0", "bystander-1", "bystander-2"]
