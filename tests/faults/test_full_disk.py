"""A journal on a disk that is full: the charge points are served, and the central system closes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from bystander import besieged, heartbeat
from support import DEADLINE, accept_boots, connected, raw

from ocppsync import CentralSystem
from ocppsync.journal import Journal


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """Leads where nothing can be written, until something else takes its place."""
    path = tmp_path / "wire.jsonl"
    if Path("/dev/full").exists():
        path.symlink_to("/dev/full")
        yield path
    else:
        pytest.skip("this system has no /dev/full")


def test_charge_points_are_served_while_the_disk_is_full(caplog: pytest.LogCaptureFixture, full: Path) -> None:
    journal = Journal(full)
    with besieged(caplog, journal=journal) as siege:
        with siege.attacker("before") as peer:
            for number in range(20):
                heartbeat(peer, str(number))
        siege.wait_gone("before")
        assert len(siege.said("cannot be written")) == 1
        assert journal.lost > 40
        full.unlink()  # somebody makes room
        with siege.attacker("after") as peer:
            heartbeat(peer, "1")
        siege.wait_gone("after")
        assert len(siege.said("is written again")) == 1
    lines = [json.loads(line) for line in full.read_text().splitlines()]
    assert (lines[0]["event"], lines[0]["lines"]) == ("lost", journal.lost)
    after = [line.get("event") or line["direction"] for line in lines if line.get("charge_point") == "after"]
    assert after == ["connected", "in", "out", "closed"]
    assert len(siege.said("cannot be written")) == 1


@pytest.mark.parametrize("fault", ["full disk", "an exception"])
def test_serve_forever_returns_though_the_journal_cannot_be_closed(
    full: Path, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Journal):
        def close(self) -> None:
            super().close()
            if fault != "full disk":
                raise RuntimeError

    cs = CentralSystem(0, host="127.0.0.1", journal=Broken(full))
    accept_boots(cs)
    events = connected(cs)
    serving = threading.Thread(target=cs.serve_forever, daemon=True)
    serving.start()
    with raw(cs) as peer:
        assert peer.call("1", "Heartbeat", {})[2] == "NotSupported"
    events.wait(2)
    cs.close()
    serving.join(DEADLINE)
    assert not serving.is_alive()
    cs.close()  # returns at once
    assert "CLOSED" in repr(cs)
    assert "was closed while it could not be written" in caplog.text
    assert ("a fault while closing" in caplog.text) == (fault != "full disk")
    assert "Traceback" not in caplog.text or fault != "full disk"
