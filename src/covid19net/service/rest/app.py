"""The application: routes, what stands before them, and how faults are answered."""

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.staticfiles import StaticFiles

from covid19net import __version__
from covid19net.errors import Covid19netError, WeightsError
from covid19net.service.intake import Intake
from covid19net.service.jobs import Jobs
from covid19net.service.rest import files_routes, jobs_routes
from covid19net.service.rest.answers import refusals
from covid19net.service.rest.gateway import Gateway
from covid19net.service.rest.metrics import Working
from covid19net.service.rest.models import Health, Limits, Readiness, ServiceAnswer
from covid19net.service.rest.parts import ROOM_BYTES, GivenParts, Parts, Pull, Sends, free_bytes
from covid19net.service.rest.refusals import Refusal, answer, refusal_of
from covid19net.service.rest.security import Caller, needs
from covid19net.service.rest.seen import Watcher
from covid19net.service.settings import Settings
from covid19net.weights import find_set

PAGE = Path(__file__).parents[1] / "page"  # made by `npm run build`
NO_PAGE = (
    "The page is not part of this installation; the API is at /v1 and described in /openapi.json.\n"
    "To build it, with Node.js and npm, run in a checkout:\n"
    "  npm --prefix frontend ci && npm --prefix frontend run build\n"
)
RESEARCH = "Research use only; not a medical device."
DESCRIPTION = (
    "Chest CT in, COVID-19 probability, maps and DICOM objects out. Every error is answered as "
    '{"error": {"code": ..., "message": ...}}.'
)

router = APIRouter()


def create_app(
    settings: Settings,
    jobs: Jobs,
    intake: Intake,
    worker: Working,
    pull: Pull | None = None,
    sends: Sends | None = None,
) -> FastAPI:
    """The REST API and the page.

    Args:
        settings: as checked at start.
        jobs: the queue.
        intake: takes inputs in.
        worker: analyzes them.
        pull: begins to fetch a study, or a series of it, for an owner; returns at once.
        sends: what of a job was sent on, and where.
    """
    parts = Parts(settings, jobs, intake, worker, pull, sends)
    parts.numbers.watch(jobs, worker, settings.data)
    app = FastAPI(
        title="covid19net", version=__version__, description=DESCRIPTION, docs_url=None, redoc_url=None,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"}, redirect_slashes=False,
        routes=[*router.routes, *jobs_routes.router.routes, *files_routes.router.routes],
    )  # fmt: skip
    app.state.parts = parts
    if (PAGE / "index.html").is_file():
        app.mount("/assets", StaticFiles(directory=PAGE / "assets"), name="assets")
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Covid19netError, _fault)
    app.add_middleware(Gateway, settings=settings, numbers=parts.numbers)
    return app


@router.get("/health", tags=["operation"])
async def health() -> Health:
    """Whether the process lives: 200, always and at once. Needs no token."""
    return Health(status="ok")


@router.get("/ready", tags=["operation"], responses={503: {"model": Readiness, "description": "Not now"}})
def ready(parts: GivenParts, response: Response) -> Readiness:
    """Whether work is taken: 503 with a full disk, without a worker, and while stopping. Needs no token."""
    faults = {
        "disk": free_bytes(parts) < ROOM_BYTES,
        "worker": not parts.worker.alive,
        "draining": parts.worker.draining,
    }
    reasons = [reason for reason, at_fault in faults.items() if at_fault]
    response.status_code = 503 if reasons else 200
    return Readiness(ready=not reasons, reasons=reasons)


@router.get(
    "/metrics",
    tags=["operation"],
    response_class=PlainTextResponse,
    responses=refusals()
    | {
        200: {
            "description": "Prometheus text format",
            "content": {"text/plain": {"example": 'covid19net_jobs{state="queued"} 3.0'}},
        }
    },
)
def metrics(parts: GivenParts, _: Annotated[Caller, Depends(needs("read"))]) -> Response:
    """Numbers for Prometheus: requests, jobs by state, disk, worker, process. Role: read or admin."""
    return Response(parts.numbers.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


@router.get("/v1/service", tags=["operation"], responses=refusals())
def service(parts: GivenParts, caller: Watcher) -> ServiceAnswer:
    """What this service is, with which weights, and what this token may do. Any role."""
    settings = parts.settings
    demonstration, intended_use = _facts(settings.weights)
    return ServiceAnswer(
        version=__version__,
        weights=settings.weights,
        demonstration=demonstration,
        intended_use=intended_use,
        roles=sorted(caller.roles),
        limits=Limits(
            megabytes=settings.upload_limit_mb, files=settings.upload_files, queue=settings.queue_limit
        ),
        pulls=parts.pull is not None,
    )


def _facts(weights: str) -> tuple[bool | None, str]:
    """Whether a weight set is a demonstration, and what it is for; installed sets are not known here."""
    try:
        card = find_set(weights, None).diagnosis.card
    except WeightsError:
        return None, RESEARCH
    return card.demonstration, f"{card.intended_use.rstrip('.')}. {RESEARCH}"


@router.get("/", include_in_schema=False)
def page() -> Response:
    """The page, or how to get it."""
    index = PAGE / "index.html"
    if not index.is_file():
        return PlainTextResponse(NO_PAGE)
    return Response(index.read_bytes(), media_type="text/html")


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return answer(error)


async def _fault(_: Request, error: Exception) -> Response:
    assert isinstance(error, Covid19netError)
    return answer(refusal_of(error))


async def _invalid(_: Request, error: Exception) -> Response:
    """Say which value is not allowed and why, without the value itself."""
    assert isinstance(error, RequestValidationError)
    faults: list[dict[str, Any]] = list(error.errors())
    told = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in faults[:5])
    return answer(Refusal(422, "bad-value", told))
