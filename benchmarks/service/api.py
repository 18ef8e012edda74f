"""The REST API in a process of its own, without a worker: what the scripts beside this one load and attack.

What they measure is what stands before the queue; the machine, its disk and its date belong to each number.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from multiprocessing import Pipe, Process
from multiprocessing.connection import Connection
from pathlib import Path
import socket
import subprocess
import sys
from tempfile import TemporaryDirectory
import time

import numpy as np
import psutil

from covid19net.service.disk import prepare
from covid19net.service.intake import Intake
from covid19net.service.jobs import Jobs
from covid19net.service.rest.app import create_app
from covid19net.service.rest.server import HttpServer
from covid19net.service.settings import load_settings


class Idle:
    """A worker that lets jobs wait."""

    alive, draining = True, False

    def progress(self, job_id: str) -> None:
        """No job runs."""
        del job_id


@dataclass
class Api:
    """A running API."""

    url: str
    data: Path
    process: psutil.Process

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, port = self.url.removeprefix("http://").split(":")
        return host, int(port)

    @property
    def megabytes(self) -> float:
        """Resident memory, 10^6 bytes."""
        return self.process.memory_info().rss / 1e6

    def counts(self) -> dict[str, int]:
        """Jobs by state."""
        jobs = Jobs(self.data / "service.sqlite")
        found = {str(state): count for state, count in jobs.counts().items() if count}
        jobs.close()
        return found


@contextmanager
def running(**settings: object) -> Iterator[Api]:
    """The API on a free port, with an empty data folder."""
    with TemporaryDirectory() as folder:
        options = [f"{name}={value}" for name, value in settings.items()]
        command = [sys.executable, __file__, folder, *options]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            try:
                yield Api(url, Path(folder), psutil.Process(process.pid))
            finally:
                process.terminate()


@dataclass
class Watch:
    """What other requests met meanwhile."""

    seconds: list[float]
    failures: int = 0
    most_megabytes: float = 0.0

    def percentile(self, share: float) -> float:
        """Of the times of all requests, in milliseconds."""
        return 1000 * float(np.percentile(self.seconds, share))


@contextmanager
def watching(api: Api, paths: Sequence[str] = ("/health",), pause: float = 0.02) -> Iterator[Watch]:
    """Ask for paths again and again, each time on a new connection, while the block runs.

    It is done by another process, so that the times are the API's and not of a script that waits for itself.
    """
    watch = Watch([])
    here, there = Pipe()
    asking = Process(target=ask, args=(api.address, paths, pause, api.process.pid, there), daemon=True)
    asking.start()
    here.recv()  # it has begun
    try:
        yield watch
    finally:
        here.send("end")
        watch.seconds, watch.failures, watch.most_megabytes = here.recv()
        asking.join()


def ask(address: tuple[str, int], paths: Sequence[str], pause: float, process: int, told: Connection) -> None:
    """Ask until told to end; then send the times, the number of failures, and the largest memory in MB."""
    seconds: list[float] = []
    failures, most, server = 0, 0.0, psutil.Process(process)
    told.send("begun")
    while not told.poll(pause):
        for path in paths:
            start = time.perf_counter()
            connection = HTTPConnection(*address, timeout=30)
            try:
                connection.request("GET", path)
                answer = connection.getresponse()
                answer.read()
                failures += answer.status != 200
            except OSError:
                failures += 1
            connection.close()
            seconds.append(time.perf_counter() - start)
        most = max(most, server.memory_info().rss / 1e6)
    told.send((seconds, failures, most))


def study(seed: int, slices: int, kilobytes: int = 512) -> list[tuple[str, tuple[str, bytes]]]:
    """Files of a study, with noise for content: none is like another."""
    noise = np.random.default_rng(seed)
    head = bytes(128) + b"DICM"
    return [("files", (f"{i}.dcm", head + noise.bytes(kilobytes << 10))) for i in range(slices)]


def main(folder: Path, *options: str) -> None:
    """Serve until the process is ended."""
    given: dict[str, object] = {}
    for option in options:
        name, _, value = option.partition("=")
        given[name] = int(value)
    settings = load_settings(None, {}, data=folder, port=0, **given)
    prepare(folder)
    jobs = Jobs(folder / "service.sqlite")
    server = HttpServer(create_app(settings, jobs, Intake(settings, jobs), Idle()), settings)
    door = socket.create_server((settings.host, 0), backlog=512)
    print(f"http://127.0.0.1:{door.getsockname()[1]}", flush=True)
    server.run([door])


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
