"""How the API says no: one form of answer for every fault, with a code a program can act upon."""

from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from covid19net.errors import Covid19netError, InputError, ResourceError
from covid19net.service.intake import TooLarge
from covid19net.service.job import DiskFull, QueueFull

DISK_RETRY_SECONDS = 300
CODES = {400: "bad-request", 404: "not-found", 405: "method-not-allowed"}  # of refusals the router makes


class Refusal(HTTPException):
    """A request that is not served, with its HTTP status, a fixed code and one line for a person."""

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, message, dict(headers or {}))
        self.code = code


def refusal_of(error: Covid19netError) -> Refusal:
    """The refusal that a fault of the layers below is answered with."""
    message = " ".join(str(error).split())
    if isinstance(error, TooLarge):
        return Refusal(413, "too-large", message)
    if isinstance(error, QueueFull):
        return Refusal(429, "queue-full", message, {"Retry-After": str(error.retry_after)})
    if isinstance(error, DiskFull):
        return Refusal(507, "disk-full", message, {"Retry-After": str(DISK_RETRY_SECONDS)})
    if isinstance(error, InputError):
        return Refusal(422, "bad-input", message)
    if isinstance(error, ResourceError):
        return Refusal(503, "no-resources", message, {"Retry-After": str(DISK_RETRY_SECONDS)})
    return Refusal(500, "internal", "the service could not do this; its log says more")


def answer(error: HTTPException) -> JSONResponse:
    """The answer to a refusal."""
    code = error.code if isinstance(error, Refusal) else CODES.get(error.status_code, "refused")
    content = {"error": {"code": code, "message": error.detail}}
    return JSONResponse(content, error.status_code, dict(error.headers or {}))
