"""How many scans a second one GPU analyzes, from volumes in memory, and what its networks reach.

    python benchmarks/bench_gpu.py
    python benchmarks/bench_gpu.py --scans 64 --threads 1 4 16 --slices 150

Phantoms of 512 x 512 are drawn first, by processes. Printed: the time of each network on the GPU beside the
time its arithmetic takes at the rate of a matrix product of the same precision, the diagnosis network also
in another layout; seconds of each stage of one scan alone; and scans a second with several
threads sharing one pair of networks, so that one scan's work on the CPU overlaps another's on the GPU.
"""

import argparse
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
import os
from statistics import median
from time import perf_counter

from bench_engine import flops
import numpy as np
import torch

from covid19net.engine import DiagnosisNetwork, LungNetwork
from covid19net.engine.converted import shrink_of, torch_parts
from covid19net.engine.runners import TorchRunner
from covid19net.models import Models, load_models
from covid19net.nets.covid19net import COVID19Net
from covid19net.nets.densenet_fpn import DenseNetFPN
from covid19net.nets.gradient import HeadWithGradient
from covid19net.phantom import Scanner, draw_patient, scan_patient
from covid19net.pipeline import analyze
from covid19net.segment import chosen_slices
from covid19net.stream import overlapped
from covid19net.volume import CTVolume, Scan

MATRIX = 8192  # rows and columns of the matrix products that measure the GPU
HEIGHT = 300.0  # mm of the body that a scan shows

say = partial(print, flush=True)


def phantom(seed: int, slices: int) -> CTVolume:
    """A synthetic patient of 512 x 512."""
    rng = np.random.default_rng(seed)
    spacing = HEIGHT / slices
    scanner = Scanner(spacing=spacing, thickness=spacing, matrix=512)
    return scan_patient(draw_patient(rng, disease="covid"), scanner, rng).volume


def least(call: Callable[[], object], device: str, repeats: int = 10) -> float:
    """Least seconds of a call: on the GPU by its own clock, between two events."""
    call()
    times = []
    for _ in range(repeats):
        if device == "cuda":
            start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            torch.cuda.synchronize()
            start.record()
            call()
            stop.record()
            torch.cuda.synchronize()
            times.append(start.elapsed_time(stop) / 1000)
        else:
            begin = perf_counter()
            call()
            times.append(perf_counter() - begin)
    return min(times)


def matrix_rate(device: str, kind: torch.dtype) -> float:
    """FLOP/s of a matrix product; never TF32."""
    size = MATRIX if device == "cuda" else 1024
    a = torch.randn(size, size, device=device.removeprefix("torch-"), dtype=kind)
    return 2 * size**3 / least(lambda: a @ a, device)


LAYOUTS = {"channels first": False, "channels last": True}


def lung_network(models: Models, device: str, channels_last: bool) -> LungNetwork:
    """The lung network, in that layout."""
    module = torch_parts(models.weights.lungs)["network"]
    return LungNetwork(TorchRunner(module, device, precision="bf16", batch=96, channels_last=channels_last))


def diagnosis_network(models: Models, device: str, channels_last: bool) -> DiagnosisNetwork:
    """The diagnosis network, in that layout."""
    weights = models.weights.diagnosis
    parts = torch_parts(weights)
    runners = (
        TorchRunner(parts[name], device, precision="f32", channels_last=channels_last)
        for name in ("backbone", "head")
    )
    return DiagnosisNetwork(*runners, shrink_of(weights))


def networks(models: Models, volume: CTVolume, device: str) -> None:
    """Print each network's time beside the ideal for its arithmetic."""
    count = len(chosen_slices(volume.shape[0], volume.spacing[0], every_slice=False))
    options = models.weights.lungs.card.options
    place = torch.device(device.removeprefix("torch-"))
    slices, image = (torch.randn(shape, device=place) for shape in ((count, 3, 256, 256), (48, 240, 360)))
    lungs = DenseNetFPN(options["pyramid"], options["segmentation"])
    segmentation = count * flops(lungs, 1, 3, 256, 256)
    net = COVID19Net()
    backbone, head = (
        flops(net.backbone, 1, 1, 48, 240, 360),
        flops(HeadWithGradient(net.head), 1, 152, 6, 15, 23),
    )
    say(f"{'network':<52}{'ms':>8}{'GFLOP':>9}{'ideal ms':>10}{'ratio':>8}")

    def row(name: str, call: Callable[[], object], work: int, rate: float) -> None:
        try:
            seconds, ideal = least(call, device), work / rate
        except Exception as error:  # what this GPU cannot do must not hide the others
            say(f"{name:<52} failed: {str(error)[:300]}")
            return
        say(f"{name:<52}{seconds * 1e3:8.2f}{work / 1e9:9.0f}{ideal * 1e3:10.2f}{seconds / ideal:8.1f}")

    rate = matrix_rate(device, torch.float32)
    half = matrix_rate(device, torch.bfloat16)
    for name, last in LAYOUTS.items() if device == "cuda" else []:
        network = lung_network(models, device, last)
        row(f"lungs, {count} slices, bf16, {name}", partial(network.on_device, slices), segmentation, half)
    for name, last in LAYOUTS.items() if device == "cuda" else []:
        network = diagnosis_network(models, device, last)
        logits: list[float] = []

        def score(network: DiagnosisNetwork = network, logits: list[float] = logits) -> None:
            logits.append(network.on_device(image).logit)

        row(f"diagnosis, f32, {name}", score, backbone + head, rate)
        say(f"  logits {sorted(set(logits))}")
    row(f"lungs, {count} slices, bf16, as used", lambda: models.lungs.on_device(slices), segmentation, half)
    row("diagnosis, f32, as used", lambda: models.diagnosis.on_device(image), backbone + head, rate)
    say(f"  logit {models.diagnosis.on_device(image).logit:.7f}")


def stages(models: Models, volumes: list[CTVolume], full: bool) -> None:
    """Print the seconds of each stage of a scan alone."""
    results = [analyze(Scan(volume), models, full_evidence=full) for volume in (volumes * 6)[:6]][1:]
    for stage in results[0].seconds:
        say(f"{stage:<12}{median(r.seconds[stage] for r in results):8.3f} s")
    say(f"{'in all':<12}{median(sum(r.seconds.values()) for r in results):8.3f} s")


def rates(models: Models, scans: list[Scan], alone: list[float], numbers: list[int], full: bool) -> None:
    """Print scans a second by the number of threads."""

    def score(scan: Scan) -> float:
        return analyze(scan, models, full_evidence=full).probability

    for threads in numbers:
        part = scans if threads > 2 else scans[: max(len(scans) // 4, 1)]
        list(overlapped(score, part[:threads], threads))  # memory of each thread, once
        start = perf_counter()
        found = list(overlapped(score, part, threads))
        rate = len(part) / (perf_counter() - start)
        expected = [alone[i % len(alone)] for i in range(len(part))]
        say(f"{threads:3} threads: {rate:6.2f} scans a second; same as one by one: {found == expected}")


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--scans", type=int, default=48, help="with four threads or more; else a quarter")
    parser.add_argument("--distinct", type=int, default=16, help="phantoms, taken in turn")
    parser.add_argument("--slices", type=int, default=150)
    parser.add_argument("--full-evidence", action="store_true", help="with the stability of the map")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    options = parser.parse_args(arguments)
    begin = perf_counter()
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        volumes = list(pool.map(phantom, range(options.distinct), [options.slices] * options.distinct))
    say(f"drawn in {perf_counter() - begin:.0f} s")
    models = load_models(device=options.device)
    name = torch.cuda.get_device_name() if options.device == "cuda" else "cpu"
    say(f"{name}, {os.cpu_count()} cores, torch {torch.__version__}, scans of {volumes[0].shape}")
    networks(models, volumes[0], options.device)
    stages(models, volumes, options.full_evidence)
    scans = [Scan(volumes[i % len(volumes)]) for i in range(options.scans)]
    alone = [analyze(scan, models, full_evidence=False).probability for scan in scans[: options.distinct]]

    rates(models, scans, alone, options.threads, options.full_evidence)
    if options.device == "cuda":
        say(f"most memory of the GPU: {torch.cuda.max_memory_reserved() / 1e9:.1f} GB")


if __name__ == "__main__":
    main()
