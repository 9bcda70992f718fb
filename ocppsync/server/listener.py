"""The listening socket and the thread that accepts from it."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
import threading
from collections.abc import Callable

from ..faults.log_lines import log_line
from ..throttled_log import LogThrottle, is_power_of_two

_logger = logging.getLogger(__name__)
_PAUSE = 0.2
"""Seconds to wait after a failed accept, such as without free file descriptors, instead of spinning."""


class Listener:
    """Binds its port at once; accepts connections from `start` on.

    Args:
        host: the address to listen on.
        port: the port; 0 picks a free one, see the attribute ``port``.

    Raises:
        OSError: it cannot listen on the address; the text names it.
    """

    def __init__(self, host: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            # The backlog holds a whole fleet that reconnects at once.
            self._socket = socket.create_server((host, port), family=family, backlog=1024)
        except OSError as error:
            # The text of the error repeats the address. getaddrinfo errors have negative numbers.
            reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
            raise OSError(error.errno, f"cannot listen on {host}:{port}: {reason}") from None
        self._socket.setblocking(False)
        self.port: int = self._socket.getsockname()[1]
        self._closed = False
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._thread: threading.Thread | None = None
        self._throttle = LogThrottle()

    def start(self, on_accept: Callable[[socket.socket], object]) -> None:
        """Start the accept thread.

        Args:
            on_accept: called with each new socket on the accept thread; it must not block.
        """
        name = f"ocppsync-accept-{self.port}"
        thread = threading.Thread(target=self._run, args=(on_accept,), name=name, daemon=True)
        thread.start()
        self._thread = thread  # only now: `close` must not join a thread that could not start

    def close(self) -> None:
        """Stop listening and end the accept thread."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._wake_writer.send(b"x")
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        for sock in (self._socket, self._wake_reader, self._wake_writer):
            sock.close()

    def _run(self, on_accept: Callable[[socket.socket], object]) -> None:
        # Ends: the poll is its only blocking point, and close() wakes it.
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        poll.register(self._wake_reader, select.POLLIN)
        wake = self._wake_reader.fileno()
        pause = select.poll()
        pause.register(wake, select.POLLIN)
        failures = 0
        # Check the flag first: after a close() from `on_accept` the polled descriptors may belong to other files.
        while not self._closed and wake not in dict(poll.poll()):
            try:
                sock, _ = self._socket.accept()
            except (BlockingIOError, ConnectionAbortedError, InterruptedError):
                continue
            except OSError as error:
                failures += 1
                if is_power_of_two(failures):
                    # Do not fill the log while the error persists.
                    text = "cannot accept connections (%d failures in a row): %s"
                    log_line(_logger, logging.ERROR, text, failures, error)
                pause.poll(_PAUSE * 1000)
                continue
            failures = 0
            self._hand_over(sock, on_accept)

    def _hand_over(self, sock: socket.socket, on_accept: Callable[[socket.socket], object]) -> None:
        try:
            sock.setblocking(True)
            on_accept(sock)
        except Exception as error:
            # Most likely no more threads can be started. Drop this connection, but keep the listener.
            self._throttle.log(_logger, "", "dropped", "dropped a new connection: %s", error, level=logging.ERROR)
            sock.close()
