"""What the tests of public collections share: miniature scans, tables and TCIA downloads in both styles."""

from collections.abc import Mapping
import csv
import json
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
import pytest
import SimpleITK

from covid19net.cohort import read_manifest
from covid19net.collections import collection_of, write_manifest
from covid19net.errors import InputError
from tests.dicom_files import chest, ct_slices, with_preamble, write
from tests.drawn_objects import Drawn, segmentation, structure_set

SHAPE = (12, 48, 40)
SPACING = (8.0, 8.0, 5.0)  # mm along x, y, z; 320 mm wide
STRUCTURES = "1.2.840.10008.5.1.4.1.1.481.3"
SEGMENTS = "1.2.840.10008.5.1.4.1.1.66.4"
Rows = list[dict[str, object]]


def image(path: Path, array: np.ndarray, *, flipped: bool = False, packed: bool = False) -> Path:
    """Write an array, axes (z, y, x), with SimpleITK; flipped: x and y turned, as some of LUNA16 are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = SimpleITK.GetImageFromArray(array)
    made.SetSpacing(SPACING)
    made.SetOrigin((-160, -190, -60))
    if flipped:
        made.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    SimpleITK.WriteImage(made, str(path), useCompression=packed)
    return path


def lungs(value: int = 1) -> np.ndarray:
    return (chest(SHAPE) < -700).astype(np.uint8) * np.uint8(value)


def table(path: Path, rows: Rows) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def made(name: str, folder: Path, **kwargs: object) -> tuple[Rows, dict[str, object]]:
    """Values of the manifest's rows with their ids, and the file beside it."""
    out = folder.parent / "out" / "manifest.csv"
    kwargs.setdefault("allow_incomplete", True)
    written = write_manifest(collection_of(name), folder, out, **kwargs)
    patients = read_manifest(out)
    assert all(p.patient_id.startswith(f"{name}-") for p in patients)
    rows = [dict(p.values) | {"id": p.patient_id.removeprefix(f"{name}-")} for p in patients]
    return rows, json.loads(written.sidecar.read_text())


def cells(folder: Path) -> list[dict[str, str]]:
    """The manifest that `made` wrote, as text, with the columns that the program does not know."""
    with (folder.parent / "out" / "manifest.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def refused(name: str, folder: Path, words: str, **kwargs: object) -> None:
    with pytest.raises(InputError, match=words) as error:
        made(name, folder, **kwargs)
    assert "\n" not in str(error.value)


class Download:
    """A TCIA download that grows by series, in style "names" or "uids", with its metadata.csv."""

    def __init__(self, folder: Path, collection: str, style: str) -> None:
        self.top = folder / "renamed by somebody"
        self.collection, self.style = collection, style
        self.rows: Rows = []
        self.studies: dict[tuple[str, str], str] = {}

    def add(self, patient: str, study: str, series: str, *, count: int = 12, **tags: object) -> Path:
        """Write a CT series; study is "MM-DD-YYYY text"; tags are values of elements, or spacing in mm."""
        spacing = float(tags.pop("spacing", 5.0))
        place = np.eye(4)
        place[:3, :3] = np.array([[0, 0, 8.0], [0, 8.0, 0], [spacing, 0, 0]])
        hu = tags.pop("hu", None)
        hu = chest((count, *SHAPE[1:])) if hu is None else hu
        made = ct_slices(hu, place=tags.pop("place", place), PatientID=patient)
        uids = {
            "StudyInstanceUID": self._study(patient, study),
            "SeriesInstanceUID": generate_uid(prefix=None),
        }
        for dataset in made:
            for keyword, value in (uids | {"PatientAge": None} | tags).items():
                if value is None:
                    delattr(dataset, keyword)
                else:
                    setattr(dataset, keyword, value)
        modality = str(tags.get("Modality", "CT"))
        folder = self._folder(patient, study, series, uids["SeriesInstanceUID"], modality, count)
        return write([with_preamble(d) for d in made], folder, [f"1-{i + 1:03}.dcm" for i in range(count)])

    def mask(self, patient: str, study: str, series: str, sop_class: str, of: Path | None) -> Path:
        """Write an object that names the series of a folder, as SEG and RTSTRUCT do."""
        uid = generate_uid(prefix=None)
        modality = "SEG" if sop_class == SEGMENTS else "RTSTRUCT"
        path = self._folder(patient, study, series, uid, modality, 1) / "1-1.dcm"
        path.parent.mkdir(parents=True)
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, uid
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
        dataset.SOPClassUID, dataset.Modality, dataset.PatientID = sop_class, modality, patient
        dataset.SeriesInstanceUID = uid
        if of is not None:
            dataset.SourceImageSequence = [pydicom.Dataset()]
            first = pydicom.dcmread(next(of.iterdir()))
            dataset.SourceImageSequence[0].SeriesInstanceUID = first.SeriesInstanceUID
        dataset.save_as(path, enforce_file_format=False)
        return path

    def scan(self, patient: str, study: str, series: str, case: Drawn) -> Path:
        """Write the CT series of a case."""
        return self.add(patient, study, series, count=len(case.hu), hu=case.hu, place=case.place)

    def drawn(self, patient: str, study: str, masks: Mapping[str, np.ndarray], of: Path, kind: str) -> Path:
        """Write masks on a series as a segmentation (SEGMENTS) or a structure set (STRUCTURES); the file."""
        slices = sorted(
            (pydicom.dcmread(path) for path in of.iterdir()), key=lambda each: -each.InstanceNumber
        )
        make, modality = (segmentation, "SEG") if kind == SEGMENTS else (structure_set, "RTSTRUCT")
        dataset = make(masks, slices)
        uid = str(dataset.SeriesInstanceUID)
        path = self._folder(patient, study, modality, uid, modality, 1) / "1-1.dcm"
        path.parent.mkdir(parents=True)
        dataset.save_as(path)
        return path

    def _study(self, patient: str, study: str) -> str:
        return self.studies.setdefault((patient, study), generate_uid(prefix=None))

    def _folder(self, patient: str, study: str, series: str, uid: str, modality: str, count: int) -> Path:
        when, text = study.split(" ", 1)
        names = (
            f"{when}-NA-{text}-{len(self.studies):05}",
            f"{len(self.rows)}.000000-{series}-{len(self.rows):05}",
        )
        if self.style == "uids":
            names = self._study(patient, study), uid
        row = {
            "Series UID": uid,
            "Collection": self.collection,
            "Subject ID": patient,
            "Study Description": text,
        }
        row |= {
            "Study Date": when,
            "Series Description": series,
            "Modality": modality,
            "Number of Images": count,
        }
        self.rows.append(row | {"File Location": "\\".join([".", self.collection, patient, *names])})
        return self.top / patient / names[0] / names[1]

    def done(self) -> Path:
        """Write metadata.csv; the folder."""
        table(self.top / "metadata.csv", self.rows)
        return self.top


def make_lctsc(folder: Path, cases: Mapping[str, Drawn], style: str = "names") -> Path:
    """A miniature LCTSC: a CT and a structure set with `Lung_L`, `Lung_R` and `Heart` for each patient.

    Args:
        folder: where the download is to lie, one level down.
        cases: by the patient's name, such as LCTSC-Train-S1-001.
        style: of the download, "names" or "uids".

    Returns:
        The folder to give to `cohort from lctsc`.
    """
    load = Download(folder, "LCTSC", style)
    for name, case in cases.items():
        scan = load.scan(name, "03-03-2004 THORAX", "CT", case)
        masks = {"Lung_L": case.left, "Lung_R": case.right, "Heart": _corner(case)}
        load.drawn(name, "03-03-2004 THORAX", masks, scan, STRUCTURES)
    return load.done()


def make_lung1(folder: Path, cases: Mapping[str, Drawn], style: str = "names") -> Path:
    """A miniature NSCLC-Radiomics: CT, segmentation, structure set for each patient, and the clinical table.

    LUNG1-128 has no segmentation, as in the collection; even numbers have `Lungs-Total` instead of two lungs.

    Args:
        folder: where the download is to lie, one level down.
        cases: by the patient's name, such as LUNG1-001.
        style: of the download, "names" or "uids".

    Returns:
        The folder to give to `cohort from nsclc-radiomics`.
    """
    load = Download(folder, "NSCLC-Radiomics", style)
    for name, case in cases.items():
        scan = load.scan(name, "09-18-2008 StudyID", "CT", case)
        both = case.left | case.right
        lungs = (
            {"Lungs-Total": both}
            if int(name[-3:]) % 2 == 0
            else {"Lung-Left": case.left, "Lung-Right": case.right}
        )
        load.drawn(name, "09-18-2008 StudyID", {"GTV-1": _corner(case)} | lungs, scan, STRUCTURES)
        if name != "LUNG1-128":
            load.drawn(name, "09-18-2008 StudyID", {"GTV-1": _corner(case)} | lungs, scan, SEGMENTS)
    folder = load.done()
    lung1_table(folder, list(cases))
    return folder


def _corner(case: Drawn) -> np.ndarray:
    """A drawing that is no lung."""
    mask = np.zeros_like(case.left)
    mask[2:5, 2:8, 2:8] = True
    return mask


def lung1_table(folder: Path, names: list[str]) -> Path:
    """The clinical table of NSCLC-Radiomics: the second patient's age is missing, and she is a woman."""
    columns = ("PatientID", "age", "gender", "Survival.time", "deadstatus.event")
    people = [
        (name, "NA" if n == 1 else 60.25 + n, "female" if n == 1 else "male", 2165, 1)
        for n, name in enumerate(names)
    ]
    return table(folder / "clinical.csv", [dict(zip(columns, person, strict=True)) for person in people])
