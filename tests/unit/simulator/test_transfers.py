"""Downloads and uploads over real sockets: what succeeds, what fails, and how they end."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority
from file_server import FileServer, Gate, file_server
from support import DEADLINE

from ocppsync import ServerTLS, client_context
from ocppsync.simulator import transfers
from ocppsync.simulator.jobs import Job
from ocppsync.simulator.transfers import Download, TransferError, download, upload


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server() as server:
        yield server


def job() -> Job:
    return Job("test-transfer", lambda job: None)


def failure(transfer: Callable[[], object]) -> TransferError:
    with pytest.raises(TransferError) as caught:
        transfer()
    return caught.value


def test_a_file_is_downloaded(server: FileServer) -> None:
    content = bytes(range(256)) * 1000
    server.files["/fw?x=1"] = content
    assert download(server.url("/fw?x=1"), job()) == Download(256_000, content[:1024], hashlib.sha256(content).digest())


def test_a_chunked_file_is_downloaded(server: FileServer) -> None:
    def answer(handler: Any) -> None:
        handler.protocol_version = "HTTP/1.1"
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")

    server.files["/fw"] = answer
    assert download(server.url("/fw"), job()).head == b"abcde"


def test_a_text_is_uploaded(server: FileServer) -> None:
    upload(server.url("/logs/a.log"), b"content", job())
    ((path, headers, content),) = server.uploads.items
    assert (path, content) == ("/logs/a.log", b"content")
    assert headers["Content-Type"] == "text/plain; charset=utf-8"
    assert "Authorization" not in headers


def test_credentials_in_the_url_are_sent_as_basic(server: FileServer) -> None:
    upload(f"http://al:pa%40ss@127.0.0.1:{server.port}/a", b"", job())
    ((_, headers, _),) = server.uploads.items
    assert headers["Authorization"] == "Basic YWw6cGFAc3M="  # al:pa@ss


@pytest.mark.parametrize("status", [301, 302, 307, 404, 500])
def test_another_status_fails_without_a_second_request(server: FileServer, status: int) -> None:
    def answer(handler: Any) -> None:
        handler.send_response(status)
        handler.send_header("Location", server.url("/secret"))
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    server.files.update({"/fw": answer, "/secret": b"2.0"})
    error = failure(lambda: download(server.url("/fw"), job()))
    assert (error.text, error.http_status) == (f"the server answered {status}, not 200", status)
    assert server.requests.items == [("GET", "/fw")]


def test_a_refused_upload_fails(server: FileServer) -> None:
    server.statuses["/a"] = [403]
    error = failure(lambda: upload(server.url("/a"), b"x", job()))
    assert (error.text, error.http_status) == ("the server answered 403, not 2xx", 403)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("ftp://127.0.0.1/fw", "the scheme 'ftp' is not supported; supported: http, https"),
        ("file:///etc/passwd", "the scheme 'file' is not supported; supported: http, https"),
        ("/fw", "the scheme '' is not supported; supported: http, https"),
        ("http:///fw", "the location is not a valid URL"),
        ("http://[::1/fw", "the location is not a valid URL"),
        ("http://127.0.0.1:99999/fw", "the location is not a valid URL"),
        ("http://127.0.0.1:0/fw", "the location is not a valid URL"),
    ],
)
def test_other_locations_are_refused(url: str, text: str) -> None:
    assert failure(lambda: download(url, job())).text == text


@pytest.mark.parametrize("path", ["/f w", "/f\r\nHost: x", "/fü"])
def test_a_path_cannot_add_lines_to_the_request(server: FileServer, path: str) -> None:
    error = failure(lambda: download(server.url(path), job()))
    assert error.http_status == 404 or error.text == "the location is not a valid URL"
    assert all("Host" not in path or "\n" not in path for _, path in server.requests.items)


def test_a_server_that_does_not_listen_fails() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/fw"
        assert failure(lambda: download(url, job())).text == "the server refused the connection"


def test_a_file_that_ends_early_fails(server: FileServer) -> None:
    def answer(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "100")
        handler.end_headers()
        handler.wfile.write(b"only this")

    server.files["/fw"] = answer
    assert failure(lambda: download(server.url("/fw"), job())).text == "the connection broke"


def test_what_is_not_http_fails(server: FileServer) -> None:
    server.files["/fw"] = lambda handler: handler.wfile.write(b"hello\r\n\r\n")
    assert failure(lambda: download(server.url("/fw"), job())).text == "the connection broke"


def test_a_file_that_is_too_long_fails(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfers, "MAX_BYTES", 10)
    server.files.update({"/10": b"x" * 10, "/11": b"x" * 11})
    assert download(server.url("/10"), job()).size == 10
    assert failure(lambda: download(server.url("/11"), job())).text == "the file has more than 10 bytes"


@pytest.mark.parametrize("within", ["the head", "the content"])
def test_a_slow_server_cannot_stretch_the_time(
    server: FileServer, monkeypatch: pytest.MonkeyPatch, within: str
) -> None:
    monkeypatch.setattr(transfers, "MAX_SECONDS", 0.3)
    failed, ended = threading.Event(), threading.Event()

    def drip(handler: Any) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n" + (b"" if within == "the head" else b"\r\n"))
        try:
            for _ in range(1000):
                handler.wfile.write(b"x")
                failed.wait(0.01)
        except OSError:
            ended.set()

    server.files["/fw"] = drip
    began = time.monotonic()
    assert "it took more than" in failure(lambda: download(server.url("/fw"), job())).text
    assert time.monotonic() - began < 5
    failed.set()
    assert ended.wait(DEADLINE)


def test_a_cancelled_job_ends_its_transfer(server: FileServer) -> None:
    gate = Gate()
    server.files["/fw"] = gate
    errors: list[str] = []
    running = Job("test-transfer", lambda job: errors.append(failure(lambda: download(server.url("/fw"), job)).text))
    running.start()
    assert gate.reached.wait(DEADLINE)
    running.cancel()
    running.join(DEADLINE)
    assert errors == ["it was cancelled"]
    assert gate.opened.wait(DEADLINE)


def test_a_cancelled_job_ends_the_handshake_of_tls() -> None:
    errors: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/fw"
        running = Job("test-transfer", lambda job: errors.append(failure(lambda: download(url, job)).text))
        running.start()
        peer, _ = silent.accept()
        with peer:
            assert peer.recv(1)  # the handshake has begun
            running.cancel()
            running.join(DEADLINE)
    assert errors == ["it was cancelled"]


def test_a_job_that_is_cancelled_already_transfers_nothing(server: FileServer) -> None:
    cancelled = job()
    cancelled.cancel()
    assert failure(lambda: upload(server.url("/a"), b"x", cancelled)).text == "it was cancelled"
    assert server.uploads.items == []


def test_https_checks_the_server(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate = authority.issue()
    context = ServerTLS([(certificate.certificate, certificate.key)]).context
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/fw"

        def serve() -> None:
            for _ in range(2):
                sock, _ = listener.accept()
                try:
                    with sock, context.wrap_socket(sock, server_side=True) as tls:
                        tls.recv(4096)
                        tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n2.0")
                except OSError:
                    pass

        thread = threading.Thread(target=serve, name="test-https")
        thread.start()
        assert failure(lambda: download(url, job())).text == "TLS failed"
        assert download(url, job(), client_context(authority.certificate)).head == b"2.0"
        thread.join(DEADLINE)
