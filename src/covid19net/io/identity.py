"""What later stages may know of a scan's headers: which scan it is and how it was made, not whose it is."""

from collections.abc import Sequence
from math import isfinite
import re
from typing import Any

from covid19net.io.header import Slice


def headers_of(slices: Sequence[Slice]) -> dict[str, Any]:
    """What later stages and reports may use of the headers; no names, identifiers of persons or dates.

    Args:
        slices: in the order of the volume.
    """
    first = slices[0]
    values = {
        "format": "DICOM",
        "study_uid": safe_uid(first.tag("StudyInstanceUID")),
        "series_uid": safe_uid(first.tag("SeriesInstanceUID")),
        "frame_of_reference_uid": safe_uid(first.tag("FrameOfReferenceUID")),
        "sop_class_uid": safe_uid(first.tag("SOPClassUID")),
        "sop_instance_uids": [safe_uid(s.tag("SOPInstanceUID")) for s in slices],
        "modality": _plain(first.tag("Modality")),
        "manufacturer": _plain(first.tag("Manufacturer")),
        "model": _plain(first.tag("ManufacturerModelName")),
        "kernel": _plain(first.tag("ConvolutionKernel")),
        "kvp": _float(first.tag("KVP")),
        "slice_thickness_mm": _float(first.tag("SliceThickness")),
        "transfer_syntax": safe_uid(first.stored.syntax),
        "patient_sex": first.tag("PatientSex") if first.tag("PatientSex") in ("M", "F", "O") else "",
        "patient_age_years": _age(first.tag("PatientAge")),
    }
    return {key: value for key, value in values.items() if value not in ("", None, [])}


def safe_uid(text: str) -> str:
    """A UID as it is; anything else that stands in its place is not repeated."""
    return text if len(text) <= 64 and set(text) <= set("0123456789.") else "(not a UID)"


def _plain(text: str) -> str:
    """A short technical name; empty when it holds what names (^) or dates are written with."""
    technical = re.fullmatch(r"[A-Za-z0-9 _.,/+()\\-]{1,48}", text)
    return text if technical and not re.search(r"\d[./-]\d+[./-]\d", text) else ""


def _float(text: str) -> float | None:
    try:
        return value if isfinite(value := float(text)) else None
    except ValueError:
        return None


def _age(text: str) -> float | None:
    """Years from an age string (PS3.5 6.2: three digits and D, W, M or Y)."""
    per_year = {"Y": 1.0, "M": 12.0, "W": 52.18, "D": 365.25}
    if len(text) != 4 or not text[:3].isdigit() or text[3] not in per_year:
        return None
    return round(int(text[:3]) / per_year[text[3]], 2)
