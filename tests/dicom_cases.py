"""Cases whose scan was read from a DICOM series, and their objects read back with pydicom alone."""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
import subprocess

import numpy as np
import pydicom

from covid19net.dicom_results import check_origin, write_dicom_results
from covid19net.dicom_results.maps import heat_map_object, lung_segmentation
from covid19net.io import read_ct
from covid19net.pipeline import CaseResult
from covid19net.quantify import quantify
from covid19net.report.case import DICOM
from covid19net.volume import Box, Finding, Overlay, Scan
from tests.cases import AFFINE, made_up_case
from tests.dicom_files import ct_slices, with_preamble, write

SEG, HEAT, NUMBERS, PICTURE, REPORT = DICOM
PATIENT = {
    "PatientName": "Doe^Jane",
    "PatientID": "P-1",
    "PatientBirthDate": "19590401",
    "StudyDate": "20200301",
    "StudyTime": "101500",
    "StudyID": "7",
    "AccessionNumber": "A-1",
    "ReferringPhysicianName": "Who^Dr",
    "PositionReferenceIndicator": "",
    "ContentDate": "20200302",
    "ContentTime": "112233.5",
}
PDF = b"%PDF-1.4\n%%EOF\n"


def dicom_case(folder: Path, *findings: Finding, **tags: object) -> CaseResult:
    """The made-up case, its scan written as DICOM into a folder and read from there."""
    case = made_up_case(*findings)
    slices = ct_slices(case.scan.volume.hu, place=AFFINE, **(PATIENT | tags))
    return replace(case, scan=read_ct(write([with_preamble(d) for d in slices], folder)))


def case_of(scan: Scan, lungs: np.ndarray, heat: np.ndarray) -> CaseResult:
    """A case with this scan, mask and map, all on one grid."""
    affine = scan.volume.affine
    return replace(
        made_up_case(),
        scan=scan,
        lungs=Overlay(lungs, affine),
        heatmap=Overlay(heat, affine),
        box=Box((0, 0, 0), scan.volume.shape),
        quantification=quantify(scan.volume, Overlay(lungs, affine)),
    )


def objects(case: CaseResult, folder: Path, pdf: bytes | None = PDF) -> dict[str, pydicom.Dataset]:
    """Write a case's objects and read them, by file name."""
    folder.mkdir(exist_ok=True)
    write_dicom_results(case, folder, pdf=pdf)
    return {name: pydicom.dcmread(folder / name) for name in DICOM if (folder / name).exists()}


def maps(case: CaseResult, folder: Path) -> dict[str, pydicom.Dataset]:
    """Mask and map alone, written and read."""
    origin = check_origin(case.scan)
    (folder / "dicom").mkdir()
    lung_segmentation(case, origin).save_as(folder / SEG)
    heat_map_object(case, origin).save_as(folder / HEAT)
    return {name: pydicom.dcmread(folder / name) for name in (SEG, HEAT)}


def mask_frames(dataset: pydicom.Dataset) -> list[tuple[int, str, tuple[float, ...], np.ndarray]]:
    """Segment, source SOPInstanceUID, position and pixels of each frame; low bits first (PS3.5 8.1.1)."""
    shape = (int(dataset.NumberOfFrames), dataset.Rows, dataset.Columns)
    bits = np.unpackbits(np.frombuffer(dataset.PixelData, np.uint8), bitorder="little")
    frames = bits[: np.prod(shape)].reshape(shape)
    return [
        (group.SegmentIdentificationSequence[0].ReferencedSegmentNumber, *_place(group), frame)
        for group, frame in zip(dataset.PerFrameFunctionalGroupsSequence, frames, strict=True)
    ]


def heat_frames(dataset: pydicom.Dataset) -> list[tuple[str, tuple[float, ...], np.ndarray]]:
    """Source SOPInstanceUID, position and whole percent of each frame, through its real world mapping."""
    shape = (int(dataset.NumberOfFrames), dataset.Rows, dataset.Columns)
    values = np.frombuffer(dataset.FloatPixelData, "<f4").reshape(shape)
    shared = dataset.SharedFunctionalGroupsSequence[0]
    found = []
    for group, frame in zip(dataset.PerFrameFunctionalGroupsSequence, values, strict=True):
        mapping = (
            group if "RealWorldValueMappingSequence" in group else shared
        ).RealWorldValueMappingSequence[0]
        assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == "1"
        share = frame * mapping.RealWorldValueSlope + mapping.RealWorldValueIntercept
        found.append((*_place(group), np.rint(100 * share)))
    return found


def dcmqi(name: str, *arguments: object) -> None:
    """Run a program of dcmqi, the reader of 3D Slicer."""
    spec = find_spec("dcmqi")
    assert spec is not None
    assert spec.origin is not None
    words = [str(Path(spec.origin).parent / "bin" / name), *map(str, arguments)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert not [line for line in said.splitlines() if line.startswith(("E:", "W:", "ERROR"))], said


def _place(group: pydicom.Dataset) -> tuple[str, tuple[float, ...]]:
    source = group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
    return source, tuple(map(float, group.PlanePositionSequence[0].ImagePositionPatient))


def geometry(dataset: pydicom.Dataset) -> tuple[list[float], list[float]]:
    """Orientation and pixel spacing of every frame."""
    shared = dataset.SharedFunctionalGroupsSequence[0]
    orientation = shared.PlaneOrientationSequence[0].ImageOrientationPatient
    return list(map(float, orientation)), list(map(float, shared.PixelMeasuresSequence[0].PixelSpacing))
