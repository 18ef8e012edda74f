"""A service as a process of its own, on a free port, with the quick analysis of the tests or the real one."""

from collections.abc import Iterator
from contextlib import contextmanager
import json
import math
import os
from pathlib import Path
import re
import signal
import subprocess
import sys
import time
from typing import Any

import httpx

SCRIPT = """
from pathlib import Path
import sys
from covid19net.service.run import serve
from covid19net.service.settings import load_settings
from tests.service_fake import command

real = sys.argv[2] == "real"
serve(load_settings(Path(sys.argv[1]), {}), command=None if real else command, patience=float(sys.argv[3]))
"""
ROOT = Path(__file__).parents[2]


class Started:
    """A running service.

    Attributes:
        data: its folder.
        process: of the service.
        log: what it has written to stderr.
        api: asks it.
    """

    def __init__(self, data: Path, *, real: bool = False, patience: float = 2.0, **settings: object) -> None:
        data.parent.mkdir(parents=True, exist_ok=True)
        self.data, self.real, self.patience = data, real, patience
        self._file = data.parent / f"{data.name}.toml"
        values = {"data": str(data), "port": 0} | settings
        self._file.write_text("".join(f"{name} = {as_toml(value)}\n" for name, value in values.items()))
        self._log = data.parent / f"{data.name}.log"
        self.start()

    def start(self) -> float:
        """Start, or start again; returns the seconds until it was ready."""
        before = len(self.log.splitlines())
        begin = time.monotonic()
        with self._log.open("a") as log:
            kind = "real" if self.real else "fake"
            self.process = subprocess.Popen(
                [sys.executable, "-c", SCRIPT, str(self._file), kind, str(self.patience)],
                stderr=log,
                cwd=ROOT,
            )
        while not (ready := re.findall(r" ready port=(\d+)", "\n".join(self.log.splitlines()[before:]))):
            if self.process.poll() is not None or time.monotonic() - begin > 60:
                raise RuntimeError(f"not ready: {self.log[-2000:]}")
            time.sleep(0.01)
        self.api = httpx.Client(base_url=f"http://127.0.0.1:{ready[-1]}", timeout=60)
        while self.api.get("/health").status_code != 200:
            time.sleep(0.01)
        return time.monotonic() - begin

    @property
    def log(self) -> str:
        """What it has written to stderr, of all its lives."""
        return self._log.read_text() if self._log.exists() else ""

    def send(self, *contents: bytes, **headers: str) -> httpx.Response:
        """Submit files as a browser would."""
        files = [("files", (f"{number}.dcm", content)) for number, content in enumerate(contents)]
        return self.api.post("/v1/jobs", files=files, headers=headers)

    def job(self, job_id: str) -> dict[str, Any]:
        """As the API tells of it."""
        return self.api.get(f"/v1/jobs/{job_id}").json()

    def wait(self, *job_ids: str, seconds: float = 120) -> list[dict[str, Any]]:
        """The jobs, when all have ended."""
        end = time.monotonic() + seconds
        ended = []
        for job_id in job_ids:
            while (job := self.job(job_id))["state"] in ("queued", "running"):
                if time.monotonic() > end:
                    raise RuntimeError(f"{job_id} has not ended: {self.log[-2000:]}")
                time.sleep(0.02)
            ended.append(job)
        return ended

    def names(self, part: str) -> list[str]:
        """What lies in a part of the data folder."""
        return sorted(path.name for path in (self.data / part).iterdir())

    def kill(self) -> None:
        """As a power cut would end it."""
        self.api.close()
        self.process.kill()
        self.process.wait()

    def terminate(self, seconds: float = 60) -> float:
        """End it as systemd does; returns how long that took."""
        self.api.close()
        begin = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(seconds)
        return time.monotonic() - begin


@contextmanager
def started(data: Path, **settings: object) -> Iterator[Started]:
    """A service that ends with the `with` block."""
    service = Started(data, **settings)
    try:
        yield service
    finally:
        service.kill()


def as_toml(value: object) -> str:
    """A value of the settings file."""
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else repr(value)


def resident(process: int) -> int:
    """Bytes in memory of one process."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def sha256_of(service: Started, job_id: str) -> str:
    """What the quick analysis took in, by its result on the disk."""
    record = json.loads((service.data / "results" / job_id / "result.json").read_text())
    return str(record["sha256"])


def percentile(values: list[float], percent: float) -> float:
    """The smallest value that so many percent are not above."""
    return sorted(values)[max(0, math.ceil(percent / 100 * len(values)) - 1)]
