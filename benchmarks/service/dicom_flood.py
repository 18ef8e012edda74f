"""A flood on the DICOM node, while it is asked for C-ECHO again and again.

    python benchmarks/service/dicom_flood.py
    python benchmarks/service/dicom_flood.py --closed 500 --parallel 40 --half-open 20 --malformed 100

Connections that close at once, parallel associations, half-open connections, damaged and random PDUs, each
with the slowest C-ECHO meanwhile; then the memory that the node has gained.
To reach: every C-ECHO within 1 s, associations beyond the limit rejected with 02 03 02, less than 20 MB more.
"""

import argparse
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
import multiprocessing
from pathlib import Path
import random
import tempfile
import time
from typing import Any

from dicom_node import associate_request, connected, echo, rss, running


def ask(port: int, answers: Any) -> None:  # noqa: ANN401 - of multiprocessing
    """Ask for C-ECHO about five times a second, and hand over how long each took."""
    while True:
        answers.put(echo(port))
        time.sleep(0.2)


@contextmanager
def asked_for_echo(port: int) -> Iterator[Callable[[], list[float]]]:
    """Ask during the block, from another process; gives the seconds of the C-ECHOs since the last call."""
    start_others = multiprocessing.get_context("spawn")
    answers = start_others.Queue()
    asker = start_others.Process(target=ask, args=(port, answers), daemon=True)
    asker.start()
    try:
        yield lambda: [answers.get(), *(answers.get() for _ in range(answers.qsize()))]
    finally:
        asker.kill()
        asker.join()


def close_at_once(port: int, count: int) -> None:
    """Connect and close."""
    for _ in range(count):
        connected(port).close()


def associate(port: int, count: int) -> None:
    """Many associations that stay, opened together."""
    with ExitStack() as ends:
        each = [ends.enter_context(connected(port, associate_request())) for _ in range(count)]
        answers = [connection.recv(10) for connection in each]
        time.sleep(1)
    told = Counter("accepted" if answer[:1] == b"\2" else answer[6:].hex(" ") for answer in answers)
    print("  ", ", ".join(f"{number} x {what}" for what, number in told.items()))


def stay_silent(port: int, count: int) -> None:
    """Half an associate request, and nothing more."""
    with ExitStack() as ends:
        for _ in range(count):
            ends.enter_context(connected(port, associate_request()[:50]))
        time.sleep(2)


def send_damage(port: int, count: int) -> None:
    """Associate requests with changed bytes, random bytes, lengths that lie, data before and after."""
    chance = random.Random(1)
    for number in range(count):
        request = bytearray(associate_request())
        for _ in range(number % 8):
            request[chance.randrange(len(request))] = chance.randrange(256)
        head = [bytes(request), chance.randbytes(200), b"\x04\x00\xff\xff\xff\xff"][number % 3]
        with suppress(OSError), connected(port) as connection:
            connection.sendall(head)
            connection.sendall(chance.randbytes(100))


def main() -> None:
    """Flood a node in a folder of its own."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--closed", type=int, default=10_000)
    parser.add_argument("--parallel", type=int, default=100)
    parser.add_argument("--half-open", type=int, default=50)
    parser.add_argument("--malformed", type=int, default=1000)
    given = parser.parse_args()
    steps: list[tuple[str, Callable[[int, int], None], int]] = [
        ("connect-close", close_at_once, given.closed),
        ("parallel associations", associate, given.parallel),
        ("half-open connections", stay_silent, given.half_open),
        ("malformed PDUs", send_damage, given.malformed),
    ]
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as (process, port):
        for _ in range(20):
            echo(port)
        before = rss(process)
        with asked_for_echo(port) as seconds:
            for name, flood, count in steps:
                seconds()
                start = time.monotonic()
                flood(port, count)
                took = time.monotonic() - start
                each = seconds()
                print(f"{count} {name}: {took:.1f} s, slowest of {len(each)} C-ECHO {max(each):.3f} s")
                print(f"   memory {rss(process) - before:+.1f} MB")
        time.sleep(2)
        print(f"memory {before:.0f} MB before, {rss(process) - before:+.1f} MB after")


if __name__ == "__main__":
    main()
