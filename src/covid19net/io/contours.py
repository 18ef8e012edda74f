"""DICOM radiotherapy structure sets onto the grid of the scan they were drawn on.

No library fits that does this as a whole (November 2026): rt-utils (2023) needs opencv and is said by its own
page to handle holes poorly, dcmrtstruct2nii (2023) and med-imagetools need scikit-image and more, DicomRTTool
is GPL, platipy holds pydicom below 3, plastimatch is a program of 69 MB and no library. So pydicom reads the
contours and matplotlib, which is there anyway, tells the pixels inside: `Path.contains_points` asks for pixel
centres, so that areas are not biased, where PIL's polygons include their outline.
"""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from warnings import catch_warnings

import numpy as np

from covid19net.errors import InputError, VolumeError
from covid19net.io.objects import OFF_GRID, check_frame, damaged, indices_of, key_of, open_object
from covid19net.volume import Overlay, Scan

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"  # RT Structure Set Storage (PS3.4 B.5)
NUDGE = (
    1e-3  # voxels, to all centres: an outline through them, as some programs draw, takes those of one side
)
CLOSED = {"CLOSED_PLANAR", "CLOSEDPLANAR_XOR"}  # PS3.3 C.8.8.6; points and open lines enclose nothing


def read_contours(path: str | Path, scan: Scan, wanted: Collection[str]) -> dict[str, Overlay]:
    """Structures of an RTSTRUCT as masks on a scan's grid.

    A voxel is inside when its centre is inside an odd number of the closed contours of its slice: so an inner
    contour is a hole, drawn on its own or through a keyhole. A contour that is there twice counts once.

    Args:
        path: the RTSTRUCT file.
        scan: what it was drawn on.
        wanted: names of structures; case, and "_" for "-", do not matter.

    Returns:
        Wanted name -> mask of 0 and 1, uint8, axes (z, y, x) of the scan, with the scan's affine; only names
        that the object holds with closed contours. Structures of one name are united.

    Raises:
        InputError: damaged, no RTSTRUCT, or of another frame of reference.
        VolumeError: contours that do not lie in the scan's slices: between or outside of them, or tilted.
    """
    path = Path(path)
    dataset = open_object(path, STRUCTURE_SET)
    try:
        with catch_warnings(action="ignore"):
            return _structures(path.name, dataset, scan, wanted)
    except Exception as error:  # pydicom raises what it finds: see `damaged`
        raise damaged(path.name, error) from error


def _structures(name: str, dataset: "Dataset", scan: Scan, wanted: Collection[str]) -> dict[str, Overlay]:
    names = {key_of(each): each for each in wanted}
    numbers = {}
    for structure in dataset.StructureSetROISequence:
        if key_of(structure.get("ROIName")) in names:
            check_frame(name, structure.get("ReferencedFrameOfReferenceUID"), scan)
            numbers[int(structure.ROINumber)] = names[key_of(structure.ROIName)]
    masks: dict[str, np.ndarray] = {}
    for drawn in dataset.get("ROIContourSequence", []):
        number = int(drawn.ReferencedROINumber)
        contours = list(_closed(drawn)) if number in numbers else []
        if contours:
            inside = filled(name, contours, scan)
            each = numbers[number]
            masks[each] = masks[each] | inside if each in masks else inside
    return {each: Overlay(mask.astype(np.uint8), scan.volume.affine) for each, mask in masks.items()}


def _closed(drawn: "Dataset") -> Iterator[np.ndarray]:
    """The closed contours of a structure, each (n, 3), mm, once."""
    seen = set()
    for contour in drawn.get("ContourSequence", []):
        if contour.get("ContourGeometricType") not in CLOSED:
            continue
        points = np.array([float(value) for value in contour.ContourData]).reshape(-1, 3)
        if not np.isfinite(points).all():
            raise InputError("a contour holds values that are not numbers")
        if len(points) > 2 and points.tobytes() not in seen:
            seen.add(points.tobytes())
            yield points


def filled(name: str, contours: list[np.ndarray], scan: Scan) -> np.ndarray:
    """The voxels inside an odd number of contours.

    Args:
        name: of the file, for faults.
        contours: each (n, 3), mm, LPS, closed, in one slice of the scan.
        scan: gives the grid.

    Returns:
        bool, axes (z, y, x).

    Raises:
        VolumeError: a contour that lies in no slice.
    """
    from matplotlib.path import Path as Outline

    mask = np.zeros(scan.volume.shape, bool)
    for contour in contours:
        points = indices_of(contour, scan.volume.affine)
        heights = points[:, 0]
        index = round(float(heights.mean()))
        if np.abs(heights - index).max() > OFF_GRID:
            raise VolumeError(f"{name}: a contour lies in no slice of the scan: between two, or tilted")
        if not 0 <= index < len(mask):
            raise VolumeError(f"{name}: contours reach out of the scan")
        low = np.maximum(np.floor(points[:, 1:].min(axis=0)).astype(int), 0)
        high = np.minimum(np.ceil(points[:, 1:].max(axis=0)).astype(int) + 1, mask.shape[1:])
        rows, columns = (np.arange(a, b) for a, b in zip(low, high, strict=True))
        centres = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)
        inside = Outline(points[:, 1:]).contains_points(centres + NUDGE)
        mask[index, low[0] : high[0], low[1] : high[1]] ^= inside.reshape(len(rows), len(columns))
    return mask
