"""A small HTTP server that hands out files and takes uploads."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Callable, Iterator
from typing import Any

from support import DEADLINE, Recorder


class FileServer:
    """What the server hands out, and what it got.

    Attributes:
        files: the content of each path, or a function that answers the request itself.
        statuses: the status of each path, for which 200 is the default; a list is used up from its start.
        requests: the method and the path of each request.
        uploads: the path, the headers and the content of each PUT.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes | Callable[[Any], object]] = {}
        self.statuses: dict[str, list[int]] = {}
        self.requests = Recorder()
        self.uploads = Recorder()
        self.port = 0

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def status(self, path: str) -> int:
        waiting = self.statuses.get(path)
        return waiting.pop(0) if waiting else 200 if path in self.files else 404


@contextlib.contextmanager
def file_server() -> Iterator[FileServer]:
    server = FileServer()

    class Handler(http.server.BaseHTTPRequestHandler):
        timeout = DEADLINE

        def do_GET(self) -> None:
            server.requests(("GET", self.path))
            content = server.files.get(self.path, b"not found")
            if callable(content):
                content(self)
                return
            self.answer(server.status(self.path), content)

        def do_PUT(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            server.uploads((self.path, dict(self.headers), content))
            waiting = server.statuses.get(self.path)
            self.answer(waiting.pop(0) if waiting else 201, b"")

        def answer(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Log nothing."""

    class Server(http.server.ThreadingHTTPServer):
        block_on_close = True
        daemon_threads = False

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that goes in between is part of the tests."""

    with Server(("127.0.0.1", 0), Handler) as http_server:
        server.port = http_server.server_address[1]
        thread = threading.Thread(target=http_server.serve_forever, name="test-files", kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            http_server.shutdown()
            thread.join(DEADLINE)


class Gate:
    """Holds a request until the test opens it, or the client goes."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()

    def __call__(self, handler: Any) -> None:
        self.reached.set()
        handler.connection.settimeout(DEADLINE)
        # The client sends nothing more: this returns when it closes.
        handler.rfile.read(1)
        self.opened.set()
