"""Whose scan it is, as people write it."""

import pytest

from covid19net.errors import InputError
from covid19net.io import read_ct, write_dicom_series
from covid19net.io.patient import identity_of
from covid19net.origin import Origin


def origin(**identity: bytes) -> Origin:
    size, spacing = (2, 2), (1.0, 1.0)
    return Origin((), None, size, spacing, (), 1.0, "1.2", "1.3", "1.4", False, identity)


def test_what_the_files_say_is_told_in_words(tmp_path, phantom):
    headers = {
        "PatientName": "ROE^Richard^Q^Dr^Jr",
        "PatientID": "77-A",
        "PatientBirthDate": "19501231",
        "StudyDate": "20201119",
        "AccessionNumber": "",
    }
    write_dicom_series(phantom.volume, tmp_path / "scan", headers)
    assert identity_of(read_ct(tmp_path / "scan").origin) == {
        "Name": "ROE, Richard Q Jr",
        "Patient ID": "77-A",
        "Born": "1950-12-31",
        "Study of": "2020-11-19",
    }


def test_names_in_other_scripts_are_read_as_the_standard_writes_them():
    """Examples of DICOM PS3.5: annex J.1 (UTF-8) and annex H.3 (ISO 2022 escapes)."""
    chinese = origin(
        SpecificCharacterSet=b"ISO_IR 192",
        PatientName="Wang^XiaoDong=王^小东=".encode(),
    )
    assert identity_of(chinese) == {"Name": "Wang, XiaoDong (王 小东)"}
    japanese = origin(
        SpecificCharacterSet=b"\\ISO 2022 IR 87",
        PatientName=b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
    )
    assert identity_of(japanese) == {"Name": "Yamada, Tarou (山田 太郎)"}


@pytest.mark.parametrize("value", [b"ROE\x00\n\r  R ", b"ROE R"])
def test_control_characters_and_padding_are_dropped(value):
    assert identity_of(origin(PatientID=value)) == {"Patient ID": "ROE R"}


def test_a_text_without_end_is_cut():
    assert len(identity_of(origin(PatientID=b"9" * 5000))["Patient ID"]) == 200


@pytest.mark.parametrize("whose", [None, origin(), origin(StudyDate=b"20201119")])
def test_a_scan_that_names_nobody_is_refused(whose):
    with pytest.raises(InputError, match="does not say whose it is"):
        identity_of(whose)
