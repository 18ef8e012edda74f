"""What every request passes on its way in, and every answer on its way out.

Host and Origin are checked, bodies are counted and timed, headers are added to each answer, faults become
answers, and one line of fixed fields is logged: never a path, a query, a name or a message.
"""

import re
from time import monotonic
import traceback

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from covid19net.service.logs import Fields, log
from covid19net.service.rest.metrics import Numbers
from covid19net.service.rest.refusals import Refusal, answer
from covid19net.service.rest.security import Doors, headers_for, identify, is_open
from covid19net.service.settings import Settings

SMALL_BODY = 64 << 10  # bytes; of every route but uploads
ENVELOPE = 1 << 10  # bytes of boundary and headers a file part may have beside its content
SILENCE_SECONDS = 20.0  # without a byte of the body
GRACE_SECONDS = 20.0  # after which a body must have come at least at the slowest rate
LONGEST_SECONDS = 3600.0  # a body may take, at whatever rate
SLOWEST_RATE = 1 << 10  # bytes a second, averaged since the start of the body
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
JOB_ID = re.compile(r"[0-9a-f]{32}")

GONE = 499  # nginx's number for a client that left before its answer; it is only counted
INTERNAL = Refusal(500, "internal", "a fault of the service; its log says more")


class Gateway:
    """ASGI middleware around the whole application.

    Args:
        app: the application.
        settings: hosts and tokens that are let in, and the limits of an upload.
        numbers: counts requests.
    """

    def __init__(self, app: ASGIApp, *, settings: Settings, numbers: Numbers) -> None:
        self.app = app
        self.doors = Doors(settings)
        self.tokens = settings.tokens
        self.numbers = numbers
        self.largest_upload = (settings.upload_limit_mb << 20) + settings.upload_files * ENVELOPE

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; other traffic (lifespan) goes through untouched."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = Exchange(scope, send)
        try:
            headers = Headers(scope=scope)
            self.doors.check(headers)
            if not is_open(scope["path"]):
                scope["caller"] = identify(self.tokens, headers)
            body = Body(receive, self._largest(scope))
            body.check_length(headers)
            await self.app(scope, body.receive, exchange.send)
        except Refusal as error:
            await exchange.refuse(error, receive)
        except ClientDisconnect:
            exchange.status = exchange.status or GONE
        except Exception as error:
            log("fault", fault=type(error).__name__, place=place_of(error))
            await exchange.refuse(INTERNAL, receive)
        finally:
            self._note(scope, exchange)

    def _largest(self, scope: Scope) -> int:
        upload = scope["method"] == "POST" and scope["path"] == "/v1/jobs"
        return self.largest_upload if upload else SMALL_BODY

    def _note(self, scope: Scope, exchange: "Exchange") -> None:
        route = getattr(scope.get("route"), "path", "none")
        method = scope["method"] if scope["method"] in METHODS else "other"
        seconds = monotonic() - exchange.start
        self.numbers.count_request(method, route, exchange.status, seconds)
        job = str(scope.get("path_params", {}).get("job_id", ""))
        fields = Fields(
            method=method, route=route, code=exchange.status, bytes=exchange.sent, seconds=seconds
        )
        if JOB_ID.fullmatch(job):
            fields["job"] = job
        log("request", **fields)


class Exchange:
    """One answer on its way out: headers are added, status and bytes are counted."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.scope = scope
        self.start = monotonic()
        self.status = 0
        self.sent = 0
        self._send = send

    async def send(self, message: Message) -> None:
        """Send a message of the application, with the headers of every answer."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in headers_for(self.scope["path"]).items():
                headers.setdefault(name, value)
        else:
            self.sent += len(message.get("body", b""))
        await self._send(message)

    async def refuse(self, error: Refusal, receive: Receive) -> None:
        """Answer with a refusal, unless an answer has begun already: then the connection is cut."""
        if self.status:
            raise ConnectionAbortedError from None
        await answer(error)(self.scope, receive, self.send)


class Body:
    """A request's body, counted and timed as it comes in."""

    def __init__(self, receive: Receive, largest: int) -> None:
        self._receive = receive
        self._largest = largest
        self._start = monotonic()
        self._bytes = 0
        self._ended = False

    def check_length(self, headers: Headers) -> None:
        """Refuse a body that says it is too large, before a byte of it is read.

        Raises:
            Refusal: 413, 415 for a packed body: nothing is inflated here.
        """
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length[:20]) > self._largest:
            raise self._too_large()
        if headers.get("content-encoding", "identity") != "identity":
            raise Refusal(415, "packed-body", "send the body as it is, without Content-Encoding")

    async def receive(self) -> Message:
        """The next message.

        Raises:
            Refusal: 413 beyond the limit; 408 after a silence, or at a trickle.
        """
        if self._ended:  # what follows is only the end of the connection, for which an answer may wait long
            return await self._receive()
        try:
            with anyio.fail_after(SILENCE_SECONDS):
                message = await self._receive()
        except TimeoutError:
            raise Refusal(408, "slow-body", "the body stopped coming") from None
        self._bytes += len(message.get("body", b""))
        self._ended = not message.get("more_body", False)
        if self._bytes > self._largest:
            raise self._too_large()
        seconds = monotonic() - self._start
        if not self._ended and seconds > GRACE_SECONDS and self._bytes < SLOWEST_RATE * seconds:
            raise Refusal(408, "slow-body", "the body comes too slowly")
        if seconds > LONGEST_SECONDS:
            raise Refusal(408, "slow-body", "the body takes too long")
        return message

    def _too_large(self) -> Refusal:
        return Refusal(413, "too-large", f"more than the {self._largest >> 10} KiB that are taken here")


def place_of(error: Exception) -> str:
    """Module and line where a fault was raised: enough to find it, and no text of a request."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].name}:{frames[-1].lineno}" if frames else "-"
