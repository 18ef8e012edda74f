"""DICOM objects that were drawn on a scan, segmentations and structure sets: opened, and put to its grid.

Everything is matched by its place in the patient, never by the order or the number of frames and contours.
"""

from pathlib import Path
from typing import TYPE_CHECKING
from warnings import catch_warnings

import numpy as np

from covid19net.errors import Covid19netError, InputError
from covid19net.io.files import source_of
from covid19net.io.identity import safe_uid
from covid19net.volume import Scan

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

OFF_GRID = 0.3  # voxels: slices lie up to 0.25 of their distance off a regular grid (see `geometry`)


def open_object(path: Path, sop_class: str) -> "Dataset":
    """Read a whole DICOM object.

    Args:
        path: its file.
        sop_class: UID of what it has to be.

    Raises:
        InputError: no DICOM file, damaged, or another object.
    """
    from pydicom import dcmread

    source = source_of(path, path.name)
    try:
        with catch_warnings(action="ignore"):  # pydicom's, on text that breaks the rules of its kind
            dataset = dcmread(path, force=False)
            found = str(dataset.get("SOPClassUID", ""))
    except Exception as error:  # damage makes pydicom raise almost anything
        raise InputError(f"{source.name}: no DICOM file, or a damaged one") from error
    if found != sop_class:
        raise InputError(f"{source.name}: another kind of DICOM object than expected")
    return dataset


def check_frame(name: str, uid: object, scan: Scan) -> None:
    """Refuse what was drawn in another frame of reference than the scan's, where both tell theirs.

    Args:
        name: of the file, for the fault.
        uid: the object's frame of reference; None or empty where it tells none.
        scan: what it should have been drawn on.

    Raises:
        InputError: they differ.
    """
    theirs = scan.headers.get("frame_of_reference_uid")
    if uid and theirs and safe_uid(str(uid)) != theirs:
        raise InputError(f"{name}: drawn in another frame of reference than the scan's")


def key_of(name: object) -> str:
    """The name of a structure without what programs change: case, blanks around it, "_" for "-"."""
    return str(name or "").strip().casefold().replace("_", "-")


def indices_of(points: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Places in the patient as indices of a grid.

    Args:
        points: (n, 3), mm, LPS.
        affine: 4x4, from indices (z, y, x) to mm.

    Returns:
        (n, 3), indices (z, y, x), with fractions.
    """
    return np.asarray(np.linalg.solve(affine[:3, :3], (points - affine[:3, 3]).T).T)


def damaged(name: str, error: Exception) -> Covid19netError:
    """What to raise for whatever a library raised on an object's content: our own faults stay as they are."""
    if isinstance(error, Covid19netError):
        return error
    return InputError(f"{name}: the DICOM object is damaged or lacks what it needs")
