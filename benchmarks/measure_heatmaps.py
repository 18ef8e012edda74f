"""Do heat maps point at the planted lesions? On synthetic COVID-19 patients, against randomised weights.

    python benchmarks/measure_heatmaps.py COHORT [--weights SET] [--patients 40] [--set "validation 1"]

COHORT is a folder that `covid19net phantom cohort` wrote. For each patient with COVID-19 and visible lesions:
the share of the map's energy that lies inside lesions, divided by the lesions' share of the lung box (1 is
chance), and whether its hottest place lies at a lesion (see `covid19net.explain.pointing`). The same for the
same network with its kernels shuffled.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from scipy import stats

from covid19net.cohort import Patient, read_manifest
from covid19net.engine import DiagnosisNetwork, open_diagnosis
from covid19net.evaluate import proportion
from covid19net.explain import grad_cam, heat_in_box, pointing
from covid19net.io import read_ct
from covid19net.preprocess import lung_box, lung_image
from covid19net.train.images import on_slice_grid
from covid19net.weights import WeightFile, find_set, load_tensors, write_weights
from covid19net.weights.networks import network_tensors, randomised

FEWEST = 500  # voxels of lesions that count as visible


def without_learning(weights: WeightFile, folder: Path) -> WeightFile:
    """The same network with its kernels shuffled, as a weight file."""
    words = dict.fromkeys(("name", "licence", "origin", "training_data", "intended_use"), "random")
    tensors = randomised(network_tensors(load_tensors(weights)), np.random.default_rng(0))
    return write_weights(folder, "diagnosis", tensors, **words)


def pointed(network: DiagnosisNetwork, patient: Patient) -> tuple[float, bool] | None:
    """Energy in lesions over chance, and whether the peak lies in one; None without visible lesions."""
    scan = Path(str(patient.values["scan"]))
    volume = read_ct(scan).volume
    lesions = read_ct(scan.with_name("lesions.nii.gz")).volume.hu > 0
    mask = on_slice_grid(read_ct(Path(str(patient.values["lungs"]))).volume.hu, volume)
    box = lung_box(mask, volume.shape)
    inside = lesions[box.slices]
    evidence = network(lung_image(volume, mask, box).values)
    heat = heat_in_box(grad_cam(evidence), box.shape, evidence.shrink)
    return pointing(heat, inside, evidence.shrink) if inside.sum() >= FEWEST else None


def report(name: str, found: list[tuple[float, bool]]) -> None:
    """One line of the table."""
    if len(found) < 2:
        print(f"| {name} | {len(found)} | too few | |")
        return
    energy = np.array([ratio for ratio, _ in found])
    half = stats.t.ppf(0.975, len(energy) - 1) * energy.std(ddof=1) / len(energy) ** 0.5
    low, middle, high = energy.mean() - half, energy.mean(), energy.mean() + half
    hits = proportion(sum(hit for _, hit in found), len(found))
    print(
        f"| {name} | {len(found)} | {middle:.2f} ({low:.2f} to {high:.2f}) "
        f"| {hits.value:.2f} ({hits.low:.2f} to {hits.high:.2f}) |"
    )


def main() -> None:
    """Read, compute, print."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("--weights", default="bundled")
    parser.add_argument("--patients", type=int, default=40)
    parser.add_argument("--set", default="validation 1")
    options = parser.parse_args()
    rows = read_manifest(options.cohort / "manifest.csv", needs=["scan", "lungs"])
    ill = [p for p in rows if p.values.get("label") == "covid" and p.values.get("set") == options.set]
    trained = find_set(Path(options.weights) if "/" in options.weights else options.weights, None).diagnosis
    print("| weights | patients | energy in lesions over chance, mean | hottest place at a lesion |")
    print("|---|---|---|---|")

    with TemporaryDirectory() as scratch:
        for name, weights in (("trained", trained), ("randomised", without_learning(trained, Path(scratch)))):
            network = open_diagnosis(weights, "cpu")
            found = [pointed(network, patient) for patient in ill[: options.patients]]
            report(name, [one for one in found if one is not None])


if __name__ == "__main__":
    main()
