"""A service with its REST API, real but for the worker, which finishes nothing unless told to."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
import hashlib
import json
import logging
from pathlib import Path
import threading
import time

from fastapi import FastAPI
import httpx

from covid19net.service.disk import prepare
from covid19net.service.intake import Intake
from covid19net.service.job import State
from covid19net.service.jobs import Jobs
from covid19net.service.rest.app import create_app
from covid19net.service.rest.server import HttpServer
from covid19net.service.settings import Settings, Token

SECRETS = {name: f"secret-of-{name}-0123456789" for name in ("reader", "ward", "clinic", "boss")}
ROLES = {"reader": {"read"}, "ward": {"submit"}, "clinic": {"submit"}, "boss": {"admin"}}
TOKENS = tuple(
    Token(name, hashlib.sha256(secret.encode()).hexdigest(), frozenset(ROLES[name]))
    for name, secret in SECRETS.items()
)
SLICE = bytes(128) + b"DICM" + bytes(1000)


@dataclass
class FakeWorker:
    """What the API asks of a worker."""

    alive: bool = True
    draining: bool = False
    stages: dict[str, dict[str, object]] = field(default_factory=dict)

    def progress(self, job_id: str) -> dict[str, object] | None:
        return self.stages.get(job_id)


@dataclass
class Service:
    """The parts of a service in one folder."""

    settings: Settings
    jobs: Jobs
    intake: Intake
    worker: FakeWorker
    app: FastAPI
    pulled: list[tuple[str, str | None, str]]

    def submit(self, owner: str = "ward", content: bytes = SLICE, label: str | None = None) -> str:
        """A waiting job, submitted past the API."""
        with self.intake.stage() as staged:
            with staged.write() as out:
                out.write(content)
            job, _ = staged.commit(source="rest", owner=owner, label=label)
        return job.id

    def finish(self, job_id: str, files: dict[str, bytes]) -> None:
        """Let the oldest waiting job, which must be this one, be done with these result files."""
        assert self.jobs.claim().id == job_id
        folder = self.settings.data / "results" / job_id
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        self.jobs.finish(job_id, State.DONE, exit_code=0, summary={"score": 0.83})


def make_service(data: Path, *, pacs: bool = False, tokens: tuple[Token, ...] = TOKENS, **given) -> Service:
    prepare(data)
    settings = Settings(data, port=0, tokens=tokens, **given)
    jobs = Jobs(data / "service.sqlite")
    intake = Intake(settings, jobs)
    worker = FakeWorker()
    pulled: list[tuple[str, str | None, str]] = []
    app = create_app(settings, jobs, intake, worker, lambda *wanted: pulled.append(wanted) if pacs else None)
    if not pacs:
        app = create_app(settings, jobs, intake, worker)
    return Service(settings, jobs, intake, worker, app, pulled)


@contextmanager
def running(service: Service) -> Iterator[str]:
    """Serve on a free port of the loopback; gives the address."""
    server = HttpServer(service.app, service.settings)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.stop()
        thread.join(20)
        service.jobs.close()
        assert not thread.is_alive()


@contextmanager
def serving(service: Service) -> Iterator[httpx.Client]:
    """Serve, and a client for it."""
    with running(service) as address, httpx.Client(base_url=address, timeout=30, trust_env=False) as client:
        yield client


@contextmanager
def lines_of(logger: logging.Logger) -> Iterator[list[str]]:
    """What is logged inside the block, wherever the log goes otherwise."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(f"{record.name} {record.getMessage()}")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def bearer(name: str) -> dict[str, str]:
    """The header that shows a token."""
    return {"Authorization": f"Bearer {SECRETS[name]}"}


def result_files() -> dict[str, bytes]:
    """What stands for a result."""
    return {
        "result.json": json.dumps({"probability": 0.83}).encode(),
        "report.html": b"<!DOCTYPE html><title>r</title>",
        "ct.nii.gz": b"\x1f\x8b" + bytes(100),
        "dicom/lungs.dcm": SLICE,
    }
