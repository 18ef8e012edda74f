"""Series put together from slices that come one by one, in any order, perhaps more than once.

A slice is on the disk before its sender is told so. A series is taken as complete when nothing has come for a
quiet period. Where slices are missing between those there, or its last association was cut off, it is given
`PATIENCE` quiet periods, and runs then all the same: the analysis says in its own words what is missing.
Later slices make a new job on all of them, which follows the first. Slices known already change nothing,
unless their job failed, was cancelled or deleted: then it is done again.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from hashlib import sha256
from io import BytesIO
import os
from pathlib import Path
import sqlite3
from threading import Event, Lock, Thread
import time
from uuid import uuid4

from covid19net.errors import InputError
from covid19net.io.files import Source, source_of, sync_folder
from covid19net.io.header import CT_CLASSES, FIRST_READ, Slice, read_slices
from covid19net.service.dicom.gaps import has_gap
from covid19net.service.disk import ARRIVING, DATABASE, remove, telling_full
from covid19net.service.intake import Intake, TooLarge
from covid19net.service.job import DiskFull, QueueFull, State, telling_disk_full
from covid19net.service.jobs import Jobs
from covid19net.service.logs import log
from covid19net.service.settings import Settings

PATIENCE = 10  # quiet periods for a series that is known to be incomplete
MOST_OPEN = 200  # series that arrive at once
DISK_PAUSE = 30.0  # seconds before a full disk is tried again
SHORTEST_MEMORY = (
    3600.0  # seconds for which the slices of a series are kept at least, for those that are late
)
FORGETTING = 60.0  # seconds between looking for series that are kept no longer
SCHEMA = """
CREATE TABLE IF NOT EXISTS arrivals (
    id TEXT PRIMARY KEY, key TEXT NOT NULL UNIQUE, caller TEXT NOT NULL, open INTEGER NOT NULL DEFAULT 1,
    changed REAL NOT NULL, job TEXT);
"""


class NotCT(InputError):  # noqa: N818 - a state of the object
    """A DICOM object that is no CT image."""


class _Series:
    """A series in memory: what is on the disk of it, and since when nothing has come."""

    def __init__(self, series_id: str, caller: str, job: str | None, folder: Path, *, fresh: bool) -> None:
        self.id, self.caller, self.job, self.folder = series_id, caller, job, folder
        self.lock = Lock()
        self.known = {path.name.partition("-")[2]: path for path in sorted(folder.iterdir())}
        self.bytes = sum(path.stat().st_size for path in self.known.values())
        self.fresh = fresh  # holds slices that no job has
        self.cut = False  # the association that brought it was not released
        self.gap: bool | None = None  # None: not looked at since the last slice
        self.last = time.monotonic()
        self.not_before = 0.0
        self.dropped = False

    def complete(self, quiet: float) -> bool:
        """Whether no more slices are to be waited for."""
        silent = time.monotonic() - self.last
        if silent < quiet:
            return False
        if self.gap is None:
            self.gap = has_gap(list(_planes(self.known.values())))
        return silent >= PATIENCE * quiet or not (self.gap or self.cut)


class Arrivals:
    """The series that arrive; any thread may bring slices."""

    def __init__(self, settings: Settings, intake: Intake, jobs: Jobs) -> None:
        self._settings, self._intake, self._jobs = settings, intake, jobs
        self._folder = settings.data / ARRIVING
        self._lock = Lock()  # of the two below
        self._series: dict[str, _Series] = {}
        self._rows = sqlite3.connect(
            settings.data / DATABASE, timeout=30.0, isolation_level=None, check_same_thread=False
        )
        self._ended = Event()
        self._thread = Thread(target=self._watch, name="dicom-arrivals", daemon=True)

    def start(self) -> None:
        """Take up what had arrived before the service ended, and begin to watch.

        Raises:
            DiskFull: the database cannot be written.
        """
        with telling_disk_full():
            self._rows.execute("PRAGMA synchronous=FULL")
            self._rows.executescript(SCHEMA)
            known = {row[0]: row for row in self._rows.execute("SELECT id, key, open FROM arrivals")}
            for folder in self._folder.iterdir():
                if folder.name not in known:
                    remove(folder)
                for unfinished in folder.glob(".*"):
                    unfinished.unlink()
            for series_id, key, is_open in known.values():
                if not (self._folder / series_id).is_dir():
                    self._rows.execute("DELETE FROM arrivals WHERE id = ?", (series_id,))
                elif is_open:
                    self._find(key, "")
        self._thread.start()

    def stop(self) -> None:
        """Watch no longer; what has arrived stays."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(10)
        self._rows.close()

    def keep(self, caller: str, data: bytes) -> str:
        """Take one object; it is on the disk on return.

        Args:
            caller: who sent it.
            data: a whole DICOM file.

        Returns:
            Our id of its series.

        Raises:
            NotCT: another object.
            InputError: it cannot be read.
            TooLarge: the series has more than a submission may, or too many series arrive at once.
            DiskFull: no room.
        """
        plane = _first_plane(data)
        if "" in (plane.tag("SeriesInstanceUID"), plane.tag("StudyInstanceUID")):
            raise InputError("the object does not tell its series")
        names = (caller, plane.tag("StudyInstanceUID"), plane.tag("SeriesInstanceUID"))
        key = sha256("\0".join(names).encode()).hexdigest()  # no UID is kept
        digest = sha256(data).hexdigest()
        while True:
            with self._lock, telling_disk_full():
                series = self._find(key, caller)
            with series.lock:
                if not series.dropped:
                    self._add(series, data, digest)
                    return series.id

    def ended(self, series_ids: Iterable[str], *, cut: bool) -> None:
        """Tell that the association that brought slices of some series ended, and whether it was cut off."""
        with self._lock:
            for series in self._series.values():
                if series.id in series_ids:
                    series.cut = cut

    def _find(self, key: str, caller: str) -> _Series:
        """The series of a key, from memory, disk, or new."""
        if key in self._series:
            return self._series[key]
        if len(self._series) >= MOST_OPEN:
            raise TooLarge(f"more than {MOST_OPEN} series arrive at once")
        row = self._rows.execute(
            "SELECT id, caller, open, job FROM arrivals WHERE key = ?", (key,)
        ).fetchone()
        series_id, caller, is_open, job = row or (uuid4().hex, caller, 1, None)
        folder = self._folder / series_id
        if not row:
            with telling_full():
                folder.mkdir(mode=0o700)
                sync_folder(self._folder)
            self._rows.execute(
                "INSERT INTO arrivals (id, key, caller, changed) VALUES (?, ?, ?, ?)",
                (series_id, key, caller, time.time()),
            )
        self._series[key] = _Series(series_id, caller, job, folder, fresh=bool(row and is_open))
        return self._series[key]

    def _add(self, series: _Series, data: bytes, digest: str) -> None:
        """Put one slice beside the others, unless it is there."""
        series.last = time.monotonic()
        if digest in series.known:
            return
        settings = self._settings
        size = series.bytes + len(data)
        if size > settings.upload_limit_mb * 10**6 or len(series.known) >= settings.upload_files:
            raise TooLarge("the series has more than one submission may")
        if not series.fresh:
            self._reopen(series)
        path = series.folder / f"{len(series.known) + 1:06d}-{digest}"
        _write(path, data)
        series.known[digest], series.bytes = path, size
        series.fresh, series.gap = True, None

    def _reopen(self, series: _Series) -> None:
        with self._lock, telling_disk_full():
            self._rows.execute("UPDATE arrivals SET open = 1 WHERE id = ?", (series.id,))

    def _watch(self) -> None:
        forgotten = time.monotonic()
        while not self._ended.wait(min(1.0, self._settings.quiet_seconds / 4)):
            with self._lock:
                loaded = list(self._series.items())
            for key, series in loaded:
                try:
                    self._look_at(key, series)
                except Exception as error:  # one series must not hold up the others
                    series.not_before = time.monotonic() + DISK_PAUSE
                    log("series-waits", fault=type(error).__name__)
            if time.monotonic() > forgotten + FORGETTING:
                forgotten = time.monotonic()
                with suppress(sqlite3.Error):  # busy or full: next time
                    self._forget()

    def _look_at(self, key: str, series: _Series) -> None:
        """Make a job of a series that is complete, and drop from memory one that has nothing new."""
        with series.lock:
            if time.monotonic() < series.not_before or not series.complete(self._settings.quiet_seconds):
                return
            if not series.fresh and self._wanted_again(series):
                self._reopen(series)
                series.fresh = True
            if series.fresh:
                self._submit(series)
            if not series.fresh:
                with self._lock:
                    series.dropped = True
                    del self._series[key]

    def _wanted_again(self, series: _Series) -> bool:
        """Whether a series that was sent once more has no result to show, and none on its way."""
        job = self._jobs.get(series.job) if series.job else None
        return job is None or job.state in (State.FAILED, State.CANCELLED)

    def _submit(self, series: _Series) -> None:
        try:
            with self._intake.stage() as staged:
                for path in sorted(series.known.values()):
                    staged.link(path)
                job, new = staged.commit(source="dicom", owner=series.caller, follows=series.job)
        except QueueFull as full:
            series.not_before = time.monotonic() + full.retry_after
            return
        except InputError as error:  # would be so the next time
            log("series-refused", files=len(series.known), fault=type(error).__name__)
        else:
            series.job = job.id
            log("series", job=job.id, files=len(series.known), state="new" if new else "known")
        with self._lock, telling_disk_full():
            self._rows.execute(
                "UPDATE arrivals SET open = 0, job = ?, changed = ? WHERE id = ?",
                (series.job, time.time(), series.id),
            )
        series.fresh = False

    def _forget(self) -> None:
        """Delete the slices of series whose time is over, or whose job was deleted."""
        kept = max(self._settings.keep_inputs_days * 86400, SHORTEST_MEMORY)
        with self._lock:
            rows = self._rows.execute(
                "SELECT id, key FROM arrivals WHERE open = 0 AND "
                "(changed < ? OR job NOT IN (SELECT id FROM jobs))",
                (time.time() - kept,),
            ).fetchall()
            for series_id, key in rows:
                if key not in self._series:
                    self._rows.execute("DELETE FROM arrivals WHERE id = ?", (series_id,))
                    remove(self._folder / series_id)


def _first_plane(data: bytes) -> Slice:
    planes = read_slices(Source("object", len(data), lambda: BytesIO(data)), data[:FIRST_READ])
    if not planes or planes[0].tag("SOPClassUID") not in CT_CLASSES - {""}:
        raise NotCT("the object is no CT image")
    return planes[0]


def _planes(paths: Iterable[Path]) -> Iterator[Slice]:
    for path in paths:
        source = source_of(path, path.name)
        yield from read_slices(source, source.read(0, FIRST_READ))


def _write(path: Path, data: bytes) -> None:
    """A whole file under its name, on the disk on return, or none.

    Raises:
        DiskFull: no room.
    """
    unfinished = path.with_name(f".{path.name}")
    try:
        with telling_full():
            with unfinished.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
            sync_folder(path.parent)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


__all__ = ["Arrivals", "DiskFull", "NotCT"]
