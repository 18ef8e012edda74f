"""The jobs: what was accepted and what became of it, in SQLite. The row is the acceptance.

A job is queued or running until it ends: nothing is taken off the queue before, so a service that is
killed finds every job again.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
import sqlite3
from threading import Lock
import time
from typing import Any

from covid19net.errors import ResourceError
from covid19net.prognosis.model import Clinical
from covid19net.service.job import (
    COLUMNS,
    UNKNOWN,
    DiskFull,
    Job,
    QueueFull,
    Run,
    State,
    as_text,
    bring_up_to_date,
    job_of,
    keep_key,
    known,
    same_job,
    seconds_until_room,
    telling_disk_full,
)
from covid19net.service.summary import summary_of

__all__ = ["DiskFull", "Job", "Jobs", "QueueFull", "State"]

MOST_ATTEMPTS = 3  # of a job whose process is killed, or finds no room
MOST_DEATHS = (
    10  # of the service while a job runs, which is hardly the job's fault: it is a process of its own
)


class Jobs:
    """The table of jobs, for any thread."""

    def __init__(self, database: Path) -> None:
        """Open the database, which is made when missing.

        Raises:
            DiskFull: it cannot be written.
        """
        self.moving = Lock()  # held where files and rows change together: not while a row is written alone
        self._lock = Lock()
        self._connection = sqlite3.connect(
            database, timeout=30.0, isolation_level=None, check_same_thread=False
        )
        with telling_disk_full():
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")  # a row must outlive a power cut
            bring_up_to_date(self._connection)

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._connection.close()

    def accept(  # noqa: PLR0913 - what a row holds
        self,
        job_id: str,
        content: str,
        *,
        source: str,
        owner: str,
        limit: int,
        label: str | None = None,
        follows: str | None = None,
        key: str | None = None,
        clinical: Clinical = UNKNOWN,
    ) -> tuple[Job, bool]:  # fmt: skip
        """Put a job into the queue, whose input is on disk already.

        The owner's job of the same content is the same job: it is not made again, and runs again only if it
        failed or was cancelled. The same content of another owner is another job, so that nobody learns what
        others have sent.

        Args:
            job_id: of a new job.
            content: SHA-256 of input and options.
            source: as of `Job`.
            owner: as of `Job`.
            limit: of jobs that wait.
            label: as of `Job`.
            follows: as of `Job`.
            clinical: as of `Job`.
            key: the submitter's own name of this submission; a second one with the same key is the same job.

        Returns:
            The job, and whether it is new.

        Raises:
            QueueFull: no room.
            DiskFull: it cannot be written.
            InputError: the key was used for other content.
        """
        about = as_text(known(clinical))
        with self._transaction() as run:
            found = same_job(run, content, owner, key)
            if found and found.state not in (State.FAILED, State.CANCELLED):
                run("UPDATE jobs SET cancel = 0 WHERE id = ? AND cancel", (found.id,))  # wanted after all
                keep_key(run, key, found)
                return found, False
            waiting = run("SELECT count(*) FROM jobs WHERE state = ?", (State.QUEUED,)).fetchone()[0]
            if waiting >= limit:
                raise QueueFull(limit, seconds_until_room(run))
            turn = run("SELECT coalesce(max(turn), 0) + 1 FROM jobs").fetchone()[0]
            if found:
                run(
                    "UPDATE jobs SET turn = ?, state = ?, submitted = ?, started = NULL, finished = NULL, "
                    "attempts = 0, reason = NULL, exit_code = NULL, cancel = 0, label = coalesce(?, label) "
                    "WHERE id = ?",
                    (turn, State.QUEUED, time.time(), label, found.id),
                )
            else:
                run(
                    "INSERT INTO jobs "
                    "(turn, id, content, state, source, owner, label, submitted, follows, clinical) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (turn, job_id, content, State.QUEUED, source, owner, label, time.time(), follows, about),
                )
            job = job_of(
                run(f"SELECT {COLUMNS} FROM jobs WHERE id = ?", (found.id if found else job_id,)).fetchone()
            )
            keep_key(run, key, job)
            return job, found is None

    def same(self, content: str, owner: str, key: str | None = None) -> Job | None:
        """The owner's job of this content, if there is one.

        Raises:
            InputError: the key was used for other content.
        """
        with self._reading() as run:
            return same_job(run, content, owner, key)

    def claim(self) -> Job | None:
        """Start the job that waits longest."""
        with self._transaction() as run:
            row = run(
                "UPDATE jobs SET state = ?, started = ?, attempts = attempts + 1 WHERE id = "
                f"(SELECT id FROM jobs WHERE state = ? ORDER BY turn LIMIT 1) RETURNING {COLUMNS}",
                (State.RUNNING, time.time(), State.QUEUED),
            ).fetchone()
            return job_of(row) if row else None

    def finish(
        self,
        job_id: str,
        state: State,
        *,
        reason: str | None = None,
        exit_code: int | None = None,
        summary: Mapping[str, Any] | None = None,
    ) -> bool:
        """End a running job; False when it was not running."""
        with self._transaction() as run:
            done = run(
                "UPDATE jobs SET state = ?, finished = ?, reason = ?, exit_code = ?, summary = ? "
                "WHERE id = ? AND state = ?",
                (state, time.time(), reason, exit_code, as_text(summary), job_id, State.RUNNING),
            )
            return bool(done.rowcount)

    def release(self, job_id: str, *, counted: bool = False) -> bool:
        """Put a running job back at its place in the queue.

        Args:
            job_id: of the job.
            counted: whether the job may be at fault, so that the attempt counts.
        """
        with self._transaction() as run:
            done = run(
                "UPDATE jobs SET state = ?, started = NULL, attempts = attempts - ? "
                "WHERE id = ? AND state = ?",
                (State.QUEUED, 0 if counted else 1, job_id, State.RUNNING),
            )
            return bool(done.rowcount)

    def recover(self, results: Path) -> tuple[Job, ...]:
        """Put right, at start, what was running when the service ended.

        Args:
            results: folder in which the whole result of a job has the job's id as its name.

        Returns:
            Jobs whose result was there: now done. The others are in the queue again, cancelled where that was
            asked for, or failed after too many attempts.
        """
        done = []
        with self._transaction() as run:
            rows = run(f"SELECT {COLUMNS}, cancel FROM jobs WHERE state = ?", (State.RUNNING,)).fetchall()
            for *row, cancel in rows:
                job = job_of(row)
                state, reason, code, summary = State.QUEUED, None, None, None
                if (results / job.id).is_dir():
                    state, code, summary = State.DONE, 0, summary_of(results / job.id)
                elif cancel:
                    state = State.CANCELLED
                elif job.attempts >= MOST_DEATHS:
                    state, code = State.FAILED, ResourceError.exit_code
                    reason = f"the service died {job.attempts} times while this was running"
                finished = None if state is State.QUEUED else time.time()
                run(
                    "UPDATE jobs SET state = ?, finished = ?, reason = ?, exit_code = ?, summary = ? "
                    "WHERE id = ?",
                    (state, finished, reason, code, as_text(summary), job.id),
                )
                if state is State.DONE:
                    done.append(replace(job, state=state, finished=finished, exit_code=0, summary=summary))
        return tuple(done)

    def fail_queued(self, job_id: str, reason: str) -> None:
        """End a job that waits and cannot be done."""
        with self._transaction() as run:
            run(
                "UPDATE jobs SET state = ?, finished = ?, reason = ?, exit_code = 2 "
                "WHERE id = ? AND state = ?",
                (State.FAILED, time.time(), reason, job_id, State.QUEUED),
            )

    def get(self, job_id: str) -> Job | None:
        """The job, or None."""
        with self._reading() as run:
            row = run(f"SELECT {COLUMNS} FROM jobs WHERE id = ?", (job_id,)).fetchone()
            return job_of(row) if row else None

    def list(
        self,
        state: State | None = None,
        owner: str | None = None,
        limit: int = 50,
        before: str | None = None,
    ) -> tuple[Job, ...]:
        """Jobs, the one that was sent last first.

        Args:
            state: only these.
            owner: only this one's.
            limit: at most so many.
            before: id of the last job of the page before.
        """
        with self._reading() as run:
            rows = run(
                f"SELECT {COLUMNS} FROM jobs WHERE (?1 IS NULL OR state = ?1) AND (?2 IS NULL OR owner = ?2) "
                "AND (?3 IS NULL OR turn < (SELECT turn FROM jobs WHERE id = ?3)) "
                "ORDER BY turn DESC LIMIT ?4",
                (state, owner, before, limit),
            ).fetchall()
            return tuple(job_of(row) for row in rows)

    def ids(self) -> set[str]:
        """The ids of all jobs."""
        with self._reading() as run:
            return {row[0] for row in run("SELECT id FROM jobs")}

    def finished_before(self, moment: float) -> tuple[str, ...]:
        """Ids of the jobs that ended before a moment, Unix seconds."""
        with self._reading() as run:
            return tuple(row[0] for row in run("SELECT id FROM jobs WHERE finished < ?", (moment,)))

    def position(self, job_id: str) -> int | None:
        """How many jobs wait before this one; None when it does not wait."""
        with self._reading() as run:
            row = run("SELECT turn FROM jobs WHERE id = ? AND state = ?", (job_id, State.QUEUED)).fetchone()
            if not row:
                return None
            before = run("SELECT count(*) FROM jobs WHERE state = ? AND turn < ?", (State.QUEUED, row[0]))
            return int(before.fetchone()[0])

    def counts(self) -> dict[State, int]:
        """How many jobs are in each state."""
        with self._reading() as run:
            found = dict(run("SELECT state, count(*) FROM jobs GROUP BY state").fetchall())
            return {state: found.get(state, 0) for state in State}

    def followed_by(self, job_id: str) -> str | None:
        """Id of the latest job on a later state of the same series."""
        with self._reading() as run:
            row = run(
                "SELECT id FROM jobs WHERE follows = ? ORDER BY serial DESC LIMIT 1", (job_id,)
            ).fetchone()
            return str(row[0]) if row else None

    def request_cancel(self, job_id: str) -> bool:
        """Cancel a job that waits at once, one that runs soon; False when it has ended or is not there."""
        with self._transaction() as run:
            waiting = run(
                "UPDATE jobs SET state = ?, finished = ? WHERE id = ? AND state = ?",
                (State.CANCELLED, time.time(), job_id, State.QUEUED),
            )
            running = run("UPDATE jobs SET cancel = 1 WHERE id = ? AND state = ?", (job_id, State.RUNNING))
            return bool(waiting.rowcount or running.rowcount)

    def cancel_requested(self, job_id: str) -> bool:
        """Whether a running job is to be stopped."""
        with self._reading() as run:
            row = run("SELECT cancel FROM jobs WHERE id = ?", (job_id,)).fetchone()
            return bool(row and row[0])

    def remove(self, job_id: str, ended_before: float | None = None) -> bool:
        """Forget a job, whose files go after its row; False while it runs, or when it is not there.

        Args:
            job_id: of the job.
            ended_before: only if it ended before this moment, Unix seconds: it may have been sent again.
        """
        with self._transaction() as run:
            gone = run(
                "DELETE FROM jobs WHERE id = ?1 AND state != ?2 AND (?3 IS NULL OR finished < ?3)",
                (job_id, State.RUNNING, ended_before),
            )
            if gone.rowcount:
                run("DELETE FROM keys WHERE job = ?", (job_id,))
            return bool(gone.rowcount)

    @contextmanager
    def _transaction(self) -> Iterator[Run]:
        """Statements that are kept together or not at all; yields what runs one."""
        with self._lock, telling_disk_full():
            run = self._connection.execute
            run("BEGIN IMMEDIATE")
            try:
                yield run
                run("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    run("ROLLBACK")
                raise

    @contextmanager
    def _reading(self) -> Iterator[Run]:
        """One statement that changes nothing, which waits for nobody who writes."""
        with self._lock, telling_disk_full():
            yield self._connection.execute
