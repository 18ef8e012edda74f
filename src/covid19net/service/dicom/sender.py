"""Results sent on: C-STORE or STOW-RS, tried again with growing pauses until the destination has them.

The objects were written with their UIDs by the job, so an object that is sent twice, because the service was
killed between the destination's answer and our note of it, is the same one there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import repeat
from pathlib import Path
import sqlite3
from threading import Event, Thread
import time
from typing import Any

from covid19net.errors import Covid19netError
from covid19net.io.dicomweb import Server, store_files
from covid19net.service.dicom.outbox import Outbox, Send
from covid19net.service.dicom.quiet import quiet_libraries
from covid19net.service.disk import DATABASE, RESULTS
from covid19net.service.jobs import Job, Jobs
from covid19net.service.logs import log
from covid19net.service.settings import Destination, Settings

# the middle of a file's name (as `report.case.DICOM` has it), as the settings call it
KINDS = {"seg": "seg", "pm": "map", "sr": "sr", "sc": "capture", "pdf": "pdf"}
SOURCES = ("dicom", "dicomweb")  # what did not come from a PACS does not go to one
LOOKING = 1.0  # seconds between looks at the outbox
FORGETTING = 3600.0  # seconds between looks for deleted jobs
NOT_TAKEN = "this kind of object is not taken"
NEGOTIATION, MESSAGE = 15, 60  # seconds


@dataclass(frozen=True)
class Pauses:
    """Seconds before a failed send is tried again: `first`, doubled up to `longest`, and `end` in all."""

    first: float = 10.0
    longest: float = 3600.0
    end: float = 7 * 86400.0

    def next(self, send: Send) -> float | None:
        """Unix seconds of the next attempt after one more failure; None for none."""
        now = time.time()
        due = now + min(self.longest, self.first * 2.0 ** min(send.attempts, 30))
        return None if due > send.queued + self.end else due


class Sender:
    """Sends the DICOM objects of finished jobs to the destinations of the settings."""

    def __init__(self, settings: Settings, jobs: Jobs, *, pauses: Pauses | None = None) -> None:
        """Prepare; nothing is sent before `start`.

        Args:
            settings: with the destinations.
            jobs: those whose sends are remembered.
            pauses: between attempts.

        Raises:
            DiskFull: the database cannot be written.
        """
        self._settings, self._jobs, self._pauses = settings, jobs, pauses or Pauses()
        self._destinations = {each.name: each for each in settings.destinations}
        self._outbox = Outbox(settings.data / DATABASE)
        self._ended, self._news = Event(), Event()
        self._thread = Thread(target=self._work, name="dicom-sender", daemon=True)

    def start(self) -> None:
        """Take up what was to be sent before the service ended, and begin."""
        quiet_libraries()
        self._thread.start()

    def stop(self) -> None:
        """Send no more; what is on its way is given a moment, and tried again after the next start."""
        self._ended.set()
        self._news.set()
        if self._thread.is_alive():
            self._thread.join(5)

    def enqueue(self, job: Job) -> None:
        """Have the results of a job sent, which are in place; a second time changes nothing.

        It is called before the job's row says that it is done, so that no crash lies between them.

        Raises:
            DiskFull: no room to note it.
        """
        folder = self._settings.data / RESULTS / job.id / "dicom"
        files = [path.name for path in folder.glob("*.dcm")] if job.source in SOURCES else []
        self._outbox.put(
            job.id,
            [
                (f"dicom/{name}", destination.name)
                for destination in self._settings.destinations
                for name in files
                if KINDS.get(name.split(".")[-2]) in destination.objects
            ],
        )
        self._news.set()

    def sends(self, job_id: str) -> tuple[dict[str, Any], ...]:
        """What of a job was or will be sent, and where; as the fields of `Send` but its job."""
        return tuple(
            {k: v for k, v in asdict(send).items() if k != "job"} for send in self._outbox.of(job_id)
        )

    def _work(self) -> None:
        forgotten = time.monotonic()
        while not self._ended.is_set():
            self._news.clear()
            try:
                while (due := self._outbox.due()) and not self._ended.is_set():
                    self._deliver(due)
                if time.monotonic() > forgotten + FORGETTING:
                    forgotten = time.monotonic()
                    self._outbox.forget(self._jobs.ids())
            except (Covid19netError, OSError, sqlite3.Error) as error:  # a full disk, mostly
                log("sending-waits", fault=type(error).__name__)
            self._news.wait(LOOKING)

    def _deliver(self, due: Sequence[Send]) -> None:
        """Try the files of one job for one destination."""
        name = due[0].destination
        destination = self._destinations.get(name)
        folder = self._settings.data / RESULTS / due[0].job
        if destination is None:
            faults: Iterator[str | None] = repeat("no such destination")
        elif not all((folder / send.file).is_file() for send in due):
            faults = repeat("the result was deleted")
        else:
            files = [folder / send.file for send in due]
            faults = _by_c_store(destination, self._settings.ae_title, files)
            if destination.kind == "stow":
                faults = _by_stow(destination, files)
        failures = 0
        for send, fault in zip(due, faults, strict=False):
            if fault is None:
                self._outbox.delivered(send)
            else:
                failures += 1
                self._outbox.failed(send, fault, self._pauses.next(send))
        log("sent", job=due[0].job, destination=name, count=len(due) - failures, attempts=due[0].attempts + 1)


def _by_stow(destination: Destination, files: Sequence[Path]) -> Iterator[str | None]:
    """Store files; for each in turn None, or why the destination does not have it."""
    for file in files:
        try:
            store_files(Server.known_by(destination.url, destination.authorization), [file])
        except Covid19netError:
            yield "not stored by DICOMweb"
        else:
            yield None


def _by_c_store(destination: Destination, own_title: str, files: Sequence[Path]) -> Iterator[str | None]:
    """Store files in one association; for each in turn None, or why the destination does not have it."""
    from pydicom import dcmread
    from pynetdicom import AE

    objects = [dcmread(file) for file in files]
    ae = AE(ae_title=own_title)
    ae.acse_timeout, ae.dimse_timeout, ae.network_timeout = NEGOTIATION, MESSAGE, MESSAGE
    ae.connection_timeout = NEGOTIATION
    for sop_class, syntax in {(each.SOPClassUID, each.file_meta.TransferSyntaxUID) for each in objects}:
        ae.add_requested_context(sop_class, syntax)
    association = ae.associate(destination.host, destination.port, ae_title=destination.ae)
    if not association.is_established:
        yield from repeat(_unestablished(association), len(objects))
        return
    try:
        for each in objects:
            yield _c_store(association, each)
    finally:
        if association.is_established:
            association.release()


def _unestablished(association: Any) -> str:  # noqa: ANN401
    if association.is_rejected:
        return "the association was rejected"
    return NOT_TAKEN if association.rejected_contexts else "not reached"


def _c_store(association: Any, dataset: Any) -> str | None:  # noqa: ANN401
    try:
        status = association.send_c_store(dataset).get("Status")
    except ValueError:
        return NOT_TAKEN
    except RuntimeError:
        return "the association broke"
    if status is None:
        return "no answer"
    # warnings (PS3.4 table B.2-1): stored, with something to say
    return None if status == 0 or status >> 12 == 0xB else f"refused with status 0x{status:04X}"
