"""How fast the networks run: seconds, and the share of the machine's own speed in f32 matrix products.

    python benchmarks/bench_engine.py
    python benchmarks/bench_engine.py --widths 256,128 64,64 --slices 16 --repeats 5

The share does not depend on the machine as seconds do. All cases are measured in turns, so that a machine
that is busy for a while slows all of them; the least time of each is shown. Weights are random: speed does
not depend on them.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from covid19net import engine
from covid19net.nets.covid19net import COVID19Net
from covid19net.nets.densenet_fpn import DenseNetFPN
from covid19net.nets.gradient import HeadWithGradient
from covid19net.weights import WeightFile, read_card, tensors_of, write_weights

MATRIX = 2048  # rows and columns of the matrix product that measures the machine
CARD = {"name": "bench", "licence": "Apache-2.0", "origin": "random numbers", "training_data": "none"}


def flops(module: torch.nn.Module, *shape: int) -> int:
    """Floating-point operations of one pass, a multiplication and an addition counted as two."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module.to("meta")(torch.empty(shape, device="meta"))
    return int(counter.get_total_flops())


def write(folder: Path, network: torch.nn.Module, **options: int) -> WeightFile:
    """Write a network as a weight file in a folder of its own."""
    task = "lungs" if isinstance(network, DenseNetFPN) else "diagnosis"
    place = folder / "-".join([task, *map(str, options.values())])
    return write_weights(place, task, tensors_of(network), options=options, intended_use="timing", **CARD)


def seconds(work: Callable[[], object]) -> float:
    """Time one call."""
    start = perf_counter()
    work()
    return perf_counter() - start


def matrix_product() -> Callable[[], object]:
    """The product of two f32 matrices by NumPy, on every core."""
    left, right = np.random.default_rng(0).standard_normal((2, MATRIX, MATRIX), dtype=np.float32)
    return lambda: left @ right


def cases(
    folder: Path, widths: list[tuple[int, int]], count: int
) -> dict[str, tuple[float, Callable[[], object]]]:
    """Name -> (floating-point operations of one call, the call)."""
    rng = np.random.default_rng(0)
    slices = rng.standard_normal((count, 3, 256, 256), dtype=np.float32)
    image = rng.standard_normal((48, 240, 360), dtype=np.float32)
    found: dict[str, tuple[float, Callable[[], object]]] = {
        "matrix product": (2.0 * MATRIX**3, matrix_product())
    }
    for pyramid, segmentation in widths:
        network = DenseNetFPN(pyramid, segmentation)
        weights = write(folder, network, pyramid=pyramid, segmentation=segmentation)
        work = count * flops(network, 1, 3, 256, 256)
        for precision in ("bf16", "f32"):
            lungs = engine.open_lungs(weights, "cpu", precision=precision)
            told = lungs.describe()["precision"]
            found[f"slice {pyramid},{segmentation} {told}"] = (work, lambda lungs=lungs: lungs(slices))
    net = COVID19Net()
    diagnosis = engine.open_diagnosis(write(folder, net), "cpu")
    work = flops(net.backbone, 1, 1, 48, 240, 360) + flops(HeadWithGradient(net.head), 1, 152, 6, 15, 23)
    found["scan f32, with gradient"] = (work, lambda: diagnosis(image))
    return found


def opening(folder: Path) -> dict[str, float]:
    """Seconds from a converted set on disk to a network that is ready, for each network in the folder."""
    openers = {"lungs": engine.open_lungs, "diagnosis": engine.open_diagnosis}
    times = {}
    for path in sorted(folder.glob("*/*.safetensors")):
        weights = WeightFile(path, read_card(path.with_suffix(".json")))
        start = openers[path.stem]
        times[path.parent.name] = seconds(
            lambda weights=weights, start=start: start(weights, "cpu").describe()
        )
    return times


def pair(text: str) -> tuple[int, int]:
    """Read "256,128"."""
    pyramid, segmentation = map(int, text.split(","))
    return pyramid, segmentation


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--widths", type=pair, nargs="+", default=[(256, 128), (64, 64)], metavar="P,S")
    parser.add_argument("--slices", type=int, default=8, help="slices in one call")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args(arguments)
    with TemporaryDirectory() as place:
        folder = Path(place)
        calls = cases(folder, options.widths, options.slices)
        least = dict.fromkeys(calls, np.inf)
        for _ in range(options.repeats):
            for name, (_work, call) in calls.items():
                least[name] = min(least[name], seconds(call))
        ready = opening(folder)
    rate = calls["matrix product"][0] / least["matrix product"]
    print(f"{'case':28}{'seconds':>10}{'GFLOP':>10}{'GFLOP/s':>10}{'share':>8}")
    for name, (work, _call) in calls.items():
        units = options.slices if name.startswith("slice") else 1
        time, work = least[name] / units, work / units
        speed = work / time
        print(f"{name:28}{time:10.4f}{work / 1e9:10.1f}{speed / 1e9:10.1f}{speed / rate:8.2f}")
    for name, time in ready.items():
        print(f"ready from disk: {name:20}{time:8.3f} s")


if __name__ == "__main__":
    main()
