"""What is to be fetched from the PACS, and what has become of it, in SQLite: it outlives the service."""

from collections.abc import Sequence
from dataclasses import dataclass
import json
from pathlib import Path
import sqlite3
from threading import Lock
import time
from typing import Any
from uuid import uuid4

from covid19net.service.job import QueueFull, telling_disk_full

# The UIDs are kept until the end only: they are needed to go on after a restart, and tell who was scanned.
SCHEMA = """
CREATE TABLE IF NOT EXISTS pulls (
    serial INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, owner TEXT NOT NULL, study TEXT,
    series TEXT, state TEXT NOT NULL, reason TEXT, jobs TEXT NOT NULL DEFAULT '[]', asked REAL NOT NULL,
    ended REAL);
"""
WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"
MOST_WAITING = 200
RETRY_SECONDS = 60
KEPT = 200  # that have ended
SHOWN = 20
TOLD = ("id", "owner", "state", "reason", "jobs", "asked", "ended")


@dataclass(frozen=True)
class Wanted:
    """What to fetch: our id of the pull, UIDs of the study and perhaps of one series, owner of the jobs."""

    id: str
    study: str
    series: str | None
    owner: str


class Pulls:
    """The table of pulls, for any thread."""

    def __init__(self, database: Path) -> None:
        """Open it; what ran when the service ended waits again.

        Raises:
            DiskFull: it cannot be written.
        """
        self._lock = Lock()
        self._rows = sqlite3.connect(database, timeout=30.0, isolation_level=None, check_same_thread=False)
        with telling_disk_full():
            self._rows.execute("PRAGMA synchronous=FULL")
            self._rows.executescript(SCHEMA)
            self._rows.execute("UPDATE pulls SET state = ? WHERE state = ?", (WAITING, RUNNING))

    def ask(self, study: str, series: str | None, owner: str) -> str:
        """Note what is wanted; returns the id of the pull.

        Raises:
            QueueFull: too many wait.
            DiskFull: no room.
        """
        pull = uuid4().hex
        with self._lock, telling_disk_full():
            waiting = self._rows.execute("SELECT count(*) FROM pulls WHERE state = ?", (WAITING,)).fetchone()
            if waiting[0] >= MOST_WAITING:
                raise QueueFull(MOST_WAITING, RETRY_SECONDS)
            self._rows.execute(
                "INSERT INTO pulls (id, owner, study, series, state, asked) VALUES (?, ?, ?, ?, ?, ?)",
                (pull, owner, study, series, WAITING, time.time()),
            )
        return pull

    def claim(self) -> Wanted | None:
        """Start the pull that waits longest."""
        with self._lock, telling_disk_full():
            row = self._rows.execute(
                "UPDATE pulls SET state = ? WHERE serial = "
                "(SELECT min(serial) FROM pulls WHERE state = ?) RETURNING id, study, series, owner",
                (RUNNING, WAITING),
            ).fetchone()
        return Wanted(*row) if row else None

    def end(self, pull: str, jobs: Sequence[str], reason: str | None = None) -> None:
        """Note what a pull has become: jobs, and if it failed, why."""
        with self._lock, telling_disk_full():
            self._rows.execute(
                "UPDATE pulls SET state = ?, reason = ?, jobs = ?, ended = ?, study = NULL, series = NULL "
                "WHERE id = ?",
                (FAILED if reason else DONE, reason, json.dumps(jobs), time.time(), pull),
            )
            self._rows.execute(
                "DELETE FROM pulls WHERE ended IS NOT NULL AND serial <= (SELECT max(serial) FROM pulls) - ?",
                (KEPT,),
            )

    def recent(self, owner: str | None) -> tuple[dict[str, Any], ...]:
        """The latest pulls, of everybody or of one owner, the newest first; their fields are `TOLD`."""
        with self._lock:
            rows = self._rows.execute(
                f"SELECT {', '.join(TOLD)} FROM pulls WHERE ?1 IS NULL OR owner = ?1 "
                "ORDER BY serial DESC LIMIT ?2",
                (owner, SHOWN),
            ).fetchall()
        told = (dict(zip(TOLD, row, strict=True)) for row in rows)
        return tuple(each | {"jobs": json.loads(each["jobs"])} for each in told)
