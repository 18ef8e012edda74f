"""What the routes work with: passed in once when the application is made, never imported."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
import shutil
from typing import Annotated, Any

from fastapi import Depends, Request

from covid19net.service.intake import Intake
from covid19net.service.jobs import Jobs
from covid19net.service.rest.metrics import Numbers, Working
from covid19net.service.settings import Settings

ROOM_BYTES = 500_000_000  # that must be free for inputs to be taken: a result of 600 slices takes about half
Pull = Callable[[str, str | None, str], None]  # study UID, series UID or None, owner; returns at once
Sends = Callable[[str], Sequence[dict[str, Any]]]  # job id; what of it was sent on, and where


@dataclass(frozen=True)
class Parts:
    """The service as the API sees it.

    Attributes:
        settings: as checked at start.
        jobs: the queue.
        intake: takes inputs in.
        worker: analyzes them.
        pull: fetches a series from the PACS; None where none is configured.
        sends: what was sent on; None where nothing is.
        numbers: for Prometheus.
    """

    settings: Settings
    jobs: Jobs
    intake: Intake
    worker: Working
    pull: Pull | None = None
    sends: Sends | None = None
    numbers: Numbers = field(default_factory=Numbers)


def parts_of(request: Request) -> Parts:
    """The parts of the application that a request has come to."""
    parts: Parts = request.app.state.parts
    return parts


GivenParts = Annotated[Parts, Depends(parts_of)]


def free_bytes(parts: Parts) -> int:
    """Free on the disk of the data folder."""
    return shutil.disk_usage(parts.settings.data).free
