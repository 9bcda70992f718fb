"""A site that shows chargers and their sessions, and sends commands to them.

Run ``python examples/flask_site/app.py [port]``, or ``gunicorn -c examples/flask_site/gunicorn.conf.py``. Chargers
connect to ``ws://127.0.0.1:8000/ocpp``; ``--simulate 3`` starts three simulated ones.

The environment variable DATABASE is the path of the database (default: chargers.sqlite), TIMEOUT the seconds to wait
for an answer (default: 10). There is no login: before you open the site to other machines, add one.
"""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any
from urllib.parse import urlsplit

import flask
from flask.typing import ResponseReturnValue

import forms
from central import Central
from ocppsync.flask import ocpp_blueprint
from ocppsync.simulator import SimulatedChargePoint
from store import Row, Store

central = Central(Store(os.environ.get("DATABASE", "chargers.sqlite")), float(os.environ.get("TIMEOUT", "10")))
app = flask.Flask(__name__)
app.register_blueprint(ocpp_blueprint(central.cs), url_prefix="/ocpp")


@app.before_request
def refuse_other_sites() -> ResponseReturnValue | None:
    # A form on another site must not send commands through this one.
    origin = flask.request.headers.get("Origin")
    if flask.request.method == "POST" and origin is not None and urlsplit(origin).netloc != flask.request.host:
        return "This form was sent from another site.", 403
    return None


@app.get("/")
def overview() -> str:
    connected = set(central.cs.charge_points)
    chargers = [{**charger, "online": charger["id"] in connected} for charger in central.store.chargers()]
    for charger in chargers:
        charger["session"] = _running(charger["id"])
    return _page("overview", chargers=chargers, online=len(connected), url=_endpoint())


@app.get("/chargers/<path:name>")
def charger(name: str) -> str:
    return _charger_page(name, flask.request.args.get("action", "TriggerMessage"), {})


@app.post("/chargers/<path:name>")
def command(name: str) -> ResponseReturnValue:
    action = flask.request.form.get("action", "")
    if action not in forms.actions():
        flask.abort(404)
    try:
        payload = forms.payload_of(action, flask.request.form)
    except ValueError as error:
        return _charger_page(name, action, flask.request.form, f"Nothing was sent: {error}."), 422
    good = central.command(name, action, payload)
    if good or "quick" in flask.request.form:
        return flask.redirect(flask.url_for("charger", name=name, action=flask.request.form.get("shown", action)), 303)
    # Keep the values in the form, so that the user can correct them.
    return _charger_page(name, action, flask.request.form), 422


@app.get("/events")
def events() -> flask.Response:
    stream = central.updates.stream(flask.request.args.get("charger"))
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # or nginx buffers the events
    return flask.Response(stream, mimetype="text/event-stream", headers=headers)


def _charger_page(name: str, action: str, filled: Mapping[str, str], problem: str = "") -> str:
    known = central.store.charger(name)
    if known is None or action not in forms.actions():
        flask.abort(404)
    sessions = central.store.sessions(name)
    current = sessions[0] if sessions else None
    return _page(
        "charger",
        charger={**known, "online": name in central.cs.charge_points, "session": _running(name)},
        current=current,
        readings=central.store.readings(current["id"]) if current else [],
        sessions=sessions,
        commands=central.store.commands(name),
        actions=forms.actions(),
        action=action,
        fields=forms.fields(action),
        filled=filled,
        problem=problem,
    )


def _running(name: str) -> Row | None:
    return next((session for session in central.store.sessions(name, 1) if session["ended"] is None), None)


def _page(name: str, **values: Any) -> str:
    # An open page requests only the part that changes.
    part = "live" in flask.request.args
    return flask.render_template(f"_{name}.html" if part else f"{name}.html", **values)


def _endpoint() -> str:
    return f"ws://{flask.request.host}/ocpp"


@app.template_filter()
def clock(text: str) -> str:
    """Return a readable timestamp in UTC, without the date if it is today."""
    at = datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(timezone.utc)
    return f"{at:%H:%M:%S}" if at.date() == datetime.now(timezone.utc).date() else f"{at:%d %b %Y, %H:%M}"


@app.template_filter()
def kwh(energy: float) -> str:
    """Return Wh as kWh."""
    return f"{energy / 1000:.2f} kWh"


@app.template_filter()
def points(readings: list[Row]) -> list[tuple[float, float, float | None]]:
    """Return the readings for the chart: seconds since 1970, power in W, charge in percent."""
    return [
        (datetime.fromisoformat(row["at"].replace("Z", "+00:00")).timestamp(), row["power"], row["charge"])
        for row in readings
        if row["power"] is not None
    ]


def main() -> None:
    """Serve the site with Werkzeug's server."""
    parser = argparse.ArgumentParser(description="A site that shows chargers and sends commands to them.")
    parser.add_argument("port", nargs="?", type=int, default=8000)
    parser.add_argument("--simulate", type=int, default=0, metavar="N", help="start N simulated chargers")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
    url = f"ws://127.0.0.1:{options.port}/ocpp"
    simulated = [SimulatedChargePoint(f"DEMO-{number + 1}", url).start() for number in range(options.simulate)]
    try:
        app.run("127.0.0.1", options.port, threaded=True)
    finally:
        for charge_point in simulated:
            charge_point.stop()
        central.close()


if __name__ == "__main__":
    main()
