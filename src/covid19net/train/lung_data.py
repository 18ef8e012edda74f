"""Slices with lung masks for training: from arrays, from scans, and from synthetic patients.

A training set is described by a JSON file, a list of sources (see `read_sources`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
import json
from pathlib import Path
from typing import Any

import numpy as np

from covid19net.errors import InputError
from covid19net.io import read_ct
from covid19net.phantom import draw_patient, draw_scanner, scan_slices
from covid19net.preprocess import AIR, SLICE_SIZE
from covid19net.resize import bands, resized, zoom_matrix
from covid19net.train.augment import CHANNELS
from covid19net.train.images import read_mask
from covid19net.train.lesions import LUNG
from covid19net.volume import CTVolume

IGNORE = 255  # mask value of pixels that nobody can tell
HIGHEST = 3071  # HU kept
# Heights at which a synthetic patient is seen, mm above the top of the lungs for the standard size: neck,
# apices, twice the upper and middle chest, twice the lower chest, upper abdomen.
LEVELS = ((10, 90), (-25, 0), (-150, -25), (-150, -25), (-240, -150), (-240, -150), (-330, -240))
DISEASES = (None, "covid", "bacterial", "viral", "mycoplasma", "fungal")
DISEASE_SHARES = (0.3, 0.25, 0.2, 0.1, 0.1, 0.05)


@dataclass(frozen=True, eq=False)
class Source:
    """Slices of one origin.

    Attributes:
        name: for messages and the model card.
        hu: HU at 256x256, axes (slice, below / itself / above, y, x), int16.
        mask: 1 lung, 0 not, 255 unknown; axes (slice, y, x), uint8.
        share: how often it is drawn, relative to the others.
        single: slices have no neighbours of their own; all three channels are the same.
        disease: chance that lesions are painted into a slice.
        gas: chance that bowel gas is painted into a slice with little or no lung.

    Raises:
        InputError: shapes or mask values do not fit.
    """

    name: str
    hu: np.ndarray
    mask: np.ndarray
    share: float
    single: bool = False
    disease: float = 0.5
    gas: float = 0.5

    def __post_init__(self) -> None:
        count, *sides = self.mask.shape
        if not count or self.hu.shape != (count, CHANNELS, *sides):
            raise InputError(
                f"{self.name}: slices of shape {self.hu.shape} do not fit masks of {self.mask.shape}"
            )
        if not np.isin(self.mask, (0, LUNG, IGNORE)).all():
            raise InputError(f"{self.name}: a lung mask holds 0, 1 and 255 only")


def copied(hu: np.ndarray) -> np.ndarray:
    """Slices (slice, y, x) as their own neighbours: int16, (slice, 3, y, x)."""
    return np.repeat(hu[:, None].astype(np.int16), CHANNELS, 1)


def with_neighbours(hu: np.ndarray, chosen: Sequence[int]) -> np.ndarray:
    """Slices of a scan (z, y, x) with their true neighbours; an end slice is its own.

    Args:
        hu: HU.
        chosen: indices of the slices to take.

    Returns:
        int16, axes (chosen slice, below / itself / above, y, x).
    """
    middle = np.array(chosen, int)
    below, above = np.maximum(middle - 1, 0), np.minimum(middle + 1, len(hu) - 1)
    return np.stack([hu[below], hu[middle], hu[above]], 1).astype(np.int16)


def small_hu(volume: CTVolume) -> np.ndarray:
    """A scan at the lung network's 256x256, by the same cubic splines as in use: int16, (z, 256, 256)."""
    rows, columns = (bands(zoom_matrix(n, SLICE_SIZE)) for n in volume.shape[1:])
    small = (resized(np.maximum(plane, AIR).astype(np.float32), rows, columns) for plane in volume.hu)
    return np.stack([np.clip(np.round(plane), AIR, HIGHEST).astype(np.int16) for plane in small])


def small_mask(mask: np.ndarray) -> np.ndarray:
    """A mask (z, y, x) of 0, 1 and 255 at 256x256; pixels at least a quarter unknown are unknown."""
    size = [bands(zoom_matrix(n, SLICE_SIZE, 1)) for n in mask.shape[1:]]
    lung = np.stack([resized((plane == LUNG).astype(np.float32), *size) for plane in mask])
    unknown = np.stack([resized((plane == IGNORE).astype(np.float32), *size) for plane in mask])
    return np.where(unknown > 0.25, IGNORE, lung >= 0.5).astype(np.uint8)


def phantom_slices(patients: int, seeds: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Slices of synthetic patients, from the neck to the upper abdomen, healthy and ill, on many scanners.

    Args:
        patients: for each seed.
        seeds: equal seeds give equal slices.

    Returns:
        HU (slice, below / itself / above, 256, 256), int16, and mask (slice, 256, 256), uint8.
    """
    stacks, masks = [], []
    for seed, i in ((seed, i) for seed in seeds for i in range(patients)):
        rng = np.random.default_rng([seed, i])
        patient = draw_patient(rng, disease=DISEASES[rng.choice(len(DISEASES), p=DISEASE_SHARES)])
        scanner = replace(draw_scanner(rng), matrix=SLICE_SIZE)
        for low, high in LEVELS:
            z = rng.uniform(low, high) * patient.shape.scale[2]
            case = scan_slices(patient, scanner, z + scanner.spacing * np.array([-1.0, 0, 1]), rng)
            stacks.append(np.maximum(case.volume.hu, AIR))
            masks.append(case.lungs.values[1] > 0)
    return np.stack(stacks), np.stack(masks).astype(np.uint8)


def read_sources(manifest: Path) -> list[Source]:
    """Read the sources a JSON file lists; paths in it are relative to its folder.

    Every entry has a "kind", a "name" and a "share", and may have "disease" and "gas" (see `Source`):

    - "slices": "file", an .npz of `hu` (n, 256, 256), `mask` (n, 256, 256) and `id` (n,); "leave_out", ids.
    - "scan": "ct", anything `read_ct` reads, and "mask", an image of 0, 1 and 255 on the same grid, or null
      for slices without lung; "slices", a list of [first, last + 1], counted from the feet; "leave_out",
      likewise.
    - "phantoms": "patients" and "seeds" (see `phantom_slices`); "lung", whether slices with or without.

    Raises:
        InputError: not such a file, or an entry that lacks something.
    """
    try:
        entries = json.loads(manifest.read_text())
        return [_read_source(dict(entry), manifest.parent) for entry in entries]
    except KeyError as error:
        raise InputError(f"{manifest.name}: an entry has no {error}") from error
    except (OSError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{manifest.name}: not a list of training sources: {error}") from error


def _read_source(entry: dict[str, Any], folder: Path) -> Source:
    readers = {"slices": _read_slices, "scan": _read_scan, "phantoms": _draw_phantoms}
    if entry["kind"] not in readers:
        raise InputError(f"{entry['name']}: kind {entry['kind']!r} is not one of {', '.join(readers)}")
    hu, mask = readers[entry["kind"]](entry, folder)
    return Source(
        str(entry["name"]),
        hu,
        mask,
        float(entry["share"]),
        single=entry["kind"] == "slices",
        disease=float(entry.get("disease", 0.5)),
        gas=float(entry.get("gas", 0.5)),
    )


def _read_slices(entry: dict[str, Any], folder: Path) -> tuple[np.ndarray, np.ndarray]:
    with np.load(folder / entry["file"], allow_pickle=False) as file:
        keep = ~np.isin(file["id"], entry.get("leave_out", []))
        return copied(file["hu"][keep]), file["mask"][keep]


def _read_scan(entry: dict[str, Any], folder: Path) -> tuple[np.ndarray, np.ndarray]:
    volume = read_ct(folder / entry["ct"]).volume
    mask = read_mask(folder / entry["mask"], volume) if entry["mask"] else np.zeros(volume.shape, np.uint8)
    left_out = {i for a, b in entry.get("leave_out", []) for i in range(a, b)}
    chosen = [i for a, b in entry["slices"] for i in range(a, b) if i not in left_out]
    return with_neighbours(small_hu(volume), chosen), small_mask(mask[chosen])


def _draw_phantoms(entry: dict[str, Any], _: Path) -> tuple[np.ndarray, np.ndarray]:
    hu, mask = phantom_slices(int(entry["patients"]), [int(seed) for seed in entry["seeds"]])
    keep = mask.any(axis=(1, 2)) == bool(entry["lung"])
    return hu[keep], mask[keep]
