"""The example of a Flask site: over HTTP, and in a real browser."""

from __future__ import annotations

import html
import http.client
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from programs import Program
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait
from site_servers import DEADLINE, ask, port_of, running_site

from ocppsync import CallError, ChargePoint
from ocppsync.answers import ChargePointAnswers
from ocppsync.simulator import SimulatedChargePoint

pytestmark = pytest.mark.slow

SITE = Path(__file__).resolve().parents[2] / "examples" / "flask_site"
PATIENCE = 30.0
"""Seconds for what takes a browser and a simulated session."""


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    environment = {"HOME": str(tmp_path), "DATABASE": str(tmp_path / "test.sqlite"), "TIMEOUT": "1"}
    with running_site(SITE, "app:app", **environment) as program:
        yield program


@pytest.fixture
def port(program: Program) -> int:
    return port_of(program)


def simulated(port: int, name: str = "CP1", **options: Any) -> SimulatedChargePoint:
    return SimulatedChargePoint(name, f"ws://127.0.0.1:{port}/ocpp", **{"pace": 20.0, "sessions": 0, **options})


def send(port: int, name: str, action: str, values: Mapping[str, str], **headers: str) -> tuple[int, str]:
    form = urlencode({"action": action, **values})
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    status, text = ask(port, f"/chargers/{name}", "POST", form, {**kind, **headers})
    return status, html.unescape(text)


def outcome(port: int, name: str = "CP1") -> str:
    """Return what became of the last command, as the page has it."""
    _, page = ask(port, f"/chargers/{name}")
    found = re.search(r'<p class="outcome (\w+)" id="outcome"[^>]*>(.*?)</p>', page, re.DOTALL)
    assert found is not None, page
    return html.unescape(re.sub(r"<[^>]+>", "", found[2])).strip()


# Over HTTP.


def test_a_session_is_started_shown_and_stopped(port: int) -> None:
    assert "No charger has connected yet" in ask(port, "/")[1]
    with simulated(port) as charger:
        charger.boot()
        overview = ask(port, "/")[1]
        assert "1 of 1 connected" in overview
        assert "ocppsync Simulator" in overview
        session = charger.charge(energy_wh=5000, samples=4)
        assert session is not None
        page = ask(port, "/chargers/CP1")[1]
        assert "5.00 kWh" in page
        assert session.id_tag in page
        points = re.search(r'data-points="([^"]*)"', page)
        assert points is not None
        assert html.unescape(points[1]).count("[") == 5
    wait_for(lambda: "0 of 1 connected" in ask(port, "/")[1])


def test_what_can_go_wrong_is_said_in_words_that_help(port: int) -> None:
    cp = ChargePoint("CP1", url=f"ws://127.0.0.1:{port}/ocpp")
    cp.on("Reset")(lambda payload, metadata: {"status": "Rejected"})
    cp.on("ClearCache")(lambda payload, metadata: {"status": "Accepted"})

    @cp.on("UnlockConnector")
    def unlock(payload: Any, metadata: Any) -> Any:
        raise CallError("InternalError", "the motor is stuck")

    with cp:
        cp.send_request("BootNotification", {"chargePointVendor": "A", "chargePointModel": "B"})
        assert send(port, "CP1", "ClearCache", {})[0] == 303
        assert outcome(port).startswith("ClearCache Accepted")
        assert send(port, "CP1", "Reset", {"type": "Soft"})[0] == 422
        assert "The charger declined: Rejected." in outcome(port)
        send(port, "CP1", "UnlockConnector", {"connectorId": "1"})
        assert "The charger cannot do this: InternalError. the motor is stuck" in outcome(port)
        send(port, "CP1", "RemoteStartTransaction", {"idTag": "x" * 21})
        assert "Nothing was sent: idTag" in outcome(port)
        assert (
            "Nothing was sent: connectorId must be a whole number."
            in send(port, "CP1", "UnlockConnector", {"connectorId": "one"})[1]
        )
    wait_for(lambda: "Offline" in ask(port, "/chargers/CP1")[1])
    assert send(port, "CP1", "Reset", {"type": "Soft", "quick": "1"})[0] == 303
    assert "Not connected; nothing was sent." in outcome(port)


def test_a_charger_that_does_not_answer_is_told_from_one_that_declines(port: int) -> None:
    asked, over = threading.Event(), threading.Event()
    cp = ChargePoint("CP1", url=f"ws://127.0.0.1:{port}/ocpp")

    @cp.on("Reset")
    def reset(payload: Any, metadata: Any) -> Any:
        asked.set()
        over.wait(DEADLINE)
        return {"status": "Accepted"}

    with cp:
        cp.send_request("BootNotification", {"chargePointVendor": "A", "chargePointModel": "B"})
        send(port, "CP1", "Reset", {"type": "Soft"})
        over.set()
        assert asked.is_set()
        assert "No answer in time. It may still act: check its state first." in outcome(port)


def test_a_form_becomes_the_payload_of_its_action(port: int) -> None:
    got: list[Any] = []
    cp = ChargePoint("CP1", url=f"ws://127.0.0.1:{port}/ocpp")

    @cp.on("SendLocalList")
    def send_local_list(payload: Any, metadata: Any) -> Any:
        got.append(payload)
        return {"status": "Accepted"}

    @cp.on("GetConfiguration")
    def get_configuration(payload: Any, metadata: Any) -> Any:
        got.append(payload)
        return {"unknownKey": payload["key"]}

    @cp.on("SetChargingProfile")
    def set_charging_profile(payload: Any, metadata: Any) -> Any:
        got.append(payload)
        return {"status": "Accepted"}

    with cp:
        cp.send_request("BootNotification", {"chargePointVendor": "A", "chargePointModel": "B"})
        send(port, "CP1", "GetConfiguration", {"key": "First\r\n Second \r\n"})
        entry = '[{"idTag": "A"}]'
        send(port, "CP1", "SendLocalList", {"listVersion": "2", "updateType": "Full", "localAuthorizationList": entry})
        profile = {
            "chargingProfileId": "1",
            "stackLevel": "0",
            "chargingProfilePurpose": "TxDefaultProfile",
            "chargingProfileKind": "Relative",
            "chargingSchedule.chargingRateUnit": "A",
            "chargingSchedule.chargingSchedulePeriod": '[{"startPeriod": 0, "limit": 16.5}]',
        }
        page = ask(port, "/chargers/CP1?action=SetChargingProfile")[1]
        assert 'name="csChargingProfiles.chargingSchedule.chargingRateUnit"' in page
        form = {f"csChargingProfiles.{name}": value for name, value in profile.items()}
        assert send(port, "CP1", "SetChargingProfile", {"connectorId": "1", **form})[0] == 303
    assert got[0] == {"key": ["First", "Second"]}
    assert got[1] == {"listVersion": 2, "updateType": "Full", "localAuthorizationList": [{"idTag": "A"}]}
    assert got[2]["connectorId"] == 1
    assert got[2]["csChargingProfiles"]["chargingSchedule"]["chargingSchedulePeriod"][0]["limit"] == 16.5


def test_what_is_not_there_or_from_elsewhere_is_refused(port: int) -> None:
    assert ask(port, "/chargers/CP9")[0] == 404
    with simulated(port) as charger:
        charger.boot()
        assert ask(port, "/chargers/CP1?action=Explode")[0] == 404
        assert send(port, "CP1", "Explode", {})[0] == 404
        assert send(port, "CP1", "Reset", {"type": "Soft"}, Origin="http://elsewhere.example")[0] == 403
        assert ask(port, "/ocpp/CP2")[0] == 426


def test_a_page_that_is_open_hears_of_changes(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
    try:
        connection.request("GET", "/events")
        stream = connection.getresponse()
        assert stream.getheader("Content-Type", "").startswith("text/event-stream")
        assert stream.readline() == b"retry: 1000\n"
        with simulated(port) as charger:
            charger.boot()
            assert stream.readline() == b"\n"
            assert stream.readline().startswith(b"data: ")
    finally:
        connection.close()


def test_it_runs_without_gunicorn(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with Program(
        [str(SITE / "app.py"), str(port), "--simulate", "2"], {"DATABASE": str(tmp_path / "test.sqlite")}
    ) as program:
        wait_for(lambda: "2 of 2 connected" in ask(port, "/")[1])
        status, errors = program.end(signal.SIGTERM)
        assert status == 0
        assert "Traceback" not in errors


def wait_for(predicate: Callable[[], bool]) -> None:
    WebDriverWait(object(), PATIENCE, 0.1, [ConnectionRefusedError]).until(lambda _: predicate())


# In a browser.


FLAGS = [
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--window-size=1280,1100"),
]


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in (*FLAGS, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options, webdriver.ChromeService("/usr/bin/chromedriver"))
    try:
        yield browser
    finally:
        browser.quit()


def text_of(browser: webdriver.Chrome, selector: str) -> str:
    # In one step: between two the page may be made anew.
    script = "return document.querySelector(arguments[0])?.innerText ?? ''"
    return str(browser.execute_script(script, selector))


def press(browser: webdriver.Chrome, label: str) -> None:
    script = "[...document.querySelectorAll('button')].find((one) => one.innerText === arguments[0]).click()"
    browser.execute_script(script, label)


@pytest.mark.browser
def test_a_person_charges_a_vehicle(program: Program, port: int, browser: webdriver.Chrome) -> None:
    wait = WebDriverWait(browser, PATIENCE, 0.1)
    browser.get(f"http://127.0.0.1:{port}/")
    wait.until(lambda _: text_of(browser, "#link") == "live")
    assert "No charger has connected yet" in text_of(browser, "main")
    with simulated(port, pace=4.0) as charger:
        charger.start()
        # The page updates itself.
        wait.until(lambda _: "Available" in text_of(browser, ".card"))
        browser.find_element(By.CSS_SELECTOR, ".card").click()
        wait.until(lambda _: text_of(browser, "h1") == "CP1")
        wait.until(lambda _: text_of(browser, "#link") == "live")

        press(browser, "Start charging")
        wait.until(lambda _: "Charging now" in text_of(browser, "main"))
        assert text_of(browser, "#outcome").startswith("RemoteStartTransaction Accepted")
        wait.until(lambda _: browser.find_elements(By.CSS_SELECTOR, ".chart path.power"))
        press(browser, "Stop charging")
        wait.until(lambda _: "Last session" in text_of(browser, "main"))
        assert "Remote" in text_of(browser, "tbody")

        # The form is built from the schema, and what was typed survives the updates.
        Select(browser.find_element(By.ID, "choice")).select_by_visible_text("ChangeConfiguration")
        wait.until(lambda _: browser.find_elements(By.NAME, "key"))
        browser.find_element(By.NAME, "key").send_keys("HeartbeatInterval")
        browser.find_element(By.NAME, "value").send_keys("soon")
        press(browser, "Send ChangeConfiguration")
        wait.until(lambda _: "The charger declined: Rejected." in text_of(browser, "#outcome"))
        value = browser.find_element(By.NAME, "value")
        assert value.get_attribute("value") == "soon"
        value.clear()
        value.send_keys("120")
        press(browser, "Send ChangeConfiguration")
        wait.until(lambda _: "ChangeConfiguration Accepted" in text_of(browser, "#outcome"))
        assert isinstance(charger.answers, ChargePointAnswers)
        assert charger.answers.configuration["heartbeatinterval"].value == "120"
    wait.until(lambda _: "Offline" in text_of(browser, ".panel"))
    press(browser, "Reset")
    wait.until(lambda _: "Not connected; nothing was sent." in text_of(browser, "#outcome"))
    severe = [entry for entry in browser.get_log("browser") if "422" not in entry["message"]]
    assert severe == []


@pytest.mark.browser
@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_sticks_out(port: int, browser: webdriver.Chrome, width: int) -> None:
    with simulated(port, "A-CHARGER-WITH-A-VERY-LONG-IDENTITY-INDEED") as charger:
        charger.boot()
        charger.charge(energy_wh=5000, samples=4)
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        for path in ("/", f"/chargers/{charger.charge_point_id}?action=SetChargingProfile"):
            browser.get(f"http://127.0.0.1:{port}{path}")
            root = "document.documentElement"
            assert browser.execute_script(f"return {root}.scrollWidth - {root}.clientWidth") == 0
