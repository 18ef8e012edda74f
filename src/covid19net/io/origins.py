"""What DICOM results need to know of the slices a scan was read from."""

from collections.abc import Sequence
from io import BytesIO
from warnings import catch_warnings

import numpy as np

from covid19net.io.geometry import Planes
from covid19net.io.header import DEFLATED, LARGEST_HEADER, Slice, inflated, with_plain_syntax
from covid19net.origin import Origin, SourceSlice

# Patient, Clinical Trial, General Study and Patient Study modules (PS3.3 C.7.1, C.7.2), Frame of Reference
# (C.7.4.1), and when the images were made. Text only: sequences stay behind.
IDENTITY = (
    "SpecificCharacterSet",
    "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientBirthTime", "PatientSex",
    "PatientIdentityRemoved", "DeidentificationMethod",
    "ClinicalTrialSponsorName", "ClinicalTrialProtocolID", "ClinicalTrialProtocolName", "ClinicalTrialSiteID",
    "ClinicalTrialSiteName", "ClinicalTrialSubjectID", "ClinicalTrialSubjectReadingID",
    "ClinicalTrialTimePointID",
    "StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName", "StudyDescription",
    "PatientAge", "PatientSize", "PatientWeight",
    "PositionReferenceIndicator",
    "ContentDate", "ContentTime", "AcquisitionDate", "AcquisitionTime", "SeriesDate", "SeriesTime",
)  # fmt: skip


def origin_of(slices: Sequence[Slice], planes: Planes, affine: np.ndarray, places: np.ndarray) -> Origin:
    """Keep what results in the slices' own study refer to.

    Args:
        slices: in the order of the volume.
        planes: their geometry, in any order.
        affine: 4x4 of the acquired grid, from indices (slice, row, column) to mm, LPS.
        places: (n, 3), place of each slice's first pixel on that grid.
    """
    first, multiframe = slices[0], any(s.stored.frames > 1 for s in slices)
    found = tuple(
        SourceSlice(s.tag("SOPClassUID"), s.tag("SOPInstanceUID"), _three(s.position or ()), _three(place))
        for s, place in zip(slices, places.tolist(), strict=True)
    )
    return Origin(
        slices=found,
        affine=affine,
        size=(first.stored.rows, first.stored.columns),
        spacing=planes.spacing,
        orientation=first.orientation or (),
        thickness=_thickness(first, affine),
        study_uid=first.tag("StudyInstanceUID"),
        series_uid=first.tag("SeriesInstanceUID"),
        frame_of_reference_uid=first.tag("FrameOfReferenceUID"),
        multiframe=multiframe,
        identity={} if multiframe else _identity(first),
    )


def _three(values: Sequence[float]) -> tuple[float, float, float]:
    x, y, z = values
    return x, y, z


def _thickness(plane: Slice, affine: np.ndarray) -> float:
    """As the header says, else the distance between slices."""
    try:
        value = float(plane.tag("SliceThickness"))
    except ValueError:
        value = 0.0
    return value if 0 < value < np.inf else float(np.linalg.norm(affine[:3, 0]))


def _identity(plane: Slice) -> dict[str, bytes]:
    from pydicom.datadict import tag_for_keyword
    from pydicom.filereader import dcmread

    source, stored = plane.source, plane.stored
    if stored.syntax == DEFLATED:
        head = with_plain_syntax(inflated(source))
    else:
        head = source.read(0, stored.offset or LARGEST_HEADER)
    tags = {keyword: int(tag_for_keyword(keyword) or 0) for keyword in IDENTITY}
    with catch_warnings(action="ignore"):
        dataset = dcmread(BytesIO(head), force=True, specific_tags=list(tags.values()))
    found = {}
    for keyword, tag in tags.items():
        value = dataset.get_item(tag).value if tag in dataset else None
        if isinstance(value, bytes) and value:
            found[keyword] = value
        elif value:  # the character set: pydicom has decoded it
            text = value if isinstance(value, str) else "\\".join(value)
            found[keyword] = text.encode("ascii", "replace")
    return found
