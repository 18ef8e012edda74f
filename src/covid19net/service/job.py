"""A job: one accepted analysis, as a row of the table holds it, and what stands in its way."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
import json
import sqlite3
from typing import Any

from covid19net.errors import InputError, ResourceError
from covid19net.prognosis.model import Clinical

UNKNOWN = Clinical()  # what is known of most patients here
USUAL_SECONDS = 30.0  # of a job, while none has been done
SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    serial INTEGER PRIMARY KEY AUTOINCREMENT, turn INTEGER NOT NULL, id TEXT NOT NULL UNIQUE,
    content TEXT NOT NULL, state TEXT NOT NULL, source TEXT NOT NULL, owner TEXT NOT NULL, label TEXT,
    submitted REAL, started REAL, finished REAL, attempts INTEGER NOT NULL DEFAULT 0, reason TEXT,
    exit_code INTEGER, follows TEXT, clinical TEXT, summary TEXT, cancel INTEGER NOT NULL DEFAULT 0,
    UNIQUE (owner, content));
CREATE INDEX IF NOT EXISTS jobs_turn ON jobs (state, turn);
CREATE INDEX IF NOT EXISTS jobs_newest ON jobs (turn);
CREATE INDEX IF NOT EXISTS jobs_follows ON jobs (follows);
CREATE TABLE IF NOT EXISTS keys (
    owner TEXT NOT NULL, key TEXT NOT NULL, job TEXT NOT NULL, PRIMARY KEY (owner, key));
"""
PLAIN = (
    "source", "owner", "label", "submitted", "started", "finished", "attempts", "reason", "exit_code",
    "follows",
)  # fmt: skip
COLUMNS = ", ".join(("id", "content", "state", *PLAIN, "clinical", "summary"))
Run = Callable[..., sqlite3.Cursor]


def bring_up_to_date(connection: sqlite3.Connection) -> None:
    """Make the tables, and add what those of an earlier version lack."""
    connection.executescript(SCHEMA)
    if "clinical" not in {row[1] for row in connection.execute("PRAGMA table_info(jobs)")}:
        connection.execute("ALTER TABLE jobs ADD COLUMN clinical TEXT")


class State(StrEnum):
    """Where a job stands; the last three are ends."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Job:
    """One analysis.

    Attributes:
        id: 32 hexadecimal digits, random.
        content: SHA-256 of what is analyzed and how.
        state: where it stands.
        source: "rest", "dicom" or "dicomweb".
        owner: name of the token, or AE title of the caller.
        label: given by the submitter; never logged.
        submitted: Unix seconds; so are started and finished.
        started: of the latest attempt.
        finished: of the end.
        attempts: how often it was started.
        reason: why it failed, one line.
        exit_code: of the analysis (CONTRIBUTING.md lists them).
        follows: id of the job on an earlier, incomplete state of the same series.
        clinical: what the submitter says of the patient, for the prognosis; never logged.
        summary: of the result.
    """

    id: str
    content: str
    state: State
    source: str
    owner: str
    label: str | None = None
    submitted: float | None = None
    started: float | None = None
    finished: float | None = None
    attempts: int = 0
    reason: str | None = None
    exit_code: int | None = None
    follows: str | None = None
    clinical: Clinical = UNKNOWN
    summary: dict[str, Any] | None = None


class QueueFull(ResourceError):  # noqa: N818 - a state of the queue, as in the standard library's queue.Full
    """As many jobs wait as may; `retry_after` says when one more may have room, in seconds."""

    def __init__(self, limit: int, retry_after: int) -> None:
        super().__init__(f"{limit} jobs are waiting, which is the limit; try again in {retry_after} s")
        self.retry_after = retry_after


class DiskFull(ResourceError):  # noqa: N818 - a state of the disk
    """Nothing more can be written now."""


def job_of(row: Sequence[Any]) -> Job:
    """The job in a row of `COLUMNS`."""
    job_id, content, state, *plain, clinical, summary = row
    others: dict[str, Any] = dict(zip(PLAIN, plain, strict=True))
    others |= {"clinical": Clinical(**json.loads(clinical or "{}"))}
    return Job(job_id, content, State(state), **others, summary=json.loads(summary) if summary else None)


def as_text(values: Mapping[str, Any] | None) -> str | None:
    """A summary, or what is known of a patient, as it is kept."""
    return None if values is None else json.dumps(values)


def known(clinical: Clinical) -> dict[str, Any]:
    """What of it is known."""
    return {name: value for name, value in asdict(clinical).items() if value is not None}


@contextmanager
def telling_disk_full() -> Iterator[None]:
    """Raise DiskFull where SQLite could not write."""
    try:
        yield
    except sqlite3.OperationalError as error:  # primary code: the low 8 bits (sqlite.org/rescode.html)
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            raise DiskFull("the disk of the service is full") from error
        raise


def same_job(run: Run, content: str, owner: str, key: str | None) -> Job | None:
    """The owner's job of this content.

    Raises:
        InputError: the key was used for other content.
    """
    rows = f"SELECT {COLUMNS} FROM jobs WHERE owner = ? AND"
    if key is not None:
        row = run(
            f"{rows} id = (SELECT job FROM keys WHERE owner = ? AND key = ?)", (owner, owner, key)
        ).fetchone()
        if row and row[1] != content:
            raise InputError("this key was given to other files before: take a new one for each submission")
    row = run(f"{rows} content = ?", (owner, content)).fetchone()
    return job_of(row) if row else None


def keep_key(run: Run, key: str | None, job: Job) -> None:
    """Note the submitter's key, if there is one."""
    if key is not None:
        run("INSERT OR IGNORE INTO keys (owner, key, job) VALUES (?, ?, ?)", (job.owner, key, job.id))


def seconds_until_room(run: Run) -> int:
    """Seconds until a job has probably ended: the mean of the latest ones."""
    latest = "SELECT finished - started AS seconds FROM jobs WHERE state = ? ORDER BY finished DESC LIMIT 20"
    mean = run(f"SELECT avg(seconds) FROM ({latest})", (State.DONE,)).fetchone()[0]
    return max(1, min(600, round(mean or USUAL_SECONDS)))
