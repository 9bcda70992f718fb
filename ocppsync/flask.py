"""A central system in a Flask site; requires the extra ``flask``."""

from __future__ import annotations

import flask

from .central_system import CentralSystem
from .wsgi import wsgi_app

__all__ = ["ocpp_blueprint"]


def ocpp_blueprint(central_system: CentralSystem, name: str = "ocpp") -> flask.Blueprint:
    """Return a blueprint with the endpoint for charge points.

    After ``app.register_blueprint(ocpp_blueprint(cs), url_prefix="/ocpp")``, the URL to enter in a charge point is
    ``ws://your-site/ocpp``. The application's functions for before and after each request run for each connection of a
    charge point, too. `authorize` and `identify` of the central system may use Flask's context. See `wsgi_app` for the
    supported servers.

    Args:
        central_system: the central system, usually with ``port=None``.
        name: the name of the blueprint, for an application with several.
    """
    blueprint = flask.Blueprint(name, __name__)
    application = wsgi_app(central_system)

    def charge_point(path: str = "") -> flask.Response:
        head: list[tuple[str, list[tuple[str, str]]]] = []
        body = application(flask.request.environ, lambda *answer: head.append(answer))
        status, headers = head[0]
        return flask.current_app.response_class(body, status, headers)

    # Routes every path below the prefix: an identity may contain any character of a URL. Werkzeug routes WebSocket
    # requests separately from others, which get a response as well.
    for websocket in (True, False):
        for rule in ("/", "/<path:path>"):
            blueprint.add_url_rule(rule, "charge_point", charge_point, websocket=websocket, merge_slashes=False)
    return blueprint
