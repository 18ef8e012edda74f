"""What is to be sent where, and what has become of it, in SQLite: it outlives the service."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
import sqlite3
from threading import Lock
import time

from covid19net.service.job import telling_disk_full

SCHEMA = """
CREATE TABLE IF NOT EXISTS sends (
    job TEXT NOT NULL, file TEXT NOT NULL, destination TEXT NOT NULL, state TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0, queued REAL NOT NULL, due REAL NOT NULL, sent REAL, fault TEXT,
    PRIMARY KEY (job, file, destination));
CREATE INDEX IF NOT EXISTS sends_due ON sends (state, due);
CREATE TABLE IF NOT EXISTS sends_made (job TEXT PRIMARY KEY);
"""
WAITING, SENT, GIVEN_UP = "waiting", "sent", "given up"
COLUMNS = "job, file, destination, state, attempts, queued, due, sent, fault"


@dataclass(frozen=True)
class Send:
    """One file on its way to one destination.

    Attributes:
        job: its job.
        file: its name in the job's result.
        destination: name, as in the settings.
        state: "waiting", "sent" or "given up".
        attempts: so far.
        queued: Unix seconds; so are due and sent.
        due: when it is tried next.
        sent: when it was stored.
        fault: of the latest attempt; of a short list of our own words.
    """

    job: str
    file: str
    destination: str
    state: str
    attempts: int
    queued: float
    due: float
    sent: float | None
    fault: str | None


class Outbox:
    """The table of sends, for any thread."""

    def __init__(self, database: Path) -> None:
        self._lock = Lock()
        self._rows = sqlite3.connect(database, timeout=30.0, isolation_level=None, check_same_thread=False)
        with telling_disk_full():
            self._rows.execute("PRAGMA synchronous=FULL")
            self._rows.executescript(SCHEMA)

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._rows.close()

    def put(self, job: str, sends: Iterable[tuple[str, str]]) -> None:
        """Note what of a job is to be sent: files and destinations. What was put once is not put again.

        Raises:
            DiskFull: no room.
        """
        now = time.time()
        with self._lock, telling_disk_full(), self._rows:
            self._rows.execute("BEGIN IMMEDIATE")
            if self._rows.execute("INSERT OR IGNORE INTO sends_made VALUES (?)", (job,)).rowcount:
                self._rows.executemany(
                    "INSERT INTO sends (job, file, destination, state, queued, due) "
                    "VALUES (?, ?, ?, ?, ?, ?)",
                    [(job, file, destination, WAITING, now, now) for file, destination in sends],
                )

    def due(self) -> tuple[Send, ...]:
        """What is to be tried now: files of one job for one destination, those longest due."""
        now = time.time()
        with self._lock:
            first = self._rows.execute(
                "SELECT job, destination FROM sends WHERE state = ? AND due <= ? ORDER BY due LIMIT 1",
                (WAITING, now),
            ).fetchone()
            rows = self._rows.execute(
                f"SELECT {COLUMNS} FROM sends "
                "WHERE job = ? AND destination = ? AND state = ? AND due <= ? ORDER BY file",
                (*(first or ("", "")), WAITING, now),
            )
            return tuple(Send(*row) for row in rows)

    def of(self, job: str) -> tuple[Send, ...]:
        """What of a job was or will be sent."""
        with self._lock:
            rows = self._rows.execute(
                f"SELECT {COLUMNS} FROM sends WHERE job = ? ORDER BY destination, file", (job,)
            )
            return tuple(Send(*row) for row in rows)

    def delivered(self, send: Send) -> None:
        """Note that the destination has it.

        Raises:
            DiskFull: no room.
        """
        self._change(send, SENT, send.due, sent=time.time())

    def failed(self, send: Send, fault: str, due: float | None) -> None:
        """Note a failed attempt, and when to try again; None for never.

        Raises:
            DiskFull: no room.
        """
        self._change(send, GIVEN_UP if due is None else WAITING, due or send.due, fault=fault)

    def _change(
        self, send: Send, state: str, due: float, *, sent: float | None = None, fault: str | None = None
    ) -> None:
        with self._lock, telling_disk_full():
            self._rows.execute(
                "UPDATE sends SET state = ?, attempts = attempts + 1, due = ?, sent = ?, fault = ? "
                "WHERE job = ? AND file = ? AND destination = ?",
                (state, due, sent, fault, send.job, send.file, send.destination),
            )

    def forget(self, known: Iterable[str]) -> None:
        """Drop the sends of other jobs than these.

        Raises:
            DiskFull: no room.
        """
        with self._lock, telling_disk_full():
            made = {row[0] for row in self._rows.execute("SELECT job FROM sends_made")}
            for job in made - set(known):
                self._rows.execute("DELETE FROM sends WHERE job = ?", (job,))
                self._rows.execute("DELETE FROM sends_made WHERE job = ?", (job,))
