"""Connections to the DICOM node that send a few bytes and stay silent; beside it, pynetdicom's own server.

    python benchmarks/service/half_open.py
    python benchmarks/service/half_open.py --connections 12 --no-stock

To reach: a C-ECHO within 1 s meanwhile, every connection closed within 30 s. pynetdicom alone gives each of
them one of its ten associations for as long as it stays.
"""

import argparse
from contextlib import ExitStack
from pathlib import Path
import tempfile
import time

from dicom_node import VERIFICATION, connected, echo, running
from pynetdicom import AE


def silence(port: int, count: int, seconds: float) -> None:
    """Open connections, echo, and see how long they are let."""
    with ExitStack() as ends:
        each = [ends.enter_context(connected(port, b"\x01\x00\x00")) for _ in range(count)]
        start = time.monotonic()
        slowest = max(echo(port) for _ in range(3))
        print(f"  slowest of 3 C-ECHO {slowest:.3f} s")
        closed = 0
        for connection in each:
            connection.settimeout(max(0.01, seconds - (time.monotonic() - start)))
            try:
                closed += not connection.recv(1)
            except TimeoutError:
                continue
            except ConnectionResetError:
                closed += 1
        print(f"  {closed} of {count} closed after {time.monotonic() - start:.1f} s")


def main() -> None:
    """Our node, then the stock server."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--connections", type=int, default=12)
    parser.add_argument("--no-stock", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as (_, port):
        print(f"{given.connections} half-open connections, the node")
        silence(port, given.connections, 30.0)
    if given.no_stock:
        return
    ae = AE(ae_title="COVID19NET")
    ae.add_supported_context(VERIFICATION)
    server = ae.start_server(("127.0.0.1", 0), block=False)
    print(f"{given.connections} half-open connections, pynetdicom alone")
    silence(server.server_address[1], given.connections, 30.0)
    server.shutdown()


if __name__ == "__main__":
    main()
