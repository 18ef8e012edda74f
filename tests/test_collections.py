"""Adapters of public collections on miniatures in their layouts, with the traps of each planted."""

import os
from pathlib import Path
import shutil
import zipfile

import numpy as np
import pytest
import SimpleITK

from covid19net.cli import main
from covid19net.cohort import read_manifest
from covid19net.collections import COLLECTIONS, USES, collection_of
from covid19net.collections.collect import differences
from covid19net.collections.collection import CONFIRMED, SURE, Gathered
from covid19net.errors import InputError
from tests.collections_made import SHAPE, cells, image, lungs, made, refused, table
from tests.dicom_files import chest, series

# --- facts


@pytest.mark.parametrize("collection", COLLECTIONS.values(), ids=COLLECTIONS)
def test_facts_of_a_collection(collection):
    assert set(collection.uses) | set(collection.refused) <= set(USES)
    assert not set(collection.uses) & set(collection.refused)
    assert {collection.licence.sure, collection.address.sure, collection.size.sure} <= set(SURE)
    assert collection.citation
    assert collection.claims
    if collection.licence.sure not in CONFIRMED:
        assert any(line.startswith("licence") for line in collection.awaits())
        assert "unconfirmed" in str(collection.licence)


def test_published_counts_are_compared_each():
    """The numbers of the copy of iCTCF's table: 1521 patients, 894 positive, 627 negative."""
    collection = collection_of("iCTCF")
    whole = {
        "patients in the table": 1521, "PCR positive": 894, "PCR negative": 627, "controls": 328,
        "suspected left out": 299, "Union": 1126, "Liyuan": 395, "male": 756, "female": 765,
        "covid with a CT": 769, "other with a CT": 314,
    }  # fmt: skip
    assert differences(collection, Gathered(counts=whole)) == ([], [])
    less = whole | {"PCR positive": 893}
    assert differences(collection, Gathered(counts=less))[0] == ["PCR positive: 893 found, 894 published"]


def test_an_unknown_name_is_answered_with_those_there_are():
    with pytest.raises(InputError, match="no collection of this name; there are vessel12"):
        collection_of("vesel12")


# --- VESSEL12


@pytest.fixture
def vessel12(tmp_path):
    folder = tmp_path / "download"
    for n in range(1, 21):
        image(folder / f"VESSEL12_{(n - 1) // 5}" / f"VESSEL12_{n:02}.mhd", chest(SHAPE, seed=n))
        image(folder / "VESSEL12_01-20_Lungmasks" / f"VESSEL12_{n:02}.mhd", lungs(255 if n == 3 else 1))
    return folder


def test_vessel12_scans_and_masks_of_one_name_are_told_apart(vessel12):
    """Trap: mask and scan share a name. All 20 there: nothing has to be allowed."""
    rows, beside = made("vessel12", vessel12, allow_incomplete=False)
    assert [row["id"] for row in rows] == [f"{n:02}" for n in range(1, 21)]
    assert all("Lungmasks" not in row["scan"].parts[-2] for row in rows)
    assert all("asks" in row["lungs"].parts[-2] for row in rows)
    assert "unconfirmed" in beside["licence"]
    assert beside["counts"]["scans 01 to 20"] == {"found": 20, "published": [20]}


def test_a_mask_of_255_becomes_one_of_1(vessel12):
    """Training takes 255 for unknown: left as it is, the whole lung would be ignored."""
    rows, _ = made("vessel12", vessel12)
    mask = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(rows[2]["lungs"].resolve())))
    np.testing.assert_array_equal(mask, lungs(1))


def test_vessel12_incomplete_stops_unless_allowed(vessel12):
    for path in vessel12.glob("*/VESSEL12_07.*"):
        path.unlink()
    refused("vessel12", vessel12, "scans 01 to 20: 19 found, 20 published", allow_incomplete=False)
    rows, beside = made("vessel12", vessel12)
    assert len(rows) == 19
    assert "allowed: scans 01 to 20: 19 found, 20 published" in beside["notes"]


def test_vessel12_traps(vessel12):
    scan = vessel12 / "VESSEL12_0" / "VESSEL12_01.mhd"
    copy = vessel12 / "again" / "VESSEL12_01.mhd"
    image(copy, chest(SHAPE))
    refused("vessel12", vessel12, "there twice")
    copy.unlink()
    image(scan, lungs(200))
    refused("vessel12", vessel12, "VESSEL12_01.mhd: 8-bit values")
    image(scan, chest(SHAPE), flipped=True)
    refused("vessel12", vessel12, "not on its scan's grid")


def test_a_use_that_a_collection_does_not_allow_is_refused(vessel12):
    refused("vessel12", vessel12, "refused for diagnosis: no patient with COVID-19", use="diagnosis")
    refused("vessel12", vessel12, "holds nothing for egfr; use it for lungs", use="egfr")


# --- COVID-CT-MD


@pytest.fixture
def covid_ct_md(tmp_path):
    folder = tmp_path / "COVID-CT-MD"
    ages = {"COVID-19 Cases/P001": "039Y", "COVID-19 Cases/P002": None, "Normal Cases/normal001": "040Y"}
    for place, age in (ages | {"Cap subjects/cap001": "061Y"}).items():
        series(chest(SHAPE), folder / place, PatientAge=age, PatientID="a-code", SpacingBetweenSlices=None)
    (folder / "Index.csv").write_text(
        "Label Index,Diagnosis,Relative Path,Folder/ID\n0,COVID-19,COVID-19/P001,P001\n"
    )
    return folder


def test_covid_ct_md(covid_ct_md):
    """Classes by the first word of a folder, normal left out, ages of headers, ids of folders."""
    rows, beside = made("covid-ct-md", covid_ct_md)
    found = {row["id"]: (row["label"], row.get("age"), row["sex"], row["set"]) for row in rows}
    assert found == {
        "P001": ("covid", 39, "F", "validation"),
        "P002": ("covid", None, "F", "validation"),
        "cap001": ("other", 61, "F", "validation"),
    }
    assert "1 normal left out: not pneumonia" in beside["notes"]
    refused("covid-ct-md", covid_ct_md, "COVID-19: 2 found, 169 or 171 published", allow_incomplete=False)


def test_covid_ct_md_traps(covid_ct_md):
    strange = covid_ct_md / "Cap subjects" / "P003"
    series(chest(SHAPE), strange)
    refused("covid-ct-md", covid_ct_md, "Cap subjects/P003: not a patient of this class")
    strange.rename(covid_ct_md / "COVID-19 Cases" / "P003")
    eight = series(chest(SHAPE), covid_ct_md / "COVID-19 Cases" / "P004", BitsStored=8, HighBit=7)
    refused("covid-ct-md", covid_ct_md, "P004: 8-bit images")
    shutil.rmtree(eight)
    (covid_ct_md / "COVID-19 subjects").mkdir()
    series(chest(SHAPE), covid_ct_md / "COVID-19 subjects" / "P001")
    refused("covid-ct-md", covid_ct_md, "found more than once: .*P001")


REAL = Path(os.environ.get("COVID19NET_REAL_CT", "no such folder"))


@pytest.mark.skipif(not REAL.is_dir(), reason="the two real series are not here")
def test_covid_ct_md_with_its_real_series(tmp_path):
    for name, place in (("covid-P001", "COVID-19 Cases/P001"), ("normal-001", "Normal Cases/normal001")):
        target = tmp_path / "download" / place
        target.parent.mkdir(parents=True)
        target.mkdir()
        for path in (REAL / name).iterdir():
            (target / path.name).hardlink_to(path.resolve())
    rows, _ = made("covid-ct-md", tmp_path / "download")
    assert [row["id"] for row in rows] == ["P001"]
    assert rows[0]["thickness"] == 2  # mm, of the paper's Table 1


# --- iCTCF

UNION, LIYUAN = "HUST-Union Hospital", "HUST-Liyuan Hospital"


def ictcf_table(folder: Path, morbidity: str = "Morbidity", control: str = "Control") -> None:
    rows = [
        (UNION, 1, 61, "Male", "Positive", "Positive", "Severe", "Cured"),
        (LIYUAN, 2, 40, "Female", "Positive", "Positive", "Regular", "Unknown"),
        (UNION, 3, 7, "Male", "Negative", "Negative", control, "Unknown"),
        (UNION, 4, 33, "Female", "Negative", "Positive", "Suspected (COVID-19-confirmed later)", "Unknown"),
        (LIYUAN, 5, 70, "Female", "Positive", "N/A", "Critically ill", "Deceased"),
    ]
    names = (
        "Hospital",
        "Patient",
        "Age",
        " Gender ",
        "SARS-CoV-2 nucleic acids",
        "CT",
        morbidity,
        "Mortality",
    )
    rows = [dict(zip(names, (r[0], f"Patient {r[1]}", *r[2:]), strict=True)) for r in rows]
    table(folder / "Patients.csv", rows)


@pytest.fixture
def ictcf(tmp_path):
    folder = tmp_path / "download"
    for n in range(1, 5):
        series(chest(SHAPE, seed=n), folder / "somewhere" / f"Patient {n}" / "CT", PatientAge=None)
    ictcf_table(folder)
    return folder


@pytest.mark.parametrize(
    "names", [("Morbidity", "Control"), ("Morbidity outcome", "Control (Community-acquired pneumonia)")]
)
def test_ictcf(ictcf, names):
    """COVID-19 by PCR, controls as the others, Suspected left out, hospital as centre and set."""
    ictcf_table(ictcf, *names)
    rows, beside = made("ictcf", ictcf)
    found = [
        [row.get(c) for c in ("id", "label", "set", "centre", "age", "severity", "died", "type")]
        for row in rows
    ]
    assert found == [
        ["Patient-1", "covid", "training", "Union", 61, "severe", False, None],
        ["Patient-2", "covid", "validation", "Liyuan", 40, "mild", None, None],
        ["Patient-3", "other", "training", "Union", 7, None, None, "CAP"],
    ]
    assert {"1 suspected left out", "1 without a CT"} <= set(beside["notes"])
    assert any("controls with a CT are marked CT negative" in note for note in beside["notes"])
    refused("ictcf", ictcf, "refused for prognosis: no dates", use="prognosis")


def test_ictcf_traps(ictcf):
    place = ictcf / "somewhere" / "Patient 2" / "CT"
    for path in place.iterdir():
        path.rename(path.with_name(f"{path.name}.gone"))
    (place / "IMG-0001-00001.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    for path in place.glob("*.gone"):
        path.unlink()
    refused("ictcf", ictcf, "Patient 2/CT: pictures of 8 bits")
    series(chest(SHAPE), ictcf / "again" / "Patient 1" / "CT")
    refused("ictcf", ictcf, "two folders of this patient")
    (ictcf / "Patients.csv").unlink()
    refused("ictcf", ictcf, "no CSV with the columns of iCTCF's table")


def test_ictcf_archives_are_looked_into(ictcf):
    """As downloaded: `Patient 3.zip`, told by its first image; pictures in it are refused as in a folder."""
    place = ictcf / "somewhere" / "Patient 3"
    archive = place.with_name("Patient 3.zip")
    with zipfile.ZipFile(archive, "w") as packed:
        for path in sorted((place / "CT").iterdir()):
            packed.write(path, f"Patient 3/CT/{path.name}")
    shutil.rmtree(place)
    rows, _ = made("ictcf", ictcf)
    assert rows[2]["scan"].resolve() == archive
    assert rows[2]["thickness"] == rows[0]["thickness"]
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("Patient 3/CT/IMG-0001-00001.jpg", b"\xff\xd8\xff\xe0")
    refused("ictcf", ictcf, "Patient 3.zip: pictures of 8 bits, not Hounsfield units; refused. Get the DICOM")
    archive.write_bytes(b"PK\3\4 cut")
    refused("ictcf", ictcf, "Patient 3.zip: not a complete zip archive")


def test_ictcf_slices_without_a_folder_of_their_own(ictcf):
    """DICOM files right in `Patient N` are its CT; nothing but other folders there is a gap, not "no CT"."""
    place = ictcf / "somewhere" / "Patient 1"
    for path in (place / "CT").iterdir():
        path.rename(place / path.name)
    (place / "CT").rmdir()
    rows, beside = made("ictcf", ictcf)
    assert rows[0]["scan"].resolve() == place
    assert "1 without a CT" in beside["notes"]
    (ictcf / "somewhere" / "Patient 3" / "CT").rename(ictcf / "somewhere" / "Patient 3" / "images")
    refused("ictcf", ictcf, "Patient 3: no DICOM image in its folder or archive", allow_incomplete=False)


# --- LUNA16

UIDS = ("1.3.6.1.4.1.14519.5.2.1.6279.6001.1", "1.3.6.1.4.1.14519.5.2.1.6279.6001.2")


@pytest.fixture
def luna16(tmp_path):
    """The second scan has x and y turned, as some of the download."""
    for i, uid in enumerate(UIDS):
        image(tmp_path / "download" / f"subset{i}" / f"{uid}.mhd", chest(SHAPE), flipped=i == 1)
        mask = lungs(3)
        mask[:, :, 20:][mask[:, :, 20:] == 3] = 4
        mask[4, 2:5, 2:5] = 5
        image(tmp_path / "download" / "seg-lungs-LUNA16" / f"{uid}.mhd", mask, flipped=i == 1, packed=True)
    return tmp_path / "download"


def test_luna16(luna16):
    """Values 3 and 4 are lung, 5 is not; a turned scan keeps its matrix."""
    rows, beside = made("luna16", luna16)
    assert [row["id"] for row in rows] == list(UIDS)
    for row, sign in zip(rows, (1, -1), strict=True):
        mask = SimpleITK.ReadImage(str(row["lungs"].resolve()))
        expected = lungs()
        expected[4, 2:5, 2:5] = 0
        np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(mask), expected)
        assert mask.GetDirection()[0] == sign
    assert "unconfirmed" not in beside["licence"]
    refused("luna16", luna16, "scans: 2 found, 888 published", allow_incomplete=False)
    image(luna16 / "seg-lungs-LUNA16" / f"{UIDS[1]}.mhd", lungs(3), packed=True)
    refused("luna16", luna16, "not on its scan's grid")
    image(luna16 / "seg-lungs-LUNA16" / f"{UIDS[1]}.mhd", lungs(5), flipped=True)
    refused("luna16", luna16, "holds no lung")


# --- COVID-19-CT-Seg-20


@pytest.fixture
def seg20(tmp_path):
    for name in ("coronacases_001", "coronacases_002", "radiopaedia_10_85902_1"):
        window = name.startswith("radio")
        grey = np.clip((chest(SHAPE) + 1350) / 1500 * 255, 0, 255)
        image(tmp_path / "d" / "COVID-19-CT-Seg_20cases" / f"{name}.nii.gz", grey if window else chest(SHAPE))
        for masks, value in (("Lung_Mask", 1), ("Infection_Mask", 7), ("Lung_and_Infection_Mask", 3)):
            image(tmp_path / "d" / masks / f"{name}.nii.gz", lungs(value))
    return tmp_path / "d"


def test_seg20(seg20):
    """The coronacases with the lung masks among three kinds of masks; the pictures stay out."""
    rows, beside = made("seg20", seg20)
    assert [row["id"] for row in rows] == ["coronacases_001", "coronacases_002"]
    assert {row["lungs"].parts[-2] for row in rows} == {"Lung_Mask"}
    assert all("label" not in row for row in rows)
    assert any("1 radiopaedia scans left out" in note for note in beside["notes"])
    refused("seg20", seg20, "refused for diagnosis: patients with COVID-19 only", use="diagnosis")
    picture = seg20 / "COVID-19-CT-Seg_20cases" / "radiopaedia_10_85902_1.nii.gz"
    picture.rename(picture.with_name("coronacases_003.nii.gz"))
    refused("seg20", seg20, "coronacases_003.nii.gz: values of 0 to 255")


# --- STOIC2021


@pytest.fixture
def stoic(tmp_path):
    """Ages as they are seen: 35, 035Y, 55Y, and none."""
    people = {1: ("35", "F", 1, 0), 2: ("055Y", "M", 1, 1), 3: ("85Y", "M", 0, 0), 4: (None, None, 1, 0)}
    for n, (age, sex, _, _) in people.items():
        path = image(tmp_path / "d" / "data" / "mha" / f"{n}.mha", chest(SHAPE))
        told = f"PatientAge = {age}\nPatientSex = {sex}\nPatientName = Doe^Jane\n" if age else ""
        path.write_bytes(path.read_bytes().replace(b"ElementType", told.encode() + b"ElementType", 1))
    (tmp_path / "d" / "metadata").mkdir()
    rows = [{"PatientID": n, "probCOVID": c, "probSevere": s} for n, (_, _, c, s) in people.items()]
    table(tmp_path / "d" / "metadata" / "reference.csv", rows)
    return tmp_path / "d"


def test_stoic(stoic):
    """Severity of positive patients alone, ages as bands, no label: negative is not other pneumonia."""
    rows, beside = made("stoic", stoic)
    assert [(r["id"], r["severity"], r.get("sex")) for r in rows] == [
        ("1", "mild", "F"),
        ("2", "severe", "M"),
        ("4", "mild", None),
    ]
    assert [c["age_band"] for c in cells(stoic)] == ["under 40", "50-60", ""]
    assert all("age" not in row and "label" not in row for row in rows)
    assert any("PCR positive: 3 found, 1205 published (a number that awaits" in n for n in beside["notes"])
    assert "Doe" not in (stoic.parent / "out" / "manifest.csv").read_text()
    refused("stoic", stoic, "refused for diagnosis: negative PCR is not other pneumonia", use="diagnosis")
    image(stoic / "data" / "mha" / "1.mha", lungs(200))
    refused("stoic", stoic, "1.mha: 8-bit values")
    wrong = [{"PatientID": 1, "probCOVID": 0, "probSevere": 1}]
    table(stoic / "metadata" / "reference.csv", wrong)
    refused("stoic", stoic, "probCOVID and probSevere are not what they can be")


# --- the command


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return int(end.value.code or 0)


def test_the_command(vessel12, tmp_path, capsys):
    out = tmp_path / "elsewhere" / "lungs.csv"
    assert run("cohort", "from", "vessel12", vessel12, "-o", out) == 0
    assert "Rudyanto" in capsys.readouterr().out
    assert out.with_name("lungs.source.json").exists()
    assert not out.read_text().startswith("#")  # Excel and read_manifest see a plain table
    assert run("cohort", "check", out) == 0
    assert run("cohort", "from", "vessel12") == 2
    assert run("cohort", "from", "vessel12", tmp_path / "nothing") == 2


def test_the_list(capsys):
    assert run("cohort", "from", "--list") == 0
    shown = capsys.readouterr().out
    assert all(f"{name}: " in shown for name in COLLECTIONS)


def test_a_folder_of_ones_own(tmp_path, capsys):
    """A template that does not repeat names, reads back, and is not written over."""
    folder, out = tmp_path / "ours", tmp_path / "manifest.csv"
    series(chest(SHAPE), folder / "Doe Jane")
    image(folder / "b.mha", chest(SHAPE))
    (folder / "letters").mkdir()
    assert run("cohort", "from", "folder", folder, "-o", out) == 0
    assert "2 scans; 1 other" in capsys.readouterr().out
    patients = read_manifest(out)
    assert [p.patient_id for p in patients] == ["p0001", "p0002"]
    assert set(patients[0].values) == {"patient_id", "scan"}
    assert "label" in out.read_text().splitlines()[0].split(",")
    assert run("cohort", "from", "folder", folder, "-o", out) == 2


@pytest.mark.parametrize("collection", COLLECTIONS.values(), ids=COLLECTIONS)
def test_the_page_says_what_the_code_says(collection):
    page = (Path(__file__).parents[1] / "docs" / "how-to" / "public-data.md").read_text()
    part = page.partition(f"### {collection.name}\n")[2].partition("\n### ")[0]
    facts = [str(collection.licence), str(collection.address), str(collection.size), collection.citation]
    facts += [collection.claims, *collection.refused.values(), *collection.unconfirmed]
    facts += [f"{what}: {count}" for what, count in collection.counts.items()]
    assert [fact for fact in facts if fact not in part] == []
