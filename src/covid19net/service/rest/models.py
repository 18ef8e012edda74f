"""The answers of the API, as they are described in its OpenAPI document."""

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from covid19net.service.job import Job, State, known

EXAMPLE_ID = "3f8a52c04b1d4e7f9a6c0d2e8b7f1a35"
DICOM_UID = r"[0-9]+(\.[0-9]+)*"  # PS3.5, 9.1; at most 64 characters


class Answer(BaseModel):
    """What all answers have in common: fields that are not described are not sent."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Fault(Answer):
    """Why a request was not served."""

    code: str = Field(description="Fixed word for programs", examples=["queue-full"])
    message: str = Field(description="One line for a person", examples=["200 jobs are waiting"])


class FaultAnswer(Answer):
    """The body of every answer from 400 on."""

    error: Fault


class Progress(Answer):
    """How far a running job has come."""

    stage: str = Field(examples=["lungs"])
    fraction: float = Field(ge=0, le=1, description="Share of the whole job", examples=[0.4])


class Summary(Answer):
    """The result in short; result.json holds all of it."""

    model_config = ConfigDict(extra="allow", frozen=True)


class JobAnswer(Answer):
    """One job."""

    id: str = Field(description="32 hexadecimal digits", examples=[EXAMPLE_ID])
    content: str = Field(description="SHA-256 of what is analyzed and how")
    state: State
    source: str = Field(description="rest, dicom or dicomweb", examples=["rest"])
    owner: str = Field(description="Token that submitted it, or AE title that sent it", examples=["ward-3"])
    label: str | None = Field(description="As given by the submitter", examples=["case 17"])
    clinical: dict[str, float | str | bool] = Field(
        description="Age, sex and comorbidity, as far as the submitter gave them",
        examples=[{"age": 61, "sex": "F", "comorbidity": False}],
    )
    submitted: datetime | None
    started: datetime | None
    finished: datetime | None
    attempts: int = Field(description="How often it was started", examples=[1])
    reason: str | None = Field(description="Why it failed, in one line")
    exit_code: int | None = Field(
        description="Of the analysis: 0 done, 2 bad input, 3 no chest CT, 5 resources"
    )
    follows: str | None = Field(description="Job on an earlier, incomplete state of the same series")
    followed_by: str | None = Field(description="Job on a later state of the same series")
    summary: Summary | None = Field(description="The result in short, when done")
    position: int | None = Field(description="Jobs that wait before it, while it waits", examples=[0])
    progress: Progress | None = Field(description="While it runs")
    files: bool = Field(description="Whether there are result files to fetch")
    sends: list[dict[str, Any]] = Field(description="What was sent on, and where")


class Accepted(Answer):
    """A submission that is safe on disk."""

    job: JobAnswer
    created: bool = Field(description="False: the same was there already")


class JobList(Answer):
    """A page of jobs, the newest first."""

    jobs: list[JobAnswer]
    next: str | None = Field(description="Value of `before` for the next page; null on the last one")


class ResultFile(Answer):
    """One file of a result."""

    name: str = Field(examples=["dicom/lungs.dcm"])
    bytes: int = Field(examples=[183_112])
    type: str = Field(description="Media type", examples=["application/dicom"])


class TicketAnswer(Answer):
    """Where a file is opened once."""

    address: str = Field(description="Path on this service", examples=["/v1/tickets/kq3v"])


class Limits(Answer):
    """What a submission may have."""

    megabytes: int = Field(description="10^6 bytes", examples=[2048])
    files: int = Field(examples=[5000])
    queue: int = Field(description="Jobs that may wait", examples=[200])


class ServiceAnswer(Answer):
    """What this service is, and what the caller may do."""

    version: str = Field(examples=["0.1.0"])
    weights: str = Field(examples=["bundled"])
    demonstration: bool | None = Field(
        description="Whether the weights are a demonstration, without clinical meaning; null if not known"
    )
    intended_use: str
    roles: list[str] = Field(description="Of this token", examples=[["read", "submit"]])
    limits: Limits
    pulls: bool = Field(description="Whether a PACS is configured to fetch from")


class Health(Answer):
    """The process lives."""

    status: str = Field(examples=["ok"])


class Readiness(Answer):
    """Whether work is taken, and if not, why."""

    ready: bool
    reasons: list[str] = Field(description="disk, worker, draining", examples=[[]])


class PullRequest(BaseModel):
    """Which study, and of it which series, to fetch from the PACS."""

    model_config = ConfigDict(extra="forbid")

    study: Annotated[str, Field(max_length=64, pattern=f"^{DICOM_UID}$", examples=["1.2.840.113619.2.55.3"])]
    series: Annotated[str | None, Field(max_length=64, pattern=f"^{DICOM_UID}$")] = None


class PullAnswer(Answer):
    """A pull that has begun; its series come as jobs of the source dicomweb."""

    accepted: bool
    id: str = Field(description="Of the pull, in the list of pulls", examples=[EXAMPLE_ID])


class PullState(Answer):
    """What has become of a pull. Of what was fetched, only its jobs are told."""

    id: str = Field(examples=[EXAMPLE_ID])
    owner: str = Field(description="Token that asked for it", examples=["ward-3"])
    state: str = Field(description="waiting, running, done or failed", examples=["failed"])
    reason: str | None = Field(
        description="Why it failed, in one line", examples=["pacs.example: has no such study"]
    )
    jobs: list[str] = Field(description="Of the series that came", examples=[[]])
    asked: datetime
    ended: datetime | None


class PullList(Answer):
    """The latest pulls, the newest first."""

    pulls: list[PullState]


def moment(seconds: float | None) -> datetime | None:
    """Unix seconds as a time in UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def job_fields(job: Job) -> dict[str, Any]:
    """The fields of an answer that a job holds itself."""
    names = (
        "id",
        "content",
        "state",
        "source",
        "owner",
        "label",
        "attempts",
        "reason",
        "exit_code",
        "follows",
    )
    times = ("submitted", "started", "finished")
    fields = {name: getattr(job, name) for name in names}
    return (
        fields
        | {name: moment(getattr(job, name)) for name in times}
        | {
            "clinical": known(job.clinical),
            "summary": job.summary,
        }
    )
