"""The service as a whole: one data folder, one process, from its lock to its last job."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
import os
from pathlib import Path
import signal
import socket
from threading import Event, Thread
from types import FrameType
from typing import TYPE_CHECKING, Protocol

from covid19net import __version__
from covid19net.errors import InputError, ResourceError
from covid19net.io.files import take_lock
from covid19net.service.disk import DATABASE, LOCK, RESULTS, prepare
from covid19net.service.expiry import Expiry
from covid19net.service.intake import Intake
from covid19net.service.jobs import Jobs
from covid19net.service.logs import log, log_to_stderr
from covid19net.service.settings import Settings
from covid19net.service.worker import Command, Worker

if TYPE_CHECKING:
    from covid19net.service.dicom.pull import Puller
    from covid19net.service.dicom.sender import Sender

PATIENCE = 12.0  # seconds for running jobs after SIGTERM; with the rest of the end less than 30
BACKLOG = 512  # connections that wait to be taken


def serve(
    settings: Settings,
    *,
    command: Command | None = None,
    ready: Callable[[int], None] = lambda _: None,
    patience: float = PATIENCE,
    networks: Sequence[str] = (),
    home: Path | None = None,
) -> None:
    """Run the service until SIGTERM or SIGINT, then drain it.

    Args:
        settings: checked.
        command: of the analysis; by default the real one.
        ready: called with the port when requests are answered.
        patience: seconds running jobs have to end when the service does.
        networks: SHA-256 of the networks of the weight set, as of `Intake`.
        home: folder of installed weights.

    Raises:
        InputError: another service uses the data folder, or an address cannot be used.
        DiskFull: there is no room to begin.
    """
    log_to_stderr()
    os.umask(0o077)  # scans and results are for this user alone
    with ExitStack() as ends:
        ends.enter_context(only_one(settings.data))
        door = ends.enter_context(listening(settings.host, settings.port))
        prepare(settings.data)
        jobs = Jobs(settings.data / DATABASE)
        ends.callback(jobs.close)
        intake = Intake(settings, jobs, networks)
        _run(Parts(settings, jobs, intake, command, patience, home), door, ready)
    log("ended")


class Parts:
    """The parts of the service, put together; what a crash left is put right."""

    def __init__(
        self,
        settings: Settings,
        jobs: Jobs,
        intake: Intake,
        command: Command | None,
        patience: float,
        home: Path | None,
    ) -> None:
        from covid19net.service.rest import parts
        from covid19net.service.rest.app import create_app
        from covid19net.service.rest.server import HttpServer

        sender, puller = sender_of(settings, jobs), puller_of(settings, intake)
        tell = sender.enqueue if sender else lambda _: None
        for job in jobs.recover(settings.data / RESULTS):  # done, but nobody may have been told
            tell(job)
        intake.recover()
        self.worker = Worker(settings, jobs, command=command, finished=tell)
        sends = sender.sends if sender else None
        known = parts.Parts(settings, jobs, intake, self.worker, puller, sends, home)
        self.server = HttpServer(create_app(known), settings)
        self._patience = patience
        others = (sender, Expiry(settings, jobs), listener_of(settings, intake, jobs), puller)
        self._others = [part for part in others if part]

    def start(self, ends: ExitStack) -> None:
        """Start everything but the server; each part stops by `ends`, the last first."""
        self.worker.start()
        ends.callback(self.worker.drain, self._patience)
        for part in self._others:
            part.start()
            ends.callback(part.stop)


class Part(Protocol):
    """What runs beside the server."""

    def start(self) -> None:
        """Begin."""

    def stop(self) -> None:
        """End."""


def sender_of(settings: Settings, jobs: Jobs) -> "Sender | None":
    """What sends results on, where that is wanted."""
    if not settings.destinations:
        return None
    from covid19net.service.dicom.sender import Sender

    return Sender(settings, jobs)


def puller_of(settings: Settings, intake: Intake) -> "Puller | None":
    """What fetches scans, where there is a PACS to fetch from."""
    if settings.pacs is None:
        return None
    from covid19net.service.dicom.pull import Puller

    return Puller(settings, intake)


def listener_of(settings: Settings, intake: Intake, jobs: Jobs) -> Part | None:
    """What receives DICOM, where that is wanted."""
    if settings.dicom_port is None:
        return None
    from covid19net.service.dicom.listener import Listener

    return Listener(settings, intake, jobs)


def _run(parts: Parts, door: socket.socket, ready: Callable[[int], None]) -> None:
    """Answer until a signal comes; then end everything at once, each part with its own patience."""
    over = Event()

    def answer() -> None:
        try:
            parts.server.run(sockets=[door])
        finally:
            over.set()

    server = Thread(target=answer, name="http", daemon=True)
    with set_by_signals(over), ExitStack() as ends:
        server.start()
        ends.callback(server.join, PATIENCE)  # last: what its requests need ends after it
        ends.callback(parts.server.stop)
        parts.start(ends)
        port = int(door.getsockname()[1])
        log("ready", port=port, version=__version__)
        ready(port)
        over.wait()
        if not server.is_alive():
            raise ResourceError("the HTTP server ended unasked")
        log("draining")
        parts.server.stop()


@contextmanager
def only_one(data: Path) -> Iterator[None]:
    """Hold the data folder against other services; the lock goes with the process, however it ends.

    Raises:
        InputError: another one has it, or it cannot be made.
    """
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = take_lock(data / LOCK)
    except OSError as error:
        raise InputError(f"{data}: cannot be the data folder ({error.strerror})") from error
    if lock is None:
        raise InputError(f"{data}: another service uses this folder")
    with lock:
        yield


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that takes connections; they wait until they are answered.

    Raises:
        InputError: the address cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        door = socket.create_server((host.strip("[]"), port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise InputError(f"{host}:{port}: cannot be listened on ({error.strerror})") from error
    with door:
        yield door


@contextmanager
def set_by_signals(event: Event) -> Iterator[None]:
    """Have SIGTERM and SIGINT set an event."""

    def handle(_signal: int, _frame: FrameType | None) -> None:
        event.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
