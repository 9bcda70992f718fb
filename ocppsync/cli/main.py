"""The command ``ocppsync``: a central system to look on while chargers, real or simulated, talk to it."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import logging
import os
import queue
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, NoReturn, TextIO

from .._version import __version__
from ..answers import Answer, CentralSystemAnswers
from ..central_system import CentralSystem
from ..errors import CallError, CallErrorReceived, HandshakeError, OCPPError
from ..limits import Timeouts
from ..options import check_positive
from ..request import Request, RequestMetadata
from ..server.registry import ConnectionStatus
from ..simulator import SimulatedChargePoint
from ..validation.catalogue import SUBPROTOCOLS, Version, catalogue
from ..wire.tls import client_context
from .conversation import Conversation, LogLines
from .readable import printable

__all__ = ["main"]

_MAX_SIMULATED = 500
_VERSIONS: tuple[Version, ...] = tuple(SUBPROTOCOLS.values())
_SPOKEN = f"{', '.join(_VERSIONS[:-1])} and {_VERSIONS[-1]}"
_ALL_STARTED = 10.0
"""Seconds after which the last of many simulated charge points has started."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command, and return its exit status: 0, 1 for what went wrong, 2 for a wrong call of it."""
    options = _parser().parse_args(arguments)
    _forgive_encodings(sys.stdout, sys.stderr)
    try:
        status: int = options.run(options)
        return status
    except KeyboardInterrupt:
        # A second Ctrl-C, while it closes.
        return 130


# The command line.


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="ocppsync", description="OCPP without asyncio.")
    parser.add_argument("--version", action="version", version=f"ocppsync {__version__}")
    commands = parser.add_subparsers(metavar="command", required=True)
    serve = commands.add_parser(
        "serve",
        help="run a central system that accepts any charger, and show the conversation",
        description=f"Run a central system for OCPP {_SPOKEN} that accepts any charger, and show the conversation.",
    )
    serve.add_argument("--host", default="0.0.0.0", help="the address to listen on (default: all)")  # noqa: S104
    serve.add_argument("--port", type=_port, default=9000, help="0 picks a free one (default: 9000)")
    serve.add_argument("--simulate", type=_count, default=0, metavar="N", help="also run N simulated charge points")
    serve.add_argument(
        "--ocpp",
        type=_versions,
        default=",".join(_VERSIONS),
        metavar="VERSIONS",
        help="the versions of OCPP that those speak, in turn (default: %(default)s)",
    )
    serve.add_argument(
        "--pace", type=_pace, default=1.0, metavar="X", help="how fast those live; 10 is ten times as fast (default: 1)"
    )
    serve.add_argument("--verbose", action="store_true", help="show whole payloads and the library's log")
    serve.add_argument("--journal", metavar="FILE", help="also write every message to a file, as lines of JSON")
    serve.set_defaults(run=_serve)
    replayed = commands.add_parser(
        "replay",
        help="play the charge point's side of a journal, and show where the central system answers otherwise",
        description="Play the charge points' side of a journal against a central system, one connection after the "
        "other, and show where it answers otherwise than it did then. The exit status is 1 if it does.",
    )
    replayed.add_argument("journal", metavar="FILE", help="a journal that a central system wrote")
    replayed.add_argument("--url", default="ws://127.0.0.1:9000", help="the endpoint (default: %(default)s)")
    replayed.add_argument("--ca", metavar="FILE", help="whom to trust where that is wss: certificates as PEM")
    replayed.add_argument("--charge-point", metavar="ID", help="only the connections of this one")
    replayed.add_argument(
        "--ignore", action="append", default=[], metavar="FIELD", help="a field that may differ, beside currentTime"
    )
    replayed.add_argument("--timeout", type=_pace, default=10.0, metavar="S", help="seconds to wait (default: 10)")
    replayed.set_defaults(run=_replay)
    return parser


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; a number from 0 to 65535 is")
    return int(text)


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > _MAX_SIMULATED:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to {_MAX_SIMULATED}")
    return int(text)


def _versions(text: str) -> tuple[Version, ...]:
    spoken: Mapping[str, Version] = {version: version for version in _VERSIONS}
    named = [name.strip() for name in text.split(",")]
    for name in named:
        if name not in spoken:
            raise argparse.ArgumentTypeError(f"{name!r} is no version of OCPP that is spoken here; {_SPOKEN} are")
    return tuple(spoken[name] for name in named)


def _pace(text: str) -> float:
    try:
        check_positive(pace=float(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0") from None
    return float(text)


def _forgive_encodings(*streams: TextIO) -> None:
    # A terminal that knows no arrows must not end the command.
    for stream in streams:
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


# ocppsync replay


def _replay(options: argparse.Namespace) -> int:
    from ..journal import read_journal
    from ..testing.replay import IGNORED, replay

    differences = messages = 0
    try:
        context = None if options.ca is None else client_context(options.ca)
        sessions = [
            session
            for session in read_journal(options.journal)
            if options.charge_point in (None, session.charge_point_id)
        ]
        for session in sessions:
            found = replay(
                session,
                options.url,
                timeout=options.timeout,
                ignore=IGNORED | set(options.ignore),
                ssl_context=context,
            )
            differences += len(found)
            messages += len(session.entries)
            for difference in found:
                print(printable(str(difference)))
    except (OSError, ValueError, HandshakeError) as error:
        print(f"ocppsync: {_told(error)}", file=sys.stderr)
        return 1
    print(
        f"{_several(len(sessions), 'connection')}, {_several(messages, 'message')}, "
        f"{_several(differences, 'difference')}"
    )
    return 1 if differences else 0


def _told(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


# ocppsync serve


# How long a thread may keep the interpreter while others wait for it, in seconds. With the 5 ms that Python begins with
# a thousand readers that all have something wake so often to look that little else gets done (docs/performance.md).
_SWITCH_INTERVAL = 0.05


@contextlib.contextmanager
def _switching_seldom() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_INTERVAL)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _serve(options: argparse.Namespace) -> int:
    # A SimpleQueue, because its put may be called from a signal handler.
    endings: queue.SimpleQueue[OSError | None] = queue.SimpleQueue()
    conversation = Conversation(verbose=options.verbose, on_lost=endings.put)
    with _log_shown_in(conversation, verbose=options.verbose), _switching_seldom():
        with _signals_sent_to(endings):
            try:
                desk = DemoCentralSystem(conversation, options.host, options.port, options.journal)
            except OSError as error:
                return _fail(error)
            desk.open()
            stations = [
                SimulatedChargePoint(f"SIM-{number}", desk.local_url, version=version, pace=options.pace)
                for number, version in zip(range(1, options.simulate + 1), itertools.cycle(options.ocpp))
            ]
            ending = _start_in_turn(stations, endings, options.pace)
        # From here on another Ctrl-C means that this takes too long.
        conversation.mute()
        for station in stations:
            station.stop()
        desk.close()
    if ending is not None:
        _silence(sys.stdout)
        return 0 if isinstance(ending, BrokenPipeError) else _fail(ending)
    conversation.say()
    conversation.say(desk.summary())
    return 0


def _fail(error: OSError) -> int:
    print(f"ocppsync: {error.strerror or error}", file=sys.stderr)
    return 1


def _start_in_turn(
    stations: Sequence[SimulatedChargePoint], endings: queue.SimpleQueue[OSError | None], pace: float
) -> OSError | None:
    # One after the other, so that they do not live in lockstep.
    for station in stations:
        station.start()
        with contextlib.suppress(queue.Empty):
            return endings.get(timeout=min(1.3, _ALL_STARTED / len(stations)) / pace)
    return endings.get()


@contextlib.contextmanager
def _log_shown_in(conversation: Conversation, *, verbose: bool) -> Iterator[None]:
    logger = logging.getLogger("ocppsync")
    lines, level = LogLines(conversation, verbose=verbose), logger.level
    logger.addHandler(lines)
    logger.setLevel(lines.level)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(lines)


@contextlib.contextmanager
def _signals_sent_to(endings: queue.SimpleQueue[OSError | None]) -> Iterator[None]:
    before = {
        number: signal.signal(number, lambda number, frame: endings.put(None))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _silence(stream: TextIO) -> None:
    # What the stream still holds would be written at exit, and fail once more, with a message.
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class DemoCentralSystem:
    """A central system that accepts everybody, and shows what is said.

    Args:
        conversation: where it is shown.
        host: the address to listen on.
        port: 0 picks a free one.
        journal: a file to which every message is written; None: nothing is.

    Raises:
        OSError: the port cannot be listened on, or the journal not be written.
    """

    def __init__(self, conversation: Conversation, host: str, port: int, journal: str | None = None) -> None:
        self._conversation = conversation
        self._host = host
        self._began = time.monotonic()
        # So that a restart does not hand out the ids of transactions that still run.
        self._answers = CentralSystemAnswers(first_transaction_id=int(time.time()) % 10_000_000 + 1)
        self._transactions: set[tuple[str, int | str]] = set()
        # Every charger is to get in, also one that names no subprotocol; and what is invalid is to be seen as well.
        self._central_system = CentralSystem(
            port,
            self._handle,
            host=host,
            reject_invalid_requests=False,
            default_protocol="ocpp1.6",
            timeouts=Timeouts(close=1.0),
            journal=journal,
        )
        self._central_system.after("BootNotification")(self._ask_how_it_is_set)
        self._central_system.add_connection_listener(self._show_connection)

    @property
    def local_url(self) -> str:
        """Where a charge point on this machine connects to."""
        return _url({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._host, self._host), self._central_system.port)  # noqa: S104

    def open(self) -> None:
        """Let charge points in, and say where."""
        port, say = self._central_system.port, self._conversation.say
        url = _url(reachable_host(self._host), port)
        say(f"ocppsync {__version__}: a central system for OCPP {_SPOKEN} on port {port}; Ctrl-C ends it")
        say()
        say(f"  Enter in the charger:  {url}")
        say(f"  It adds its identity:  {url}CP1")
        say()
        self._central_system.start()

    def close(self) -> None:
        """Say goodbye to all charge points."""
        self._central_system.close(grace=2.0)

    def summary(self) -> str:
        """Return what happened, in a line."""
        return (
            f"Goodbye: {_several(self._conversation.messages, 'message')},"
            f" {_several(len(self._conversation.charge_points), 'charge point')},"
            f" {_several(len(self._transactions), 'transaction')} in {time.monotonic() - self._began:.0f} s"
        )

    def _handle(self, request: Request[str, Any], metadata: RequestMetadata) -> Answer:
        charge_point_id, action = metadata.charge_point_id, request.action
        self._conversation.request(charge_point_id, True, action, request.payload)
        if catalogue(request.version).is_send(action):
            return self._answer(request, metadata)  # which nobody gets (4/21 §4.2.4)
        try:
            answer = self._answer(request, metadata)
        except CallError as error:
            self._conversation.error(charge_point_id, False, action, f"CALLERROR {error}")
            raise
        self._conversation.answer(charge_point_id, False, action, answer)
        return answer

    def _answer(self, request: Request[str, Any], metadata: RequestMetadata) -> Answer:
        violation = metadata.validation_error
        if violation is not None:
            raise CallError(violation.error_code, str(violation).removeprefix(f"{request.action} request: ")[:255])
        answer = self._answers(request, metadata)
        if answer is None:
            raise CallError("NotImplemented")
        self._count(request, answer, metadata.charge_point_id)
        return answer

    def _count(self, request: Request[str, Any], answer: Answer, charge_point_id: str) -> None:
        if request.action == "StartTransaction":
            self._transactions.add((charge_point_id, answer["transactionId"]))
        elif request.action == "TransactionEvent":
            self._transactions.add((charge_point_id, request.payload["transactionInfo"]["transactionId"]))

    def _show_connection(self, charge_point_id: str, status: ConnectionStatus) -> None:
        version = self._central_system.ocpp_version(charge_point_id) if status == "connected" else None
        self._conversation.connection(charge_point_id, status, version)

    def _ask_how_it_is_set(self, payload: Any, metadata: RequestMetadata) -> None:
        # Without waiting: many chargers that do not answer would take up all the handler threads.
        charge_point_id, (action, question) = metadata.charge_point_id, _QUESTIONS[metadata.ocpp_version]
        self._conversation.request(charge_point_id, False, action, question)
        future = self._central_system.submit_request(charge_point_id, action, question)
        future.add_done_callback(lambda future: self._show(charge_point_id, action, future))

    def _show(self, charge_point_id: str, action: str, future: Future[Any]) -> None:
        try:
            self._conversation.answer(charge_point_id, True, action, future.result())
        except CallErrorReceived as error:
            self._conversation.error(charge_point_id, True, action, f"CALLERROR {error.raw_code}: {error.description}")
        except OCPPError as error:
            self._conversation.error(charge_point_id, True, action, str(error))


def _ask_for_variables(*names: tuple[str, str]) -> tuple[Any, Any]:
    asked = [{"component": {"name": component}, "variable": {"name": variable}} for component, variable in names]
    return "GetVariables", {"getVariableData": asked}


# What a charger is asked after it has booted. The variables are some that nearly all have, and few enough for one
# line: a whole report is too long to look on.
_VARIABLES = _ask_for_variables(
    ("OCPPCommCtrlr", "HeartbeatInterval"),
    ("TxCtrlr", "TxStartPoint"),
    ("SampledDataCtrlr", "TxUpdatedInterval"),
    ("SecurityCtrlr", "SecurityProfile"),
)
_QUESTIONS: Mapping[str, tuple[Any, Any]] = {
    "1.6": ("GetConfiguration", {}),
    "2.0.1": _VARIABLES,
    "2.1": _VARIABLES,
}


def _several(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


# Where it can be reached.


def _url(host: str, port: int | None) -> str:
    return f"ws://[{host}]:{port}/" if ":" in host else f"ws://{host}:{port}/"


def reachable_host(host: str) -> str:
    """Return the address under which others reach a server that listens on ``host``: for all addresses, the one in
    the local network.
    """
    if host not in ("", "0.0.0.0", "::"):  # noqa: S104
        return host
    # Connecting a UDP socket sends nothing, but settles which address this machine would speak from. The ones asked
    # for are set aside for documentation (RFC 5737, RFC 3849).
    family, elsewhere = (socket.AF_INET6, "2001:db8::1") if host == "::" else (socket.AF_INET, "192.0.2.1")
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect((elsewhere, 9))
            return str(sock.getsockname()[0])
    except OSError:
        return socket.gethostname() or "127.0.0.1"
