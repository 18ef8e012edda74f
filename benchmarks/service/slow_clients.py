"""Slow clients: connections that send a byte now and then, some in the head of a request, some in its body.

    python benchmarks/service/slow_clients.py
    python benchmarks/service/slow_clients.py --connections 200 --every 10

To reach: all dropped within 60 s, and others served meanwhile, 99 % of them within 1 s.
"""

import argparse
import selectors
import socket
import time

from api import Api, running, watching

HEAD = b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: "
BODY = b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999\r\n"
BODY += b"Content-Type: application/zip\r\n\r\n"


def connect(api: Api, text: bytes) -> socket.socket:
    """A connection that has sent the beginning of a request."""
    connection = socket.create_connection(api.address)
    connection.sendall(text)
    connection.setblocking(False)
    return connection


def attack(api: Api, connections: int, every: float, patience: float) -> list[float]:
    """Hold connections with a byte now and then; gives the seconds after which each was closed."""
    start = time.monotonic()
    closed: list[float] = []
    selector = selectors.DefaultSelector()
    for number in range(connections):
        selector.register(connect(api, BODY if number % 2 else HEAD), selectors.EVENT_READ)
    sent = time.monotonic()
    while selector.get_map() and time.monotonic() - start < patience:
        for key, _ in selector.select(0.2):
            if is_closed(key.fileobj):
                closed.append(time.monotonic() - start)
                selector.unregister(key.fileobj)
        if time.monotonic() - sent >= every:
            sent = time.monotonic()
            for key in list(selector.get_map().values()):
                drip(key.fileobj)
    return closed


def is_closed(connection: socket.socket) -> bool:
    """Whether the server has ended the connection; an answer before that is read away."""
    try:
        return connection.recv(65536) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def drip(connection: socket.socket) -> None:
    """Send one byte."""
    try:
        connection.send(b"x")
    except OSError:
        return


def main() -> None:
    """Attack and watch."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--connections", type=int, default=200)
    parser.add_argument("--every", type=float, default=10.0, help="seconds between two bytes")
    parser.add_argument("--patience", type=float, default=90.0, help="seconds")
    given = parser.parse_args()
    with running() as api:
        before = api.megabytes
        with watching(api, ("/health", "/v1/jobs"), 0.2) as watch:
            closed = attack(api, given.connections, given.every, given.patience)
        open_still = len(api.process.net_connections(kind="tcp")) - 1
    print(f"{len(closed)} of {given.connections} dropped, the last after {max(closed, default=0):.1f} s")
    print(f"connections open at the end {open_still}")
    print(
        f"others: {len(watch.seconds)} requests, p99 {watch.percentile(99):.0f} ms, failures {watch.failures}"
    )
    print(f"memory {before:.0f} MB, at most +{watch.most_megabytes - before:.0f} MB")


if __name__ == "__main__":
    main()
