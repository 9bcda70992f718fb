"""A central system inside a web application: connections from a WSGI server."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, Protocol
from urllib.parse import quote

from .central_system import CentralSystem, client_address_of, observer_of, server_of, throttle_of
from .server.acceptor import AdmittedRequest, log_disconnect, log_refusal, report_refusal
from .server.serving import ConnectionServer
from .wire.http import (
    DisconnectedError,
    Headers,
    HttpRequest,
    RefusalError,
    check_http_version,
    path_of,
    refusal_parts,
    refusal_response,
)
from .wire.streams import has_ended

__all__ = ["Mount", "WSGIApplication", "close_with_worker", "wsgi_app"]

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
WSGIApplication = Callable[[Environ, StartResponse], Iterable[bytes]]

_SOCKET_KEYS = ("werkzeug.socket", "gunicorn.socket")
"""The keys of the WSGI environment that hold the socket."""
_SUPPORTED_SERVERS = "use gunicorn with --worker-class gthread, or Werkzeug's server with threaded=True"
_POLL_INTERVAL = 0.2
"""Seconds between checks whether a gunicorn worker is stopping."""


def wsgi_app(central_system: CentralSystem) -> WSGIApplication:
    """Return a WSGI application that connects charge points to ``central_system``. Mount it under any path.

    The server's thread for the request becomes the reader of the connection, until the connection ends. Refused
    requests get an HTTP response, as on the central system's own port. The server must have a thread for each request
    and provide its socket: gunicorn with ``--worker-class gthread``, or Werkzeug's ``threaded`` server. On other
    servers every request gets 501, with a text that names these two.

    Args:
        central_system: usually one with ``port=None``, which listens on no port of its own. The first charge point
            starts it, so you can create it before the server forks.
    """

    def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        request = client_address_of(central_system).add_to(_http_request(environ))
        try:
            request = replace(request, path=path_of(request.path))
            sock = _socket_of(environ)
            check_http_version(environ["SERVER_PROTOCOL"])
            _start(central_system)
            server = server_of(central_system)
            handover = _Handover(server, sock, server.admit(request, functools.partial(has_ended, sock)))
        except RefusalError as refusal:
            log_refusal(refusal, request, throttle_of(central_system))
            report_refusal(refusal, request, observer_of(central_system))
            return _refuse(refusal, start_response)
        except DisconnectedError as error:
            log_disconnect(error, request, throttle_of(central_system))
            # Nobody reads it, but a WSGI server wants an answer.
            return _refuse(RefusalError(408, str(error)), start_response)
        try:
            # Only the server's access log sees this status. It cannot be 101: Flask drops the body of a 101 response,
            # and the body is the connection.
            start_response("200 OK", [])
        except BaseException:
            handover.close()
            raise
        return handover

    return application


class _Handover(Iterator[bytes]):
    """The body of the response to a charge point: serves the connection, then ends without any content.

    The connection is served in the body, because frameworks have finished the request by then: Flask, for example, has
    returned its database sessions.
    """

    def __init__(self, server: ConnectionServer, sock: socket.socket, admitted: AdmittedRequest) -> None:
        self._server = server
        self._socket = sock
        self._admitted: AdmittedRequest | None = admitted

    def __next__(self) -> bytes:
        admitted, self._admitted = self._admitted, None
        if admitted is not None:
            try:
                sock = self._duplicate(admitted)
                if sock is not None:
                    self._server.serve_socket(sock, admitted)
            finally:
                # The WSGI server writes its response next, which the charge point must not receive.
                with contextlib.suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)
        raise StopIteration

    def _duplicate(self, admitted: AdmittedRequest) -> socket.socket | None:
        # serve_socket closes the socket, and so does the WSGI server.
        try:
            return self._socket.dup()
        except OSError as error:
            admitted.slot.release()
            self._server.fail(admitted, error, self._send)
            return None

    def _send(self, refusal: RefusalError, code: int) -> bool:
        with contextlib.suppress(OSError):
            self._socket.sendall(refusal_response(refusal))
            return True
        return False

    def close(self) -> None:
        """Release the slot if the body was never read; WSGI servers always call this."""
        admitted, self._admitted = self._admitted, None
        if admitted is not None:
            admitted.slot.release()

    def __del__(self) -> None:
        # A framework may drop a response and answer with another: Flask does if a function of `after_request` fails.
        if self._admitted is not None:
            self._admitted.slot.abandon()


class Mount:
    """A WSGI application that passes paths below a prefix to a central system, and others to another application.

    For frameworks that cannot mount WSGI applications, such as Django:
    ``application = Mount(get_wsgi_application(), cs, "/ocpp")``.

    Args:
        application: gets all other paths.
        central_system: gets the paths below the prefix.
        prefix: such as ``"/ocpp"``.

    Raises:
        ValueError: the prefix does not begin with a slash, or ends with one.
    """

    def __init__(self, application: WSGIApplication, central_system: CentralSystem, prefix: str) -> None:
        if not prefix.startswith("/") or prefix.endswith("/"):
            raise ValueError(f"{prefix!r} is not a valid prefix: it must begin with a slash and not end with one")
        self._application = application
        self._ocpp = wsgi_app(central_system)
        self._prefix = f"{prefix}/"

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        is_ocpp = environ.get("PATH_INFO", "").startswith(self._prefix)
        return (self._ocpp if is_ocpp else self._application)(environ, start_response)


class Closable(Protocol):
    """An object that `close_with_worker` closes: a `CentralSystem`, or an object that holds one."""

    def close(self) -> object:
        """Close it."""


class Worker(Protocol):
    """A gunicorn worker."""

    alive: bool
    ppid: int


def close_with_worker(closable: Closable, worker: Worker) -> None:
    """Close the central system as soon as a gunicorn worker stops. Call this in the hook ``post_worker_init``.

    A stopping worker waits for its running requests, and those of charge points do not end by themselves. Without this
    call they are cut off after ``graceful_timeout``, and until then there is no new worker. It works for every reason
    to stop: a signal, a reload, ``max_requests``.
    """

    def watch() -> None:
        # No hook of gunicorn is called early enough in all these cases. Ends with the worker.
        while worker.alive and worker.ppid == os.getppid():
            time.sleep(_POLL_INTERVAL)
        closable.close()

    threading.Thread(target=watch, name="ocppsync-worker-watch", daemon=True).start()


class _UnsupportedServerError(RefusalError):
    """This WSGI server cannot serve charge points; the response body says why and what to use."""

    def __init__(self, reason: str) -> None:
        super().__init__(501, reason)


def _start(central_system: CentralSystem) -> None:
    try:
        central_system.start()
    except RuntimeError as error:
        # It is closed, or was started before the fork.
        raise RefusalError(503, str(error)) from error


def _socket_of(environ: Environ) -> socket.socket:
    server = environ.get("SERVER_SOFTWARE", "this server")
    sock = next((environ[name] for name in _SOCKET_KEYS if name in environ), None)
    if isinstance(sock, ssl.SSLSocket):
        problem, advice = "it does TLS itself", "let a proxy do that"
    elif sock is not None and type(sock).__module__.partition(".")[0] in ("gevent", "eventlet"):
        problem, advice = "it uses greenlets, not threads", _SUPPORTED_SERVERS
    elif not isinstance(sock, socket.socket):
        problem, advice = "it does not provide its sockets", _SUPPORTED_SERVERS
    elif not environ.get("wsgi.multithread", False):
        problem, advice = "it has one thread for all requests", _SUPPORTED_SERVERS
    else:
        return sock
    raise _UnsupportedServerError(f"OCPP does not work on {server}: {problem}; {advice}")


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
    """Return the request target still encoded: in the decoded PATH_INFO, a %2F in the identity looks like a slash."""
    raw = environ.get("RAW_URI") or environ.get("REQUEST_URI")
    if raw:
        return str(raw)
    path = f"{environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}".encode("latin-1")
    query = environ.get("QUERY_STRING", "")
    return f"{quote(path) or '/'}?{query}"


def _refuse(refusal: RefusalError, start_response: StartResponse) -> Iterable[bytes]:
    status, headers, body = refusal_parts(refusal)
    text = f"{refusal.reason}\n" if isinstance(refusal, _UnsupportedServerError) else body
    content = text.encode("latin-1", "replace")
    # The WSGI server sets the headers about the connection itself (PEP 3333).
    kept = [(name, value) for name, value in headers if name not in ("Connection", "Content-Length", "Upgrade")]
    start_response(status, [*kept, ("Content-Length", str(len(content)))])
    return [content]
