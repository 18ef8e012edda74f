"""Seconds and memory of the whole command for one scan, from start to files on disk.

    python benchmarks/bench_scan.py                       a phantom of 150 slices of 512 x 512
    python benchmarks/bench_scan.py SCAN                  your own scan
    python benchmarks/bench_scan.py SCAN --published-decoder -- --every-slice

Each run is a new process. Printed: wall seconds and peak memory of each run and their median, the seconds a
second scan adds to the same process, and for each stage its seconds, the matrix products the machine does in
that time, and the share of its matrix-product rate the networks reach.
"""

import argparse
from collections.abc import Mapping
import json
import os
from pathlib import Path
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from bench_engine import flops
import numpy as np

from covid19net.nets.covid19net import COVID19Net
from covid19net.nets.densenet_fpn import DenseNetFPN
from covid19net.nets.gradient import HeadWithGradient
from covid19net.segment import chosen_slices
from covid19net.weights import find_set, load_tensors, tensors_of, write_weights
from covid19net.weights.registry import bundled_files

PUBLISHED = {"pyramid": 256, "segmentation": 128}


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


def widened(narrow: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Tensors of the published widths that compute what the narrow network computes: the rest is zeros.

    The merge takes its channels from four branches in turn, so its blocks are spread out.
    """
    wide = {}
    for name, like in tensors_of(DenseNetFPN(**PUBLISHED)).items():
        tensor = narrow[name]
        out = np.ones(like.shape, np.float32) if "running_var" in name else np.zeros(like.shape, np.float32)
        branches = 4 if name == "merge.conv.weight" else 1
        parts = np.split(tensor, branches, 1) if branches > 1 else [tensor]
        for i, part in enumerate(parts):
            start = i * like.shape[1] // branches if branches > 1 else 0
            place = [slice(0, n) for n in part.shape]
            if part.ndim > 1:
                place[1] = slice(start, start + part.shape[1])
            out[tuple(place)] = part
        wide[name] = out
    return wide


def changed_set(
    folder: Path, task: str, tensors: dict[str, np.ndarray], options: Mapping[str, object]
) -> Path:
    """The bundled set with another network for one of its tasks, converted; whole, or not there."""
    from covid19net.engine import convert

    made = folder.with_name(f"{folder.name}.part")
    made.mkdir()
    for other, file in bundled_files().items():
        for path in file.path.parent.glob(f"{other}*") if other != task else ():
            shutil.copy(path, made)
    card = {"name": folder.name, "licence": "see the bundled set", "origin": "the bundled set, changed"}
    convert(
        write_weights(
            made,
            task,
            tensors,
            **card,
            training_data="as the bundled set",
            intended_use="timing",
            options=options,
        )
    )
    return made.rename(folder)


def published_set(folder: Path) -> Path:
    """The bundled set with a lung network of the published size and the same answers."""
    tensors = widened(load_tensors(bundled_files()["lungs"]))
    return changed_set(folder, "lungs", tensors, {**PUBLISHED, "clean_up": True})


def one_run(scans: list[Path], out: Path, options: list[str]) -> tuple[float, float]:
    """Wall seconds and peak memory in MB of one process."""
    command = [sys.executable, "-m", "covid19net.cli", "analyze", *map(str, scans), "-o", str(out), *options]
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        told = process.stderr.read().decode() if process.stderr else ""
    if status:
        raise SystemExit(told or "failed")
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


def network_work(record: dict[str, object], weights: str) -> dict[str, float]:
    """GFLOP the networks do for a scan, by stage; a multiplication and an addition count as two."""
    geometry, options = record["geometry"], record["provenance"]["options"]  # type: ignore[index,call-overload]
    slices = chosen_slices(
        geometry["shape_zyx"][0], geometry["spacing_mm_zyx"][0], every_slice=options["every_slice"]
    )
    widths = find_set(weights, None).lungs.card.options
    lungs = DenseNetFPN(widths["pyramid"], widths["segmentation"])
    net = COVID19Net()
    diagnosis = flops(net.backbone, 1, 1, 48, 240, 360) + flops(HeadWithGradient(net.head), 1, 152, 6, 15, 23)
    return {"lungs": len(slices) * flops(lungs, 1, 3, 256, 256) / 1e9, "diagnosis": diagnosis / 1e9}


def tell(record: dict[str, object], rate: float, work: dict[str, float]) -> None:
    """Print the stages of the last run."""
    stages = {stage: float(value) for stage, value in record["seconds"].items()}  # type: ignore[attr-defined]
    print("stage         seconds   matrix products   network      share of the rate")
    for stage, value in stages.items():
        does = f"{work[stage]:8.0f} GFLOP {work[stage] / value / rate:8.2f}" if stage in work else ""
        print(f"{stage:<12}{value:9.2f}{value * rate:12.0f} GFLOP{does}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("scan", nargs="?", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--slices", type=int, default=150)
    parser.add_argument("--matrix", type=int, default=512)
    parser.add_argument("--published-decoder", action="store_true", help="lung network of the published size")
    ours = sys.argv[1:]
    cut = ours.index("--") if "--" in ours else len(ours)
    given, options = parser.parse_args(ours[:cut]), ours[cut + 1 :]  # the rest is for covid19net analyze
    with tempfile.TemporaryDirectory() as folder:
        scan = given.scan or phantom_scan(Path(folder), given.slices, given.matrix)
        out, weights = Path(folder) / "out", "bundled"
        if given.published_decoder:
            weights = str(published_set(Path(folder) / "widened"))
            options += ["--weights", weights]
        one_run([scan], out, options)  # warm the disk cache
        runs = [one_run([scan], out, options) for _ in range(given.runs)]
        twice, _ = one_run([scan, scan], Path(folder) / "twice", options)
        record = json.loads((out / "result.json").read_text())
        work = network_work(record, weights)
    rate = matrix_rate()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {rate:.0f} GFLOP/s float32")
    print(f"scan {record['geometry']['shape_zyx']}")
    for seconds, memory in runs:
        print(f"  {seconds:6.2f} s  {memory:6.0f} MB")
    seconds, memory = (statistics.median(column) for column in zip(*runs, strict=True))
    print(
        f"median {seconds:.2f} s, peak {memory:.0f} MB; a second scan in the process {twice - seconds:.2f} s"
    )
    tell(record, rate, work)


if __name__ == "__main__":
    main()
