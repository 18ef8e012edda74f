"""What comes in: written beside its place, then there under the job's id, then accepted. In this order."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
import json
import os
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import BinaryIO
from uuid import uuid4

from covid19net import __version__
from covid19net.errors import InputError
from covid19net.io.files import sync_folder
from covid19net.prognosis.model import Clinical
from covid19net.service.disk import INCOMING, INPUTS, RESULTS, remove, remove_whole, telling_full
from covid19net.service.job import UNKNOWN, DiskFull, Job, State, known
from covid19net.service.jobs import Jobs
from covid19net.service.settings import Settings

__all__ = ["SUFFIXES", "DiskFull", "Intake", "Staged", "TooLarge", "Writer"]

SUFFIXES = (".zip", ".nii", ".nii.gz", ".nrrd", ".mha")  # of files that hold a whole scan
LONGEST_LABEL = 64  # characters


class TooLarge(InputError):  # noqa: N818 - a state of the submission
    """More bytes or files than one submission may have."""


class Writer:
    """One file being received; what is written counts against the limits of its submission."""

    def __init__(self, staged: "Staged", path: Path) -> None:
        self._staged = staged
        self._digest = sha256()
        with telling_full():
            self._file: BinaryIO = path.open("xb")

    def write(self, data: bytes | memoryview) -> int:
        """Write bytes.

        Raises:
            TooLarge: the submission has more than it may.
            DiskFull: no room.
        """
        self._staged.count_bytes(len(data))
        with telling_full():
            self._file.write(data)
        self._digest.update(data)
        return len(data)

    def close(self) -> None:
        """Return when the file is on the disk.

        Raises:
            DiskFull: no room.
        """
        if self._file.closed:
            return
        try:
            with telling_full():
                self._file.flush()
                os.fsync(self._file.fileno())
        finally:
            self.abandon()
        self._staged.keep(self._digest.hexdigest())

    def __enter__(self) -> "Writer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()

    def abandon(self) -> None:
        """Close the file without keeping it."""
        with suppress(OSError):  # a buffer that finds no room
            self._file.close()


class Staged:
    """A submission on its way in, in a folder of its own that nobody else sees."""

    def __init__(self, folder: Path, settings: Settings, jobs: Jobs, networks: Sequence[str]) -> None:
        self.folder = folder
        self._networks = networks
        self._settings, self._jobs = settings, jobs
        self._lock = Lock()
        self._bytes, self._files = 0, 0
        self._digests: list[str] = []
        self._writers: list[Writer] = []

    @property
    def bytes(self) -> int:
        """Bytes received so far."""
        return self._bytes

    @property
    def files(self) -> int:
        """Files received so far."""
        return self._files

    def write(self, suffix: str = "") -> Writer:
        """A new file, to be written and closed; its name is a number of our own.

        Args:
            suffix: of `SUFFIXES`, for a file that holds a whole scan; none for a DICOM slice.

        Raises:
            InputError: another suffix.
            TooLarge: too many files.
            DiskFull: no room.
        """
        writer = Writer(self, self._next(suffix))
        self._writers.append(writer)
        return writer

    def link(self, path: Path) -> None:
        """Take in a file of the data folder that is on the disk already, by a second name of its bytes."""
        digest = sha256()
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                self.count_bytes(len(block))
                digest.update(block)
        with telling_full():
            os.link(path, self._next(""))
        self.keep(digest.hexdigest())

    def commit(
        self,
        *,
        source: str,
        owner: str,
        label: str | None = None,
        follows: str | None = None,
        key: str | None = None,
        clinical: Clinical = UNKNOWN,
    ) -> tuple[Job, bool]:
        """Accept the submission; after this no crash loses it.

        Args:
            source: as of `Job`.
            owner: as of `Job`.
            label: as of `Job`, at most 64 printable characters.
            follows: as of `Job`.
            key: as of `Jobs.accept`.
            clinical: as of `Job`; the same scan with other values is another job.

        Returns:
            The job, and whether it is new.

        Raises:
            InputError: no file, not all are closed, a label that is none, or a key used for other files.
            QueueFull: no room in the queue.
            DiskFull: no room on the disk.
        """
        if not self._files or len(self._digests) != self._files:
            raise InputError("no file was sent" if not self._files else "a file was not sent to its end")
        if label is not None and not (0 < len(label) <= LONGEST_LABEL and label.isprintable()):
            raise InputError(f"a label has 1 to {LONGEST_LABEL} printable characters")
        content = content_key(self._digests, self._settings, self._networks, clinical)
        with self._jobs.moving:
            before = self._jobs.same(content, owner, key)
            again = before is not None and before.state in (State.FAILED, State.CANCELLED)
            place = self._place(before.id if before and again else uuid4().hex)
            try:
                job, new = self._jobs.accept(
                    place.name, content, source=source, owner=owner, label=label, follows=follows, key=key,
                    clinical=clinical, limit=self._settings.queue_limit,
                )  # fmt: skip
            except BaseException:
                self._withdraw(place)
                raise
            if job.id != place.name:  # it is there already
                self._withdraw(place)
        return job, new

    def abandon(self) -> None:
        """Close and delete what was not moved away."""
        for writer in self._writers:
            writer.abandon()
        remove(self.folder)

    def count_bytes(self, more: int) -> None:
        """Count received bytes; for `Writer`."""
        with self._lock:
            self._bytes += more
        if self._bytes > self._settings.upload_limit_mb * 10**6:
            raise TooLarge(f"more than {self._settings.upload_limit_mb} MB in one submission")

    def keep(self, digest: str) -> None:
        """Note the SHA-256 of a file that is on the disk; for `Writer`."""
        with self._lock:
            self._digests.append(digest)

    def _next(self, suffix: str) -> Path:
        if suffix and suffix not in SUFFIXES:
            raise InputError(f"a file ends in {', '.join(SUFFIXES)}, or is DICOM")
        with self._lock:
            self._files += 1
            number = self._files
        if number > self._settings.upload_files:
            raise TooLarge(f"more than {self._settings.upload_files} files in one submission")
        return self.folder / (f"upload{suffix}" if suffix and number == 1 else f"{number:06d}{suffix}")

    def _place(self, job_id: str) -> Path:
        """Move the files to a job's inputs, on the disk on return; those of a try before may lie there."""
        inputs = self._settings.data / INPUTS
        place = inputs / job_id
        with telling_full():
            sync_folder(self.folder)
            try:
                self.folder.rename(place)
            except OSError:
                if not place.is_dir():
                    raise
            sync_folder(inputs)
        return place

    def _withdraw(self, place: Path) -> None:
        if self._jobs.get(place.name) is None:
            remove_whole(place, self._settings.data / INCOMING)


class Intake:
    """The one door through which scans become jobs."""

    def __init__(self, settings: Settings, jobs: Jobs, networks: Sequence[str] = ()) -> None:
        """Open the door.

        Args:
            settings: of the service.
            jobs: the table.
            networks: SHA-256 of the networks; with others the same scan is another job.
        """
        self._settings, self._jobs, self._networks = settings, jobs, networks

    @contextmanager
    def stage(self) -> Iterator[Staged]:
        """A submission; what is not committed inside the `with` block is deleted.

        Raises:
            DiskFull: no room.
        """
        folder = self._settings.data / INCOMING / uuid4().hex
        with telling_full():
            folder.mkdir(mode=0o700)
        staged = Staged(folder, self._settings, self._jobs, self._networks)
        try:
            yield staged
        finally:
            staged.abandon()

    def recover(self) -> None:
        """Put right, at start, what a crash left: files without a job go, jobs without files fail."""
        data = self._settings.data
        known = self._jobs.ids()
        for folder in (*(data / INPUTS).iterdir(), *(data / RESULTS).iterdir()):
            if folder.name not in known:  # never accepted, or removed
                remove_whole(folder, data / INCOMING)
        for job_id in known:
            if self._jobs.position(job_id) is not None and not (data / INPUTS / job_id).is_dir():
                self._jobs.fail_queued(job_id, "what was sent is no longer there; send it again")


def content_key(
    digests: Sequence[str], settings: Settings, networks: Sequence[str], clinical: Clinical
) -> str:
    """SHA-256 of what is analyzed and how: the files in any order, the weights, the version, the options."""
    what = [__version__, settings.weights, *networks, settings.identify, known(clinical), *sorted(digests)]
    return sha256(json.dumps(what).encode()).hexdigest()
