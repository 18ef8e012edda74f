"""Scans fetched from the PACS on request, by DICOMweb; each CT series becomes a job."""

from queue import Empty, SimpleQueue
from threading import Thread

from covid19net.errors import Covid19netError, InputError
from covid19net.io.dicomweb import Limits, Server, fetch_instances, find_series
from covid19net.service.intake import Intake
from covid19net.service.logs import log
from covid19net.service.settings import Settings

AT_ONCE = 2  # pulls that run; more wait
FEWEST = 10  # instances of a series that is fetched when a whole study is asked for: less is a localizer


class Puller:
    """Fetches from `settings.pacs`."""

    def __init__(self, settings: Settings, intake: Intake) -> None:
        """Prepare.

        Args:
            settings: `pacs` is a DICOMweb address.
            intake: where series become jobs.
        """
        self._settings, self._intake = settings, intake
        self._server = Server.known_by(settings.pacs or "", settings.pacs_authorization)
        self._limits = Limits(settings.upload_files, settings.upload_limit_mb * 10**6)
        self._wanted: SimpleQueue[tuple[str, str | None, str] | None] = SimpleQueue()
        # Not a pool, whose threads hold up the end of the process: a pull may take an hour.
        for _ in range(AT_ONCE):
            Thread(target=self._work, name="dicom-pull", daemon=True).start()

    def begin(self, study: str, series: str | None, owner: str) -> None:
        """Fetch later, in another thread; what fails is logged.

        Args:
            study: Study Instance UID.
            series: Series Instance UID; None for every CT series of the study but localizers.
            owner: of the jobs.
        """
        self._wanted.put((study, series, owner))

    def stop(self) -> None:
        """Begin no more pulls; those that run end with the process."""
        try:
            while True:
                self._wanted.get_nowait()
        except Empty:
            for _ in range(AT_ONCE):
                self._wanted.put(None)

    def _work(self) -> None:
        while wanted := self._wanted.get():
            self._attempt(*wanted)

    def pull(self, study: str, series: str | None, owner: str) -> tuple[str, ...]:
        """Fetch now.

        Args:
            study: Study Instance UID.
            series: as of `begin`.
            owner: of the jobs.

        Returns:
            The ids of the jobs.

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
        return tuple(self._pull_series(study, uid, owner) for uid in wanted)

    def _pull_series(self, study: str, series: str, owner: str) -> str:
        with self._intake.stage() as staged:
            count = fetch_instances(self._server, study, series, staged.write, self._limits)
            job, new = staged.commit(source="dicomweb", owner=owner)
        log("pulled", job=job.id, files=count, state="new" if new else "known")
        return job.id

    def _attempt(self, study: str, series: str | None, owner: str) -> None:
        try:
            jobs = self.pull(study, series, owner)
        except (Covid19netError, OSError) as error:
            log("pull-failed", fault=type(error).__name__)
        else:
            log("pull-done", count=len(jobs))
