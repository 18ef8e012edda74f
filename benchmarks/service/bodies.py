"""Bodies that are too large, malformed or slow: how soon they are refused, and at what cost in memory.

    python benchmarks/service/bodies.py
    python benchmarks/service/bodies.py --limit 200

To reach: refused within 1 s of the limit, with less than 100 MB more memory.
"""

import argparse
from collections.abc import Callable, Iterator
import socket
import time

from api import Api, running, watching

HEAD = b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\n"
RAW = HEAD + b"Content-Type: application/zip\r\n"
FORM = HEAD + b"Content-Type: multipart/form-data; boundary=edge\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
PART = b'--edge\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
BLOCK = bytes(1 << 20)
FILES = 200  # of an upload; each is brought to the disk before the next, which takes its time


def chunk(data: bytes) -> bytes:
    """A chunk of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def declared(limit: int) -> Iterator[bytes]:
    """A length beyond the limit, and nothing of the body."""
    yield RAW + b"Content-Length: %d\r\n\r\n" % (limit * 10**6 * 2)


def endless(limit: int) -> Iterator[bytes]:
    """A file without end."""
    yield RAW + CHUNKED
    for _ in range(2 * limit):
        yield chunk(BLOCK)


def endless_form(limit: int) -> Iterator[bytes]:
    """A part without end."""
    yield FORM + CHUNKED + chunk(PART)
    for _ in range(2 * limit):
        yield chunk(BLOCK)


def endless_header(limit: int) -> Iterator[bytes]:
    """A part whose header does not end."""
    yield FORM + CHUNKED + chunk(b"--edge\r\nX: ")
    for _ in range(limit):
        yield chunk(b"x" * len(BLOCK))


def many_parts(limit: int) -> Iterator[bytes]:
    """Parts without number, each of a byte."""
    yield FORM + CHUNKED
    for _ in range(limit):
        yield chunk((PART + b"x\r\n") * 1000)


def no_form(limit: int) -> Iterator[bytes]:
    """Bytes that are no form."""
    yield FORM + CHUNKED
    for _ in range(limit):
        yield chunk(BLOCK)


CASES: list[Callable[[int], Iterator[bytes]]] = [
    declared, endless, endless_form, endless_header, many_parts, no_form,
]  # fmt: skip


def refusal(api: Api, pieces: Iterator[bytes]) -> tuple[str, float, float]:
    """Send until refused; gives the answer, the seconds since what was sent last, and MB sent."""
    sent = 0
    with socket.create_connection(api.address, timeout=30) as connection:
        for piece in pieces:
            last = time.perf_counter()
            view = memoryview(piece)
            try:
                while view:
                    view = view[connection.send(view[: 1 << 16]) :]
                    sent += 1 << 16
                    if answered(connection):
                        break
            except OSError:
                break
            if view:
                break
        answer = connection.recv(65536)
        seconds = time.perf_counter() - last
    return answer.split(b"\r\n")[0].decode(), seconds, sent / 1e6


def answered(connection: socket.socket) -> bool:
    """Whether an answer has come."""
    connection.setblocking(False)
    try:
        return bool(connection.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False
    finally:
        connection.settimeout(30)


def main() -> None:
    """Send each, and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limit", type=int, default=2048, help="of an upload, MB")
    given = parser.parse_args()
    print("| body | answer | s after the last piece | MB sent | memory, MB | health p99, ms |")
    print("|---|---|---|---|---|---|")
    with running(upload_limit_mb=given.limit, upload_files=FILES) as api:
        for case in CASES:
            before = api.megabytes
            with watching(api) as watch:
                status, seconds, sent = refusal(api, case(given.limit))
                time.sleep(0.2)
            more, slowest = watch.most_megabytes - before, watch.percentile(99)
            print(f"| {case.__doc__} | {status} | {seconds:.2f} | {sent:.0f} | +{more:.0f} | {slowest:.0f} |")
        left = len(list((api.data / "incoming").iterdir()))
    print(f"left on the disk: {left}")


if __name__ == "__main__":
    main()
