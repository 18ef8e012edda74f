"""Measure what docs/performance.md shows, and write it there, between its two marks.

    python benchmarks/performance.py                    everything, on phantoms; an hour
    python benchmarks/performance.py --scan FOLDER      stages and whole process on a scan of your own
    python benchmarks/performance.py --only stages whole

Every figure is a median over runs on this machine; `make performance` is the same command.
"""

import argparse
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
import json
import os
from pathlib import Path
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

from bench_scan import PUBLISHED, matrix_rate, network_work, one_run, phantom_scan, published_set
import numpy as np

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- begin measured -->", "<!-- end measured -->"
SLICES = (60, 150, 300, 600, 1200)
Rows = list[str]


def best(work: Callable[[], object], runs: int = 7) -> float:
    """Least seconds of several runs: the machine's limit, not what else it did."""
    found = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return min(found)


def table(head: str, rows: list[tuple[object, ...]]) -> Rows:
    """A Markdown table."""
    lines = [f"| {head} |", "|" + "---|" * (head.count("|") + 1)]
    return [*lines, *(f"| {' | '.join(map(str, row))} |" for row in rows), ""]


def machine() -> Rows:
    """Where and with what this was measured."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = [line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    libraries = ", ".join(f"{name} {version(name)}" for name in ("numpy", "openvino", "imagecodecs"))
    return [
        f"{datetime.now(UTC):%Y-%m-%d}, {names[0] if names else platform.processor()}, "
        f"{os.cpu_count()} cores, {memory:.0f} GB, Python {platform.python_version()}, {libraries}.",
        "",
    ]


def copy_rate() -> float:
    """GB/s read and written by copying memory on one core."""
    source = np.ones(64_000_000, np.int16)
    target = np.empty_like(source)
    return 2 * source.nbytes / best(lambda: np.copyto(target, source)) / 1e9


def decoding(scan: Path) -> float:
    """Seconds the decoder alone needs for the slices of a folder, one core."""
    from covid19net.io.dicom import survey
    from covid19net.io.pixels import stored_pixels
    from covid19net.io.read import open_path

    with open_path(scan) as found:
        slices = survey(found).slices
        return best(lambda: [stored_pixels(each) for each in slices], 3)


def whole(scan: Path, runs: int) -> Rows:
    """The whole command: a new process with and without the disk cache, and a second scan in it."""
    rows: list[tuple[object, ...]] = []
    with tempfile.TemporaryDirectory() as folder:
        wide = ["--weights", str(published_set(Path(folder) / "widened"))]
        cases = {
            "bundled": [],
            "bundled, `--evidence basic`": ["--evidence", "basic"],
            "bundled, every slice": ["--every-slice"],
            f"published size ({PUBLISHED['pyramid']}/{PUBLISHED['segmentation']})": wide,
            "published size, every slice": [*wide, "--every-slice"],
        }
        for name, options in cases.items():
            one_run([scan], Path(folder) / "warm", options)
            found = [one_run([scan], Path(folder) / "one", options) for _ in range(runs)]
            twice = [
                one_run([scan, scan], Path(folder) / "two", options)[0] for _ in range(max(runs // 2, 1))
            ]
            seconds, memory = (statistics.median(column) for column in zip(*found, strict=True))
            cold = statistics.median(_cold(scan, Path(folder) / "cold", options) for _ in range(3))
            more = statistics.median(twice) - seconds
            rows.append((name, f"{cold:.1f}", f"{seconds:.1f}", f"{more:.1f}", f"{memory / 1024:.2f} GiB"))
    return table(
        "lung network | nothing in the disk cache, s | new process, s | a second scan adds, s | peak", rows
    )


def _cold(scan: Path, out: Path, options: list[str]) -> float:
    """A run after the disk cache has been emptied, which takes root; otherwise not a number."""
    try:
        os.sync()
        Path("/proc/sys/vm/drop_caches").write_text("3")
    except OSError:
        return float("nan")
    return one_run([scan], out, options)[0]


def stages(scan: Path, runs: int) -> Rows:
    """Each stage of one scan, beside what the machine could do."""
    records: list[dict[str, Any]] = []
    walls = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(runs):
            walls.append(one_run([scan], Path(folder), [])[0])
            records.append(json.loads((Path(folder) / "result.json").read_text()))
    seconds = {k: statistics.median(r["seconds"][k] for r in records) for k in records[0]["seconds"]}
    rate, copy, cores = matrix_rate(), copy_rate(), os.cpu_count() or 1
    work = network_work(records[0], "bundled")
    z, y, x = records[0]["geometry"]["shape_zyx"]
    ct = z * y * x * 2
    limits = {
        "reading": ("decoding alone, all cores", decoding(scan) / cores),
        "check": ("reading the scan from memory once", ct / 2 / copy / 1e9),
        "lungs": ("the network's products in float32", work["lungs"] / rate),
        "lung-image": (
            "reading the scan twice, writing the image",
            (2 * ct + 48 * 240 * 360 * 4) / 2 / copy / 1e9,
        ),
        "diagnosis": ("the network's products in float32", work["diagnosis"] / rate),
        "maps": ("reading the scan and both maps, writing both", 3 * ct / 2 / copy / 1e9),
        "stability": ("the products of two runs in float32", 2 * work["diagnosis"] / rate),
    }
    rows = [
        (stage, f"{value:.2f}", what, f"{least:.2f}", f"{value / least:.1f}")
        for stage, value in seconds.items()
        for what, least in [limits.get(stage, ("", value))]
    ]
    rest = statistics.median(walls) - sum(seconds.values())
    rows.append(("starting, loading, writing", f"{rest:.2f}", "", "", ""))
    told = (
        f"{z} x {y} x {x}; {rate:.0f} GFLOP/s in matrix products (float32, 2048 x 2048), {copy:.1f} GB/s of "
        "memory copied on one core."
    )
    if seconds["lungs"] < limits["lungs"][1]:
        told += (
            " A ratio below 1: the lung network computes in bfloat16, for which the processor has units of "
            "its own."
        )
    return [told, "", *table("stage | s | limit | s at the limit | ratio", rows)]


def memory(runs: int) -> Rows:
    """Peak memory and seconds against the number of slices."""
    rows = []
    for slices in SLICES:
        with tempfile.TemporaryDirectory() as folder:
            scan = phantom_scan(Path(folder), slices, 512)
            found = [one_run([scan], Path(folder) / "out", []) for _ in range(runs)]
        seconds, peak = (statistics.median(column) for column in zip(*found, strict=True))
        rows.append((slices, f"{seconds:.1f}", f"{peak / 1024:.2f} GiB"))
    return table("slices of 512 x 512, uncompressed | s | peak", rows)


def batches() -> Rows:
    """Seconds of a batch against the number of scans, with one and two workers."""
    with tempfile.TemporaryDirectory() as folder:
        script = str(Path(__file__).parent / "bench_batch.py")
        sizes = ["1", "10", "100", "1000"]
        options = ["--light", "--sizes", *sizes, "--workers", "1", "2"]
        command = [sys.executable, script, "curve", folder, *options]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("|")]
    return [
        "Phantoms of 20 slices of 64 x 64, a diagnosis network that sees shrunken images.",
        "",
        *lines,
        "",
    ]


def main() -> None:
    """Measure and rewrite the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--scan", type=Path, help="a DICOM folder; default: a phantom of 150 slices")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=["whole", "stages", "memory", "batches"])
    parser.add_argument("--page", type=Path, default=PAGE)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scan = given.scan or phantom_scan(Path(folder), 150, 512)
        parts: dict[str, tuple[str, Callable[[], Rows]]] = {
            "whole": ("The whole command", lambda: whole(scan, given.runs)),
            "stages": ("Stage by stage", lambda: stages(scan, given.runs)),
            "memory": ("Memory against slices", lambda: memory(1)),
            "batches": ("Batches of small phantoms", batches),
        }
        lines = [BEGIN, "", *machine()]
        what = "of one's own (`--scan`)" if given.scan else "a phantom of 150 x 512 x 512"
        lines.append(f"The scan: {what}; the memory table: phantoms.")
        for name, (title, measure) in parts.items():
            if not given.only or name in given.only:
                lines += ["", f"### {title}", "", *measure()]
    text = given.page.read_text()
    start, stop = text.index(BEGIN), text.index(END)
    given.page.write_text(text[:start] + "\n".join(lines).rstrip() + "\n\n" + text[stop:])


if __name__ == "__main__":
    main()
