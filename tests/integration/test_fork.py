"""A central system and a charge point in a process that was forked from the one that started them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support import serving

from ocppsync import CentralSystem, NotConnectedError

_PARENT = """
import json, os, sys, threading
from ocppsync import CentralSystem, ChargePoint
from ocppsync.central_system import server_of
from ocppsync.wsgi import wsgi_app

journal = sys.argv[1]
cs = CentralSystem(0, host="127.0.0.1", journal=journal).start()
cs.on("Heartbeat")(lambda payload, metadata: {"currentTime": "2026-01-01T00:00:00Z"})
point = ChargePoint("CP1", url=f"ws://127.0.0.1:{cs.port}", enforce_registration=False).connect()
answered = threading.Event()
point.on("ClearCache")(lambda payload, metadata: {"status": "Accepted"})
point.on("GetLocalListVersion")(lambda payload, metadata: answered.wait(30) and {"listVersion": 1})
written = cs.submit_request("CP1", "GetLocalListVersion")
queued = cs.submit_request("CP1", "ClearCache")


def listener(*changes):
    pass


uses = {
    "start": cs.start,
    "serve_forever": cs.serve_forever,
    "with": cs.__enter__,
    "charge_points": lambda: cs.charge_points,
    "ocpp_version": lambda: cs.ocpp_version("CP1"),
    "send_request": lambda: cs.send_request("CP1", "ClearCache"),
    "submit_request": lambda: cs.submit_request("CP1", "ClearCache"),
    "send": lambda: cs.send("CP1", "NotifyPeriodicEventStream", {}),
    "close_connection": lambda: cs.close_connection("CP1"),
    "add listener": lambda: cs.add_connection_listener(listener),
    "remove listener": lambda: cs.remove_connection_listener(listener),
    "on": lambda: cs.on("Heartbeat"),
    "after": lambda: cs.after("Heartbeat"),
    "on_data_transfer": lambda: cs.on_data_transfer("v"),
    "server_of": lambda: server_of(cs),
    "GetLocalListVersion result": written.result,
    "GetLocalListVersion exception": written.exception,
    "GetLocalListVersion callback": lambda: written.add_done_callback(listener),
    "ClearCache cancel": queued.cancel,
    "point connect": point.connect,
    "point with": point.__enter__,
    "point send_request": lambda: point.send_request("Heartbeat"),
    "point submit_request": lambda: point.submit_request("Heartbeat"),
    "point send": lambda: point.send("NotifyPeriodicEventStream", {}),
    "point disconnect": point.disconnect,
    "point wait_closed": point.wait_closed,
    "point set_credentials": lambda: point.set_credentials(password="p"),
    "point add listener": lambda: point.add_connection_listener(listener),
    "point remove listener": lambda: point.remove_connection_listener(listener),
    "point on": lambda: point.on("Reset"),
    "point after": lambda: point.after("Reset"),
    "point on_data_transfer": lambda: point.on_data_transfer("v"),
}


def attempt(use):
    try:
        return f"returned {use()}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def refused():
    # As a WSGI server would in the worker, after a start before the fork.
    import socket
    answers = []
    environ = {
        "SERVER_PROTOCOL": "HTTP/1.1", "wsgi.multithread": True, "gunicorn.socket": socket.socket(), "RAW_URI": "/CP2",
    }
    list(wsgi_app(cs)(environ, lambda status, headers: answers.append(status)))
    return answers


def every_lock():
    # What another thread of the parent may hold just then.
    server = server_of(cs).context
    return [
        cs._lock, server.registry._lock, cs._end.router._lock, cs._listeners._lock, server.timer._changed,
        cs._end.message_sets._lock, point._lock, point._listeners._lock, point._timer._changed,
    ]


def in_child():
    from ocppsync.validation.catalogue import catalogue
    from ocppsync.validation.validators import validator
    assert not point.connected
    found = {name: attempt(use) for name, use in uses.items()}
    found["reprs"] = repr(cs), repr(point)
    found["wsgi"] = refused()
    cs.close()
    point.close()
    # A central system of its own works.
    with CentralSystem(0, host="127.0.0.1") as own:
        own.on("Heartbeat")(lambda payload, metadata: {"currentTime": "2026-01-01T00:00:00Z"})
        with ChargePoint("CP2", url=f"ws://127.0.0.1:{own.port}", enforce_registration=False) as other:
            found["own"] = sorted(other.send_request("Heartbeat"))
    return found


held, release = threading.Semaphore(0), threading.Event()


def hold(lock):
    with lock:
        held.release()
        release.wait(30)


locks = every_lock()
for lock in locks:
    threading.Thread(target=hold, args=(lock,), daemon=True).start()
for lock in locks:
    held.acquire()
reader, writer = os.pipe()
child = os.fork()
if not child:
    try:
        os.write(writer, json.dumps(in_child()).encode())
    finally:
        os._exit(0)
os.close(writer)
release.set()
found = json.loads(open(reader).read())
os.waitpid(child, 0)
# The parent goes on as if nothing had been.
answered.set()
found["futures"] = written.result(30), queued.result(30)
found["parent"] = sorted(point.send_request("Heartbeat")), cs.send_request("CP1", "ClearCache"), cs.charge_points
point.close()
cs.close()
found["pids"] = os.getpid(), child
print(json.dumps(found))
"""


def test_a_forked_process_is_told_at_once_and_harms_nothing(tmp_path: Path) -> None:
    journal = tmp_path / "wire.jsonl"
    done = subprocess.run(
        [sys.executable, "-c", _PARENT, str(journal)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    parent, child = found.pop("pids")
    assert found.pop("parent") == [["currentTime"], {"status": "Accepted"}, ["CP1"]]
    assert found.pop("futures") == [{"listVersion": 1}, {"status": "Accepted"}]
    assert found.pop("own") == ["currentTime"]
    assert all(text.endswith(f" of process {parent}>") for text in found.pop("reprs"))
    assert found.pop("wsgi") == ["503 Service Unavailable"]
    ending = (
        f"in process {parent}, and cannot be used in process {child}, which was forked from it: threads do not survive "
        "a fork; start it in the worker, after the fork (with gunicorn, not before post_fork), or let process "
        f"{parent} do this"
    )
    for use, outcome in found.items():
        name, _, of_future = use.partition(" ")
        what = "CP1 was connected" if name == "point" else "this central system was started"
        if of_future in ("result", "exception", "callback", "cancel"):
            what = f"{name} was requested"
        assert outcome == f"RuntimeError: {what} {ending}", use
    # Not even the refused WSGI request of the child is in the parent's journal.
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    assert {line.get("charge_point") for line in lines} == {"CP1"}


def test_what_is_not_started_here_says_so() -> None:
    # A cron job or a task queue makes an object of its own, and asks that.
    elsewhere = CentralSystem(None)
    what = f"not connected: this central system was not started in this process ({os.getpid()})"
    with pytest.raises(NotConnectedError, match=re.escape(what)) as error:
        elsewhere.send_request("CP1", "ClearCache")
    assert error.value.delivery == "not_sent"
    future = elsewhere.submit_request("CP1", "ClearCache")
    with serving() as cs, pytest.raises(NotConnectedError, match=r"not connected$"):
        cs.send_request("CP1", "ClearCache")
    assert str(future.exception(0)) == str(error.value)


_LOADING = """
import os, sys, threading
from ocppsync.validation import catalogue, validators

module, lock, use = {
    "catalogue": (catalogue, catalogue._reading, catalogue.catalogue),
    "validators": (validators, validators._creating, validators.validator),
}[sys.argv[1]]
held, release = threading.Event(), threading.Event()


def hold():
    with lock:
        held.set()
        release.wait(30)


threading.Thread(target=hold, daemon=True).start()
held.wait()
threading.Timer(0.1, release.set).start()
child = os.fork()
if not child:
    use("1.6")
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
use("1.6")
"""


@pytest.mark.parametrize("module", ["catalogue", "validators"])
def test_a_fork_while_schemas_are_read_leaves_no_lock_held(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LOADING, module], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
