"""Damaged files, ten thousand, through the door that every scan comes in by: what is not refused or read?

    python benchmarks/service/fuzz.py
    python benchmarks/service/fuzz.py --mutations 60 --seed 3
    python benchmarks/service/fuzz.py --only 4711 --keep DIR

A process reads one after the other with `covid19net.io.examine`, which looks at everything and reads the
scan; another writes the files and watches. Reading is to write nothing at all.

To reach: nothing but scans and refusals; no crash, no hang of 10 s, less than 1.5 GB of memory.
"""

import argparse
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
import multiprocessing
from multiprocessing.connection import Connection
import os
from pathlib import Path
import resource
import shutil
import sys
import tempfile
from threading import Lock
import time
import traceback
from typing import Any
import warnings

from mutations import mutation
from samples import Sample, made, public

from covid19net.io import examine

HANG = 10.0  # s
MOST_MEMORY = 1.5e9  # bytes resident
MOST_ASKED = 6 << 30  # bytes; what the service allows a job to ask for
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
CHANGES = (
    "os.mkdir",
    "os.rename",
    "os.remove",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "shutil.",
)
BAD = ("signal", "hang", "traceback", "written", "memory")
COLUMNS = (
    "mutations", "files as they are", "read", "refused", "signals", "hangs", "tracebacks", "written",
    "too much memory", "slowest s", "most memory MB",
)  # fmt: skip
STARTS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "socket.connect")


@dataclass(frozen=True)
class Outcome:
    """What came of one file.

    Attributes:
        kind: "read", "refused", or what must not be: "signal", "hang", "traceback", "written", "memory".
        text: of the fault.
        seconds: it took.
        memory: most bytes resident so far.
    """

    kind: str
    text: str = ""
    seconds: float = 0.0
    memory: int = 0


def watch_writing(seen: list[str]) -> None:
    """Note whatever this process changes on the disk, starts or connects to from here on."""

    def hook(event: str, details: tuple[Any, ...]) -> None:
        opened = event == "open" and isinstance(details[2], int) and details[2] & WRITING
        if opened or event.startswith(CHANGES + STARTS):
            seen.append(f"{event} {details[0]!r}")

    sys.addaudithook(hook)


def looked_at(path: str) -> str:
    """Examine what is there: why it is refused, or nothing."""
    examination = examine(path)
    examination.lines()
    return str(examination.fault or "")


def read_each(pipe: Connection, place: str, read: Callable[[str], str]) -> None:
    """In a process of its own: read each path that comes, tell what came of it."""
    import imagecodecs  # noqa: F401 - loaded before the clock runs
    import pydicom  # noqa: F401
    import scipy.spatial.transform  # noqa: F401

    os.chdir(place)
    tempfile.tempdir = place
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_ASKED, MOST_ASKED))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    seen: list[str] = []
    watch_writing(seen)
    pipe.send("ready")
    while path := pipe.recv():
        seen.clear()
        start = time.perf_counter()
        try:
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                text = read(path)
            kind = "refused" if text else "read"
            if said:  # they would stand in the log
                kind, text = "traceback", f"warning: {said[0].message} {said[0].filename}:{said[0].lineno}"
        except BaseException:
            kind, text = "traceback", "".join(traceback.format_exc().splitlines(keepends=True)[-8:])
        if seen:
            kind, text = "written", "; ".join(seen)
        pipe.send((kind, text, time.perf_counter() - start, most_memory()))


def most_memory() -> int:
    """Most bytes this process ever had resident; `getrusage` would count what started it as well."""
    told = Path("/proc/self/status").read_text().splitlines()
    [line] = [line for line in told if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


class Reader:
    """A reading process, begun anew when it ends or hangs, and the folder it reads from."""

    def __init__(
        self,
        folder: Path,
        read: Callable[[str], str] = looked_at,
        hang: float = HANG,
        memory: float = MOST_MEMORY,
    ) -> None:
        self._read, self._hang, self._memory = read, hang, memory
        self._job, self._place = folder / "job", folder / "place"
        self._place.mkdir(parents=True)
        self._begin()

    def _begin(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        told = (theirs, str(self._place), self._read)
        self._process = context.Process(target=read_each, args=told, daemon=True)
        self._process.start()
        theirs.close()
        self._pipe.recv()

    def outcome(self, files: dict[str, bytes]) -> Outcome:
        """Write the files, have them read, remove them."""
        try:
            self._pipe.send(str(written(self._job, files)))
            if self._pipe.poll(self._hang):
                found = Outcome(*self._pipe.recv())
                if found.memory > self._memory:
                    found = replace(found, kind="memory", text=f"{found.memory / 1e9:.2f} GB; {found.text}")
            else:
                found = Outcome("hang", f"more than {self._hang:g} s", self._hang)
        except (EOFError, OSError):
            self._process.join()
            found = Outcome("signal", f"exit code {self._process.exitcode}")
        if found.kind in ("signal", "hang", "memory"):
            self.end()
            self._begin()
        left = sorted(path.name for path in self._job.iterdir() if path.name not in files)
        shutil.rmtree(self._job)
        for path in self._place.iterdir():
            left.append(path.name)
            path.unlink()
        return replace(found, kind="written", text=", ".join(left)) if left else found

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()
        self._pipe.close()


def written(folder: Path, files: dict[str, bytes]) -> Path:
    """Files of a scan on the disk; the one, or the folder."""
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder / next(iter(files)) if len(files) == 1 else folder


def cases(given: argparse.Namespace, whole: Iterable[str]) -> list[tuple[str, str]]:
    """Key and name of what is to be read: files as they are, then mutations."""
    if given.only is not None:
        return [(f"{given.seed}/{given.only}", "")]
    return [("", name) for name in whole] + [(f"{given.seed}/{n}", "") for n in range(given.mutations)]


def run(
    given: argparse.Namespace, folder: Path, ours: list[Sample], others: list[Sample]
) -> list[tuple[str, Outcome]]:
    """What came of each case: its key, what was done, and the outcome."""
    whole = {sample.name: sample.packed(sample.files) for sample in [*ours, *others]}
    todo = iter(cases(given, whole))
    lock, found = Lock(), []

    def work(number: int) -> None:
        reader = Reader(folder / str(number))
        while True:
            with lock:
                key, name = next(todo, ("", ""))
            if not key and not name:
                break
            done, files = (name, whole[name]) if name else mutation(ours, others, key)
            if given.keep:
                written(given.keep, files)
            outcome = reader.outcome(files)
            found.append((f"{key} {done}".strip(), outcome))
        reader.end()

    with ThreadPoolExecutor(given.processes) as pool:
        list(pool.map(work, range(given.processes)))
    return found


def main() -> None:
    """Read, count, tell what must not be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--mutations", type=int, default=10_000)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", type=int, help="the mutation of this number")
    parser.add_argument("--keep", type=Path, help="a folder to be made; with --only: its files")
    given = parser.parse_args()
    ours, others = made(), public()
    with tempfile.TemporaryDirectory() as folder:
        found = run(given, Path(folder), ours, others)
    kinds = Counter(outcome.kind for _, outcome in found)
    print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|")
    names = {sample.name for sample in ours}
    unread = [name for name, outcome in found if name in names and outcome.kind != "read"]
    mutated = len(found) if given.only is not None else given.mutations
    counted = [kinds[kind] for kind in ("read", "refused", *BAD)]
    slowest, memory = (max(getattr(o, what) for _, o in found) for what in ("seconds", "memory"))
    row = [mutated, len(found) - mutated, *counted, f"{slowest:.2f}", f"{memory / 1e6:.0f}"]
    print(f"| {' | '.join(map(str, row))} |")
    for name, outcome in found:
        if outcome.kind in BAD or name in unread or given.only is not None:
            print(f"\n{name}\n{outcome.kind}: {outcome.text}")
    if unread or any(kinds[kind] for kind in BAD):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
