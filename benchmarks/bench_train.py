"""Training speed of COVID-19Net: samples a second, with reading and variation, and of the bare step.

    python benchmarks/bench_train.py [--device cuda] [--recipe full] [--steps 30] [--workers 8]

Images are random numbers on disk, as many as fit a small cohort; everything else is the real path.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
import torch
from torch.nn import functional

from covid19net.cohort import Patient
from covid19net.preprocess import IMAGE_SHAPE
from covid19net.train.checkpoint import begin
from covid19net.train.classify import Logit, start_network, supply
from covid19net.train.fit import Schedule, Site, advance, fit
from covid19net.train.images import Sample
from covid19net.train.recipes import find_recipe
from covid19net.train.supply import batches
from covid19net.train.together import local_device

PATIENTS = 24
WARM = 3  # steps before the clock starts


def samples_in(folder: Path) -> list[Sample]:
    """Random lung images on disk."""
    rng, found = np.random.default_rng(0), []
    for k in range(PATIENTS):
        np.save(folder / f"{k}.npy", rng.standard_normal(IMAGE_SHAPE, np.float32).astype(np.float16))
        found.append(Sample(folder / f"{k}.npy", k % 2 == 0, Patient(f"p{k}", k + 2)))
    return found


def whole(samples: list[Sample], shrink: tuple[int, int, int], schedule: Schedule, site: Site) -> float:
    """Samples a second of the loop, from disk to step."""
    times: list[float] = []
    clock = replace(site, progress=lambda *_: times.append(perf_counter()))
    loss = functional.binary_cross_entropy_with_logits
    fit(Logit(start_network(None, 0)), supply(samples, shrink), loss, schedule, site=clock)
    return schedule.batch * (len(times) - WARM) / (times[-1] - times[WARM - 1])


def bare(samples: list[Sample], shrink: tuple[int, int, int], schedule: Schedule, site: Site) -> float:
    """Samples a second of the step alone, on one batch that is there already."""
    device = torch.device(site.device)
    batch = next(batches(supply(samples, shrink), schedule, 0, device, site.workers))
    run = begin(Logit(start_network(None, 0)), schedule, device)
    for step in range(schedule.steps):
        if step == WARM:
            start = perf_counter()
        advance(run, batch, functional.binary_cross_entropy_with_logits, schedule)
    return schedule.batch * (schedule.steps - WARM) / (perf_counter() - start)


def main() -> None:
    """Measure and print."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--recipe", default="cpu")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    site = Site(device=local_device(options.device), workers=options.workers)
    print("| image | batch | samples/s, everything | samples/s, bare step |")
    print("|---|---|---|---|")
    with TemporaryDirectory() as folder:
        samples = samples_in(Path(folder))
        for stage in find_recipe(options.recipe):
            schedule = replace(stage.schedule, steps=options.steps)
            size = " x ".join(str(n // by) for n, by in zip(IMAGE_SHAPE, stage.shrink, strict=True))
            speeds = (f(samples, stage.shrink, schedule, site) for f in (whole, bare))
            print(f"| {size} | {schedule.batch} | {' | '.join(f'{speed:.2f}' for speed in speeds)} |")


if __name__ == "__main__":
    main()
