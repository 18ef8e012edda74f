"""Elements of a DICOM data set as plain values.

Values are decoded here from the raw bytes of each element and not by pydicom's converters, which warn or
raise on the small offences (long decimals, unknown character sets) that scanners and anonymisers commit.
"""

from math import isfinite
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# Keyword -> element (DICOM PS3.6). Nothing that names a person is read here, but for name and id of the
# patient, which are only compared between files. What DICOM results carry is read apart (`origins`).
TAGS = {
    "ImageType": 0x00080008,
    "SOPClassUID": 0x00080016,
    "SOPInstanceUID": 0x00080018,
    "Modality": 0x00080060,
    "Manufacturer": 0x00080070,
    "ManufacturerModelName": 0x00081090,
    "PatientName": 0x00100010,
    "PatientID": 0x00100020,
    "PatientSex": 0x00100040,
    "PatientAge": 0x00101010,
    "BodyPartExamined": 0x00180015,
    "SliceThickness": 0x00180050,
    "KVP": 0x00180060,
    "ConvolutionKernel": 0x00181210,
    "StudyInstanceUID": 0x0020000D,
    "SeriesInstanceUID": 0x0020000E,
    "AcquisitionNumber": 0x00200012,
    "ImagePositionPatient": 0x00200032,
    "ImageOrientationPatient": 0x00200037,
    "FrameOfReferenceUID": 0x00200052,
    "PhotometricInterpretation": 0x00280004,
    "NumberOfFrames": 0x00280008,
    "Rows": 0x00280010,
    "Columns": 0x00280011,
    "PixelSpacing": 0x00280030,
    "BitsAllocated": 0x00280100,
    "BitsStored": 0x00280101,
    "HighBit": 0x00280102,
    "PixelRepresentation": 0x00280103,
    "PixelPaddingValue": 0x00280120,
    "PixelPaddingRangeLimit": 0x00280121,
    "RescaleIntercept": 0x00281052,
    "RescaleSlope": 0x00281053,
    "RescaleType": 0x00281054,
    "LossyImageCompression": 0x00282110,
    "PlanePositionSequence": 0x00209113,
    "PlaneOrientationSequence": 0x00209116,
    "PixelMeasuresSequence": 0x00289110,
    "PixelValueTransformationSequence": 0x00289145,
    "SharedFunctionalGroupsSequence": 0x52009229,
    "PerFrameFunctionalGroupsSequence": 0x52009230,
}
TEXT_TAGS = (
    "ImageType", "SOPClassUID", "SOPInstanceUID", "Modality", "Manufacturer", "ManufacturerModelName",
    "PatientName", "PatientID", "PatientSex", "PatientAge", "BodyPartExamined", "SliceThickness", "KVP",
    "ConvolutionKernel", "StudyInstanceUID", "SeriesInstanceUID", "AcquisitionNumber", "FrameOfReferenceUID",
    "PhotometricInterpretation", "LossyImageCompression",
    "RescaleType",
)  # fmt: skip


def _raw(dataset: "Dataset", keyword: str) -> bytes | None:
    """The bytes of an element; None when it is absent, empty or a sequence."""
    from pydicom.tag import Tag

    tag = Tag(TAGS[keyword])
    if tag not in dataset:
        return None
    value = dataset.get_item(tag).value
    if isinstance(value, bytes):
        return value or None
    return None if value is None else str(value).encode("latin-1", "replace")


def text_of(dataset: "Dataset", keyword: str) -> str:
    """An element's text, empty when it is absent."""
    return (_raw(dataset, keyword) or b"").decode("latin-1").strip(" \0\r\n\t")


def decimals_of(dataset: "Dataset", keyword: str, count: int) -> tuple[float, ...] | None:
    """Exactly `count` decimals of a DS element; None when absent or not finite numbers."""
    try:
        values = tuple(float(part) for part in text_of(dataset, keyword).split("\\"))
    except ValueError:
        return None
    return values if len(values) == count and all(map(isfinite, values)) else None


def number_of(dataset: "Dataset", keyword: str) -> int | None:
    """An unsigned integer: two bytes (US), or text (IS)."""
    raw = _raw(dataset, keyword)
    if raw is None:
        return None
    if keyword == "NumberOfFrames":
        text = raw.decode("latin-1").strip(" \0")
        return int(text) if text.isascii() and text.isdigit() else None
    from pydicom.tag import Tag

    little = getattr(dataset.get_item(Tag(TAGS[keyword])), "is_little_endian", True)
    return int.from_bytes(raw[:2], "little" if little else "big")


def sequence_of(dataset: "Dataset", keyword: str) -> list["Dataset"]:
    """The items of a sequence, none when it is absent."""
    from pydicom.tag import Tag

    tag = Tag(TAGS[keyword])
    return list(dataset[tag].value or []) if tag in dataset else []
