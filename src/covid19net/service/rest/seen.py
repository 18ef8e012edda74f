"""Which job a request means, whether its caller may know of it, and how it is described."""

import re
from typing import Annotated

from fastapi import Depends, Path

from covid19net.service.disk import RESULTS
from covid19net.service.job import Job, State
from covid19net.service.rest.models import EXAMPLE_ID, JobAnswer, job_fields
from covid19net.service.rest.parts import Parts
from covid19net.service.rest.refusals import Refusal
from covid19net.service.rest.security import Caller, needs

ID = re.compile(r"[0-9a-f]{32}")

JobId = Annotated[str, Path(description="Id of the job", examples=[EXAMPLE_ID])]
Watcher = Annotated[Caller, Depends(needs("read", "submit"))]


def visible(job_id: str, caller: Caller, parts: Parts) -> Job:
    """The job, for a caller who may know of it.

    Raises:
        Refusal: 404 where there is none, and in the same words where it is another's.
    """
    job = parts.jobs.get(job_id) if ID.fullmatch(job_id) else None
    if job is None or not (caller.sees_all or job.owner == caller.name):
        raise Refusal(404, "no-job", "there is no such job")
    return job


def describe(job: Job, parts: Parts) -> JobAnswer:
    """A job as the API shows it."""
    fields = job_fields(job)
    fields["position"] = parts.jobs.position(job.id) if job.state is State.QUEUED else None
    fields["progress"] = parts.worker.progress(job.id) if job.state is State.RUNNING else None
    fields["followed_by"] = parts.jobs.followed_by(job.id)
    fields["files"] = job.state is State.DONE and (parts.settings.data / RESULTS / job.id).is_dir()
    fields["sends"] = list(parts.sends(job.id)) if parts.sends else []
    return JobAnswer(**fields)
