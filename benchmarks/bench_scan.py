"""Seconds and memory of the whole command for one scan, from start to files on disk.

    python benchmarks/bench_scan.py                       a phantom of 150 slices of 512 x 512
    python benchmarks/bench_scan.py SCAN [-- OPTIONS]     your own scan, with options of `covid19net analyze`

Each run is a new process. Printed: wall seconds and peak memory of each run, their median, the seconds of
each stage as the result records them, and the machine.
"""

import argparse
import json
import os
from pathlib import Path
import platform
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np


def phantom_scan(folder: Path, slices: int, matrix: int) -> Path:
    """A phantom patient as a DICOM folder."""
    from covid19net.io import write_dicom_series
    from covid19net.phantom import Scanner, draw_patient, scan_patient

    rng = np.random.default_rng(0)
    patient = draw_patient(rng, disease="covid")
    spacing = 300 / slices
    case = scan_patient(patient, Scanner(spacing=spacing, thickness=spacing, matrix=matrix), rng)
    write_dicom_series(case.volume, folder / "dicom")
    return folder / "dicom"


def one_run(scan: Path, out: Path, options: list[str]) -> tuple[float, float]:
    """Wall seconds and peak memory in MB of one process."""
    command = [sys.executable, "-m", "covid19net.cli", "analyze", str(scan), "-o", str(out), *options]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise SystemExit(process.stderr.read().decode() if process.stderr else "failed")
    return seconds, usage.ru_maxrss / 1024


def matrix_rate(size: int = 2048) -> float:
    """GFLOP/s of a float32 matrix product: the machine's limit for the networks."""
    a = np.random.default_rng(0).normal(size=(size, size)).astype(np.float32)
    best = min(_timed(a) for _ in range(5))
    return 2 * size**3 / best / 1e9


def _timed(a: np.ndarray) -> float:
    start = time.perf_counter()
    a @ a
    return time.perf_counter() - start


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("scan", nargs="?", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--slices", type=int, default=150)
    parser.add_argument("--matrix", type=int, default=512)
    parser.add_argument("options", nargs="*", help="after --: options of covid19net analyze")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scan = given.scan or phantom_scan(Path(folder), given.slices, given.matrix)
        out = Path(folder) / "out"
        one_run(scan, out, given.options)  # warm the disk cache
        runs = [one_run(scan, out, given.options) for _ in range(given.runs)]
        record = json.loads((out / "result.json").read_text())
    rate = matrix_rate()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {rate:.0f} GFLOP/s float32")
    print(f"scan {record['geometry']['shape_zyx']}")
    for seconds, memory in runs:
        print(f"  {seconds:6.2f} s  {memory:6.0f} MB")
    seconds, memory = (statistics.median(column) for column in zip(*runs, strict=True))
    print(f"median {seconds:.2f} s, peak {memory:.0f} MB")
    for stage, value in record["seconds"].items():
        print(f"  {stage:<12}{value:7.2f} s")


if __name__ == "__main__":
    main()
