"""How many scans a second one GPU analyzes, from volumes in memory, and what its networks reach.

    python benchmarks/bench_gpu.py
    python benchmarks/bench_gpu.py --scans 64 --threads 1 4 16 --slices 150

Phantoms of 512 x 512 are drawn first, by processes. Printed: seconds of each stage of one scan alone, scans a
second with several threads sharing one pair of networks, and the time of each network on the GPU beside the
time its arithmetic takes at the rate of a matrix product of the same precision.
"""

import argparse
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
import os
from statistics import median
from time import perf_counter

from bench_engine import flops
import numpy as np
import torch

from covid19net.nets.covid19net import COVID19Net
from covid19net.nets.densenet_fpn import DenseNetFPN
from covid19net.nets.gradient import HeadWithGradient
from covid19net.phantom import Scanner, draw_patient, scan_patient
from covid19net.pipeline import Models, analyze, load_models
from covid19net.segment import chosen_slices
from covid19net.volume import CTVolume, Scan

MATRIX = 8192  # rows and columns of the matrix products that measure the GPU
HEIGHT = 300.0  # mm of the body that a scan shows


def phantom(seed: int, slices: int) -> CTVolume:
    """A synthetic patient of 512 x 512."""
    rng = np.random.default_rng(seed)
    spacing = HEIGHT / slices
    scanner = Scanner(spacing=spacing, thickness=spacing, matrix=512)
    return scan_patient(draw_patient(rng, disease="covid"), scanner, rng).volume


def wait(device: str) -> None:
    """Let the GPU finish what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def least(call: Callable[[], object], device: str, repeats: int = 10) -> float:
    """Least seconds of a call, its work on the GPU included."""
    call()
    times = []
    for _ in range(repeats):
        wait(device)
        start = perf_counter()
        call()
        wait(device)
        times.append(perf_counter() - start)
    return min(times)


def matrix_rate(device: str, kind: torch.dtype) -> float:
    """FLOP/s of a matrix product; never TF32."""
    size = MATRIX if device == "cuda" else 1024
    a = torch.randn(size, size, device=device.removeprefix("torch-"), dtype=kind)
    return 2 * size**3 / least(lambda: a @ a, device)


def networks(models: Models, volume: CTVolume, device: str) -> None:
    """Print each network's time beside the ideal for its arithmetic."""
    count = len(chosen_slices(volume.shape[0], volume.spacing[0], every_slice=False))
    options = models.weights.lungs.card.options
    slices = np.random.default_rng(0).standard_normal((count, 3, 256, 256), np.float32)
    image = np.random.default_rng(0).standard_normal((48, 240, 360), np.float32)
    lungs = DenseNetFPN(options["pyramid"], options["segmentation"])
    segmentation = count * flops(lungs, 1, 3, 256, 256)
    net = COVID19Net()
    diagnosis = flops(net.backbone, 1, 1, 48, 240, 360) + flops(HeadWithGradient(net.head), 1, 152, 6, 15, 23)
    kinds = {"bf16": torch.bfloat16, "f32": torch.float32}
    print(f"{'network':<24}{'ms':>8}{'GFLOP':>9}{'ideal ms':>10}{'ratio':>8}")
    for name, call, work, kind in (
        (
            f"lungs, {count} slices",
            lambda: models.lungs(slices),
            segmentation,
            "bf16",
        ),
        ("diagnosis, gradient", lambda: models.diagnosis(image), diagnosis, "f32"),
    ):
        seconds, ideal = least(call, device), work / matrix_rate(device, kinds[kind])
        print(f"{name:<24}{seconds * 1e3:8.1f}{work / 1e9:9.0f}{ideal * 1e3:10.2f}{seconds / ideal:8.1f}")


def stages(models: Models, volumes: list[CTVolume]) -> None:
    """Print the seconds of each stage of a scan alone."""
    results = [analyze(Scan(volume), models) for volume in volumes[:6]][1:]
    for stage in results[0].seconds:
        print(f"{stage:<12}{median(r.seconds[stage] for r in results):8.3f} s")
    print(f"{'in all':<12}{median(sum(r.seconds.values()) for r in results):8.3f} s")


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--scans", type=int, default=64)
    parser.add_argument("--distinct", type=int, default=16, help="phantoms, taken in turn")
    parser.add_argument("--slices", type=int, default=150)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 4, 8, 16])
    options = parser.parse_args(arguments)
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        volumes = list(pool.map(phantom, range(options.distinct), [options.slices] * options.distinct))
    models = load_models(device=options.device)
    name = torch.cuda.get_device_name() if options.device == "cuda" else "cpu"
    print(f"{name}, {os.cpu_count()} cores, torch {torch.__version__}, scans of {volumes[0].shape}")
    networks(models, volumes[0], options.device)
    stages(models, volumes)
    scans = [Scan(volumes[i % len(volumes)]) for i in range(options.scans)]
    alone = [analyze(scan, models).probability for scan in scans[: options.distinct]]
    for threads in options.threads:
        start = perf_counter()
        with ThreadPoolExecutor(threads) as workers:
            found = list(workers.map(lambda scan: analyze(scan, models).probability, scans))
        rate = len(scans) / (perf_counter() - start)
        same = found[: len(alone)] == alone
        print(f"{threads:3} threads: {rate:6.2f} scans a second; same results as one by one: {same}")


if __name__ == "__main__":
    main()
