"""A DICOM node of the service in a process of its own, and clients for it; what the other scripts share."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
import signal
import socket
import subprocess
import sys
import time

from pynetdicom import AE

from covid19net.service.dicom.listener import Listener
from covid19net.service.disk import DATABASE, prepare
from covid19net.service.intake import Intake
from covid19net.service.jobs import Jobs
from covid19net.service.settings import Settings

CT = "1.2.840.10008.5.1.4.1.1.2"
VERIFICATION = "1.2.840.10008.1.1"
EXPLICIT = "1.2.840.10008.1.2.1"


@contextmanager
def running(data: Path, quiet: float = 20.0) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A node over a data folder, with its quiet period in seconds: its process, and its port."""
    command = [sys.executable, __file__, str(data), str(quiet)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process, int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def rss(process: subprocess.Popen[str]) -> float:
    """Resident memory, MB."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1000


def echo(port: int) -> float:
    """Seconds from the connection to the answer of a C-ECHO; infinity when there is none."""
    ae = AE(ae_title="MONITOR")
    ae.connection_timeout = ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 20
    ae.add_requested_context(VERIFICATION, EXPLICIT)
    start = time.monotonic()
    association = ae.associate("127.0.0.1", port, ae_title="COVID19NET")
    if not association.is_established or association.send_c_echo().get("Status") != 0:
        return float("inf")
    seconds = time.monotonic() - start
    association.release()
    return seconds


def associate_request(sop_class: str = CT) -> bytes:
    """An associate request (PS3.8 tables 9-11 to 9-18)."""

    def item(kind: int, value: bytes) -> bytes:
        return bytes([kind, 0]) + len(value).to_bytes(2, "big") + value

    context = item(0x30, sop_class.encode()) + item(0x40, EXPLICIT.encode())
    items = item(0x10, b"1.2.840.10008.3.1.1.1") + item(0x20, bytes([1, 0, 0, 0]) + context)
    items += item(0x50, item(0x51, (16384).to_bytes(4, "big")) + item(0x52, b"1.2.826.7.99"))
    body = b"\x00\x01\x00\x00" + b"COVID19NET".ljust(16) + b"FLOOD".ljust(16) + bytes(32) + items
    return b"\x01\x00" + len(body).to_bytes(4, "big") + body


def connected(port: int, first: bytes = b"") -> socket.socket:
    """A connection that has sent something."""
    connection = socket.create_connection(("127.0.0.1", port), 20)
    connection.sendall(first)
    return connection


def main() -> None:
    """Run a node until SIGTERM."""
    data = Path(sys.argv[1])
    prepare(data)
    settings = Settings(data, dicom_port=0, quiet_seconds=float(sys.argv[2]))
    jobs = Jobs(data / DATABASE)
    listener = Listener(settings, Intake(settings, jobs), jobs)
    listener.start()
    print(listener.port, flush=True)
    signal.sigwait([signal.SIGTERM, signal.SIGINT])
    listener.stop()


if __name__ == "__main__":
    main()
