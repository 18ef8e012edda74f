"""What all objects share: whose they are, what made them, when, and UIDs that follow from the content.

The same result gives the same bytes, and other bytes have another UID: a file that is sent again is the same
object to a PACS, and no object ever replaces a different one. So nothing in an object may depend on the time
or place of its making. Dates and times are those of the scan.
"""

from collections.abc import Iterator
from dataclasses import dataclass
import hashlib
import re
from typing import TYPE_CHECKING, Any
from uuid import UUID
from warnings import catch_warnings

from covid19net.origin import Origin
from covid19net.pipeline import CaseResult

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement
    from pydicom.dataset import Dataset

STAND = "2.25.0."  # stands for a UID until the content is known; nothing has a UID that begins so
INSTANCE, SERIES, DIMENSIONS, TRACKING = (f"{STAND}{number}" for number in range(1, 5))
NAME = "covid19net"
LONG_STRING = 64  # characters of an LO element (PS3.5 6.2)
PIXELS = (0x7FE00008, 0x7FE00010, 0x00420011)  # float and other pixels, encapsulated document
WHEN = ("Content", "Acquisition", "Series", "Study")  # dates of the scan, the closest to it first
MADE_AT = (
    "InstanceCreationDate", "InstanceCreationTime", "DateOfSecondaryCapture", "TimeOfSecondaryCapture",
)  # fmt: skip
UNKNOWN_DATE, UNKNOWN_TIME = "19000101", "000000"
REQUIRED = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
    "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """One of the objects.

    Attributes:
        number: of its series; high, to stand after the series of the scanner.
        title: what it shows, for the series description.
    """

    number: int
    title: str


def plain(text: str, longest: int = LONG_STRING) -> str:
    """Text in ASCII, for any character set, with no backslash."""
    return text.encode("ascii", "replace").decode().replace("\\", "/")[:longest]


def label_of(result: CaseResult) -> str:
    """What must be read with every object."""
    codes = {finding.code for finding in result.findings}
    shown = codes & {"weights-demonstration", "prognosis-demonstration"}
    return "RESEARCH USE; DEMONSTRATION WEIGHTS" if shown else "RESEARCH USE"


def card(result: CaseResult, network: str) -> dict[str, Any]:
    """The model card of "lungs" or "diagnosis", as recorded."""
    weights = result.provenance["weights"]
    assert isinstance(weights, dict)
    return dict(weights[network])


def equipment(result: CaseResult) -> dict[str, str]:
    """The maker of an object: the weights are the serial number, for they decide what comes out."""
    return {
        "manufacturer": NAME,
        "manufacturer_model_name": NAME,
        "software_versions": plain(str(result.provenance["version"])),
        "device_serial_number": "-".join(card(result, n)["sha256"][:16] for n in ("lungs", "diagnosis")),
    }


def series(kind: Kind, result: CaseResult) -> dict[str, Any]:
    """Arguments that highdicom takes for the series and the only instance in it."""
    return {
        "series_instance_uid": SERIES,
        "series_number": kind.number,
        "sop_instance_uid": INSTANCE,
        "instance_number": 1,
        "series_description": plain(f"{kind.title}; {label_of(result)}"),
        **equipment(result),
    }


def settle(dataset: "Dataset", origin: Origin) -> None:
    """Give an object its patient, study, dates and UIDs.

    Args:
        dataset: complete but for these.
        origin: the scan it was made from.
    """
    with catch_warnings(action="ignore"):  # pydicom's, on values that the scanner or anonymiser wrote
        _identify(dataset, origin)
        _date(dataset, origin)
        _name(dataset)


def _identify(dataset: "Dataset", origin: Origin) -> None:
    """Elements of patient and study exactly as the slices have them: byte for byte, whatever they hold."""
    from pydicom.datadict import dictionary_VR, tag_for_keyword
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import Tag

    if "Rows" in dataset:
        dataset.BodyPartExamined = "CHEST"  # unpaired, so that no laterality of the series is asked for
    if "ContentLabel" in dataset:
        dataset.ContentCreatorName = ""  # nobody; type 2, which highdicom leaves out (PS3.3 Table 10-12)
    dataset.set_original_encoding(False, True)  # as it will be written: raw elements stay untouched
    for keyword in REQUIRED:
        setattr(dataset, keyword, "")
    dataset.StudyInstanceUID = origin.study_uid
    dated = {f"{prefix}{what}" for prefix in WHEN[:-1] for what in ("Date", "Time")}
    for keyword, value in origin.identity.items():
        if keyword in dated or (keyword == "PositionReferenceIndicator" and keyword not in dataset):
            continue
        tag = Tag(tag_for_keyword(keyword) or 0)
        padded = value + b" " * (len(value) % 2)
        element = RawDataElement(tag, dictionary_VR(tag), len(padded), padded, 0, False, True)
        dataset[tag] = element


def _date(dataset: "Dataset", origin: Origin) -> None:
    for keyword in MADE_AT:
        dataset.pop(keyword, None)
    for item in dataset.get("ContributingEquipmentSequence", []):
        item.pop("ContributionDateTime", None)
    date, time = UNKNOWN_DATE, UNKNOWN_TIME
    for prefix in WHEN:
        found = _text(origin, f"{prefix}Date")
        if re.fullmatch(r"(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])", found):
            date, time = found, _text(origin, f"{prefix}Time")
            break
    if not re.fullmatch(r"([01]\d|2[0-3])[0-5]\d[0-5]\d(\.\d{1,6})?", time):
        time = UNKNOWN_TIME
    for keyword, value in (("ContentDate", date), ("ContentTime", time)):
        if keyword in dataset:
            setattr(dataset, keyword, value)


def _text(origin: Origin, keyword: str) -> str:
    return origin.identity.get(keyword, b"").decode("latin-1").strip(" \0")


def _name(dataset: "Dataset") -> None:
    """Replace the placeholders by UIDs made from the content."""
    for element in _uids(dataset):
        if element.keyword == "DimensionOrganizationUID":  # highdicom draws it at random
            element.value = DIMENSIONS
    digest = _digest(dataset)
    for element in _uids(dataset):
        if str(element.value).startswith(STAND):
            element.value = uid_of(digest, str(element.value))
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID


def _uids(dataset: "Dataset") -> "Iterator[DataElement]":
    """Elements with UIDs, but for those of frames, which refer to the scan alone."""
    from pydicom.dataelem import DataElement

    for element in dataset.elements():
        if not isinstance(element, DataElement) or element.keyword == "PerFrameFunctionalGroupsSequence":
            continue
        if element.VR == "UI":
            yield element
        elif element.VR == "SQ":
            for item in element.value:
                yield from _uids(item)


def _digest(dataset: "Dataset") -> bytes:
    """SHA-256 of all elements as they are written."""
    from pydicom.dataset import Dataset
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_dataset

    digest, rest = hashlib.sha256(), Dataset()
    for element in dataset.elements():
        if element.tag in PIXELS:
            digest.update(dataset[element.tag].value)
        else:
            rest[element.tag] = element
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = False, True
    write_dataset(buffer, rest)
    digest.update(buffer.getvalue())
    return digest.digest()


def uid_of(digest: bytes, stand: str) -> str:
    """A UID under 2.25, from a UUID by hash (PS3.5 B.2, RFC 9562 5.8)."""
    value = bytearray(hashlib.sha256(digest + stand.encode()).digest()[:16])
    value[6], value[8] = value[6] & 0x0F | 0x80, value[8] & 0x3F | 0x80
    return f"2.25.{UUID(bytes=bytes(value)).int}"
