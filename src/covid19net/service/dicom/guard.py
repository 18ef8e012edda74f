"""What stands before the DICOM server, and keeps it from being held up.

pynetdicom gives every connection a thread and a place before it has said anything: ten silent connections
block it. The guard takes the connections, waits for whole associate requests within limits, and only then
hands over, by a pair of connected sockets: the server itself listens nowhere. It passes whole PDUs on, of
bounded length, so that the server never waits in the middle of one.

Who asks for C-ECHO alone has a few places of its own, of which the oldest gives way: the node answers however
full the rest is. A connection that has not asked for anything gives way to newer ones in the same manner.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
import socket
from threading import Event, Thread
import time
from typing import TypeVar, cast

from covid19net.errors import InputError
from covid19net.service.dicom.limits import Limits
from covid19net.service.dicom.pdu import (
    ABORT,
    ASSOCIATE_REQUEST,
    FIXED,
    HEADER,
    INVALID,
    LOCAL_LIMIT,
    UNEXPECTED,
    kind_and_length,
    only_verifies,
)

GONE = (OSError, asyncio.IncompleteReadError, TimeoutError)  # the peer broke off, or was too slow
LARGE_REQUEST = 1 << 16  # bytes; usual requests have some hundred to ten thousand
AT_ONCE = 64  # connections that are taken before those taken earlier are read from
BACKLOG = 2048  # connections that the system holds until they are taken; beyond it they try again in seconds
MOST_LARGE = 4  # large requests that are read at once
CHUNK = 1 << 16
GRACE = 0.5  # seconds for which no connection has to give way to newer ones, if that can be
CROWD = 4  # times the limit of waiting connections, beyond which one gives way at once
Address = tuple[str, int]
T = TypeVar("T")


@dataclass(eq=False)
class _Peer:
    """A connection, and what it was told."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    address: Address
    since: float = field(default_factory=time.monotonic)
    unanswered: int = 0
    task: "asyncio.Task[None]" = field(
        default_factory=lambda: cast("asyncio.Task[None]", asyncio.current_task())
    )


class _Violation(Exception):  # noqa: N818 - never leaves this module
    """The peer breaks the protocol or a limit; the argument is the PDU that tells it so."""


class Guard:
    """Takes connections, and hands associations over to a server."""

    def __init__(
        self, address: Address, hand_over: Callable[[bytes, socket.socket, Address], None], limits: Limits
    ) -> None:
        """Prepare; nothing listens before `start`.

        Args:
            address: host and port to listen on; port 0 takes a free one.
            hand_over: is called with the associate request, the server's end of the association and the
                peer's address; raises ValueError for a request that it does not understand.
            limits: what is let through.
        """
        self.port = address[1]
        self._address, self._hand_over, self._limits = address, hand_over, limits
        self._waiting: list[_Peer] = []  # the oldest first; so are the others
        self._associations: list[_Peer] = []
        self._echoes: list[_Peer] = []
        self._told: list[_Peer] = []
        self._large = 0
        self._stop: Callable[[], object] = lambda: None
        self._ready = Event()
        self._fault: OSError | None = None
        self._thread = Thread(target=lambda: asyncio.run(self._serve()), name="dicom-guard", daemon=True)

    def start(self) -> None:
        """Listen.

        Raises:
            InputError: the port is taken, or the address is not of this machine.
        """
        self._thread.start()
        self._ready.wait()
        if self._fault:
            host, port = self._address
            reason = self._fault.strerror or "no such address"
            raise InputError(f"the DICOM listener cannot use {host} port {port} ({reason})") from self._fault

    def stop(self) -> None:
        """Take no more connections, and break off those there are."""
        if self._thread.is_alive():
            self._stop()
            self._thread.join(10)

    async def _serve(self) -> None:
        stopping, loop = asyncio.Event(), asyncio.get_running_loop()
        self._stop = lambda: loop.call_soon_threadsafe(stopping.set)
        try:
            door = _door(self._address)
            server = await asyncio.start_server(self._connected, sock=door, backlog=AT_ONCE, limit=CHUNK)
        except OSError as error:
            self._fault = error
            return
        else:
            door.listen(BACKLOG)  # asyncio takes its own number for this as well
            self.port = door.getsockname()[1]
        finally:
            self._ready.set()
        async with server:
            await stopping.wait()
            server.close()
            tasks = [peer.task for peer in (*self._waiting, *self._associations, *self._echoes)]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from its first byte to its last."""
        peer = _Peer(reader, writer, writer.get_extra_info("peername") or ("", 0))
        try:
            await self._attend(peer)
        except asyncio.CancelledError:  # gives way, or the service ends
            with suppress(*GONE):
                writer.write(INVALID)
        finally:
            writer.close()

    async def _attend(self, peer: _Peer) -> None:
        try:
            request = await self._request(peer)
            place = self._place(peer, request[HEADER:])
            if place is None:
                raise _Violation(LOCAL_LIMIT)
            with _listed(place, peer):
                await self._associate(peer, request)
        except _Violation as violation:
            await self._tell(peer, violation.args[0])
        except GONE:
            pass

    async def _request(self, peer: _Peer) -> bytes:
        """The whole associate request, header included."""
        with _listed(self._waiting, peer):
            self._make_room(peer.address[0])
            async with asyncio.timeout(self._limits.request_seconds):
                header = await peer.reader.readexactly(HEADER)
                kind, length = kind_and_length(header)
                if kind != ASSOCIATE_REQUEST:
                    raise _Violation(UNEXPECTED)
                if not FIXED <= length <= self._limits.request_bytes:
                    raise _Violation(INVALID)
                with self._counted(length):
                    return header + await peer.reader.readexactly(length)

    def _make_room(self, host: str) -> None:
        """Let the oldest connection without a request give way, if there are too many now and in a moment."""
        if len(self._waiting) > CROWD * self._limits.waiting:
            _drop_oldest(self._waiting, self._waiting)
        elif self._crowding(host):
            asyncio.get_running_loop().call_later(GRACE, self._thin_out, host)

    def _thin_out(self, host: str) -> None:
        crowding = self._crowding(host)
        if crowding and time.monotonic() >= crowding[0].since + GRACE:
            _drop_oldest(self._waiting, crowding)

    def _crowding(self, host: str) -> list[_Peer]:
        """Connections without a request, of an address or in all, if there are too many; the oldest first."""
        same = [peer for peer in self._waiting if peer.address[0] == host]
        if len(same) > self._limits.waiting_each:
            return same
        return self._waiting if len(self._waiting) > self._limits.waiting else []

    @contextmanager
    def _counted(self, length: int) -> Iterator[None]:
        """Only a few large requests are held in memory at once."""
        if length <= LARGE_REQUEST:
            yield
            return
        if self._large >= MOST_LARGE:
            raise _Violation(LOCAL_LIMIT)
        self._large += 1
        try:
            yield
        finally:
            self._large -= 1

    def _place(self, peer: _Peer, request: bytes) -> list[_Peer] | None:
        """Where the association counts; None where there is no room."""
        if only_verifies(request):
            if len(self._echoes) >= self._limits.echoes:
                self._echoes.pop(0).task.cancel()
            return self._echoes
        each = Counter(other.address[0] for other in self._associations)
        full = len(self._associations) >= self._limits.associations
        return None if full or each[peer.address[0]] >= self._limits.associations_each else self._associations

    async def _tell(self, peer: _Peer, pdu: bytes) -> None:
        """Send a last PDU, and let the peer close first, so that it is read."""
        with suppress(*GONE), _listed(self._told, peer):
            if len(self._told) > self._limits.waiting:
                _drop_oldest(self._told, self._told)
            peer.writer.write(pdu)
            async with asyncio.timeout(self._limits.told_seconds):
                await peer.writer.drain()
                while await peer.reader.read(CHUNK):
                    pass

    async def _associate(self, peer: _Peer, request: bytes) -> None:
        """Pass PDUs both ways until either end closes."""
        near, far = socket.socketpair()
        try:
            self._hand_over(request, far, peer.address)
        except ValueError:
            near.close()
            far.close()
            raise _Violation(INVALID) from None
        inner_reader, inner_writer = await asyncio.open_connection(sock=near, limit=CHUNK)
        inner_writer.write(request)
        ways = [
            asyncio.ensure_future(self._inwards(peer, inner_writer)),
            asyncio.ensure_future(self._outwards(inner_reader, peer)),
        ]
        try:
            done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in done:
                way.result()
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            inner_writer.close()

    async def _inwards(self, peer: _Peer, inner: asyncio.StreamWriter) -> None:
        """Whole PDUs from the peer to the server."""
        limits = self._limits
        while True:
            header = await _within(limits.silent_seconds, peer.reader.readexactly(HEADER))
            kind, length = kind_and_length(header)
            if not ASSOCIATE_REQUEST <= kind <= ABORT:
                raise _Violation(UNEXPECTED)
            if length > limits.pdu_bytes:
                raise _Violation(INVALID)
            body = await _within(limits.pdu_seconds, peer.reader.readexactly(length))
            peer.unanswered += length
            total = sum(other.unanswered for other in self._associations)
            if peer.unanswered > limits.unanswered_bytes or total > limits.unanswered_total:
                raise _Violation(INVALID)
            inner.write(header + body)
            await _within(limits.pdu_seconds, inner.drain())

    async def _outwards(self, inner: asyncio.StreamReader, peer: _Peer) -> None:
        """What the server answers, to the peer."""
        while data := await inner.read(CHUNK):
            peer.unanswered = 0
            peer.writer.write(data)
            await _within(self._limits.pdu_seconds, peer.writer.drain())


def _door(address: Address) -> socket.socket:
    host, port = address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host.strip("[]"), port), family=family, backlog=BACKLOG)


def _drop_oldest(places: list[_Peer], crowding: list[_Peer]) -> None:
    """Break off the first of some peers, without a word."""
    oldest = crowding[0]
    places.remove(oldest)
    oldest.writer.transport.abort()


@contextmanager
def _listed(places: list[_Peer], peer: _Peer) -> Iterator[None]:
    places.append(peer)
    try:
        yield
    finally:
        with suppress(ValueError):  # it gave way
            places.remove(peer)


async def _within(seconds: float, waiting: Awaitable[T]) -> T:
    async with asyncio.timeout(seconds):
        return await waiting
