"""What the tests of public collections share: miniature scans, tables and TCIA downloads in both styles."""

import csv
import json
from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
import pytest
import SimpleITK

from covid19net.cohort import read_manifest
from covid19net.collections import collection_of, write_manifest
from covid19net.errors import InputError
from tests.dicom_files import chest, ct_slices, with_preamble, write

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
        made = ct_slices(chest((count, *SHAPE[1:])), place=tags.pop("place", place), PatientID=patient)
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
            import pydicom

            dataset.SourceImageSequence = [pydicom.Dataset()]
            first = pydicom.dcmread(next(of.iterdir()))
            dataset.SourceImageSequence[0].SeriesInstanceUID = first.SeriesInstanceUID
        dataset.save_as(path, enforce_file_format=False)
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
