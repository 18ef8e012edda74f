"""Where a scan came from: the DICOM slices it was read from, for results that go back to their study."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np


class SourceSlice(NamedTuple):
    """One DICOM image of the series.

    Attributes:
        sop_class_uid: of its object.
        sop_instance_uid: of its object.
        position: centre of its first pixel, (x, y, z) in mm, LPS.
        place: of that pixel on the acquired grid, in voxels (slice, row, column); not whole where slices were
            interpolated or the shear of a tilted gantry was undone.
    """

    sop_class_uid: str
    sop_instance_uid: str
    position: tuple[float, float, float]
    place: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Origin:
    """The series a scan was read from.

    The only part of a scan that says whose it is. It goes into DICOM objects of the same study, into a report
    that was asked to name the patient, and nowhere else: not into records, other reports, messages or file
    names, and not into what `repr` shows.

    Attributes:
        slices: in the order of the acquired grid.
        affine: 4x4 of the acquired grid, from indices (slice, row, column) to mm in LPS.
        size: rows and columns of every slice.
        spacing: mm between rows, between columns.
        orientation: direction cosines of a row, then of a column.
        thickness: of a slice, mm.
        study_uid, series_uid, frame_of_reference_uid: empty where the files have none.
        multiframe: whether the slices are frames of one object.
        identity: elements of patient, study and time, keyword -> bytes as in the file.
    """

    slices: tuple[SourceSlice, ...]
    affine: np.ndarray
    size: tuple[int, int]
    spacing: tuple[float, float]
    orientation: tuple[float, ...]
    thickness: float
    study_uid: str
    series_uid: str
    frame_of_reference_uid: str
    multiframe: bool
    identity: Mapping[str, bytes] = field(repr=False)
