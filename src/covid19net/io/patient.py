"""Whose scan it is, in words, for a report that was asked to name the patient."""

from collections.abc import Mapping, Sequence
import re
from warnings import catch_warnings

from covid19net.errors import InputError
from covid19net.origin import Origin

LONGEST = 200  # characters; a name has at most 64 in each of its groups (DICOM PS3.5 6.2)
LABELS = {
    "PatientName": "Name",
    "PatientID": "Patient ID",
    "PatientBirthDate": "Born",
    "StudyDate": "Study of",
    "AccessionNumber": "Accession number",
}


def identity_of(origin: Origin | None) -> dict[str, str]:
    """Name, patient ID, date of birth, date of the study and accession number, as people write them.

    Args:
        origin: of the scan; None for one that was not read from DICOM.

    Returns:
        Label -> text; what the files leave empty is absent.

    Raises:
        InputError: the scan carries neither a name nor a patient ID.
    """
    with catch_warnings(action="ignore"):  # pydicom's quote the headers
        found = _decoded(origin.identity if origin else {})
    if not {"Name", "Patient ID"} & found.keys():
        raise InputError("the scan does not say whose it is: a report cannot name the patient")
    return found


def _decoded(raw: Mapping[str, bytes]) -> dict[str, str]:
    from pydicom.charset import convert_encodings, decode_bytes

    codes = raw.get("SpecificCharacterSet", b"").decode("ascii", "replace").split("\\")
    encodings = convert_encodings(codes if any(codes) else ["ISO_IR 6"])
    found = {}
    for keyword, label in LABELS.items():
        value = raw.get(keyword, b"")
        if keyword == "PatientName":
            text = _name(value, encodings)
        else:
            text = decode_bytes(value, encodings, {0x0A, 0x0C, 0x0D, 0x5C})  # delimiters of PS3.5 6.1.2.5.3
        text = " ".join(text.replace("\0", " ").split())[:LONGEST]
        if text:
            found[label] = (
                re.sub(r"^(\d{4})(\d{2})(\d{2})$", r"\1-\2-\3", text) if "Date" in keyword else text
            )
    return found


def _name(value: bytes, encodings: Sequence[str]) -> str:
    """FAMILY, Given Middle, as in "ROE, Richard Q"; the ideographic form, if any, in brackets."""
    from pydicom.valuerep import PersonName

    name = PersonName(value, list(encodings))
    given = " ".join(filter(None, (name.given_name, name.middle_name, name.name_suffix)))
    plain = ", ".join(filter(None, (name.family_name, given)))
    drawn = name.ideographic.replace("^", " ").strip()
    return f"{plain} ({drawn})" if drawn and plain else plain or drawn
