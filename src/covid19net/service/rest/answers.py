"""How each refusal is described in the OpenAPI document."""

from typing import Any

from covid19net.service.rest.models import FaultAnswer

WHEN = {
    400: "Malformed request",
    401: "No valid token",
    403: "The token's roles do not suffice, or the request comes from a page of another origin",
    404: "No such job or file, or none that this token may see",
    408: "The body came too slowly",
    409: "Not possible in the job's state",
    413: "Too large, or too many files",
    415: "A type of body that is not taken",
    421: "The host name is not among the allowed hosts",
    422: "A value is not allowed",
    429: "The queue is full; Retry-After says when to try again",
    503: "Not now; Retry-After says when to try again",
    507: "No room on the disk; work goes on when there is",
}


def refusals(*more: int) -> dict[int | str, dict[str, Any]]:
    """The refusals of a route: those of every request that needs a token, and some of its own."""
    return {
        status: {"model": FaultAnswer, "description": WHEN[status]}
        for status in sorted({401, 403, 421, *more})
    }
