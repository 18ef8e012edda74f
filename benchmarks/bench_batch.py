"""A batch of many scans: what it costs, whether kills lose or repeat anything, and its scheduler at scale.

    python benchmarks/bench_batch.py run FOLDER --scans 1000 --kills 4 --ray
    python benchmarks/bench_batch.py curve FOLDER --sizes 1 10 40 --workers 1 2
    python benchmarks/bench_batch.py simulate FOLDER --rows 10000 100000 1000000

`run` draws phantoms once (40 of them, in copies whose noise differs), starts `covid19net batch`, kills it
with SIGKILL at random moments, every other time a worker first, goes on, and compares: what was finished
before a kill must not be written again, every case must be there once, and with --ray the table from a Ray
cluster of two workers must be the same to the byte. `curve` prints seconds and memory by scans and workers.
`simulate` sends rows through everything but the work: manifest, scheduler, pipes, processes, spool, table.
"""

import argparse
from collections.abc import Iterator, Mapping
from contextlib import suppress
import csv
from dataclasses import dataclass, field
import os
from pathlib import Path
import random
import resource
import shutil
import signal
import subprocess
import sys
from threading import Event, Thread
import time
from typing import Any

import numpy as np

from covid19net.batch.cases import Case, cases_of, check_manifest
from covid19net.batch.local import LocalCrew
from covid19net.batch.plan import Plan
from covid19net.batch.rows import Spool, write_csv, write_parquet
from covid19net.batch.schedule import Crew, Done, work_through
from covid19net.batch.worker import Outcome
from covid19net.features import FEATURES
from covid19net.io import write_dicom_series
from covid19net.phantom import Scanner, draw_patient, scan_patient
from covid19net.volume import CTVolume
from covid19net.weights import load_tensors
from covid19net.weights.networks import network_tensors
from covid19net.weights.registry import bundled_files

DISTINCT = 40
BAD = 3  # of the rows, whatever their number: a path to nothing, an empty folder, a text file
SMALL = Scanner(spacing=16.0, thickness=16.0, matrix=64)


def cohort(folder: Path, count: int) -> Path:
    """A manifest of so many phantom scans; drawn where they are not there yet."""
    manifest = folder / f"manifest-{count}.csv"
    if manifest.exists():
        return manifest
    rows = []
    drawn: dict[int, CTVolume] = {}
    for i in range(count):
        kind = i % DISTINCT
        place = folder / "scans" / f"{i:05d}"
        rows.append({"patient_id": f"P{i:05d}", "scan": str(place.relative_to(folder)), "age": 30 + kind})
        if place.exists():
            continue
        if kind not in drawn:
            rng = np.random.default_rng([8, kind])
            drawn[kind] = scan_patient(draw_patient(rng, disease="covid"), SMALL, rng).volume
        volume = drawn[kind]
        noise = np.random.default_rng([9, i]).integers(-3, 4, volume.shape, np.int16)
        made = place.with_name(f"{place.name}.part")
        write_dicom_series(
            CTVolume(np.maximum(volume.hu + noise, -1024).astype(np.int16), volume.affine), made
        )
        made.rename(place)
    (folder / "scans" / "empty").mkdir(exist_ok=True)
    (folder / "scans" / "notes.txt").write_text("no scan")
    for name in ("nowhere", "empty", "notes.txt")[: BAD if count > BAD else 0]:
        rows.append({"patient_id": f"BAD-{name.split('.')[0]}", "scan": f"scans/{name}", "age": 50})
    with manifest.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return manifest


def light_set(folder: Path) -> Path:
    """The bundled set, but its diagnosis network looks at shrunken images: a fiftieth of its arithmetic.

    Its scores mean nothing; everything around it is done as for any other set.
    """
    if folder.exists():
        return folder
    from bench_scan import changed_set  # torch, which no worker of `simulate` is to load

    tensors = network_tensors(load_tensors(bundled_files()["diagnosis"]))
    return changed_set(folder, "diagnosis", tensors, {"shrink": [2, 4, 4]})


@dataclass
class Watch:
    """Most memory, MB, of a process and of any of its descendants, looked at every half second."""

    pid: int
    driver: float = 0.0
    worker: float = 0.0
    together: float = 0.0
    _end: Event = field(default_factory=Event)

    def __enter__(self) -> "Watch":
        self._thread = Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._end.wait(0.5):
            workers = [resident(pid) for pid in below(self.pid)]
            self.driver = max(self.driver, resident(self.pid))
            self.worker = max(self.worker, *workers, 0.0)
            self.together = max(self.together, sum(workers))


def resident(pid: int) -> float:
    """MB in memory; 0 where the process has ended."""
    with suppress(OSError, IndexError, ValueError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize() / 1e6
    return 0.0


def below(pid: int) -> list[int]:
    """Processes that a process has started, and those they have."""
    found = []
    with suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            found += [int(child), *below(int(child))]
    return found


def command(manifest: Path, out: Path, *options: object) -> list[str]:
    """The command line of a batch."""
    words = ["batch", manifest, "-o", out, "--keep", "result", "--evidence", "basic", *options]
    return [sys.executable, "-m", "covid19net.cli", *map(str, words)]


def finished(out: Path) -> dict[str, tuple[int, int]]:
    """Case -> what tells its record from one written later."""
    records = (out / "cases").glob("*/*/batch.json")
    return {
        r.parent.name: (r.stat().st_ino, r.stat().st_mtime_ns) for r in records if r.parent.name[0] != "."
    }


def disturbed(manifest: Path, out: Path, options: list[object], kills: int) -> dict[str, tuple[int, int]]:
    """Start a batch and kill it, several times; what was finished by then."""
    chance, count, seen = random.Random(1), sum(1 for _ in cases_of(manifest)), finished(out)
    for number in range(kills):
        aim = len(finished(out)) + max(1, round(count / (kills + 1) * chance.uniform(0.5, 1.2)))
        with subprocess.Popen(command(manifest, out, *options), stdout=subprocess.DEVNULL) as process:
            while len(finished(out)) < aim and process.poll() is None:
                time.sleep(0.2)
            time.sleep(chance.uniform(0, 3))
            if number % 2 and (workers := below(process.pid)):
                os.kill(chance.choice(workers), signal.SIGKILL)  # the batch itself goes on
                time.sleep(5)
            process.kill()
        time.sleep(1)
        after = finished(out)
        print(f"killed after {len(after)} of {count} cases", flush=True)
        again = [name for name, state in seen.items() if after.get(name) != state]
        if again:
            raise SystemExit(f"written again, or lost: {', '.join(again[:5])}")
        seen = after
    return seen


def timed(words: list[str]) -> tuple[float, Watch]:
    """Run a batch to its end; seconds and memory."""
    start = time.perf_counter()
    with subprocess.Popen(words) as process, Watch(process.pid) as watch:
        process.wait()
    if process.returncode not in (0, 2):  # 2: the bad rows
        raise SystemExit(f"exit code {process.returncode}")
    return time.perf_counter() - start, watch


def run(folder: Path, scans: int, kills: int, workers: int, *, ray: bool, light: bool) -> None:
    """Kill, go on, compare."""
    chosen: list[object] = ["--weights", light_set(folder / "light")] if light else []
    manifest = cohort(folder, scans)
    names = sorted(case.name for case in cases_of(manifest))
    out, other = folder / "killed", folder / "undisturbed"
    for place in (out, other):
        shutil.rmtree(place, ignore_errors=True)
    before = disturbed(manifest, out, ["--workers", workers, *chosen], kills)
    seconds, _ = timed(command(manifest, out, "--workers", workers, *chosen))
    after = finished(out)
    lost = sorted(set(names) - after.keys())
    repeated = [name for name, state in before.items() if after[name] != state]
    left = [p for p in (out / "cases").glob("*/.*") if p.name.endswith(".old")]
    print(f"{len(names)} cases, {len(before)} before the last start, {seconds:.0f} s for the rest")
    print(f"lost {len(lost)}, repeated {len(repeated)}, left behind {len(left)}")
    seconds, watch = timed(
        command(manifest, other, "--workers", 2, *(["--ray", "local"] if ray else []), *chosen)
    )
    same = (out / "results.csv").read_bytes() == (other / "results.csv").read_bytes()
    kind = "a Ray cluster of two workers" if ray else "two workers"
    print(f"{kind}, undisturbed: {seconds:.0f} s, {3600 * len(names) / seconds:.0f} scans an hour")
    print(f"the driver took {watch.driver:.0f} MB; the same table to the byte: {same}")
    seconds, _ = timed(command(manifest, out, "--workers", workers, *chosen))
    print(f"started once more with nothing to do: {seconds:.1f} s")
    if lost or repeated or not same:
        raise SystemExit(1)


def curve(folder: Path, sizes: list[int], workers: list[int], *, light: bool) -> None:
    """Print seconds and memory by number of scans and of workers."""
    chosen: list[object] = ["--weights", light_set(folder / "light")] if light else []
    print("| scans | workers | seconds | seconds a scan | driver, MB | a worker, MB | workers together, MB |")
    print("|---|---|---|---|---|---|---|")
    for count in sizes:
        manifest = cohort(folder, count)
        for number in workers:
            out = folder / "curve"
            shutil.rmtree(out, ignore_errors=True)
            seconds, watch = timed(command(manifest, out, "--workers", number, *chosen))
            memory = f"{watch.driver:.0f} | {watch.worker:.0f} | {watch.together:.0f}"
            print(f"| {count} | {number} | {seconds:.1f} | {seconds / count:.2f} | {memory} |", flush=True)


def stub_row(case: Case) -> Mapping[str, Any]:
    """A row as large as a real one."""
    numbers = {name: round(0.1234567 + case.place % 97 / 97, 7) for name in FEATURES}
    words = {
        "patient_id": case.patient_id,
        "scan_id": "",
        "case": case.name,
        "status": "done",
        "exit_code": 0,
    }
    return (
        words
        | {"probability": 0.5, "call": "negative", "weights": "0" * 64, "scan_sha256": "0" * 64}
        | numbers
    )


class Stub:
    """Work that takes no time."""

    def __init__(self, *_: object) -> None:
        pass

    def __call__(self, case: Case) -> Outcome:
        """A row of the usual size."""
        return Outcome(stub_row(case), again=False)


class Nobody:
    """A crew in this process: what is left is the scheduler itself."""

    room, room_alone = 200, 1

    def __init__(self) -> None:
        self._waiting: list[Case] = []

    def submit(self, case: Case) -> None:
        """Keep it."""
        self._waiting.append(case)

    def collect(self) -> list[Done]:
        """All at once."""
        done = [Done(case, Outcome(stub_row(case), again=False)) for case in self._waiting]
        self._waiting.clear()
        return done


def simulate(folder: Path, counts: list[int], workers: int) -> None:
    """Print rates and memory of the driver by number of rows; each in a process of its own."""
    print("| rows | crew | checking, s | scheduling, s | rows a second | table, s | peak of the driver, MB |")
    print("|---|---|---|---|---|---|---|")
    for count in counts:
        for crew in ("nobody", "processes"):
            words = [sys.executable, __file__, "one", str(folder), str(count), crew, str(workers)]
            subprocess.run(words, check=True)


def stub_manifest(folder: Path, count: int) -> Path:
    """A manifest of rows whose scans are nowhere."""
    path = folder / f"rows-{count}.csv"
    folder.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        file.write("patient_id,scan,age,sex,comorbidity\n")
        file.writelines(f"P{i:08d},archive/{i % 1000:03d}/{i:08d},61,F,0\n" for i in range(count))
    return path


def one(folder: Path, count: int, kind: str, workers: int) -> None:
    """Send rows through everything but the work."""
    manifest = stub_manifest(folder, count)
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start = time.perf_counter()
    number = check_manifest(manifest)
    checked = time.perf_counter()
    with Spool(folder, number) as spool:
        for crew in crews(kind, workers, folder):
            begun = time.perf_counter()
            for case, outcome in work_through(cases_of(manifest), crew):
                if outcome is not None:
                    spool.add(case.place, outcome.row)
            done = time.perf_counter()
        write_csv(spool, folder / "rows.csv")
        write_parquet(spool, folder / "rows.parquet")
    end = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"| {count} | {kind} | {checked - start:.1f} | {done - begun:.1f} | {count / (done - begun):.0f} | "
        f"{end - done:.1f} | {peak:.0f} ({base:.0f} before) |",
        flush=True,
    )
    manifest.unlink()


def crews(kind: str, workers: int, folder: Path) -> Iterator[Crew]:
    """One crew, open while it is used."""
    if kind == "nobody":
        yield Nobody()
        return
    with LocalCrew(Plan(out=folder, together=16), "", workers, Stub) as processes:
        yield processes


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = parser.add_subparsers(dest="part", required=True)
    parsers = {name: parts.add_parser(name) for name in ("run", "curve", "simulate", "one")}
    for part in parsers.values():
        part.add_argument("folder", type=Path)
    parsers["run"].add_argument("--scans", type=int, default=1000)
    parsers["run"].add_argument("--kills", type=int, default=4)
    parsers["run"].add_argument("--workers", type=int, default=2)
    parsers["run"].add_argument("--ray", action="store_true")
    for name in ("run", "curve"):
        parsers[name].add_argument("--light", action="store_true", help="a lighter diagnosis network")
    parsers["curve"].add_argument("--sizes", type=int, nargs="+", default=[1, 10, 40])
    parsers["curve"].add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parsers["simulate"].add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parsers["simulate"].add_argument("--workers", type=int, default=2)
    parsers["one"].add_argument("count", type=int)
    parsers["one"].add_argument("kind")
    parsers["one"].add_argument("workers", type=int)
    given = parser.parse_args()
    folder = given.folder.absolute()
    if given.part == "run":
        run(folder, given.scans, given.kills, given.workers, ray=given.ray, light=given.light)
    elif given.part == "curve":
        curve(folder, given.sizes, given.workers, light=given.light)
    elif given.part == "simulate":
        simulate(folder, given.rows, given.workers)
    else:
        one(folder, given.count, given.kind, given.workers)


if __name__ == "__main__":
    main()
