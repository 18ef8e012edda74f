"""A DICOM node of the service for the tests, small series, and clients for it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
import os
from pathlib import Path
import shutil
import socket
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pydicom
from pynetdicom import AE
import pytest

from covid19net.io import write_dicom_series
from covid19net.service.dicom.limits import Limits
from covid19net.service.dicom.listener import Listener
from covid19net.service.disk import DATABASE, prepare
from covid19net.service.intake import Intake
from covid19net.service.jobs import Job, Jobs
from covid19net.service.settings import Settings
from covid19net.volume import CTVolume

CT = "1.2.840.10008.5.1.4.1.1.2"
VERIFICATION = "1.2.840.10008.1.1"
EXPLICIT = "1.2.840.10008.1.2.1"
QUIET = 0.3  # seconds


@dataclass
class Node:
    listener: Listener
    jobs: Jobs
    intake: Intake
    settings: Settings

    @property
    def port(self) -> int:
        return self.listener.port

    def inputs(self, job: Job) -> list[Path]:
        return sorted((self.settings.data / "inputs" / job.id).iterdir())

    def wait_for(self, count: int, seconds: float = 15.0) -> tuple[Job, ...]:
        """The jobs, once there are so many."""
        until(lambda: len(self.jobs.list()) >= count, seconds)
        return self.jobs.list()


@contextmanager
def node(data: Path, limits: Limits | None = None, **more: Any) -> Iterator[Node]:
    settings = Settings(**{"data": data, "dicom_port": 0, "quiet_seconds": QUIET, **more})
    prepare(data)
    jobs = Jobs(data / DATABASE)
    intake = Intake(settings, jobs)
    listener = Listener(settings, intake, jobs, limits=limits)
    listener.start()
    try:
        yield Node(listener, jobs, intake, settings)
    finally:
        listener.stop()
        jobs.close()


def until(true: Callable[[], bool], seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.02)


def write_series(folder: Path, slices: int, seed: int = 1, **headers: Any) -> list[Path]:
    """A 64 x 64 series of noise in Hounsfield units, 5 mm apart."""
    hu = np.random.default_rng(seed).integers(-1000, 400, (slices, 64, 64)).astype(np.int16)
    affine = np.array([[0, 0, 5.0, 0], [0, 5.0, 0, 0], [5.0, 0, 0, 0], [0, 0, 0, 1]])
    return write_dicom_series(CTVolume(hu, affine), folder, {"PatientName": "Doe^Jane", **headers})


@contextmanager
def associated(port: int, calling: str = "MODALITY", contexts: Sequence[str] = (CT,)) -> Iterator[Any]:
    ae = AE(ae_title=calling)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 20
    for sop_class in contexts:
        ae.add_requested_context(sop_class, EXPLICIT)
    association = ae.associate("127.0.0.1", port, ae_title="COVID19NET")
    try:
        yield association
    finally:
        if association.is_established:
            association.release()
        if association.is_alive():
            association.join(5)


def send(port: int, paths: Sequence[Path], *, cut: bool = False, calling: str = "MODALITY") -> list[int]:
    """Store files in one association, in the given order; the statuses."""
    with associated(port, calling) as association:
        assert association.is_established
        statuses = [association.send_c_store(pydicom.dcmread(path)).get("Status", -1) for path in paths]
        if cut:
            association.abort()
    return statuses


def echo(port: int, calling: str = "MODALITY") -> float:
    """Seconds that a C-ECHO takes, from the connection to its answer."""
    start = time.monotonic()
    with associated(port, calling, (VERIFICATION,)) as association:
        assert association.is_established, "no association"
        assert association.send_c_echo().Status == 0
        return time.monotonic() - start


def half_open(port: int, first: bytes = b"\x01\x00\x00") -> socket.socket:
    """A connection that sends a few bytes and stays silent."""
    connection = socket.create_connection(("127.0.0.1", port), 5)
    connection.sendall(first)
    return connection


def associate_request(calling: str = "MODALITY", sop_class: str = CT, syntax: str = EXPLICIT) -> bytes:
    """An associate request, byte by byte from PS3.8 tables 9-11 to 9-18."""

    def item(kind: int, value: bytes) -> bytes:
        return bytes([kind, 0]) + len(value).to_bytes(2, "big") + value

    context = item(0x30, sop_class.encode()) + item(0x40, syntax.encode())
    items = item(0x10, b"1.2.840.10008.3.1.1.1") + item(0x20, bytes([1, 0, 0, 0]) + context)
    items += item(0x50, item(0x51, (16384).to_bytes(4, "big")) + item(0x52, b"1.2.826.7.99"))
    titles = b"COVID19NET".ljust(16) + calling.encode().ljust(16)
    body = b"\x00\x01\x00\x00" + titles + bytes(32) + items
    return b"\x01\x00" + len(body).to_bytes(4, "big") + body


def answer_of(connection: socket.socket, seconds: float = 5.0) -> bytes:
    """What comes until the other side closes, or nothing for so long."""
    connection.settimeout(seconds)
    got = b""
    try:
        while piece := connection.recv(4096):
            got += piece
            if len(got) >= 10:
                break
    except ConnectionResetError:
        pass
    return got


class Sockets:
    """Connections of a test, closed at its end."""

    def __init__(self, ends: ExitStack) -> None:
        self._ends = ends

    def half_open(self, port: int) -> socket.socket:
        return self._ends.enter_context(half_open(port))

    def asked(self, port: int, request: bytes = b"", source: str = "127.0.0.1") -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", port), 5, (source, 0))
        self._ends.enter_context(connection)
        connection.sendall(request or associate_request())
        return connection


def dcmtk_program(name: str) -> str:
    """Where it is; pynetdicom puts programs of the same names into this environment."""
    places = [p for p in os.environ["PATH"].split(os.pathsep) if Path(p) != Path(sys.executable).parent]
    found = shutil.which(name, path=os.pathsep.join(places))
    if not found:
        pytest.skip(f"{name} is not installed (Debian: dcmtk)")
    return found


def dcmtk(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    words = [dcmtk_program(name), *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, timeout=60)
