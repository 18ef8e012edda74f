"""One chest, stored with any axes, and mask and map made from its HU: a slice tells what they have there."""

import numpy as np
import pydicom

from covid19net.io import read_ct
from tests.dicom_cases import case_of, maps
from tests.dicom_files import affine, chest, ct_slices, with_preamble, write

HU = chest((9, 44, 36))
OFF_CENTRE = affine((2.5, 0.7, 0.8), (-312.5, 120.25, -930.5))


def turned(order: tuple[int, ...], flips: tuple[bool, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The same chest in the same place, stored with other axes: array and affine."""
    place = OFF_CENTRE[:, [*order, 3]].copy()
    hu = HU.transpose(order)
    for axis, flip in enumerate(flips):
        if flip:
            place[:3, 3] += place[:3, axis] * (hu.shape[axis] - 1)
            place[:3, axis] *= -1
            hu = np.flip(hu, axis)
    return np.ascontiguousarray(hu), place


def mask_of(hu: np.ndarray) -> np.ndarray:
    """Right lung where HU are low, left where they are a little higher: like no other place of the chest."""
    return np.where(hu < -860, 1, np.where(hu < -800, 2, 0)).astype(np.uint8)


def heat_of(hu: np.ndarray) -> np.ndarray:
    return np.clip(np.rint((hu.astype(float) + 1024) / 20), 0, 100).astype(np.uint8)


def written(folder, hu, place, **reading):
    """A series on disk, a case made from it, its objects, and HU and position of each slice by UID."""
    slices = [with_preamble(d) for d in ct_slices(hu, place=place)]
    scan = read_ct(write(slices, folder / "ct"), **reading)
    found = maps(case_of(scan, mask_of(scan.volume.hu), heat_of(scan.volume.hu)), folder)
    files = [pydicom.dcmread(path) for path in sorted((folder / "ct").iterdir())]
    sources = {d.SOPInstanceUID: (d.pixel_array.astype(int) - 1024, d) for d in files}
    return found, sources
