"""The examples run, over real sockets, and do what they say."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest
from programs import Program

from ocppsync import ChargePoint
from ocppsync.answers import CentralSystemAnswers
from ocppsync.central_system import CentralSystem

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def example(name: str, *arguments: str) -> Program:
    return Program([str(EXAMPLES / name), *arguments])


def port_of(program: Program) -> str:
    return program.wait_for(r"^Listening on port (\d+)$")[1]


def test_every_example_is_run_here() -> None:
    assert sorted(path.name for path in EXAMPLES.glob("*.py")) == [
        *("central_system.py", "charge_point.py", "send_from_anywhere.py")
    ]
    assert sorted(path.name for path in (EXAMPLES / "unit_tests").glob("*.py")) == ["charging.py", "test_charging.py"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_central_system_serves_the_charge_point(number: int) -> None:
    with example("central_system.py", "0") as central_system:
        port = port_of(central_system)
        with example("charge_point.py", f"ws://127.0.0.1:{port}", "EXAMPLE") as charge_point:
            assert charge_point.wait() == (0, "")
        for line in (
            "Example One booted",
            "04A1B2C3 started transaction 1",
            "1500",
            "2500",
            "transaction 1 stopped",
        ):
            central_system.wait_for(rf"^EXAMPLE: {line}$")
        assert central_system.end(number) == (0, "")
    assert "BootNotification: {'status': 'Accepted'" in charge_point.output
    assert "StartTransaction: {'transactionId': 1" in charge_point.output
    assert charge_point.output.endswith("StopTransaction: {}\n")


def test_the_central_system_reads_the_configuration_and_learns_the_status() -> None:
    with example("central_system.py", "0") as central_system:
        with ChargePoint("CP1", url=f"ws://127.0.0.1:{port_of(central_system)}") as cp:

            @cp.on("GetConfiguration")
            def configuration(payload: object, metadata: object) -> dict[str, list[dict[str, object]]]:
                return {"configurationKey": [{"key": "MeterType", "readonly": True, "value": "AC"}]}

            cp.send_request("BootNotification", {"chargePointVendor": "A", "chargePointModel": "B"})
            central_system.wait_for(r"^CP1: MeterType = AC$")
            cp.send_request("StatusNotification", {"connectorId": 1, "errorCode": "NoError", "status": "Available"})
            central_system.wait_for(r"^CP1: connector 1 is Available$")
            assert "currentTime" in cp.send_request("Heartbeat", {})
        assert central_system.end() == (0, "")


def test_the_central_system_bears_a_charge_point_that_declines() -> None:
    with example("central_system.py", "0") as central_system:
        with ChargePoint("CP1", url=f"ws://127.0.0.1:{port_of(central_system)}") as cp:
            cp.send_request("BootNotification", {"chargePointVendor": "A", "chargePointModel": "B"})
            central_system.wait_for(r"^CP1 answered GetConfiguration with CALLERROR NotSupported")
        assert central_system.end() == (0, "")


def test_the_charge_point_charges_at_any_central_system() -> None:
    with (
        CentralSystem(0, CentralSystemAnswers(), host="127.0.0.1") as cs,
        example("charge_point.py", f"ws://127.0.0.1:{cs.port}") as charge_point,
    ):
        assert charge_point.wait() == (0, "")
    assert charge_point.output.count("MeterValues: {}\n") == 3


def test_the_charge_point_says_when_nobody_is_there() -> None:
    with CentralSystem(0, host="127.0.0.1") as cs:
        port = cs.port
    with example("charge_point.py", f"ws://127.0.0.1:{port}") as charge_point:
        status, errors = charge_point.wait()
    assert status == 1
    assert errors.startswith("CP1: cannot connect to 127.0.0.1:")
    assert "Traceback" not in errors


def test_commands_are_sent_from_the_main_thread() -> None:
    with example("send_from_anywhere.py", "0") as program:
        port = port_of(program)
        program.enter('CP1 Reset {"type": "Soft"}')
        program.wait_for(r"^CP1 is not connected; connected: none$")
        with ChargePoint("CP1", url=f"ws://127.0.0.1:{port}") as cp:
            cp.on("Reset")(lambda payload, metadata: {"status": "Accepted"})
            program.wait_for(r"^CP1 connected$")
            answer = cp.send_request("BootNotification", {"chargePointVendor": "A", "chargePointModel": "B"})
            assert answer["status"] == "Accepted"
            assert "currentTime" in cp.send_request("Heartbeat", {})
            program.enter('CP1 Reset {"type": "Soft"}')
            program.wait_for(r"^CP1 answered \{'status': 'Accepted'\}$")
            program.enter("CP1 ClearCache")
            program.wait_for(r"^CP1 answered with CALLERROR NotSupported: ")
            program.enter("CP2 ClearCache")
            program.wait_for(r"^CP2 is not connected; connected: CP1$")
            for line, said in (
                ("CP1 Reset {", "Expecting"),
                ("CP1 Rest", "OCPP 1.6 has no action 'Rest'"),
                ("CP1", ""),
            ):
                program.enter(line)
                program.wait_for(said)
        program.wait_for(r"^CP1 disconnected$")
        program.end_input()
        assert program.wait() == (0, "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_one_that_sends(number: int) -> None:
    with example("send_from_anywhere.py", "0") as program:
        port_of(program)
        assert program.end(number) == (0, "")
    assert program.output.endswith("Stopped\n")


def test_the_suite_of_unit_tests_passes() -> None:
    suite = ["-W", "error", "-m", "unittest", "discover", str(EXAMPLES / "unit_tests")]
    with Program(suite) as program:
        status, errors = program.wait()
    assert status == 0, errors
    assert re.search(r"^Ran 1\d tests in .*\n\nOK\n$", errors, re.MULTILINE), errors


def test_the_application_of_the_unit_tests_serves() -> None:
    with example("unit_tests/charging.py", "0") as program:
        with ChargePoint("CP1", url=f"ws://127.0.0.1:{port_of(program)}") as cp:
            answer = cp.send_request("BootNotification", {"chargePointVendor": "Acme", "chargePointModel": "B"})
            assert answer["status"] == "Accepted"
        assert program.end() == (0, "")
