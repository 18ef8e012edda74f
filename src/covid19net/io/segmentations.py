"""DICOM segmentations onto the grid of the scan they were made on.

highdicom reads the object (its parts are typed and checked) and decodes its frames. Each frame is placed by
its own position, orientation and pixel spacing: frames may come in any order, run from the head or from the
feet, be turned in plane, and be left out where they are empty.
"""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any
from warnings import catch_warnings

import numpy as np

from covid19net.errors import InputError, VolumeError
from covid19net.io.objects import OFF_GRID, check_frame, damaged, indices_of, key_of, open_object
from covid19net.volume import Overlay, Scan

if TYPE_CHECKING:
    from highdicom.seg import Segmentation
    from pydicom.dataset import Dataset

SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"  # Segmentation Storage (PS3.4 B.5)


def read_segments(path: str | Path, scan: Scan, wanted: Collection[str]) -> dict[str, Overlay]:
    """Segments of a DICOM SEG as masks on a scan's grid.

    Args:
        path: the SEG file, of type BINARY.
        scan: what it was made on.
        wanted: names of segments, looked for in SegmentDescription and SegmentLabel; case, and "_" for "-",
            do not matter.

    Returns:
        Wanted name -> mask of 0 and 1, uint8, axes (z, y, x) of the scan, with the scan's affine; only names
        that the object holds. Segments of one name are united.

    Raises:
        InputError: damaged, no SEG, of fractions or labels, or of another frame of reference.
        VolumeError: frames that do not lie on the scan's voxels: other slices, spacing, size, or tilted.
    """
    path = Path(path)
    dataset = open_object(path, SEGMENTATION)
    try:
        with catch_warnings(action="ignore"):
            return _segments(path.name, dataset, scan, wanted)
    except Exception as error:  # highdicom raises what it finds: see `damaged`
        raise damaged(path.name, error) from error


def _segments(name: str, dataset: "Dataset", scan: Scan, wanted: Collection[str]) -> dict[str, Overlay]:
    from highdicom.seg import Segmentation

    if dataset.SegmentationType != "BINARY":
        raise InputError(f"{name}: the segmentation is {str(dataset.SegmentationType).lower()}, not binary")
    check_frame(name, dataset.get("FrameOfReferenceUID"), scan)
    seg = Segmentation.from_dataset(dataset, copy=False)
    names = {key_of(each): each for each in wanted}
    numbers = {}
    for segment in seg.SegmentSequence:
        for told in (segment.get("SegmentDescription"), segment.SegmentLabel):
            if key_of(told) in names:
                numbers[int(segment.SegmentNumber)] = names[key_of(told)]
                break
    masks = {each: np.zeros(scan.volume.shape, np.uint8) for each in dict.fromkeys(numbers.values())}
    for index in range(int(seg.NumberOfFrames)):
        number = int(_group(seg, index, "SegmentIdentificationSequence").ReferencedSegmentNumber)
        if number in numbers:
            frame = seg.get_stored_frame(index, as_index=True)
            _place(name, masks[numbers[number]], frame, _corner(seg, index), scan.volume.affine)
    return {each: Overlay(mask, scan.volume.affine) for each, mask in masks.items()}


def _group(seg: "Segmentation", index: int, sequence: str) -> "Dataset":
    """What a frame's own functional groups say, or else those that all frames share."""
    own = seg.PerFrameFunctionalGroupsSequence[index]
    holder: Any = own if sequence in own else seg.SharedFunctionalGroupsSequence[0]
    group: Dataset = holder[sequence][0]
    return group


def _corner(seg: "Segmentation", index: int) -> np.ndarray:
    """Three places of a frame, mm: its first pixel, that below it, that right of it; axes (place, xyz)."""

    def told(sequence: str, keyword: str) -> np.ndarray:
        return np.array([float(value) for value in _group(seg, index, sequence)[keyword].value])

    first = told("PlanePositionSequence", "ImagePositionPatient")
    cosines = told("PlaneOrientationSequence", "ImageOrientationPatient").reshape(2, 3)
    rows, columns = told("PixelMeasuresSequence", "PixelSpacing")
    return np.array([first, first + cosines[1] * rows, first + cosines[0] * columns])


def _place(name: str, mask: np.ndarray, frame: np.ndarray, corner: np.ndarray, affine: np.ndarray) -> None:
    """Set the voxels of a mask that a frame's pixels are, which have to lie on voxels one by one.

    Raises:
        VolumeError: they do not, or lie outside.
    """
    first, below, right = indices_of(corner, affine)
    down, across = below - first, right - first
    start, down_whole, across_whole = (np.rint(each).astype(int) for each in (first, down, across))
    ends = np.array([[row, column] for row in (0, frame.shape[0] - 1) for column in (0, frame.shape[1] - 1)])
    exact = first + ends @ np.array([down, across])
    if np.abs(exact - (start + ends @ np.array([down_whole, across_whole]))).max() > OFF_GRID:
        raise VolumeError(f"{name}: a frame of the segmentation does not lie on the scan's voxels")
    places = start + np.argwhere(frame) @ np.array([down_whole, across_whole])
    if ((places < 0) | (places >= mask.shape)).any():
        raise VolumeError(f"{name}: the segmentation reaches out of the scan")
    mask[tuple(places.T)] = 1
