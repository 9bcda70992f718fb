"""The SQLite database of the site: chargers, connectors, transactions, meter readings and commands."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Any

from ocppsync import utc_now

__all__ = ["Row", "Store"]

Row = dict[str, Any]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS charger (
    id TEXT PRIMARY KEY, vendor TEXT NOT NULL DEFAULT '', model TEXT NOT NULL DEFAULT '', seen TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS connector (
    charger TEXT NOT NULL, number INTEGER NOT NULL, status TEXT NOT NULL, error TEXT NOT NULL, since TEXT NOT NULL,
    PRIMARY KEY (charger, number)
);
CREATE TABLE IF NOT EXISTS session (
    id INTEGER PRIMARY KEY AUTOINCREMENT, charger TEXT NOT NULL, connector INTEGER NOT NULL, id_tag TEXT NOT NULL,
    started TEXT NOT NULL, meter_start INTEGER NOT NULL, ended TEXT, meter_stop INTEGER, reason TEXT
);
CREATE TABLE IF NOT EXISTS reading (
    session INTEGER NOT NULL, at TEXT NOT NULL, energy REAL, power REAL, charge REAL
);
CREATE INDEX IF NOT EXISTS reading_of_session ON reading (session, at);
CREATE TABLE IF NOT EXISTS command (
    id INTEGER PRIMARY KEY AUTOINCREMENT, charger TEXT NOT NULL, at TEXT NOT NULL, action TEXT NOT NULL,
    payload TEXT NOT NULL, good INTEGER NOT NULL, outcome TEXT NOT NULL, answer TEXT NOT NULL
);
"""
_SESSIONS = """
SELECT session.*, COALESCE(meter_stop, (SELECT MAX(energy) FROM reading WHERE session = session.id), meter_start)
    - meter_start AS energy FROM session WHERE charger = ? ORDER BY id DESC LIMIT ?
"""


class Store:
    """The database. All methods are thread-safe.

    Args:
        path: the database file; created if it does not exist.
    """

    def __init__(self, path: str | Path) -> None:
        self._lock = threading.Lock()  # all threads share the connection: one statement at a time
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._database.row_factory = sqlite3.Row
        self._database.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    def _run(self, statement: str, *values: Any) -> int:
        with self._lock:
            return self._database.execute(statement, values).lastrowid or 0

    def _rows(self, statement: str, *values: Any) -> list[Row]:
        with self._lock:
            return [dict(row) for row in self._database.execute(statement, values)]

    # Written by chargers.

    def mark_seen(self, charger: str) -> None:
        """Set the time when a charger was last seen to now; add the charger if it is new."""
        self._run(
            "INSERT INTO charger (id, seen) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET seen = excluded.seen",
            charger,
            utc_now(),
        )

    def boot(self, charger: str, vendor: str, model: str) -> None:
        """Store the vendor and model of a charger."""
        self.mark_seen(charger)
        self._run("UPDATE charger SET vendor = ?, model = ? WHERE id = ?", vendor, model, charger)

    def set_status(self, charger: str, number: int, status: str, error: str) -> None:
        """Store the status of a connector; number 0 is the charger itself."""
        self._run("INSERT OR REPLACE INTO connector VALUES (?, ?, ?, ?, ?)", charger, number, status, error, utc_now())

    def start_session(self, charger: str, connector: int, id_tag: str, started: str, meter_start: int) -> int:
        """Add a transaction and return its id."""
        return self._run(
            "INSERT INTO session (charger, connector, id_tag, started, meter_start) VALUES (?, ?, ?, ?, ?)",
            charger,
            connector,
            id_tag,
            started,
            meter_start,
        )

    def stop_session(self, charger: str, session: int, ended: str, meter_stop: int, reason: str) -> None:
        """End a transaction of a charger."""
        self._run(
            "UPDATE session SET ended = ?, meter_stop = ?, reason = ? WHERE id = ? AND charger = ?",
            ended,
            meter_stop,
            reason,
            session,
            charger,
        )

    def add_reading(
        self, session: int, at: str, energy: float | None, power: float | None, charge: float | None
    ) -> None:
        """Add a meter reading: energy in Wh, power in W, state of charge in percent."""
        self._run("INSERT INTO reading VALUES (?, ?, ?, ?, ?)", session, at, energy, power, charge)

    # Read by pages, and commands.

    def chargers(self) -> list[Row]:
        """Return all chargers, each with its connectors."""
        rows = self._rows("SELECT * FROM charger ORDER BY id")
        connectors = self._rows("SELECT * FROM connector ORDER BY number")
        return [{**row, "connectors": [one for one in connectors if one["charger"] == row["id"]]} for row in rows]

    def charger(self, charger: str) -> Row | None:
        """Return a charger with its connectors, or None."""
        return next((row for row in self.chargers() if row["id"] == charger), None)

    def sessions(self, charger: str, limit: int = 10) -> list[Row]:
        """Return the latest transactions, newest first, each with its energy in Wh."""
        return self._rows(_SESSIONS, charger, limit)

    def readings(self, session: int) -> list[Row]:
        """Return the readings of a transaction in order of time."""
        return self._rows("SELECT * FROM reading WHERE session = ? ORDER BY at", session)

    def add_command(self, charger: str, action: str, payload: str, good: bool, outcome: str, answer: str) -> int:
        """Store a command and its outcome; return the id of the command."""
        return self._run(
            "INSERT INTO command (charger, at, action, payload, good, outcome, answer) VALUES (?, ?, ?, ?, ?, ?, ?)",
            charger,
            utc_now(),
            action,
            payload,
            good,
            outcome,
            answer,
        )

    def commands(self, charger: str, limit: int = 8) -> list[Row]:
        """Return the latest commands, newest first."""
        return self._rows("SELECT * FROM command WHERE charger = ? ORDER BY id DESC LIMIT ?", charger, limit)
