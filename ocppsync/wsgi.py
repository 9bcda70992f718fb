"""Connections that a WSGI server hands over: a central system as a part of a web application."""

from __future__ import annotations

import errno
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any
from urllib.parse import quote

from .central_system import CentralSystem
from .handshake import RefusalError, refusal_parts
from .request import Headers, HttpRequest

__all__ = ["WSGIApplication", "close_on_signals", "wsgi_app"]

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
WSGIApplication = Callable[[Environ, StartResponse], Iterable[bytes]]

# Where the servers that give away their socket put it.
_SOCKETS = ("werkzeug.socket", "gunicorn.socket")


def wsgi_app(central_system: CentralSystem) -> WSGIApplication:
    """Return a WSGI application that takes charge points for ``central_system``, to be mounted under any path.

    The thread that the server gives to the request becomes the reader of the connection, and is occupied until it ends.
    What is refused gets an HTTP response as on the central system's own port. It runs on servers that have a thread for
    each request and tell its socket: gunicorn with ``--worker-class gthread``, and Werkzeug's ``threaded`` server.
    Others get 501, and the log says what to use.

    Args:
        central_system: mostly one with ``port=None``, that listens on no port of its own; it is started by the first
            charge point, so that it may be made before the server forks.
    """

    def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        request = _http_request(environ)
        try:
            _start(central_system)
            admission = central_system.admit(request)
            try:
                sock = _socket_of(environ)
            except BaseException:
                central_system.forget(admission)
                raise
        except RefusalError as refusal:
            central_system.note_refusal(refusal, request)
            return _refuse(environ, refusal, start_response)
        central_system.attend(sock, admission)
        # There is no HTTP left to be said. Servers take this error for a client that has gone, and close the socket.
        raise ConnectionResetError(errno.ECONNRESET, "the connection of the charge point has ended")

    return application


class Mount:
    """A WSGI application that gives the paths below a prefix to a central system, and all else to another application.

    For frameworks that mount no WSGI applications themselves, such as Django:
    ``application = Mount(get_wsgi_application(), cs, "/ocpp")``.

    Args:
        application: gets everything else.
        central_system: gets the paths below the prefix.
        prefix: such as ``"/ocpp"``.
    """

    def __init__(self, application: WSGIApplication, central_system: CentralSystem, prefix: str) -> None:
        if not prefix.startswith("/") or prefix.endswith("/"):
            raise ValueError(
                f"the prefix must begin with a slash and not end with one, as '/ocpp' does, not {prefix!r}"
            )
        self._application = application
        self._ocpp = wsgi_app(central_system)
        self._prefix = f"{prefix}/"

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        ours = environ.get("PATH_INFO", "").startswith(self._prefix)
        return (self._ocpp if ours else self._application)(environ, start_response)


def close_on_signals(central_system: CentralSystem, signals: Iterable[int] = (signal.SIGTERM, signal.SIGINT)) -> None:
    """Close the central system when the process is told to stop, beside whatever else is done then.

    A server that stops gracefully waits for the requests that run; those of charge points never end by themselves. To
    be called on the main thread, once the server has set its own handlers: in gunicorn's ``post_worker_init``.
    """
    for number in signals:
        before = signal.getsignal(number)

        def close(signum: int, frame: FrameType | None, before: Any = before) -> None:
            threading.Thread(target=central_system.close, name="ocppsync-close", daemon=True).start()
            if callable(before):
                before(signum, frame)

        signal.signal(number, close)


def _start(central_system: CentralSystem) -> None:
    try:
        central_system.start()
    except RuntimeError as error:
        raise RefusalError(503, "the central system is closed") from error


def _socket_of(environ: Environ) -> socket.socket:
    sock = next((environ[name] for name in _SOCKETS if name in environ), None)
    if not isinstance(sock, socket.socket):
        raise RefusalError(
            501,
            f"{environ.get('SERVER_SOFTWARE', 'this server')} does not give its socket to applications; use gunicorn "
            "with --worker-class gthread, or Werkzeug's server with threaded=True",
        )
    if isinstance(sock, ssl.SSLSocket):
        raise RefusalError(501, "this server does TLS itself; leave that to a proxy in front of it")
    if not environ.get("wsgi.multithread", False):
        raise RefusalError(501, "this server has one thread for all requests; a charge point would occupy it")
    # A descriptor of our own: the server closes its one when it likes.
    return sock.dup()


def _http_request(environ: Environ) -> HttpRequest:
    path, _, query = _target(environ).partition("?")
    fields = [
        (name[5:].replace("_", "-").title(), str(value)) for name, value in environ.items() if name.startswith("HTTP_")
    ]
    port = str(environ.get("REMOTE_PORT", ""))
    return HttpRequest(
        method=environ.get("REQUEST_METHOD", "GET"),
        path=path,
        query=query,
        headers=Headers(tuple(fields)),
        remote_address=(environ.get("REMOTE_ADDR", ""), int(port) if port.isdigit() else 0),
        secure=environ.get("wsgi.url_scheme") in ("https", "wss"),
    )


def _target(environ: Environ) -> str:
    """Return the target as it came: WSGI itself only has it decoded, in which a slash of the identity is lost."""
    raw = environ.get("RAW_URI") or environ.get("REQUEST_URI")
    if raw:
        return str(raw)
    path = f"{environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}".encode("latin-1")
    query = environ.get("QUERY_STRING", "")
    return f"{quote(path)}?{query}" if query else quote(path)


def _refuse(environ: Environ, refusal: RefusalError, start_response: StartResponse) -> Iterable[bytes]:
    status, headers, body = refusal_parts(refusal)
    # The connection itself is the server's business; those with a socket to give let Upgrade pass.
    dropped = {"Connection"} if any(name in environ for name in _SOCKETS) else {"Connection", "Upgrade"}
    start_response(status, [(name, value) for name, value in headers if name not in dropped])
    return [body.encode("latin-1")]
