"""The HTTP server: uvicorn, with clocks on every connection, so that slow ones cannot hold it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
import socket
from typing import Any

from h11 import IDLE, SEND_BODY
from starlette.types import ASGIApp
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from covid19net.errors import ResourceError
from covid19net.service.rest.security import API_POLICY, COMMON
from covid19net.service.settings import Settings

HEADER_SECONDS = 20.0  # to send the whole head of a request
KEEP_ALIVE_SECONDS = 15  # between requests
LINGER_SECONDS = 2.0  # in which a body that nobody wants is still read, so that its sender sees the answer
STALL_SECONDS = 60.0  # in which a client takes nothing of an answer
MOST_CONNECTIONS = 512
LARGEST_HEAD = 32 << 10  # bytes
DRAIN_SECONDS = 10  # for requests under way, when the service stops
CLEAR_SECONDS = 5.0  # for those cut short then to clear away what they had written


class Clocked(H11Protocol):
    """A connection that is closed when its client is slow, and a number of connections that is bounded.

    uvicorn itself waits without end for the first head, for bodies that are not read, and for clients that do
    not take their answer.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the head of a request; make room if there are too many connections."""
        super().connection_made(transport)
        self._head_clock: asyncio.TimerHandle | None = None
        self._stall_clock: asyncio.TimerHandle | None = None
        self._await_head()
        if len(self.connections) > MOST_CONNECTIONS and not self._displace():
            self._answer_plainly(503, "Too many connections.", {"Retry-After": "5"})

    def _displace(self) -> bool:
        """Close the connection that has waited longest for its head; False if none but this one waits."""
        waiting = [each for each in self.connections if isinstance(each, Clocked) and each._head_clock]
        others = [each for each in waiting if each is not self]
        if others:
            min(others, key=lambda each: each._head_clock.when() if each._head_clock else 0.0)._hang_up()
        return bool(others)

    def data_received(self, data: bytes) -> None:
        """Take bytes; while they do not end a head, its clock goes on."""
        super().data_received(data)
        if self.conn.their_state is not IDLE:
            self._stop(self._head_clock)
            self._head_clock = None
        elif self._head_clock is None:
            self._await_head()

    def _await_head(self) -> None:
        self._head_clock = self.loop.call_later(HEADER_SECONDS, self._hang_up)

    def on_response_complete(self) -> None:
        """After an answer to a body that has not ended: read on a little, then close."""
        unread = self.cycle if self.conn.their_state is SEND_BODY else None
        super().on_response_complete()
        if unread is not None:
            self.loop.call_later(LINGER_SECONDS, self._end_linger, unread)

    def _end_linger(self, unread: RequestResponseCycle) -> None:
        """Close, unless the body has ended meanwhile and the connection is good for more requests."""
        if self.cycle is unread and self.conn.their_state is SEND_BODY:
            self.transport.close()

    def pause_writing(self) -> None:
        """The client does not take its answer: it has so long to go on."""
        super().pause_writing()
        self._stall_clock = self.loop.call_later(STALL_SECONDS, self._hang_up)

    def resume_writing(self) -> None:
        """It takes it again."""
        super().resume_writing()
        self._stop(self._stall_clock)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks."""
        self._stop(self._head_clock)
        self._stop(self._stall_clock)
        self._head_clock = None
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer to what is no HTTP."""
        self._answer_plainly(400, msg, {})

    def _answer_plainly(self, status: int, message: str, more: dict[str, str]) -> None:
        """Answer without the application, with the headers of every answer, and close."""
        body = f'{{"error": {{"code": "bad-connection", "message": "{message}"}}}}'
        reason = {400: "Bad Request", 503: "Service Unavailable"}[status]
        headers = {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Connection": "close",
            "Content-Security-Policy": API_POLICY,
            **COMMON,
            **more,
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.transport.write(f"HTTP/1.1 {status} {reason}\r\n{head}\r\n{body}".encode())
        self.transport.close()

    def _hang_up(self) -> None:
        self._head_clock = None
        self.transport.abort()

    @staticmethod
    def _stop(clock: asyncio.TimerHandle | None) -> None:
        if clock is not None:
            clock.cancel()


class HttpServer(uvicorn.Server):
    """The server of the service, for any thread; signals are left to whoever runs it."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        options: dict[str, Any] = {"log_config": None, "log_level": "critical", "access_log": False}
        options |= {"server_header": False, "proxy_headers": False, "ws": "none", "lifespan": "off"}
        options |= {"http": Clocked, "loop": "asyncio", "backlog": MOST_CONNECTIONS}
        options |= {"h11_max_incomplete_event_size": LARGEST_HEAD}
        options |= {"timeout_keep_alive": KEEP_ALIVE_SECONDS, "timeout_graceful_shutdown": DRAIN_SECONDS}
        super().__init__(uvicorn.Config(app, host=settings.host, port=settings.port, **options))

    @property
    def port(self) -> int:
        """The port it listens on, once it has started."""
        return int(self.servers[0].sockets[0].getsockname()[1])

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until `stop`.

        Args:
            sockets: that listen already; by default one at the address of the settings.

        Raises:
            ResourceError: the address cannot be listened on.
        """
        super().run(sockets or [_listening(self.config.host, self.config.port)])

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop, and let requests that were cut short clear away what they had written."""
        await super().shutdown(sockets)
        if self.server_state.tasks:
            await asyncio.wait(tuple(self.server_state.tasks), timeout=CLEAR_SECONDS)

    def stop(self) -> None:
        """Take no more connections; end when the requests under way have, or after `DRAIN_SECONDS`."""
        self.should_exit = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


def _listening(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=MOST_CONNECTIONS)
    except OSError as error:
        raise ResourceError(f"{host}:{port}: cannot be listened on ({error.strerror})") from error
