"""A real PACS for the tests: Debian's Orthanc with its DICOMweb plugin, on free ports of this machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
import json
from pathlib import Path
import shutil
import socket
import subprocess
import time
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


@dataclass(frozen=True)
class Pacs:
    http: int
    dicom: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http}/dicom-web"

    def ask(self, path: str, body: bytes | None = None) -> object:
        """Orthanc's own REST API."""
        with urlopen(Request(f"http://127.0.0.1:{self.http}{path}", data=body), timeout=60) as answer:
            return json.loads(answer.read() or b"null")

    def add(self, folder: Path) -> None:
        for path in sorted(folder.iterdir()):
            self.ask("/instances", path.read_bytes())


def free_port() -> int:
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        return int(any_port.getsockname()[1])


@contextmanager
def orthanc(
    folder: Path, modalities: dict[str, list[object]] | None = None, dicom_port: int | None = None
) -> Iterator[Pacs]:
    """A PACS that keeps its files in `folder` and knows some DICOM nodes: name to [AE title, host, port]."""
    program = shutil.which("Orthanc")
    if not program or not PLUGIN.exists():
        pytest.skip("Orthanc with DICOMweb is not installed (Debian: orthanc, orthanc-dicomweb)")
    pacs = Pacs(free_port(), dicom_port or free_port())
    settings = {
        "Name": "PACS",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "Plugins": [str(PLUGIN)],
        "HttpPort": pacs.http,
        "DicomPort": pacs.dicom,
        "DicomAet": "PACS",
        "DicomModalities": modalities or {},
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomAlwaysAllowStore": True,
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    config = folder / "orthanc.json"
    config.write_text(json.dumps(settings))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, str(config)], stdout=log, stderr=log)
    try:
        _wait(pacs, process)
        yield pacs
    finally:
        process.kill()  # it would take seconds to close a database that nobody reads again
        process.wait(20)


def _wait(pacs: Pacs, process: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        assert process.poll() is None, "Orthanc ended"
        try:
            pacs.ask("/system")
            return
        except URLError:
            time.sleep(0.1)
    pytest.fail("Orthanc does not answer")
