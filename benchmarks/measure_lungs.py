"""How good a lung network is, on slices and scans with masks: the numbers of its model card.

    python benchmarks/measure_lungs.py DATA [--weights FOLDER]

DATA is not part of the project. It holds `lungs2d/val.npz` (hu, mask, id: 256 x 256 slices), and in `ct/` two
scans of COVID-CT-MD with their masks in `ct/masks/` and one coarse scan with a mask. Printed is JSON:

- Dice on 2-D slices, on slices kept from training, and of whole scans as the product writes them;
- recall of dense tissue at the pleura: real (lung of infected slices above -300 HU, off the mask's outermost
  pixel and within 10 mm of it), and painted into the 2-D slices;
- lung called farther than 5 mm from any lung, in ml, before and after the clean-up;
- whole synthetic patients: Dice, and recall of their consolidations.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from scipy import ndimage

from covid19net import read_ct
from covid19net.engine import LungNetwork, open_lungs
from covid19net.phantom import Scanner, draw_patient, scan_slices
from covid19net.preprocess import slice_inputs
from covid19net.segment import find_lungs, lung_probability, lungs_on_ct
from covid19net.train.augment import Stack, standardized
from covid19net.train.lesions import KINDS, draw_lesion, paint_lesion
from covid19net.train.lung_data import IGNORE, copied, small_hu, small_mask
from covid19net.volume import CTVolume
from covid19net.weights.registry import BUNDLED_FOLDER, weight_files

WRONG_MASK = "ID_0254_Z_0075"  # also covers the air around the body
# Counted from the feet; kept from the training of the bundled weights.
HELD_OUT = {
    "covid-P001": [(18, 27), (46, 55), (70, 79), (96, 105), (119, 128)],
    "normal-001": [(23, 32), (50, 59), (77, 86), (104, 113), (129, 138)],
}
INFECTED = [(23, 71), (72, 76), (85, 102), (109, 116), (118, 122)]  # of covid-P001, by its radiologists
DENSE = -300  # HU; above it lung is consolidated rather than ground glass
PLEURA, STRAY = 10.0, 5.0  # mm


def dice(found: np.ndarray, truth: np.ndarray) -> float:
    """Twice the overlap over the sum."""
    return float(2 * (found & truth).sum() / (found.sum() + truth.sum()))


def masks_of(network: LungNetwork, hu: np.ndarray) -> np.ndarray:
    """Masks of slices without neighbours, (n, 256, 256)."""
    return network(np.stack([standardized(s.astype(np.float32)) for s in copied(hu)])) >= 0.5


def on_slices(network: LungNetwork, path: Path) -> dict[str, object]:
    """Dice on 2-D slices, and recall of consolidation painted into them."""
    with np.load(path, allow_pickle=False) as file:
        sound = file["id"] != WRONG_MASK
        hu, mask = file["hu"][sound], file["mask"][sound] == 1
    scores = [dice(a, b) for a, b in zip(masks_of(network, hu), mask, strict=True)]
    recall, every = {}, []
    for kind in (k for k in KINDS if k not in ("patches", "diffuse")):
        rng = np.random.default_rng(0)
        painted, wanted = [], []
        for i in np.tile(np.arange(len(hu)), 2):
            before = Stack(copied(hu[i : i + 1])[0].astype(np.float32), mask[i].astype(np.uint8))
            after = paint_lesion(before, draw_lesion(rng, dense=True, kind=kind))
            dense = mask[i] & (before.hu[1] < -500) & (after.hu[1] > DENSE)
            if dense.sum() > 30:
                painted.append(standardized(after.hu))
                wanted.append(dense)
        found, dense = network(np.stack(painted)) >= 0.5, np.stack(wanted)
        each = (found & dense).sum((1, 2)) / dense.sum((1, 2))
        every += each.tolist()
        recall[kind] = round(float((found & dense).sum() / dense.sum()), 3)
    return {
        "dice_lungs2d_val": {
            "mean": round(float(np.mean(scores)), 4),
            "worst": round(min(scores), 4),
            "slices": len(scores),
        },
        "recall_painted_consolidation": recall
        | {"mean over paintings": round(float(np.mean(every)), 3), "paintings": len(every)},
    }


def _known(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return mask == 1, mask != IGNORE


def on_scan(network: LungNetwork, name: str, data: Path) -> dict[str, object]:
    """Dice of kept slices and of the whole scan, stray lung, recall of real dense tissue."""
    volume = read_ct(data / name).volume
    mask = read_ct(data / "masks" / f"{name}-lungs.nii.gz").volume.hu
    kept = [i for a, b in HELD_OUT[name] for i in range(a, b)]
    probability = network(np.stack(list(slice_inputs(volume, kept))))
    truth, known = _known(small_mask(mask[kept]))
    each = [dice((p >= 0.5) & k, t) for p, t, k in zip(probability, truth, known, strict=True)]
    found: dict[str, object] = {
        "held-out slices": round(dice((probability >= 0.5) & known, truth), 4),
        "held-out worst slice": round(min(each), 4),
    }
    if name == "covid-P001":
        dense = _dense_at_pleura(small_hu(volume), small_mask(mask), volume)
        infected = np.zeros(len(mask), bool)
        for a, b in INFECTED:
            infected[a:b] = True
        chosen = [i for i in kept if infected[i]]
        wanted = dense[chosen]
        caught = probability[[kept.index(i) for i in chosen]] >= 0.5
        found["dense tissue at the pleura, held out"] = {
            "recall": round(float((caught & wanted).sum() / wanted.sum()), 3),
            "pixels": int(wanted.sum()),
        }
    return found | whole_scan(network, volume, mask)


def _dense_at_pleura(hu: np.ndarray, mask: np.ndarray, volume: CTVolume) -> np.ndarray:
    pixel = volume.spacing[1] * (volume.shape[1] - 1) / 255
    depth = np.stack([ndimage.distance_transform_edt(m == 1) for m in mask])
    return np.asarray((hu > DENSE) & (depth > 1) & (depth * pixel <= PLEURA))


def whole_scan(network: LungNetwork, volume: CTVolume, mask: np.ndarray) -> dict[str, object]:
    """Dice on the CT's own grid of the mask the product writes, and lung called far from any lung."""
    probability = lung_probability(volume, network)
    lungs = lungs_on_ct(find_lungs(probability, clean=True), probability, volume).values > 0
    raw = find_lungs(probability, clean=False)
    truth, known = _known(mask)
    truth, known = truth[1:-1], known[1:-1]  # the network has no answer for the end slices
    away = ndimage.distance_transform_edt(~truth, volume.spacing) > STRAY
    millilitre = float(np.prod(volume.spacing)) / 1000
    before = lungs_on_ct(raw, probability, volume).values[1:-1] > 0
    return {
        "whole scan": round(dice(lungs[1:-1] & known, truth), 4),
        "stray ml before and after clean-up": [
            round(float((m & away & known).sum()) * millilitre, 2) for m in (before, lungs[1:-1])
        ],
    }


def on_phantoms(network: LungNetwork) -> dict[str, object]:
    """Whole synthetic patients, healthy and ill."""
    found = {}
    for seed, disease in ((301, None), (302, "covid"), (303, "bacterial"), (304, "viral")):
        rng = np.random.default_rng(seed)
        patient = draw_patient(rng, disease=disease)
        z = np.arange(-330.0, 70.0, 5.0) * patient.shape.scale[2]
        case = scan_slices(patient, Scanner(matrix=256), z, rng)
        scan = whole_scan(network, case.volume, (case.lungs.values > 0).astype(np.uint8))
        probability = lung_probability(case.volume, network)
        mask = lungs_on_ct(find_lungs(probability, clean=True), probability, case.volume).values > 0
        dense = (case.lungs.values > 0) & (case.lesions.values > 0) & (case.volume.hu > DENSE)
        dense[[0, -1]] = False
        recall = round(float((mask & dense).sum() / dense.sum()), 3) if dense.sum() > 100 else None
        found[f"{disease or 'healthy'} {seed}"] = scan | {"recall of dense lesions": recall}
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", type=Path, default=BUNDLED_FOLDER, help="folder of the set")
    given = parser.parse_args()
    network = open_lungs(weight_files(given.weights)["lungs"], "cpu")
    metrics = on_slices(network, given.data / "lungs2d" / "val.npz")
    for name in HELD_OUT:
        metrics[name] = on_scan(network, name, given.data / "ct")
    coarse = read_ct(given.data / "ct" / "cip-small" / "ct-64.nrrd").volume
    mask = read_ct(given.data / "ct" / "cip-small" / "wholeLung-64.nrrd").volume.hu
    metrics["cip-small (not used in training; coarse 64 x 64 mask)"] = whole_scan(network, coarse, mask)
    metrics["synthetic patients"] = on_phantoms(network)
    print(json.dumps(metrics, indent=2))


if __name__ == "__main__":
    main()
