"""Routes of jobs: submit, look up, list, cancel, delete, and fetch from the PACS."""

import hashlib
import re
from typing import Annotated

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Header, Query, Request, Response

from covid19net.service.expiry import erase
from covid19net.service.job import State
from covid19net.service.rest.answers import refusals
from covid19net.service.rest.models import (
    Accepted,
    JobAnswer,
    JobList,
    PullAnswer,
    PullList,
    PullRequest,
    PullState,
    moment,
)
from covid19net.service.rest.parts import ROOM_BYTES, GivenParts, Parts, free_bytes
from covid19net.service.rest.refusals import DISK_RETRY_SECONDS, Refusal
from covid19net.service.rest.security import Caller, needs
from covid19net.service.rest.seen import JobId, Watcher, describe, visible
from covid19net.service.rest.uploads import RAW_TYPES, take_in

KEY = re.compile(r"[\x21-\x7e]{1,200}")
JOB_ID = r"^[0-9a-f]{32}$"
QUEUE_RETRY_SECONDS = 30
UPLOAD = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["files"],
                "properties": {
                    "files": {"type": "array", "items": {"type": "string", "format": "binary"}},
                    "label": {"type": "string", "maxLength": 64, "example": "case 17"},
                    "age": {"type": "number", "description": "Years", "example": 61},
                    "sex": {"type": "string", "enum": ["F", "M"]},
                    "comorbidity": {"type": "string", "enum": ["yes", "no"]},
                },
            }
        },
        **{kind: {"schema": {"type": "string", "format": "binary"}} for kind in RAW_TYPES},
    },
}

router = APIRouter(prefix="/v1", tags=["jobs"])
Submitter = Annotated[Caller, Depends(needs("submit"))]
Admin = Annotated[Caller, Depends(needs())]


@router.post(
    "/jobs",
    status_code=202,
    responses=refusals(400, 408, 413, 415, 422, 429, 503, 507)
    | {200: {"model": Accepted, "description": "The same was there already"}},
    openapi_extra={"requestBody": UPLOAD},
)
async def submit(
    request: Request,
    response: Response,
    parts: GivenParts,
    caller: Submitter,
    idempotency_key: Annotated[
        str | None,
        Header(
            description="Own name of this submission; sent again, it is the same job", examples=["ris-4711"]
        ),
    ] = None,
) -> Accepted:
    """Submit one scan: DICOM files, a zip archive of them, or one NIfTI, NRRD or MetaImage file.

    Send either a multipart body with parts `files` (and a `label`, if you like, and for the prognosis `age`,
    `sex` and `comorbidity`), or the file itself as the body. 202 means that the scan is on disk and will be
    analyzed, whatever happens to the service. The same scan again, by the same token, is the same job: 200,
    and `created` is false. Role: submit or admin.
    """
    key = _key(caller, idempotency_key)
    await run_sync(_check_room, parts, request, key is None)
    job, created = await take_in(request, parts.intake, owner=caller.name, key=key)
    response.status_code = 202 if created else 200
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return Accepted(job=await run_sync(describe, job, parts), created=created)


def _key(caller: Caller, given: str | None) -> str | None:
    """The idempotency key as it is kept: of fixed length, and without the client's text.

    Raises:
        Refusal: 400 for a key that is too long or not printable.
    """
    if given is None:
        return None
    if not KEY.fullmatch(given):
        raise Refusal(400, "bad-key", "an Idempotency-Key has 1 to 200 printable ASCII characters")
    return hashlib.sha256(f"{caller.name}\0{given}".encode()).hexdigest()


def _check_room(parts: Parts, request: Request, new: bool) -> None:
    """Refuse a submission that could not be kept, before it is sent.

    Raises:
        Refusal: 429, 503 or 507.
    """
    if parts.worker.draining:
        raise Refusal(503, "draining", "the service is stopping", {"Retry-After": "60"})
    waiting, limit = parts.jobs.counts()[State.QUEUED], parts.settings.queue_limit
    if new and waiting >= limit:  # with a key it may be one that is there already, so that is looked at later
        raise Refusal(
            *(429, "queue-full"),
            f"{limit} jobs are waiting, which is the limit",
            {"Retry-After": str(QUEUE_RETRY_SECONDS)},
        )
    length = request.headers.get("content-length", "0")
    if free_bytes(parts) - int(length if length.isdecimal() else 0) < ROOM_BYTES:
        raise Refusal(
            *(507, "disk-full"),
            "the disk of the service has too little room for this and its result",
            {"Retry-After": str(DISK_RETRY_SECONDS)},
        )


@router.get("/jobs", responses=refusals(422))
def list_jobs(
    parts: GivenParts,
    caller: Watcher,
    state: Annotated[State | None, Query(description="Only jobs in this state")] = None,
    limit: Annotated[int, Query(ge=1, le=200, description="At most so many")] = 50,
    before: Annotated[str | None, Query(pattern=JOB_ID, description="`next` of the page before")] = None,
) -> JobList:
    """List jobs, the newest first: all of them for read and admin, those of this token for submit."""
    owner = None if caller.sees_all else caller.name
    jobs = parts.jobs.list(state=state, owner=owner, limit=limit + 1, before=before)
    more = len(jobs) > limit
    page = [describe(job, parts) for job in jobs[:limit]]
    return JobList(jobs=page, next=page[-1].id if more else None)


@router.get("/jobs/{job_id}", responses=refusals(404))
def look_up(job_id: JobId, parts: GivenParts, caller: Watcher) -> JobAnswer:
    """Look up one job: its state, its place in the queue or progress, and its result in short.

    Any role; with submit alone, own jobs only.
    """
    return describe(visible(job_id, caller, parts), parts)


@router.post("/jobs/{job_id}/cancel", responses=refusals(404, 409))
def cancel(job_id: JobId, parts: GivenParts, caller: Submitter) -> JobAnswer:
    """Cancel a job: at once while it waits, soon while it runs. A job that has ended stays as it is: 409.

    Role: submit for own jobs, admin for all.
    """
    job = visible(job_id, caller, parts)
    if job.owner != caller.name and "admin" not in caller.roles:
        raise Refusal(403, "not-allowed", "another's job is cancelled by an admin only")
    if not parts.jobs.request_cancel(job_id):
        raise Refusal(409, "ended", "the job has ended already")
    return describe(visible(job_id, caller, parts), parts)


@router.delete("/jobs/{job_id}", status_code=204, responses=refusals(404, 409))
def delete(job_id: JobId, parts: GivenParts, caller: Admin) -> None:
    """Delete a job with what was sent and its result. A running one is cancelled first: 409 until then.

    Role: admin.
    """
    visible(job_id, caller, parts)
    if not erase(parts.settings.data, parts.jobs, job_id):
        raise Refusal(409, "running", "the job runs: cancel it first")


@router.post("/pulls", status_code=202, tags=["pulls"], responses=refusals(400, 409, 422, 429, 507))
def pull(wanted: PullRequest, parts: GivenParts, caller: Submitter) -> PullAnswer:
    """Fetch a study, or one series of it, from the PACS; what comes shows up in the list of jobs.

    202 means that it will be tried, whatever happens to the service. Role: submit or admin.
    """
    if parts.puller is None:
        raise Refusal(409, "no-pacs", "no PACS is configured to fetch from")
    return PullAnswer(accepted=True, id=parts.puller.begin(wanted.study, wanted.series, caller.name))


@router.get("/pulls", tags=["pulls"], responses=refusals())
def list_pulls(parts: GivenParts, caller: Watcher) -> PullList:
    """List the latest pulls and what became of them: all for read and admin, own ones for submit."""
    owner = None if caller.sees_all else caller.name
    found = parts.puller.recent(owner) if parts.puller else ()
    return PullList(
        pulls=[
            PullState(**each | {"asked": moment(each["asked"]), "ended": moment(each["ended"])})
            for each in found
        ]
    )
