"""The worker: has each job analyzed by a process of its own, and puts the result in its place."""

from collections.abc import Callable, Sequence
from dataclasses import replace
import errno
import os
from pathlib import Path
import shutil
import signal
import sqlite3
import sys
from threading import Event, Thread
import time
from typing import Any

from covid19net.errors import ResourceError
from covid19net.io.files import sync_folder, sync_tree
from covid19net.prognosis.model import Clinical
from covid19net.service.disk import INPUTS, RESULTS, RUNNING, remove, telling_full
from covid19net.service.job import DiskFull, Job, State
from covid19net.service.jobs import MOST_ATTEMPTS, Jobs
from covid19net.service.logs import log
from covid19net.service.settings import Settings
from covid19net.service.summary import RECORD, summary_of
from covid19net.service.watch import Ending, Limits, Stop, watch

Command = Callable[[Path, Path, int], Sequence[str]]  # of input, output, and the descriptor for progress

POLL = 0.2  # seconds between looks at an empty queue
PAUSE = 15.0  # seconds until a full disk is tried again
ROOM = (
    500 * 10**6
)  # bytes; with less the disk counts as full, with more a job that found no room is too large
FULL = (os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT))
LONGEST_REASON = 300  # characters
# When each stage of the pipeline begins and how long it takes, as shares of the whole: measured on 148 slices
# of a patient and two cores, with DICOM results, PDF and CT.
STAGES = {
    "reading": (0.0, 0.15), "check": (0.15, 0.01), "lungs": (0.16, 0.2), "lung-image": (0.36, 0.02),
    "diagnosis": (0.38, 0.08), "stability": (0.46, 0.15), "maps": (0.61, 0.02), "writing": (0.63, 0.37),
}  # fmt: skip


def analysis(settings: Settings) -> Command:
    """The command line of an analysis."""
    options = ["--weights", settings.weights, "--dicom-if-possible", "--pdf", "--keep-scan", "--nameless"]
    options += ["--identify"] if settings.identify else []

    def command(scan: Path, out: Path, telling: int) -> list[str]:
        told = ["--progress-file", f"/dev/fd/{telling}"]
        return [sys.executable, "-m", "covid19net.cli", "analyze", str(scan), "-o", str(out), *options, *told]

    return command


def patient_options(clinical: Clinical) -> list[str]:
    """What is known of the patient, as options of the command line."""
    options = [] if clinical.age is None else ["--age", f"{clinical.age:g}"]
    options += ["--sex", clinical.sex] if clinical.sex else []
    if clinical.comorbidity is not None:
        options.append("--comorbidity" if clinical.comorbidity else "--no-comorbidity")
    return options


class Worker:
    """Threads that have jobs done, as many at once as the settings say."""

    def __init__(
        self,
        settings: Settings,
        jobs: Jobs,
        *,
        command: Command | None = None,
        finished: Callable[[Job], None] | None = None,
        pause: float = PAUSE,
    ) -> None:
        """Prepare, without starting anything.

        Args:
            settings: of the service.
            jobs: the table.
            command: of the analysis; by default the real one.
            finished: is called with each done job, its result in place, before its row says so: after a crash
                it is called again by whoever calls `Jobs.recover`, and must then do nothing twice.
            pause: seconds until a full disk is tried again.
        """
        self._settings, self._jobs = settings, jobs
        self._command = command or analysis(settings)
        self._finished = finished or (lambda _: None)
        self._pause = pause
        self._draining = Event()
        self._patience = float("inf")  # monotonic time at which running jobs are stopped
        self._progress: dict[str, dict[str, Any]] = {}
        self._threads = [
            Thread(target=self._work, name=f"worker {number}", daemon=True)
            for number in range(settings.workers)
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    @property
    def alive(self) -> bool:
        """Whether all threads run."""
        return all(thread.is_alive() for thread in self._threads)

    @property
    def draining(self) -> bool:
        """Whether no new job is started any more."""
        return self._draining.is_set()

    def drain(self, seconds: float) -> None:
        """Start no new job; those that run may end within some seconds, else they are queued again."""
        self._patience = time.monotonic() + seconds
        self._draining.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, self._patience - time.monotonic()) + 5.0)

    def progress(self, job_id: str) -> dict[str, Any] | None:
        """Stage and share, {"stage": name, "fraction": 0 to 1}; None for a job that does not run."""
        return self._progress.get(job_id)

    def _work(self) -> None:
        while not self._draining.is_set():
            try:
                job = self._jobs.claim()
            except (DiskFull, sqlite3.Error) as error:  # busy, or full: later
                log("fault", fault=type(error).__name__)
                self._draining.wait(self._pause)
                continue
            if job is None:
                self._draining.wait(POLL)
                continue
            self._do(job)

    def _do(self, job: Job) -> None:
        """One attempt at a job; whatever happens, the thread goes on."""
        log("started", job=job.id, attempts=job.attempts)
        running = self._settings.data / RUNNING / job.id
        self._progress[job.id] = {"stage": "starting", "fraction": 0.0}
        try:
            self._settle(job, self._run(job, running))
        except DiskFull:
            self._wait_for_room(job)
        except Exception as error:  # a fault of ours must not end the worker
            log("fault", job=job.id, fault=type(error).__name__)
            self._end(job, State.FAILED, reason=f"unexpected fault ({type(error).__name__})", exit_code=5)

    def _run(self, job: Job, running: Path) -> Ending:
        scan = _scan_in(self._settings.data / INPUTS / job.id)
        remove(running)
        with telling_full():
            running.mkdir(mode=0o700)
        patient = patient_options(job.clinical)
        limits = Limits(int(self._settings.job_memory_gb * 10**9), self._settings.job_minutes * 60)

        def stop() -> Stop | None:
            if time.monotonic() > self._patience:
                return Stop.DRAINED
            return Stop.CANCELLED if self._jobs.cancel_requested(job.id) else None

        def progress(line: str) -> None:
            share, _, stage = line.partition(" ")
            start, length = STAGES.get(stage, (0.0, 0.0))
            if stage in STAGES:
                self._progress[job.id] = {"stage": stage, "fraction": round(start + length * float(share), 3)}

        return watch(
            lambda telling: [*self._command(scan, running / "result", telling), *patient],
            running, limits, stop=stop, progress=progress,
        )  # fmt: skip

    def _settle(self, job: Job, ending: Ending) -> None:
        """Do what an attempt's end asks for."""
        log("ended", job=job.id, code=ending.code, stop=ending.stop or "none", bytes=ending.peak)
        if ending.stop is Stop.DRAINED:
            self._again(job)
        elif ending.stop is Stop.CANCELLED:
            if self._jobs.cancel_requested(job.id):
                self._end(job, State.CANCELLED)
            else:  # it was sent again meanwhile
                self._again(job)
        elif ending.stop is None and ending.code == 0:
            self._publish(job)
        elif (
            ending.stop is None
            and ending.code == ResourceError.exit_code
            and any(reason in ending.said for reason in FULL)
        ):
            self._wait_for_room(job)
        elif ending.stop is None and ending.code == -signal.SIGKILL and job.attempts < MOST_ATTEMPTS:
            self._again(job, counted=True)  # by somebody else, or by the system for lack of memory
        else:
            reason, code = _reason(ending, self._settings)
            # A folder of slices is called by the job's number, which the reader knows already.
            self._end(job, State.FAILED, reason=reason.removeprefix(f"{job.id}: "), exit_code=code)

    def _publish(self, job: Job) -> None:
        """Put a whole result in its place: on the disk first, then under its name, then in the table."""
        made = self._settings.data / RUNNING / job.id / "result"
        results = self._settings.data / RESULTS
        summary = summary_of(made)
        if summary is None:
            self._end(job, State.FAILED, reason=f"the analysis left no {RECORD}", exit_code=5)
            return
        with telling_full():
            sync_tree(made)
            if not (results / job.id).exists():
                made.rename(results / job.id)
            sync_folder(results)
        done = replace(job, state=State.DONE, finished=time.time(), exit_code=0, summary=summary)
        self._persist(lambda: self._finished(done))
        self._end(job, State.DONE, exit_code=0, summary=summary)

    def _wait_for_room(self, job: Job) -> None:
        """Put a job back that found no room, and wait; it fails in the end if the disk has room."""
        self._clear(job)  # before the disk is looked at
        large = shutil.disk_usage(self._settings.data).free > ROOM
        if large and job.attempts >= MOST_ATTEMPTS:
            self._end(job, State.FAILED, reason="the result does not fit on the disk", exit_code=5)
            return
        log("disk full", job=job.id)
        self._again(job, counted=large)
        self._draining.wait(self._pause)

    def _end(self, job: Job, state: State, **more: Any) -> None:  # noqa: ANN401 - as Jobs.finish
        self._clear(job)
        if self._persist(lambda: self._jobs.finish(job.id, state, **more)):
            log("finished", job=job.id, state=state, seconds=time.time() - (job.started or 0.0))

    def _again(self, job: Job, *, counted: bool = False) -> None:
        self._clear(job)
        if self._persist(lambda: self._jobs.release(job.id, counted=counted)):
            log("queued again", job=job.id)

    def _clear(self, job: Job) -> None:
        """Leave nothing unfinished, before the row says that the job is over: then it may be another's."""
        self._progress.pop(job.id, None)
        remove(self._settings.data / RUNNING / job.id)

    def _persist(self, write: Callable[[], object]) -> object:
        """Write to the table when there is room; what never finds any, the next start puts right."""
        while True:
            try:
                return write()
            except (DiskFull, sqlite3.OperationalError) as error:
                log("fault", fault=type(error).__name__)
                if self._draining.wait(min(1.0, self._pause)):
                    return None


def _scan_in(inputs: Path) -> Path:
    """What to analyze: the one file that holds a scan, or the folder of slices."""
    names = sorted(inputs.iterdir()) if inputs.is_dir() else []
    return names[0] if len(names) == 1 and names[0].name.startswith("upload") else inputs


def _reason(ending: Ending, settings: Settings) -> tuple[str, int]:
    """Why an analysis failed, in a line, and its exit code."""
    if ending.stop is Stop.MEMORY:
        return f"it needs more memory than the {settings.job_memory_gb:g} GB a job may use", 5
    if ending.stop is Stop.TIME or ending.code == -signal.SIGXCPU:
        return f"it takes more time than the {settings.job_minutes:g} minutes a job may take", 5
    if ending.code == -signal.SIGKILL:
        return "its process was killed, probably for lack of memory", 5
    if ending.code < 0:
        return f"its process was ended by signal {-ending.code}", 5
    lines = [line for line in ending.said.splitlines() if line.strip()]
    said = lines[-1].rpartition("error: ")[2] if lines else f"exit code {ending.code}"
    return "".join(c if c.isprintable() else "?" for c in said)[:LONGEST_REASON], ending.code
