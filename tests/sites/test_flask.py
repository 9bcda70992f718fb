"""A central system in a Flask site."""

from __future__ import annotations

import gc
import logging
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flask
import pytest
from site_servers import ask, gunicorn, port_of, werkzeug
from support import BOOT, DEADLINE, accept_boots, wait_until
from wire import dial, request

from ocppsync import CentralSystem, ChargePoint, Limits
from ocppsync.flask import ocpp_blueprint


@pytest.fixture
def cs() -> Iterator[CentralSystem]:
    with CentralSystem(None) as cs:
        accept_boots(cs)
        yield cs


@pytest.fixture
def app(cs: CentralSystem) -> flask.Flask:
    app = flask.Flask(__name__)
    app.register_blueprint(ocpp_blueprint(cs), url_prefix="/ocpp")

    @app.post("/reset/<name>")
    def reset(name: str) -> Any:
        return dict(cs.send_request(name, "Reset", {"type": "Soft"}))

    return app


def test_a_view_commands_a_charge_point(cs: CentralSystem, app: flask.Flask) -> None:
    with werkzeug(app) as port, ChargePoint("CP1", url=f"ws://127.0.0.1:{port}/ocpp") as cp:
        cp.on("Reset")(lambda payload, metadata: {"status": "Accepted"})
        assert cp.send_request("BootNotification", BOOT)["status"] == "Accepted"
        assert ask(port, "/reset/CP1", "POST") == (200, '{"status":"Accepted"}\n')


@pytest.mark.parametrize("name", ["CP /1", "ü", "a//b", "%41"])
def test_an_identity_may_contain_any_character(cs: CentralSystem, app: flask.Flask, name: str) -> None:
    with werkzeug(app) as port, ChargePoint(name, url=f"ws://127.0.0.1:{port}/ocpp"):
        assert cs.charge_points == [name]


@pytest.mark.parametrize(("path", "status"), [("/ocpp/CP1", 426), ("/ocpp/", 426), ("/other", 404)])
def test_plain_http_gets_an_answer(app: flask.Flask, path: str, status: int) -> None:
    with werkzeug(app) as port:
        assert ask(port, path)[0] == status


def test_a_refusal_is_a_response_like_any_other(cs: CentralSystem) -> None:
    app = flask.Flask(__name__)

    def authorize(http_request: Any, name: str) -> bool:
        # Runs in the context of the request.
        return bool(flask.request.args.get("key") == flask.current_app.config["KEY"])

    app.config["KEY"] = "1"
    seen: list[int] = []

    @app.after_request
    def look(response: flask.Response) -> flask.Response:
        seen.append(response.status_code)
        return response

    with CentralSystem(None, authorize=authorize) as other:
        app.register_blueprint(ocpp_blueprint(other, "other"), url_prefix="/other")
        app.register_blueprint(ocpp_blueprint(cs), url_prefix="/ocpp")
        with werkzeug(app) as port, dial(port) as refused, dial(port) as admitted:
            answer = refused.ask(request("/other/CP1"))
            assert (answer.status, answer.header("WWW-Authenticate")) == (401, 'Basic realm="ocpp"')
            admitted.upgrade("/other/CP1?key=1")
            assert (other.charge_points, cs.charge_points) == (["CP1"], [])
    assert seen[0] == 401


def test_the_flask_request_ends_before_the_connection(cs: CentralSystem, app: flask.Flask) -> None:
    over = threading.Event()
    app.teardown_request(lambda error: over.set())
    with werkzeug(app) as port, dial(port) as peer:
        peer.upgrade("/ocpp/CP1")
        assert over.wait(DEADLINE)
        assert cs.charge_points == ["CP1"]


@pytest.mark.parametrize("fails", [True, False])
def test_a_response_that_the_site_replaces_occupies_no_slot(
    app: flask.Flask, caplog: pytest.LogCaptureFixture, *, fails: bool
) -> None:
    # pytest keeps what is logged, and with a traceback the response.
    caplog.set_level(logging.CRITICAL + 1, app.logger.name)

    @app.after_request
    def replace(response: flask.Response) -> Any:
        if flask.request.path != "/other/CP1":
            return response
        if fails:
            raise RuntimeError
        return flask.Response("no", 403)

    with CentralSystem(None, limits=Limits(connections=1)) as cs:
        app.register_blueprint(ocpp_blueprint(cs, "other"), url_prefix="/other")
        with werkzeug(app) as port:
            for _ in range(2):
                with dial(port) as peer:
                    assert peer.ask(request("/other/CP1")).status == (500 if fails else 403)

            def connects() -> bool:
                gc.collect()  # a traceback may hold the response
                with dial(port) as peer:
                    return peer.ask(request("/other/CP2")).status == 101

            wait_until(connects)


def test_the_debugger_ignores_the_end_of_a_connection(
    cs: CentralSystem, app: flask.Flask, capfd: pytest.CaptureFixture[str]
) -> None:
    from werkzeug.debug import DebuggedApplication

    with werkzeug(DebuggedApplication(app)) as port:
        with dial(port) as peer:
            peer.upgrade("/ocpp/CP1")
            peer.send_close()
            peer.wait_for_end()
        with dial(port) as peer:
            peer.upgrade("/ocpp/CP2")
    assert "Traceback" not in "".join(capfd.readouterr())


def test_a_response_class_of_the_application_is_kept(cs: CentralSystem, app: flask.Flask) -> None:
    class Response(flask.Response):
        default_mimetype = "application/json"

    app.response_class = Response
    with werkzeug(app) as port, ChargePoint("CP1", url=f"ws://127.0.0.1:{port}/ocpp"):
        assert cs.charge_points == ["CP1"]


# An existing site, and the lines that connect charge points to it.
EXISTING = """
from flask import Flask

app = Flask(__name__)
"""
ADDED = """
from ocppsync import CentralSystem, NotConnectedError, OCPPRequestError, RequestTimeoutError
from ocppsync.answers import CentralSystemAnswers
from ocppsync.flask import ocpp_blueprint

cs = CentralSystem(None, CentralSystemAnswers())
app.register_blueprint(ocpp_blueprint(cs), url_prefix="/ocpp")


@app.post("/chargers/<name>/reset")
def reset(name):
    try:
        return cs.send_request(name, "Reset", {"type": "Soft"}, timeout=0.5)["status"]
    except NotConnectedError:
        return "not connected", 404
    except RequestTimeoutError:
        return "timed out", 504
    except OCPPRequestError as error:
        return str(error), 502
"""


@pytest.mark.slow
def test_a_site_under_gunicorn_commands_a_charge_point(tmp_path: Path) -> None:
    (tmp_path / "site_of_test.py").write_text(EXISTING + ADDED, encoding="utf-8")
    (tmp_path / "gunicorn.conf.py").write_text("worker_class = 'gthread'\nthreads = 8\n", encoding="utf-8")
    assert sum(bool(line) for line in ADDED.splitlines()) <= 15
    with gunicorn(tmp_path) as program:
        port = port_of(program)
        with ChargePoint("CP1", url=f"ws://127.0.0.1:{port}/ocpp") as cp, dial(port) as stranger:
            cp.on("Reset")(lambda payload, metadata: {"status": "Rejected"})
            assert cp.send_request("BootNotification", BOOT)["status"] == "Accepted"
            assert ask(port, "/chargers/CP1/reset", "POST") == (200, "Rejected")
            assert ask(port, "/chargers/CP2/reset", "POST") == (404, "not connected")
            stranger.upgrade("/ocpp/CP3")
            stranger.send_text('[2,"1","BootNotification",{"chargePointVendor":"A","chargePointModel":"B"}]')
            assert stranger.read_text().startswith('[3,"1",')
            assert ask(port, "/chargers/CP3/reset", "POST") == (504, "timed out")
        assert program.end(signal.SIGTERM)[0] == 0
        assert "Traceback" not in program.output
