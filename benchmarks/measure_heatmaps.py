"""Do heat maps point at the planted lesions? On synthetic COVID-19 patients, against randomised weights.

    python benchmarks/measure_heatmaps.py COHORT [--weights SET] [--patients 40] [--set "validation 1"]

COHORT is a folder that `covid19net phantom cohort` wrote. For each patient with COVID-19 and visible lesions:
the share of the map's energy that lies inside lesions, divided by the lesions' share of the lung box (1 is
chance), whether its hottest place lies at a lesion (see `covid19net.explain.pointing`), and the evidence a
result has without knowing lesions: energy in lungs and in dense lung over chance. The same for the same
network with its kernels shuffled, in several ways, since a shuffled network may draw no map at all; with
`--finer` for the finer map too (needs torch, minutes).
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from scipy import stats

from covid19net.cohort import Patient, read_manifest
from covid19net.engine import DiagnosisNetwork, open_diagnosis
from covid19net.evaluate import proportion
from covid19net.explain import grad_cam, heat_in_box, map_evidence, pointing
from covid19net.explain.grad_cam import placed
from covid19net.explain.stages import finer, stages_of
from covid19net.io import read_ct
from covid19net.preprocess import lung_box, lung_image
from covid19net.train.images import on_slice_grid
from covid19net.volume import Overlay
from covid19net.weights import WeightFile, find_set, load_tensors, write_weights
from covid19net.weights.networks import network_tensors, randomised

FEWEST = 500  # voxels of lesions that count as visible


def without_learning(weights: WeightFile, folder: Path, seed: int) -> WeightFile:
    """The same network with its kernels shuffled, as a weight file."""
    words = dict.fromkeys(("name", "licence", "origin", "training_data", "intended_use"), "random")
    tensors = randomised(network_tensors(load_tensors(weights)), np.random.default_rng(seed))
    return write_weights(folder / str(seed), "diagnosis", tensors, **words)


class Found(NamedTuple):
    """Of one map: energy over chance in lesions, lungs, dense lung; peak at a lesion or not; empty or not."""

    lesions: float
    lungs: float
    dense: float
    hit: bool
    drawn: bool = True


def pointed(patient: Patient, network: DiagnosisNetwork, finer_of: WeightFile | None) -> Found | None:
    """How well one patient's map points; None without visible lesions.

    Args:
        patient: of the cohort.
        network: draws the map.
        finer_of: weights whose finer map is to be measured in its place.
    """
    scan = Path(str(patient.values["scan"]))
    volume = read_ct(scan).volume
    lesions = read_ct(scan.with_name("lesions.nii.gz")).volume.hu > 0
    lungs = read_ct(Path(str(patient.values["lungs"]))).volume
    mask = on_slice_grid(lungs.hu, volume)
    box = lung_box(mask, volume.shape)
    inside = lesions[box.slices]
    if inside.sum() < FEWEST:
        return None
    image = lung_image(volume, mask, box).values
    evidence = network(image)
    if finer_of:
        heat = finer(stages_of(finer_of, image, ("block2", "block3")), box.shape)
    else:
        heat = heat_in_box(grad_cam(evidence), box.shape, evidence.shrink)
    ratio, hit = pointing(heat, inside, evidence.shrink)
    on_ct = Overlay(lungs.hu.astype(np.uint8), volume.affine)
    where = map_evidence(placed(heat, box, volume), on_ct, volume, box)
    if where is None:
        return Found(0.0, 0.0, 0.0, hit, drawn=False)
    return Found(ratio, where.inside_lungs_over_chance, where.dense_over_chance, hit)


def over_chance(values: list[float]) -> str:
    """Mean with the t interval of 95 %."""
    energy = np.array(values)
    half = stats.t.ppf(0.975, len(energy) - 1) * energy.std(ddof=1) / len(energy) ** 0.5
    return f"{energy.mean():.2f} ({energy.mean() - half:.2f} to {energy.mean() + half:.2f})"


def report(name: str, found: list[Found]) -> None:
    """One line of the table."""
    drawn = [one for one in found if one.drawn]
    maps = f"{len(drawn)} of {len(found)}"
    if len(drawn) < 2:
        print(f"| {name} | {maps} | too few | | | |")
        return
    shares = [over_chance([getattr(one, part) for one in drawn]) for part in ("lesions", "lungs", "dense")]
    hits = proportion(sum(one.hit for one in found), len(found))
    peak = f"{hits.value:.2f} ({hits.low:.2f} to {hits.high:.2f})"
    print(f"| {name} | {maps} | {' | '.join(shares)} | {peak} |")


def main() -> None:
    """Read, compute, print."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("--weights", default="bundled")
    parser.add_argument("--patients", type=int, default=40)
    parser.add_argument("--set", default="validation 1")
    parser.add_argument("--shuffles", type=int, default=4)
    parser.add_argument("--finer", action="store_true")
    options = parser.parse_args()
    rows = read_manifest(options.cohort / "manifest.csv", needs=["scan", "lungs"])
    ill = [p for p in rows if p.values.get("label") == "covid" and p.values.get("set") == options.set]
    trained = find_set(Path(options.weights) if "/" in options.weights else options.weights, None).diagnosis
    print("| weights | maps | energy over chance in lesions | in lungs | in dense lung | peak at a lesion |")
    print("|---|---|---|---|---|---|")

    with TemporaryDirectory() as scratch:
        networks = {"trained": trained} | {
            f"randomised {seed}": without_learning(trained, Path(scratch), seed)
            for seed in range(options.shuffles)
        }
        for name, weights in networks.items():
            network = open_diagnosis(weights, "cpu")
            for suffix, finer_of in (("", None), (", finer", weights)) if options.finer else (("", None),):
                found = [pointed(patient, network, finer_of) for patient in ill[: options.patients]]
                report(name + suffix, [one for one in found if one is not None])


if __name__ == "__main__":
    main()
