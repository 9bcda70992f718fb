"""Web servers for the tests: Werkzeug's in this process, gunicorn as a process, and a client for both."""

from __future__ import annotations

import contextlib
import http.client
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from programs import Program
from werkzeug.serving import make_server

DEADLINE = 10.0
# Its log to where it can be waited for.
_GUNICORN = "import os, runpy; os.dup2(1, 2); runpy.run_module('gunicorn', run_name='__main__')"


@contextlib.contextmanager
def werkzeug(app: Any, **options: Any) -> Iterator[int]:
    """Serve ``app`` on a free port, and give its number."""
    server = make_server("127.0.0.1", 0, app, **{"threaded": True, **options})
    thread = threading.Thread(target=server.serve_forever, name="werkzeug")
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def gunicorn(directory: Path, *arguments: str, app: str = "site_of_test:app", **environment: str) -> Program:
    """Start gunicorn in a directory that holds ``app`` and a gunicorn.conf.py; it logs to its output."""
    environment = {"HOME": str(directory), "PYTHONPATH": str(directory), **environment}
    common = ["--config", str(directory / "gunicorn.conf.py"), "--chdir", str(directory), "--bind", "127.0.0.1:0"]
    return Program(["-W", "error", "-c", _GUNICORN, *common, *arguments, app], environment)


@contextlib.contextmanager
def running_site(directory: Path, app: str, **environment: str) -> Iterator[Program]:
    """Run gunicorn as `gunicorn` does, and have it end in good time and good order."""
    with gunicorn(directory, app=app, **environment) as program:
        yield program
        # Well before graceful_timeout: neither chargers nor pages hold it up.
        assert program.end(signal.SIGTERM)[0] == 0
        assert "Traceback" not in program.output


def port_of(program: Program) -> int:
    """Return where gunicorn listens; what connects from now on is served."""
    return int(program.wait_for(r"Listening at: http://127\.0\.0\.1:(\d+)")[1])


def ask(
    port: int, path: str, method: str = "GET", body: str | None = None, headers: dict[str, str] | None = None
) -> tuple[int, str]:
    """Send a request; return the status and the body of the response."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()
