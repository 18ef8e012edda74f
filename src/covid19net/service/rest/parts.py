"""What the routes work with: passed in once when the application is made, never imported."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
import shutil
from typing import Annotated, Any, Protocol

from fastapi import Depends, Request

from covid19net.service.intake import Intake
from covid19net.service.jobs import Jobs
from covid19net.service.rest.metrics import Numbers, Working
from covid19net.service.rest.tickets import Tickets
from covid19net.service.settings import Settings

ROOM_BYTES = 500_000_000  # that must be free for inputs to be taken: a result of 600 slices takes about half
Sends = Callable[[str], Sequence[dict[str, Any]]]  # job id; what of it was sent on, and where


class Pulling(Protocol):
    """What the API asks of what fetches from the PACS."""

    def begin(self, study: str, series: str | None, owner: str) -> str:
        """Note what to fetch, by UIDs, and return at once with the id of the pull."""

    def recent(self, owner: str | None) -> Sequence[dict[str, Any]]:
        """The latest pulls, of one owner or of all."""


@dataclass(frozen=True)
class Parts:
    """The service as the API sees it.

    Attributes:
        settings: as checked at start.
        jobs: the queue.
        intake: takes inputs in.
        worker: analyzes them.
        puller: fetches from the PACS; None where none is configured.
        sends: what was sent on; None where nothing is.
        home: folder of installed weights; None where there is none.
        numbers: for Prometheus.
        tickets: with which the page opens files.
    """

    settings: Settings
    jobs: Jobs
    intake: Intake
    worker: Working
    puller: Pulling | None = None
    sends: Sends | None = None
    home: Path | None = None
    numbers: Numbers = field(default_factory=Numbers)
    tickets: Tickets = field(default_factory=Tickets)


def parts_of(request: Request) -> Parts:
    """The parts of the application that a request has come to."""
    parts: Parts = request.app.state.parts
    return parts


GivenParts = Annotated[Parts, Depends(parts_of)]


def free_bytes(parts: Parts) -> int:
    """Free on the disk of the data folder."""
    return shutil.disk_usage(parts.settings.data).free
