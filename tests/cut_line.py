"""A line between two ends that a test can break."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Iterator

_DEADLINE = 10.0


class CutLine:
    """Forwards each connection to its port to another port, until it is cut.

    Args:
        target: the port that the connections go to.

    Attributes:
        port: the port that it listens on.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._orders, self._ordered = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._ordered, selectors.EVENT_READ)
        self._sinks: dict[socket.socket, socket.socket] = {}
        self._thread = threading.Thread(target=self._run, name="test-line")
        self._thread.start()

    def cut(self) -> None:
        """End all connections, without a closing handshake; nothing more passes them once this returns."""
        self._orders.send(b"c")
        assert self._orders.recv(1)

    def close(self) -> None:
        """End all connections, and listen no more."""
        self._orders.close()
        self._thread.join(_DEADLINE)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        # Ends: `close` closes the other end of _ordered.
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._listener:
                    self._open()
                elif key.fileobj is not self._ordered:
                    self._forward(key.fileobj)  # type: ignore[arg-type]
                elif self._ordered.recv(1):
                    self._cut()
                    self._ordered.send(b"c")
                else:
                    self._cut()
                    self._selector.close()
                    self._listener.close()
                    self._ordered.close()
                    return

    def _open(self) -> None:
        near, _ = self._listener.accept()
        far = socket.create_connection(("127.0.0.1", self._target))
        for source, sink in ((near, far), (far, near)):
            self._sinks[source] = sink
            self._selector.register(source, selectors.EVENT_READ)

    def _forward(self, source: socket.socket) -> None:
        sink = self._sinks.get(source)
        if sink is None:
            return  # it was cut since it became readable
        try:
            data = source.recv(65536)
            sink.sendall(data)
        except OSError:
            data = b""
        if not data:
            self._end(source, sink)

    def _cut(self) -> None:
        while self._sinks:
            self._end(*next(iter(self._sinks.items())))

    def _end(self, *ends: socket.socket) -> None:
        for end in ends:
            del self._sinks[end]
            self._selector.unregister(end)
            end.close()


@contextlib.contextmanager
def cut_line(target: int) -> Iterator[CutLine]:
    """Open a line to a port."""
    line = CutLine(target)
    try:
        yield line
    finally:
        line.close()
