"""Scans fetched from the PACS on request, by DICOMweb; each CT series becomes a job."""

from collections.abc import Iterator
from threading import Event, Thread
from typing import Any

from covid19net.errors import Covid19netError, InputError
from covid19net.io.dicomweb import Limits, Server, fetch_instances, find_series
from covid19net.service.dicom.pulls import Pulls, Wanted
from covid19net.service.disk import DATABASE
from covid19net.service.intake import Intake
from covid19net.service.logs import log
from covid19net.service.settings import Settings

AT_ONCE = 2  # pulls that run; more wait
FEWEST = 10  # instances of a series that is fetched when a whole study is asked for: less is a localizer
LOOKING = 1.0  # seconds between looks at what is wanted


class Puller:
    """Fetches from `settings.pacs`."""

    def __init__(self, settings: Settings, intake: Intake) -> None:
        """Prepare; nothing is fetched before `start`.

        Args:
            settings: `pacs` is a DICOMweb address.
            intake: where series become jobs.

        Raises:
            DiskFull: the database cannot be written.
        """
        self._settings, self._intake = settings, intake
        self._server = Server.known_by(settings.pacs or "", settings.pacs_authorization)
        self._limits = Limits(settings.upload_files, settings.upload_limit_mb * 10**6)
        self._pulls = Pulls(settings.data / DATABASE)
        self._ended = Event()

    def start(self) -> None:
        """Take up what was wanted before the service ended, and begin."""
        # Not a pool, whose threads hold up the end of the process: a pull may take an hour.
        for _ in range(AT_ONCE):
            Thread(target=self._work, name="dicom-pull", daemon=True).start()

    def stop(self) -> None:
        """Begin no more pulls; those that run end with the process, and begin anew after the next start."""
        self._ended.set()

    def begin(self, study: str, series: str | None, owner: str) -> str:
        """Fetch later, in another thread; `recent` tells what became of it.

        Args:
            study: Study Instance UID.
            series: Series Instance UID; None for every CT series of the study but localizers.
            owner: of the jobs.

        Returns:
            Our id of the pull.

        Raises:
            QueueFull: too many wait.
            DiskFull: no room to note it.
        """
        return self._pulls.ask(study, series, owner)

    def recent(self, owner: str | None) -> tuple[dict[str, Any], ...]:
        """The latest pulls, as of `Pulls.recent`."""
        return self._pulls.recent(owner)

    def pull(self, study: str, series: str | None, owner: str) -> Iterator[str]:
        """Fetch now.

        Args:
            study: Study Instance UID.
            series: as of `begin`.
            owner: of the jobs.

        Yields:
            The id of the job of each series, when it has come.

        Raises:
            InputError: the PACS cannot be reached or has no such CT.
            ResourceError: it sends more than a submission may have; the disk or the queue is full.
        """
        wanted = [series] if series else [
            each.uid
            for each in find_series(self._server, study)
            if each.modality == "CT" and (each.instances is None or each.instances >= FEWEST)
        ]  # fmt: skip
        if not wanted:
            raise InputError(f"{self._server.name}: the study has no CT")
        for uid in wanted:
            yield self._pull_series(study, uid, owner)

    def _pull_series(self, study: str, series: str, owner: str) -> str:
        with self._intake.stage() as staged:
            count = fetch_instances(self._server, study, series, staged.write, self._limits)
            job, new = staged.commit(source="dicomweb", owner=owner)
        log("pulled", job=job.id, files=count, state="new" if new else "known")
        return job.id

    def _work(self) -> None:
        while not self._ended.is_set():
            try:
                wanted = self._pulls.claim()
                if wanted:
                    self._attempt(wanted)
            except Exception as error:  # of the database; a restart takes up what was not noted
                log("fault", fault=type(error).__name__)
                wanted = None
            if not wanted:
                self._ended.wait(LOOKING)

    def _attempt(self, wanted: Wanted) -> None:
        jobs: list[str] = []
        try:
            for job in self.pull(wanted.study, wanted.series, wanted.owner):
                jobs.append(job)
        except Exception as error:  # also a fault of ours is one to tell
            if self._ended.is_set():  # it was cut off by the end of the service, and begins anew
                return
            known = isinstance(error, Covid19netError)
            reason = " ".join(str(error).split()) if known else f"unexpected fault ({type(error).__name__})"
            log("pull-failed", fault=type(error).__name__)
            self._pulls.end(wanted.id, jobs, reason)
        else:
            log("pull-done", count=len(jobs))
            self._pulls.end(wanted.id, jobs)
