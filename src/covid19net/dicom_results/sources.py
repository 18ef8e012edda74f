"""The scan's own slices, as the objects made from them see them."""

from typing import TYPE_CHECKING

from covid19net.errors import InputError
from covid19net.io.header import CT_IMAGE
from covid19net.origin import Origin
from covid19net.volume import Scan

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

CANNOT = "DICOM results cannot be written"
TAG_OF = {
    "study_uid": "StudyInstanceUID",
    "series_uid": "SeriesInstanceUID",
    "frame_of_reference_uid": "FrameOfReferenceUID",
}


def check_origin(scan: Scan) -> Origin:
    """What the results of a scan refer to.

    Raises:
        InputError: the scan is no DICOM series, or one that cannot be referred to.
    """
    from pydicom.uid import UID

    origin = scan.origin
    if origin is None:
        raise InputError(f"{CANNOT}: they belong into the study of a DICOM series, and this scan is none")
    if origin.multiframe:
        raise InputError(f"{CANNOT} for enhanced multi-frame CT; export it as single slices")
    for name, keyword in TAG_OF.items():
        if not UID(getattr(origin, name)).is_valid:
            raise InputError(f"{CANNOT}: {keyword} is absent or no UID")
    instances = [each.sop_instance_uid for each in origin.slices]
    if not all(UID(uid).is_valid for uid in instances):
        raise InputError(f"{CANNOT}: SOPInstanceUID is absent or no UID")
    if len(set(instances)) < len(instances):
        raise InputError(f"{CANNOT}: several slices share one SOPInstanceUID")
    return origin


def source_images(origin: Origin) -> "list[Dataset]":
    """The slices without pixels and without identity, in the order of the scan."""
    from pydicom.dataset import Dataset

    from covid19net.io.export import decimal

    images = []
    for each in origin.slices:
        image = Dataset()
        image.SOPClassUID = each.sop_class_uid or CT_IMAGE
        image.SOPInstanceUID = each.sop_instance_uid
        image.StudyInstanceUID, image.SeriesInstanceUID = origin.study_uid, origin.series_uid
        image.FrameOfReferenceUID, image.PositionReferenceIndicator = origin.frame_of_reference_uid, ""
        image.Modality = "CT"
        for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate",
                        "StudyTime", "AccessionNumber", "ReferringPhysicianName"):  # fmt: skip
            setattr(image, keyword, "")  # `settle` fills them in
        image.Rows, image.Columns = origin.size
        image.PixelSpacing = [decimal(value) for value in origin.spacing]
        image.SliceThickness = decimal(origin.thickness)
        image.ImageOrientationPatient = [decimal(value) for value in origin.orientation]
        image.ImagePositionPatient = [decimal(value) for value in each.position]
        images.append(image)
    return images
