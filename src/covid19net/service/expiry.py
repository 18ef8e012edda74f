"""What is kept, and for how long: inputs and results go some days after the end of their job."""

from pathlib import Path
from threading import Event, Thread
import time

from covid19net.service.disk import INCOMING, INPUTS, RESULTS, remove_whole
from covid19net.service.job import DiskFull
from covid19net.service.jobs import Jobs
from covid19net.service.logs import log
from covid19net.service.settings import Settings

INTERVAL = 3600.0  # seconds
DAY = 86_400.0  # seconds


def expire(settings: Settings, jobs: Jobs, now: float) -> int:
    """Delete what has been kept long enough.

    Args:
        settings: say for how many days.
        jobs: of the same data folder.
        now: Unix seconds.

    Returns:
        How many jobs are gone; of others the inputs only may be.
    """
    gone = sum(erase(settings.data, jobs, each) for each in _ended(jobs, now, settings.keep_results_days))
    for job_id in _ended(jobs, now, settings.keep_inputs_days):
        remove_whole(settings.data / INPUTS / job_id, settings.data / INCOMING)
    return gone


def erase(data: Path, jobs: Jobs, job_id: str) -> bool:
    """Delete a job with all its files; False while it runs, or when it is not there.

    The row goes first: files without a row are deleted at the next start; a row without files would promise
    them.
    """
    if not jobs.remove(job_id):
        return False
    for part in (RESULTS, INPUTS):
        remove_whole(data / part / job_id, data / INCOMING)
    return True


def _ended(jobs: Jobs, now: float, days: float) -> tuple[str, ...]:
    return jobs.finished_before(now - days * DAY)


class Expiry:
    """A thread that deletes what has been kept long enough, every hour."""

    def __init__(self, settings: Settings, jobs: Jobs) -> None:
        self._settings, self._jobs = settings, jobs
        self._stopping = Event()
        self._thread = Thread(target=self._work, name="expiry", daemon=True)

    def start(self) -> None:
        """Begin, at once."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stopping.set()
        self._thread.join(5.0)

    def _work(self) -> None:
        while True:
            try:
                if gone := expire(self._settings, self._jobs, time.time()):
                    log("expired", count=gone)
            except (DiskFull, OSError) as error:  # the next hour may do better
                log("fault", fault=type(error).__name__)
            if self._stopping.wait(INTERVAL):
                return
