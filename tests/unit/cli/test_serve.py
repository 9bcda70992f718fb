"""``ocppsync serve`` as a program: over real sockets, with signals, pipes and terminals."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from payloads import full, minimal
from programs import DEADLINE, Program
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from ocppsync import ChargePoint
from ocppsync.validation.catalogue import catalogue

pytestmark = pytest.mark.slow

SERVE = ("-m", "ocppsync", "serve", "--host", "127.0.0.1", "--port", "0")
WITHOUT_RICH = (
    "-c",
    "import sys; sys.modules['rich'] = None; from ocppsync.cli import main; sys.exit(main(sys.argv[1:]))",
    *SERVE[2:],
)
ESCAPE = "\x1b["


def port_of(program: Program) -> int:
    return int(program.wait_for(r"^  URL to enter in the charge point:  ws://127\.0\.0\.1:(\d+)/$")[1])


@contextlib.contextmanager
def charge_point(port: int, name: str = "CP1") -> Iterator[Any]:
    """Connect without a library; the result sends a message and returns the next one that arrives."""
    with connect(f"ws://127.0.0.1:{port}/{name}", subprotocols=["ocpp1.6"], close_timeout=1) as websocket:  # type: ignore[list-item]

        def call(*message: Any) -> Any:
            websocket.send(json.dumps(message))
            return json.loads(websocket.recv(10))

        yield call


def next_call(call: Any) -> Any:
    """Send Heartbeats until a CALL of the central system arrives instead of an answer, and return it."""
    numbers = itertools.count(2)
    while (message := call(2, str(next(numbers)), "Heartbeat", {}))[0] == 3:
        pass
    return message


# Complete runs.


def test_simulated_charge_points_run_complete_sessions() -> None:
    with Program([*SERVE, "--simulate", "2", "--ocpp", "1.6", "--pace", "20"]) as program:
        for name in ("SIM-1", "SIM-2"):
            line = rf"^[\d:]{{8}} {name}  "
            program.wait_for(line + r"\+ connected with OCPP 1\.6$")
            program.wait_for(line + r"→ BootNotification +chargePointVendor=ocppsync")
            program.wait_for(line + r"←   BootNotification +status=Accepted interval=300 currentTime=20")
            program.wait_for(line + r"← GetConfiguration +\{\}$")
            program.wait_for(line + r"→   GetConfiguration +configurationKey=\[")
            program.wait_for(line + r"→ Authorize +idTag=[0-9A-F]{14}$")
            started = program.wait_for(line + r"←   StartTransaction +transactionId=(\d+) idTagInfo.status=Accepted$")
            program.wait_for(line + rf"→ MeterValues +\d+ Wh, \d+ W, .*transactionId={started[1]}$")
            program.wait_for(line + rf"→ StopTransaction +transactionId={started[1]} .*reason=Local")
            program.wait_for(line + r"←   StopTransaction +idTagInfo.status=Accepted$")
            program.wait_for(line + r"→ StatusNotification +status=Finishing")
        status, errors = program.end(signal.SIGINT)
    assert (status, errors) == (0, "")
    goodbye = re.search(r"\n\nGoodbye: (\d+) messages, 2 charge points, \d+ transactions in \d+ s\n\Z", program.output)
    assert goodbye is not None
    assert int(goodbye[1]) == len(re.findall("[→←]", program.output))
    assert ESCAPE not in program.output


def test_simulated_charge_points_take_the_versions_in_turn() -> None:
    with Program([*SERVE, "--simulate", "4", "--pace", "20"]) as program:
        program.wait_for(r"^ocppsync \S+: central system for OCPP 1\.6, 2\.0\.1 and 2\.1 on port \d+; Ctrl-C stops it$")
        for name, version in (("SIM-1", "1.6"), ("SIM-2", "2.0.1"), ("SIM-3", "2.1"), ("SIM-4", "1.6")):
            program.wait_for(rf"^[\d:]{{8}} {name}  \+ connected with OCPP {re.escape(version)}$")
        for name in ("SIM-2", "SIM-3"):
            line = rf"^[\d:]{{8}} {name}  "
            program.wait_for(line + r"→ BootNotification +reason=PowerUp vendorName=ocppsync")
            program.wait_for(line + r"← GetVariables +OCPPCommCtrlr\.HeartbeatInterval, TxCtrlr\.TxStartPoint, ")
            program.wait_for(
                line + r"→   GetVariables +OCPPCommCtrlr\.HeartbeatInterval=300, TxCtrlr\.TxStartPoint=Auth"
            )
            program.wait_for(line + r"→ Authorize +idToken=ISO14443:[0-9A-F]{14}$")
            program.wait_for(line + r"→ TransactionEvent +eventType=Started \d+ Wh idToken=ISO14443:[0-9A-F]{14} ")
            program.wait_for(line + r"→ TransactionEvent +eventType=Updated \d+ Wh, \d+ W, .* transactionId=\w{8}…")
            program.wait_for(line + r"→ TransactionEvent +eventType=Ended \d+ Wh \| \d+ Wh stoppedReason=Local ")
            program.wait_for(line + r"←   TransactionEvent +idTokenInfo\.status=Accepted$")
        program.wait_for(r"SIM-1  → StopTransaction")
        status, errors = program.end(signal.SIGINT)
    assert (status, errors) == (0, "")
    transactions = re.search(
        r"\n\nGoodbye: \d+ messages, 4 charge points, (\d+) transactions in \d+ s\n\Z", program.output
    )
    assert transactions is not None
    started = len(re.findall(r"←   StartTransaction|→ TransactionEvent +eventType=Started", program.output))
    assert int(transactions[1]) == started


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_cleanly(number: int) -> None:
    with Program(SERVE) as program:
        port = port_of(program)
        with charge_point(port) as call:
            assert call(2, "1", "Heartbeat", {})[0] == 3
            assert program.end(number) == (0, "")
    assert re.search(r"\n\nGoodbye: 2 messages, 1 charge point, 0 transactions in \d s\n\Z", program.output)
    assert "disconnected" not in program.output
    socket.create_server(("127.0.0.1", port)).close()


def test_it_prints_the_url_for_charge_points() -> None:
    with Program(["-m", "ocppsync", "serve", "--port", "0"]) as program:
        port, url = program.wait_for(r"(?s)on port (\d+);.*URL to enter in the charge point:  (ws://\S+/)\n").groups()
        assert url.endswith(f":{port}/")
        assert program.wait_for(r"It appends its identity: +(\S+)\n")[1] == f"{url}CP1"
        assert port != "0"
        program.end()


# Failures at startup.


def test_a_busy_port_is_reported_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        with Program([*SERVE[:-1], str(port)]) as program:
            status, errors = program.wait()
    assert (status, program.output) == (1, "")
    assert errors.startswith(f"ocppsync: cannot listen on 127.0.0.1:{port}: Address already in use")
    assert errors.count("\n") == 1


def test_a_journal_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with Program([*SERVE, "--journal", str(tmp_path)]) as program:
        assert program.wait() == (1, f"ocppsync: {tmp_path}: Is a directory\n")


# What charge points get.


@pytest.fixture(scope="module")
def serving() -> Iterator[Program]:
    with Program(SERVE) as program:
        yield program
        assert program.end() == (0, "")


@pytest.mark.parametrize("version", ["1.6", "2.0.1", "2.1"])
@pytest.mark.parametrize("payload", [minimal, full])
def test_every_message_of_a_charge_point_is_answered(serving: Program, payload: Any, version: Any) -> None:
    # send_request raises if the answer is a CALLERROR or breaks its schema.
    messages, name = catalogue(version), f"EVERY-{version}"
    with ChargePoint(
        name, url=f"ws://127.0.0.1:{port_of(serving)}", protocols=[f"ocpp{version}"], enforce_registration=False
    ) as cp:
        for action in messages.actions:
            if messages.may_send("charge_point", action):
                send: Any = cp.send if messages.is_send(action) else cp.send_request
                send(action, payload(version, action, "request"))
                serving.wait_for(rf"{name} +→ {action} ")


def test_a_send_is_shown_without_an_answer(serving: Program) -> None:
    with ChargePoint(
        "STREAM", url=f"ws://127.0.0.1:{port_of(serving)}", protocols=["ocpp2.1"], enforce_registration=False
    ) as cp:
        cp.send("NotifyPeriodicEventStream", minimal("2.1", "NotifyPeriodicEventStream", "request"))
        cp.send_request("Heartbeat", {}, timeout=10)
        serving.wait_for(r"STREAM +→ NotifyPeriodicEventStream data=")
        serving.wait_for(r"STREAM +←   Heartbeat")
    assert "←   NotifyPeriodicEventStream" not in serving.output


def test_a_charge_point_without_a_subprotocol_is_accepted(serving: Program) -> None:
    with connect(f"ws://127.0.0.1:{port_of(serving)}/SLOPPY", close_timeout=1) as websocket:
        websocket.send('[2,"1","Heartbeat",{}]')
        assert json.loads(websocket.recv(10))[0] == 3


def test_an_invalid_call_is_shown_and_answered_with_a_callerror(serving: Program) -> None:
    with charge_point(port_of(serving), "WRONG") as call:
        answer = call(2, "1", "Heartbeat", {"x": 1})
        assert answer[:3] == [4, "1", "FormationViolation"]
        serving.wait_for(r"WRONG +→ Heartbeat +x=1$")
        serving.wait_for(r"WRONG +←   Heartbeat +CALLERROR FormationViolation: x: ")
        assert call(2, "2", "Nonsense", {})[:3] == [4, "2", "NotImplemented"]
        serving.wait_for(r"! WRONG: its CALL '2' is refused: NotImplemented")


def test_a_callerror_to_the_configuration_request_is_shown(serving: Program) -> None:
    with charge_point(port_of(serving), "TERSE") as call:
        assert call(2, "1", "BootNotification", {"chargePointVendor": "A", "chargePointModel": "B"})[0] == 3
        request = next_call(call)
        call(4, request[1], "NotSupported", "not here", {})
        serving.wait_for(r"TERSE +→   GetConfiguration +CALLERROR NotSupported: not here$")


def test_a_disconnect_before_the_answer_is_shown(serving: Program) -> None:
    with charge_point(port_of(serving), "GONE") as call:
        assert call(2, "1", "BootNotification", {"chargePointVendor": "A", "chargePointModel": "B"})[0] == 3
        # The line is shown before the CALL is sent, so it does not tell that there is a request to lose.
        assert next_call(call)[2] == "GetConfiguration"
        serving.wait_for(r"GONE +← GetConfiguration")
    serving.wait_for(r"GONE +→   GetConfiguration +GetConfiguration to GONE: the connection ended$")
    serving.wait_for(r"GONE +- disconnected$")


def test_a_refused_connection_is_shown_with_its_reason(serving: Program) -> None:
    with pytest.raises(InvalidStatus), connect(f"ws://127.0.0.1:{port_of(serving)}/"):
        pass
    serving.wait_for(r"^[\d:]{8} ! refused 127\.0\.0\.1:\d+ / with HTTP 404: the path has no charge point identity$")


def test_control_characters_of_a_peer_are_escaped(serving: Program) -> None:
    evil = "\x1b[2J\x07\x9b31m\u202e\r\n"
    with charge_point(port_of(serving), "%E2%80%8BEVIL") as call:
        call(2, "1", "DataTransfer", {"vendorId": evil, "data": evil})
        call(2, evil[:10], evil[:10], {})
        serving.wait_for(r"EVIL +→ DataTransfer +vendorId=")
        serving.wait_for(r"EVIL: its CALL")
    assert all(line.isprintable() for line in serving.output.split("\n"))


# Output.


def test_a_terminal_gets_colours_and_lines_of_its_width() -> None:
    with Program([*SERVE, "--simulate", "1", "--pace", "20"], columns=70) as program:
        program.wait_for(r"StopTransaction")
        assert program.end() == (0, "")
    assert ESCAPE in program.output
    plain = re.sub(r"\x1b\[[\d;]*m", "", program.output)
    lines = [line for line in plain.splitlines() if re.search("[→←]", line)]
    assert max(map(len, lines)) == 70
    assert any(line.endswith("…") for line in lines)
    assert ESCAPE not in plain


@pytest.mark.parametrize(
    ("command", "environment"),
    [
        (SERVE, {"NO_COLOR": "1"}),
        (SERVE, {"TERM": "dumb"}),
        (WITHOUT_RICH, {}),
    ],
)
def test_a_terminal_without_colours_gets_plain_lines(command: tuple[str, ...], environment: dict[str, str]) -> None:
    with Program(command, environment, columns=70) as program:
        with charge_point(port_of(program)) as call:
            call(2, "1", "DataTransfer", {"vendorId": "x" * 100})
        program.wait_for(r"^[\d:]{8} CP1    - disconnected$")
        assert program.end() == (0, "")
    assert ESCAPE not in program.output
    assert f"→ DataTransfer         vendorId={'x' * 21}…\n" in program.output


def test_force_color_colours_a_pipe() -> None:
    with Program([*SERVE], {"FORCE_COLOR": "1"}) as program:
        with charge_point(int(program.wait_for(r"on port (\d+)")[1])) as call:
            call(2, "1", "Heartbeat", {})
        program.wait_for("disconnected")
        assert program.end() == (0, "")
    assert ESCAPE in program.output


def test_verbose_shows_whole_payloads_and_the_log() -> None:
    with Program([*SERVE, "--verbose"]) as program:
        with charge_point(port_of(program)) as call:
            call(2, "1", "DataTransfer", {"vendorId": "x" * 200, "data": '{"key":"AuthorizationKey"}'})
        shown = program.wait_for(r"→ DataTransfer +(\{.*\})$")[1]
        assert json.loads(shown) == {"vendorId": "x" * 200, "data": '{"key":"AuthorizationKey"}'}
        program.wait_for(r"^[\d:]{8} \. ocppsync\.server\.serving: CP1 connected from 127\.0\.0\.1:\d+ \(ocpp1\.6\)$")
        assert program.end() == (0, "")


def test_an_ascii_output_gets_ascii_arrows_and_escapes() -> None:
    with Program(SERVE, {"PYTHONIOENCODING": "ascii"}) as program:
        with charge_point(port_of(program)) as call:
            call(2, "1", "DataTransfer", {"vendorId": "é"})
        program.wait_for(r"CP1    > DataTransfer +vendorId=\\xe9$")
        program.wait_for(r"CP1    <   DataTransfer +status=UnknownVendorId$")
        assert program.end() == (0, "")


def test_a_closed_pipe_stops_it_quietly() -> None:
    with Program([*SERVE, "--simulate", "1", "--pace", "20"]) as program:
        program.wait_for("BootNotification")
        program.stop_reading()
        assert program.wait() == (0, "")


def test_a_full_disk_is_reported_in_one_line() -> None:
    with Path("/dev/full").open("w") as full_disk:
        ended = subprocess.run(
            [sys.executable, *SERVE], stdout=full_disk, stderr=subprocess.PIPE, text=True, timeout=DEADLINE, check=False
        )
    assert (ended.returncode, ended.stderr) == (1, "ocppsync: No space left on device\n")
