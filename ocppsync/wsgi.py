"""Connections that a WSGI server hands over: a central system as a part of a web application."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol
from urllib.parse import quote

from .central_system import CentralSystem, observer_of, server_of
from .server.acceptor import AdmittedRequest, log_refusal
from .server.serving import ConnectionServer
from .wire.http import Headers, HttpRequest, RefusalError, refusal_parts

__all__ = ["Mount", "WSGIApplication", "close_with_worker", "wsgi_app"]

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
WSGIApplication = Callable[[Environ, StartResponse], Iterable[bytes]]

# Where the servers that give away their socket put it.
_SOCKETS = ("werkzeug.socket", "gunicorn.socket")
_USE = "use gunicorn with --worker-class gthread, or Werkzeug's server with threaded=True"
_LOOK = 0.2
"""Seconds after which it is seen at the latest that a worker is to stop."""


def wsgi_app(central_system: CentralSystem) -> WSGIApplication:
    """Return a WSGI application that takes charge points for ``central_system``, to be mounted under any path.

    The thread that the server gives to the request becomes the reader of the connection, and is occupied until it ends.
    What is refused gets an HTTP response as on the central system's own port. It runs on servers that have a thread for
    each request and tell its socket: gunicorn with ``--worker-class gthread``, and Werkzeug's ``threaded`` server.
    On others every request gets 501, and a text that says what to use.

    Args:
        central_system: mostly one with ``port=None``, that listens on no port of its own; it is started by the first
            charge point, so that it may be made before the server forks.
    """

    def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        request = _http_request(environ)
        try:
            sock = _socket_of(environ)
            if environ.get("SERVER_PROTOCOL") != "HTTP/1.1":
                raise RefusalError(505, f"HTTP version {environ.get('SERVER_PROTOCOL')!r}")
            _start(central_system)
            server = server_of(central_system)
            handover = _Handover(server, sock, server.admit(request))
        except RefusalError as refusal:
            log_refusal(refusal, request, observer_of(central_system))
            return _refuse(refusal, start_response)
        # Nobody but the server's access log ever sees this status. It is not 101: Flask leaves out the body of that,
        # which is the whole connection.
        start_response("200 OK", [])
        return handover

    return application


class _Handover(Iterator[bytes]):
    """The body of the response to a charge point: empty, and complete when the connection has ended.

    In the body, and not before it, so that all that surrounds the application is through by then: Flask, for one,
    gives back its database sessions.
    """

    def __init__(self, server: ConnectionServer, sock: socket.socket, admitted: AdmittedRequest) -> None:
        self._server = server
        self._socket = sock
        self._admitted: AdmittedRequest | None = admitted

    def __next__(self) -> bytes:
        admitted, self._admitted = self._admitted, None
        if admitted is not None:
            try:
                # A descriptor of its own, which it may close.
                self._server.serve_socket(self._socket.dup(), admitted)
            finally:
                # The server would write its response now: it is to find nobody there.
                with contextlib.suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)
        raise StopIteration

    def close(self) -> None:
        """End what was never begun; servers call this in any case."""
        admitted, self._admitted = self._admitted, None
        if admitted is not None:
            admitted.slot.release()


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


class Closable(Protocol):
    """What `close_with_worker` closes: a `CentralSystem`, or what holds one."""

    def close(self) -> object:
        """End it."""


class Worker(Protocol):
    """A worker of gunicorn."""

    alive: bool
    ppid: int


def close_with_worker(closable: Closable, worker: Worker) -> None:
    """Close the central system as soon as a worker of gunicorn is to stop: call it in the hook ``post_worker_init``.

    A worker that stops gracefully waits for the requests that run, and those of charge points do not end by themselves:
    without this they would be cut off after ``graceful_timeout``, and there would be no worker until then. It does not
    matter why the worker stops: a signal, a reload, ``max_requests``.
    """

    def watch() -> None:
        # gunicorn has no hook that is called for all of that, and in time. Ends: with the worker.
        while worker.alive and worker.ppid == os.getppid():
            time.sleep(_LOOK)
        closable.close()

    threading.Thread(target=watch, name="ocppsync-worker-watch", daemon=True).start()


class _UnfitError(RefusalError):
    """The server cannot hand over its connections; the text is for whoever set it up."""

    def __init__(self, reason: str) -> None:
        super().__init__(501, reason)


def _start(central_system: CentralSystem) -> None:
    try:
        central_system.start()
    except RuntimeError as error:
        raise RefusalError(503, "the central system is closed") from error


def _socket_of(environ: Environ) -> socket.socket:
    server = environ.get("SERVER_SOFTWARE", "this server")
    sock = next((environ[name] for name in _SOCKETS if name in environ), None)
    if isinstance(sock, ssl.SSLSocket):
        raise _UnfitError(f"OCPP does not work on this server: {server} does TLS itself; leave that to a proxy")
    if sock is not None and type(sock).__module__.partition(".")[0] in ("gevent", "eventlet"):
        raise _UnfitError(f"OCPP does not work on this server: {server} has greenlets, not threads; {_USE}")
    if not isinstance(sock, socket.socket):
        raise _UnfitError(f"OCPP does not work on this server: {server} does not hand over its sockets; {_USE}")
    if not environ.get("wsgi.multithread", False):
        raise _UnfitError(f"OCPP does not work on this server: {server} has one thread for all requests; {_USE}")
    return sock


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


def _refuse(refusal: RefusalError, start_response: StartResponse) -> Iterable[bytes]:
    status, headers, body = refusal_parts(refusal)
    content = (f"{refusal.reason}\n" if isinstance(refusal, _UnfitError) else body).encode("latin-1", "replace")
    # The connection is the server's business (PEP 3333), and so is what it says about it.
    kept = [(name, value) for name, value in headers if name not in ("Connection", "Content-Length", "Upgrade")]
    start_response(status, [*kept, ("Content-Length", str(len(content)))])
    return [content]
