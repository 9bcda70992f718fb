"""The example of a Django site, under gunicorn: commanded over HTTP, with chargers over WebSockets, from outside."""

from __future__ import annotations

import html
import re
import signal
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode
from urllib.request import HTTPCookieProcessor, OpenerDirector, build_opener

import pytest
from programs import Program
from site_servers import DEADLINE, ask, port_of, running_site
from support import BOOT
from wire import dial, request

from ocppsync import CallError, ChargePoint

pytestmark = pytest.mark.slow

SITE = Path(__file__).resolve().parents[2] / "examples" / "django_site"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path), "DATABASE": str(tmp_path / "test.sqlite"), "PYTHONPATH": str(SITE)}


@pytest.fixture
def program(environment: dict[str, str]) -> Iterator[Program]:
    with Program([str(SITE / "manage.py"), "migrate"], environment) as migration:
        assert migration.wait()[0] == 0, migration.output
    with running_site(SITE, "chargers.wsgi", **environment) as program:
        yield program


@pytest.fixture
def port(program: Program) -> int:
    return port_of(program)


class Browser:
    """A browser that keeps cookies and submits forms."""

    def __init__(self, port: int) -> None:
        self._base = f"http://127.0.0.1:{port}"
        self._opener: OpenerDirector = build_opener(HTTPCookieProcessor())

    def look(self) -> str:
        with self._opener.open(self._base, timeout=DEADLINE) as answer:
            return html.unescape(answer.read().decode())

    def reset(self, name: str) -> str:
        """Press the button of a charger; return the message on the page that follows."""
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', self.look())
        assert token is not None
        form = urlencode({"csrfmiddlewaretoken": token[1]}).encode()
        with self._opener.open(f"{self._base}/chargers/{quote(name)}/reset", form, timeout=DEADLINE) as answer:
            page = html.unescape(answer.read().decode())
        found = re.search(r'<p class="message (\w+)" role="status">(.*?)</p>', page)
        assert found is not None, page
        return f"{found[1]}: {found[2]}"


def row(page: str, name: str) -> str:
    """Return the line of a charger, without its tags."""
    (found,) = (one for one in re.findall(r"(?s)<tr>.*?</tr>", page) if f"<td>{name}</td>" in one)
    return " ".join(re.sub(r"<[^>]+>", " ", found).split())


def charge_point(port: int, name: str = "CP1") -> ChargePoint:
    return ChargePoint(name, url=f"ws://127.0.0.1:{port}/ocpp")


def test_a_charger_is_listed_and_reset(port: int) -> None:
    visitor = Browser(port)
    assert f"ws://127.0.0.1:{port}/ocpp" in visitor.look()
    with charge_point(port, "CP /1") as cp:
        cp.on("Reset")(lambda payload, metadata: {"status": "Accepted"})
        assert cp.send_request("BootNotification", BOOT)["status"] == "Accepted"
        cp.send_request("StatusNotification", {"connectorId": 1, "errorCode": "NoError", "status": "Charging"})
        cp.send_request("Heartbeat", {})
        seen = re.match(r"CP /1 Acme One connected Charging (20\d\d-.*) UTC Reset", row(visitor.look(), "CP /1"))
        assert seen is not None
        age = datetime.now(timezone.utc) - datetime.fromisoformat(f"{seen[1]}+00:00")
        assert age < timedelta(minutes=5)
        assert visitor.reset("CP /1") == "success: CP /1 is resetting."
    assert "role=" not in visitor.look()


def test_what_goes_wrong_is_told_in_words_that_help(port: int) -> None:
    answers: list[Any] = [{"status": "Rejected"}, CallError("NotSupported", "no relay")]

    def answer(payload: Any, metadata: Any) -> Any:
        made = answers.pop(0)
        if isinstance(made, Exception):
            raise made
        return made

    visitor = Browser(port)
    with charge_point(port) as cp:
        cp.on("Reset")(answer)
        cp.send_request("BootNotification", BOOT)
        assert visitor.reset("CP1") == "warning: CP1 declined to reset."
        assert visitor.reset("CP1") == "error: CP1 cannot reset: NotSupported. no relay"
    assert visitor.reset("CP1").startswith("error: CP1 is not connected; nothing was sent.")
    assert "not connected" in row(visitor.look(), "CP1")


def test_other_sites_send_no_commands_from_here(port: int) -> None:
    assert ask(port, "/chargers/CP1/reset", "POST")[0] == 403
    assert ask(port, "/chargers/CP1/reset")[0] == 405


def test_refusals_come_before_the_upgrade(port: int) -> None:
    assert ask(port, "/ocpp/CP1")[0] == 426
    with dial(port) as peer:
        answer = peer.ask(request("/ocpp/CP1", Sec_WebSocket_Key="short"))
        assert answer.status == 400


def test_many_chargers_write_at_once(program: Program, port: int) -> None:
    def boot(number: int) -> None:
        with charge_point(port, f"CP{number}") as cp:
            cp.send_request("BootNotification", BOOT)
            for status in ("Preparing", "Charging", "Available"):
                cp.send_request("StatusNotification", {"connectorId": 1, "errorCode": "NoError", "status": status})

    threads = [threading.Thread(target=boot, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    page = Browser(port).look()
    assert all("Acme One" in row(page, f"CP{number}") for number in range(10))
    assert page.count("Available") == 10


def test_a_reload_keeps_the_site_going(program: Program, port: int) -> None:
    gone = threading.Event()
    cp = charge_point(port)
    cp.on("Reset")(lambda payload, metadata: {"status": "Accepted"})
    cp.add_connection_listener(lambda status: gone.set() if status == "disconnected" else None)
    with cp:
        cp.send_request("BootNotification", BOOT)
        program.process.send_signal(signal.SIGHUP)
        assert gone.wait(DEADLINE)
        program.wait_for(r"(?s)Booting worker.*Booting worker")
        program.wait_for("Worker exiting")
        cp.connect()
        cp.send_request("BootNotification", BOOT)
        assert Browser(port).reset("CP1") == "success: CP1 is resetting."
