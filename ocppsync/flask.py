"""A central system in a Flask site; needs the extra ``flask``."""

from __future__ import annotations

import flask

from .central_system import CentralSystem
from .wsgi import wsgi_app

__all__ = ["ocpp_blueprint"]


def ocpp_blueprint(central_system: CentralSystem, name: str = "ocpp") -> flask.Blueprint:
    """Return a blueprint whose pages are where charge points connect to.

    ``app.register_blueprint(ocpp_blueprint(cs), url_prefix="/ocpp")`` makes ``ws://your-site/ocpp`` the URL to enter in
    a charger. What the application does before and after each request is done for a charge point's as well, when it
    connects; `authorize` and `identify` of the central system may use Flask's context. See `wsgi_app` for the servers
    that it works on.

    Args:
        central_system: mostly one with ``port=None``.
        name: of the blueprint, for an application with more than one.
    """
    blueprint = flask.Blueprint(name, __name__)
    application = wsgi_app(central_system)

    def charge_point(path: str = "") -> flask.Response:
        head: list[tuple[str, list[tuple[str, str]]]] = []
        body = application(flask.request.environ, lambda *answer: head.append(answer))
        status, headers = head[0]
        return flask.current_app.response_class(body, status, headers)

    # Everything that was routed here, whatever it looks like: an identity may hold what a URL can. Werkzeug tells
    # requests for a WebSocket from others, which are to get an answer as well.
    for websocket in (True, False):
        for rule in ("/", "/<path:path>"):
            blueprint.add_url_rule(rule, "charge_point", charge_point, websocket=websocket, merge_slashes=False)
    return blueprint
