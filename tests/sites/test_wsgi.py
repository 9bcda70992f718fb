"""A central system on the connections of web servers."""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIServer

import pytest
import waitress.server
from certificates import Authority
from site_servers import ask, gunicorn, port_of, werkzeug
from support import BOOT, DEADLINE, Recorder, accept_boots, basic, connected, inside
from wire import CLOSE, UPGRADE, dial, request

from ocppsync import (
    CentralSystem,
    ChargePoint,
    HandshakeError,
    Limits,
    NotConnectedError,
    Passwords,
    SecurityProfiles,
    hash_password,
)
from ocppsync.central_system import server_of
from ocppsync.events import Refused
from ocppsync.wsgi import Mount, close_with_worker, wsgi_app


@pytest.fixture
def cs() -> Iterator[CentralSystem]:
    with CentralSystem(None) as cs:
        accept_boots(cs)
        yield cs


def charge_point(port: int | None, name: str = "CP1", path: str = "/ocpp", **options: Any) -> ChargePoint:
    cp = ChargePoint(name, url=f"ws://127.0.0.1:{port}{path}", **options)
    cp.on("Reset")(lambda payload, metadata: {"status": "Accepted"})
    return cp


# Connections.


def test_requests_go_both_ways(cs: CentralSystem) -> None:
    events = connected(cs)
    with werkzeug(wsgi_app(cs)) as port:
        with charge_point(port) as cp:
            assert cp.send_request("BootNotification", BOOT)["status"] == "Accepted"
            assert cs.send_request("CP1", "Reset", {"type": "Soft"}) == {"status": "Accepted"}
            assert cs.charge_points == ["CP1"]
        assert events.wait(2) == [("CP1", "connected"), ("CP1", "disconnected")]
    with pytest.raises(NotConnectedError):
        cs.send_request("CP1", "Reset", {"type": "Soft"})


def test_the_handler_sees_the_request(cs: CentralSystem) -> None:
    seen = Recorder()

    @cs.on("Heartbeat")
    def heartbeat(payload: Any, metadata: Any) -> Any:
        seen(metadata.charge_point_id, metadata.http_request)
        return {"currentTime": "2026-01-01T00:00:00Z"}

    with werkzeug(wsgi_app(cs)) as port, charge_point(port, "CP /1", password=b"secret") as cp:
        cp.send_request("BootNotification", BOOT)
        cp.send_request("Heartbeat", {})
    ((name, http_request),) = seen.wait()
    assert name == "CP /1"
    assert http_request.path == "/ocpp/CP%20%2F1"
    assert http_request.method == "GET"
    assert http_request.headers["sec-websocket-protocol"].startswith("ocpp")
    assert http_request.basic_credentials == (b"CP /1", b"secret")
    assert http_request.remote_address[0] == "127.0.0.1"


def test_own_port_and_web_server_share_the_charge_points() -> None:
    with CentralSystem(0, host="127.0.0.1") as cs, werkzeug(wsgi_app(cs)) as port:
        accept_boots(cs)
        with charge_point(port, "WEB"), charge_point(cs.port, "OWN"):
            assert cs.charge_points == ["OWN", "WEB"]
        with dial(port) as first, dial(cs.port) as second:
            first.upgrade("/ocpp/CP1")
            second.upgrade("/CP1")
            assert first.read_close() == (1008, "another connection of the same identity")


def test_the_end_leaves_nothing_behind(cs: CentralSystem, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    before = {thread.name for thread in threading.enumerate()}
    with werkzeug(wsgi_app(cs)) as port:
        with dial(port) as peer:
            peer.upgrade("/hangs-up")
        with dial(port) as peer:
            peer.upgrade("/closes")
            peer.send_close()
            assert peer.read_frame().opcode == CLOSE
            assert peer.read_rest() == b""  # no HTTP
        events = connected(cs)
        cs.close()
        # That they came was told before; that they went, perhaps.
        assert {status for _, status in events.items} <= {"disconnected"}
        assert cs.charge_points == []
    assert {thread.name for thread in threading.enumerate()} <= before
    assert caplog.messages == []


def test_close_sends_a_close_frame(cs: CentralSystem) -> None:
    with werkzeug(wsgi_app(cs)) as port, dial(port) as peer:
        peer.upgrade()
        closing = threading.Thread(target=cs.close)
        closing.start()
        assert peer.read_close() == (1001, "the central system is closing")
        peer.send_close(1001)
        peer.wait_for_end()
        closing.join(DEADLINE)
        assert not closing.is_alive()
        with dial(port) as late:
            assert late.ask(request()).status == 503


# Refusals.


def test_who_has_hung_up_costs_no_hash(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    caplog.set_level(logging.INFO, "ocppsync.server.acceptor")
    passwords = Passwords({}, hasher=functools.partial(hash_password, n=2))
    monkeypatch.setattr("ocppsync.security.passwords._derive", lambda *_: pytest.fail("a hash was made"))
    ours, theirs = socket.socketpair()
    environ = {
        "werkzeug.socket": ours,
        "wsgi.multithread": True,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "PATH_INFO": "/CP1",
        "REMOTE_ADDR": "192.0.2.1",
        "HTTP_AUTHORIZATION": basic("CP1", b"secret"),
        **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in UPGRADE.items()},
    }
    answers = Recorder()
    with CentralSystem(None, security=SecurityProfiles(passwords=passwords)) as cs, ours:
        theirs.close()
        assert list(wsgi_app(cs)(environ, answers)) == [b"408 Request Timeout\n"]
        assert "connections=0" in repr(server_of(cs).context.acceptor._limiter)
    assert [status for status, _ in answers.items] == ["408 Request Timeout"]
    assert "hung up before its password was checked" in caplog.text


@pytest.mark.parametrize(
    ("path", "method", "changes", "status"),
    [
        ("/CP1", "GET", {"Upgrade": None}, 426),
        ("/CP1", "POST", {}, 405),
        ("/CP1", "GET", {"Sec_WebSocket_Version": "8"}, 426),
        ("/CP1", "GET", {"Sec_WebSocket_Key": "short"}, 400),
        ("/", "GET", {}, 404),
        ("/%ff", "GET", {}, 400),
    ],
)
def test_a_request_without_upgrade_is_refused_as_on_the_own_port(
    path: str, method: str, changes: dict[str, Any], status: int
) -> None:
    data = request(path, method, **changes)
    with (
        CentralSystem(0, host="127.0.0.1") as cs,
        werkzeug(wsgi_app(cs)) as port,
        dial(port) as web,
        dial(cs.port) as own,
    ):
        answers = [web.ask(data), own.ask(data)]
    assert [answer.status for answer in answers] == [status, status]
    assert answers[0].body == answers[1].body
    for name in ("Allow", "Sec-WebSocket-Version"):
        assert answers[0].header(name) == answers[1].header(name)


def test_an_unauthorised_charge_point_gets_no_upgrade() -> None:
    def authorize(http_request: Any, name: str) -> bool:
        return bool(http_request.basic_credentials == (b"CP1", b"key"))

    with CentralSystem(None, authorize=authorize) as cs, werkzeug(wsgi_app(cs)) as port:
        with dial(port) as peer:
            answer = peer.ask(request())
            assert (answer.status, answer.header("WWW-Authenticate")) == (401, 'Basic realm="ocpp"')
        with pytest.raises(HandshakeError, match="401"):
            charge_point(port, password="wrong").connect()
        with charge_point(port, password="key"):
            assert cs.charge_points == ["CP1"]


@pytest.mark.parametrize(
    ("options", "changes", "status"),
    [
        ({"authorize": lambda http_request, name: False}, {}, 401),
        ({"authorize": lambda http_request, name: 403}, {}, 403),
        ({"authorize": lambda http_request, name: 1 // 0}, {}, 500),
        ({"identify": lambda http_request: None}, {}, 404),
        ({"refuse_unknown_protocol": True}, {"Sec_WebSocket_Protocol": "ocpp0.9"}, 400),
        ({"security": SecurityProfiles(passwords={"CP1": "a password of CP1"})}, {}, 401),
    ],
)
def test_refusals_are_the_same_as_on_the_own_port(
    options: dict[str, Any], changes: dict[str, Any], status: int
) -> None:
    told = Recorder()
    data = request(**changes)
    with (
        CentralSystem(0, host="127.0.0.1", observers=[told], **options) as cs,
        werkzeug(wsgi_app(cs)) as port,
        dial(port) as web,
        dial(cs.port) as own,
    ):
        answers = [web.ask(data), own.ask(data)]
        events = told.wait(2)
    assert [answer.status for answer in answers] == [status, status]
    assert answers[0].body == answers[1].body
    assert answers[0].header("WWW-Authenticate") == answers[1].header("WWW-Authenticate")
    assert events[0] == events[1]
    assert isinstance(events[0], Refused)


def test_a_client_behind_a_trusted_proxy_is_named_as_on_the_own_port(caplog: pytest.LogCaptureFixture) -> None:
    told = Recorder()
    data = request(X_Forwarded_For="192.0.2.1")
    options: dict[str, Any] = {"authorize": lambda http_request, name: 404, "trusted_proxies": ["127.0.0.1"]}
    with (
        CentralSystem(0, host="127.0.0.1", observers=[told], **options) as cs,
        werkzeug(wsgi_app(cs)) as port,
        dial(port) as web,
        dial(cs.port) as own,
    ):
        assert [web.ask(data).status, own.ask(data).status] == [404, 404]
        events = told.wait(2)
    assert [event.remote_address for event in events] == ["192.0.2.1"] * 2
    assert re.sub(r":\d+", "", caplog.messages[0]).startswith("refused 192.0.2.1 through 127.0.0.1 /CP1 with HTTP 404")
    assert "2 so far" in caplog.messages[1]


def test_the_thread_of_the_request_is_the_reader() -> None:
    serving, reading = Recorder(), Recorder()
    with CentralSystem(None, on_raw_websocket_data=lambda text, metadata: reading(threading.get_ident())) as cs:
        accept_boots(cs)
        application = wsgi_app(cs)

        def serve(environ: Any, start_response: Any) -> Any:
            serving(threading.get_ident())
            return application(environ, start_response)

        with werkzeug(serve) as port, charge_point(port) as cp:
            cp.send_request("BootNotification", BOOT)
    assert reading.wait() == serving.wait()


def test_a_request_for_a_whole_url_is_one_for_its_path() -> None:
    """As a proxy may write it (RFC 9112 §3.2.2), and as the central system's own port reads it."""
    paths = Recorder()

    def authorize(http_request: Any, name: str) -> bool:
        paths(http_request.path)
        return True

    with CentralSystem(None, authorize=authorize) as cs:
        application: Any = wsgi_app(cs)

        def raw(environ: Any, start_response: Any) -> Any:
            # gunicorn's name for what the request line held.
            return application({**environ, "RAW_URI": environ["HTTP_TARGET"]}, start_response)

        with werkzeug(raw) as port:
            for target, status in (("http://host/ocpp/CP1?x=1", 101), ("http://host", 404), ("ftp://host/CP1", 400)):
                with dial(port) as peer:
                    assert peer.ask(request(target=target)).status == status
    assert paths.items == ["/ocpp/CP1"]


def test_the_identity_may_come_from_elsewhere() -> None:
    def identify(http_request: Any) -> str | None:
        return http_request.query.removeprefix("id=") or None

    with CentralSystem(None, identify=identify) as cs, werkzeug(wsgi_app(cs)) as port:
        with dial(port) as peer:
            assert peer.ask(request("/ocpp")).status == 404
        with dial(port) as peer:
            peer.upgrade("/ocpp?id=CP7")
            assert cs.charge_points == ["CP7"]


def test_subprotocols_are_chosen_as_on_its_own_port(cs: CentralSystem) -> None:
    with werkzeug(wsgi_app(cs)) as port:
        with dial(port) as peer:
            answer = peer.upgrade(Sec_WebSocket_Protocol="ocpp0.9, ocpp2.0.1, ocpp1.6")
            assert answer.header("Sec-WebSocket-Protocol") == "ocpp2.0.1"
        with dial(port) as peer:
            assert peer.upgrade("/CP2", Sec_WebSocket_Protocol=None).header("Sec-WebSocket-Protocol") is None
            assert peer.read_close()[0] == 1002


def test_the_limits_count() -> None:
    with CentralSystem(None, limits=Limits(connections=1)) as cs, werkzeug(wsgi_app(cs)) as port:
        events = connected(cs)
        with dial(port) as first, dial(port) as second:
            first.upgrade()
            assert second.ask(request("/CP2")).status == 503
            first.send_close()
            first.wait_for_end()
        events.wait(2)
        cs.close()
    with CentralSystem(None, limits=Limits(connections=1)) as cs, werkzeug(wsgi_app(cs)) as port:
        for _ in range(3):
            with dial(port) as peer:
                assert peer.ask(request("/CP1", Upgrade=None)).status == 426


def test_a_response_that_is_not_read_releases_its_slot() -> None:
    inside: list[Any] = []
    with CentralSystem(None, limits=Limits(connections=1)) as cs:
        app: Any = wsgi_app(cs)

        def drop(environ: Any, start_response: Any) -> Any:
            if environ["PATH_INFO"] == "/DROPPED":
                app(environ, start_response).close()
                inside.append(repr(server_of(cs)._acceptor._limiter))
                start_response("418 I'm a teapot", [])
                return []
            return app(environ, start_response)

        with werkzeug(drop) as port:
            with dial(port) as peer:
                assert peer.ask(request("/DROPPED")).status == 418
            assert "connections=0" in inside[0]
            with charge_point(port):
                assert cs.charge_points == ["CP1"]


def test_a_charge_point_that_has_hung_up_is_not_let_in(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ocppsync")
    began, go_on, sockets = threading.Event(), threading.Event(), Recorder()

    def authorize(http_request: Any, charge_point_id: str) -> bool:
        if not began.is_set():
            began.set()
            assert go_on.wait(DEADLINE)
        return True

    with CentralSystem(None, authorize=authorize) as cs:
        accept_boots(cs)
        app: Any = wsgi_app(cs)

        def seen(environ: Any, start_response: Any) -> Any:
            sockets(environ["werkzeug.socket"])
            return app(environ, start_response)

        with werkzeug(seen) as port:
            with dial(port) as peer:
                peer.send(request())
                assert began.wait(DEADLINE)
            with charge_point(port) as cp:
                assert cp.connected
                assert sockets.items[0].recv(1) == b""  # its end has arrived
                go_on.set()
                deadline = time.monotonic() + DEADLINE
                while "CP1 was not let in" not in caplog.text:
                    assert time.monotonic() < deadline
                    assert cp.send_request("BootNotification", BOOT, timeout=DEADLINE)
            assert "connected again" not in caplog.text


def test_without_a_descriptor_a_charge_point_gets_an_answer(
    cs: CentralSystem, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(sock: socket.socket) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    with werkzeug(wsgi_app(cs)) as port:
        with monkeypatch.context() as patch, dial(port) as peer:
            patch.setattr(socket.socket, "dup", refuse)
            assert peer.ask(request()).status == 500
            peer.wait_for_end()
        assert inside(cs) == "0"
        assert "CP1 could not be served" in caplog.text
        with charge_point(port):
            assert cs.charge_points == ["CP1"]


def test_a_server_that_cannot_begin_its_response_releases_the_slot(cs: CentralSystem) -> None:
    app: Any = wsgi_app(cs)

    def broken(environ: Any, start_response: Any) -> Any:
        def fail(*_: Any) -> Any:
            raise RuntimeError

        with contextlib.suppress(RuntimeError):
            app(environ, fail)
        start_response("418 I'm a teapot", [])
        return []

    with werkzeug(broken) as port, dial(port) as peer:
        assert peer.ask(request()).status == 418
    assert inside(cs) == "0"


def test_an_older_http_is_refused(cs: CentralSystem) -> None:
    with werkzeug(wsgi_app(cs)) as port, dial(port) as peer:
        assert peer.ask(request().replace(b"HTTP/1.1", b"HTTP/1.0")).status == 505


# Servers that cannot do it.


def unfit(port: int, tls: Any = None, path: str = "/CP1") -> str:
    """Ask such a server for an upgrade, and return what it says."""
    with dial(port, ssl_context=tls) as peer:
        peer.send(request(path))
        # Any HTTP will do: the standard library answers with 1.0.
        head = peer.read_until(b"\r\n\r\n").decode()
        assert head.splitlines()[0].split(" ", 1)[1] == "501 Not Implemented"
        (length,) = re.findall(r"(?i)^Content-Length: (\d+)", head, re.MULTILINE)
        return peer.read(int(length)).decode()


def test_waitress_says_what_to_use(cs: CentralSystem, caplog: pytest.LogCaptureFixture) -> None:
    server: Any = waitress.server.create_server(wsgi_app(cs), host="127.0.0.1", port=0, map={})
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            server.asyncore.loop(0.05, map=server._map, count=1)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        port = int(server.effective_port)
        text = unfit(port)
        assert text.startswith("OCPP does not work on waitress: it does not provide its sockets")
        assert "gunicorn with --worker-class gthread, or Werkzeug's server with threaded=True" in text
        assert "it does not provide its sockets" in caplog.text
        assert "gunicorn" in ask(port, "/")[1]
    finally:
        stop.set()
        thread.join()
        server.task_dispatcher.shutdown()
        server.close()
        for channel in list(server._map.values()):
            channel.close()


def test_the_server_of_the_standard_library_says_what_to_use(cs: CentralSystem) -> None:
    from wsgiref.simple_server import WSGIRequestHandler

    class Quiet(WSGIRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

    with WSGIServer(("127.0.0.1", 0), Quiet) as server:
        server.set_app(wsgi_app(cs))
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        assert "it does not provide its sockets" in unfit(server.server_port)
        thread.join()


def test_a_server_with_one_thread_says_what_to_use(cs: CentralSystem) -> None:
    with werkzeug(wsgi_app(cs), threaded=False) as port:
        assert "it has one thread for all requests" in unfit(port)


def test_a_server_that_does_tls_says_what_to_do(cs: CentralSystem, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with werkzeug(wsgi_app(cs), ssl_context=authority.server_context()) as port:
        assert "it does TLS itself; let a proxy do that" in unfit(port, authority.client_context())


# Under a path.


def echo(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["PATH_INFO"].encode()]


def test_a_mount_keeps_to_its_prefix(cs: CentralSystem) -> None:
    with werkzeug(Mount(echo, cs, "/ocpp")) as port:
        assert ask(port, "/") == (200, "/")
        assert ask(port, "/ocppx") == (200, "/ocppx")
        assert ask(port, "/ocpp/")[0] == 426
        with charge_point(port):
            assert cs.charge_points == ["CP1"]


@pytest.mark.parametrize("prefix", ["", "ocpp", "/", "/ocpp/"])
def test_a_mount_rejects_an_invalid_prefix(cs: CentralSystem, prefix: str) -> None:
    with pytest.raises(ValueError, match="must begin with a slash"):
        Mount(echo, cs, prefix)


def test_the_frameworks_request_has_ended_before_the_connection_is_served(cs: CentralSystem) -> None:
    through = threading.Event()
    app = wsgi_app(cs)

    def surround(environ: Any, start_response: Any) -> Any:
        response = app(environ, start_response)
        through.set()
        return response

    with werkzeug(surround) as port, charge_point(port):
        assert through.wait(DEADLINE)


# gunicorn.


SITE = """
import logging
from ocppsync import CentralSystem
from ocppsync.wsgi import Mount

logging.basicConfig(level=logging.INFO)
cs = CentralSystem(None)

def commands(environ, start_response):
    text = ",".join(cs.charge_points)
    name = environ["PATH_INFO"].strip("/")
    if name:
        text = cs.send_request(name, "Reset", {"type": "Soft"})["status"]
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(text)))])
    return [text.encode()]

app = Mount(commands, cs, "/ocpp")
"""
HOOK = """
worker_class = "gthread"
threads = 8


def post_worker_init(worker):
    from site_of_test import cs
    from ocppsync.wsgi import close_with_worker

    close_with_worker(cs, worker)
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "site_of_test.py").write_text(SITE, encoding="utf-8")
    (tmp_path / "gunicorn.conf.py").write_text(HOOK, encoding="utf-8")
    return tmp_path


# Not with SIGINT and SIGQUIT: gunicorn's own handler of these shuts its thread pool down, and may wait there for a lock
# that the very thread it has interrupted holds.
@pytest.mark.slow
def test_a_worker_that_stops_sends_a_close_frame(directory: Path) -> None:
    with gunicorn(directory) as program:
        port = port_of(program)
        with dial(port) as peer:
            peer.upgrade("/ocpp/CP1")
            assert ask(port, "/") == (200, "CP1")
            program.process.send_signal(signal.SIGTERM)
            assert peer.read_close() == (1001, "the central system is closing")
            peer.send_close(1001)
            peer.wait_for_end()
            # Well before the 30 seconds that gunicorn waits, which `wait` does not.
            status, _ = program.wait()
        assert status == 0
        assert "Traceback" not in program.output
        assert "Error" not in program.output


def change_worker(directory: Path, change: Callable[[Any, int], object], *arguments: str) -> None:
    with gunicorn(directory, *arguments) as program:
        port = port_of(program)
        with dial(port) as peer:
            peer.upgrade("/ocpp/CP1")
            change(program, port)
            assert peer.read_close() == (1001, "the central system is closing")
            peer.send_close(1001)
            peer.wait_for_end()
        program.wait_for(r"(?s)Booting worker.*Booting worker")
        program.wait_for(r"Worker exiting")
        with charge_point(port):
            assert ask(port, "/CP1") == (200, "Accepted")
        assert program.end(signal.SIGTERM)[0] == 0
        assert "Traceback" not in program.output


@pytest.mark.slow
def test_a_reload_sends_the_charge_points_to_the_new_worker(directory: Path) -> None:
    change_worker(directory, lambda program, port: program.process.send_signal(signal.SIGHUP))


@pytest.mark.slow
def test_a_worker_that_served_enough_requests_sends_the_charge_points_to_the_next(directory: Path) -> None:
    def use_up(program: Any, port: int) -> None:
        for _ in range(4):
            assert ask(port, "/") == (200, "CP1")

    change_worker(directory, use_up, "--max-requests", "5")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("worker", "reason"),
    [("sync", "it has one thread for all requests"), ("gevent", "it uses greenlets, not threads")],
)
def test_an_unsupported_worker_says_what_to_use(directory: Path, worker: str, reason: str) -> None:
    with gunicorn(directory, "--worker-class", worker, "--threads", "1") as program:
        port = port_of(program)
        text = unfit(port, path="/ocpp/CP1")
        assert reason in text
        assert "use gunicorn with --worker-class gthread" in text
        program.wait_for(f"ocppsync.server.acceptor:refused .* with HTTP 501: .*{reason}; use gunicorn")
        assert ask(port, "/") == (200, "")  # the rest of the site is as ever
        assert program.end(signal.SIGTERM)[0] == 0
        assert "Traceback" not in program.output


def test_the_worker_is_watched_until_it_stops() -> None:
    class Worker:
        alive = True
        ppid = -1  # its parent has gone

    closed = threading.Event()

    class Site:
        def close(self) -> None:
            closed.set()

    close_with_worker(Site(), Worker())
    assert closed.wait(DEADLINE)
