"""Lungs drawn on small scans, and the DICOM objects that hold such drawings: SEG (highdicom), RTSTRUCT."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from contourpy import contour_generator
import highdicom
import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, RTStructureSetStorage, generate_uid

from covid19net.phantom import PhantomCase
from tests.dicom_files import affine, chest

SHAPE = (12, 48, 40)
SPACING = (5.0, 8.0, 8.0)  # mm, axes (z, y, x); 320 mm wide


class Drawn(NamedTuple):
    """A scan with its lungs.

    Attributes:
        hu: int16, axes (slice, row, column).
        left, right: bool, the patient's lungs, same axes.
        place: 4x4, from (slice, row, column) to mm, LPS.
    """

    hu: np.ndarray
    left: np.ndarray
    right: np.ndarray
    place: np.ndarray


def chest_drawn(seed: int = 0) -> Drawn:
    """The thorax of `chest`, upright: the lung at low x is the patient's right one, the larger.

    The drawings end at other slices than the lungs, each at its own, so that top and bottom differ as well.
    """
    hu = chest(SHAPE, seed=seed)
    lungs, column = np.zeros(SHAPE, bool), np.arange(SHAPE[2])
    lungs[:, 4:-4, 4:-4] = hu[:, 4:-4, 4:-4] < -700  # without the air around the body
    left, right = lungs & (column >= 20), lungs & (column < 20)
    left[:2], right[:1] = False, False
    return Drawn(hu, left, right, affine(SPACING))


def phantom_drawn(case: PhantomCase) -> Drawn:
    """A phantom patient's scan, within what 12 bits hold, and lungs."""
    lungs = case.lungs.values
    return Drawn(np.clip(case.volume.hu, -1024, 3071), lungs == 2, lungs == 1, np.array(case.volume.affine))


def turned(case: Drawn, axes: Sequence[int]) -> Drawn:
    """The same patient stored with some array axes reversed, as in other positions on the table."""
    place = case.place.copy()
    for axis in axes:
        place[:3, 3] += place[:3, axis] * (case.hu.shape[axis] - 1)
        place[:3, axis] *= -1
    return Drawn(*(np.flip(each, axes) for each in case[:3]), place)


def segmentation(
    masks: Mapping[str, np.ndarray],
    slices: Sequence[Dataset],
    *,
    place: np.ndarray | None = None,
    **kwargs: object,
) -> Dataset:
    """A DICOM SEG, written by highdicom; frames without any of a segment are left out, as highdicom does.

    Args:
        masks: by name of the segment (in SegmentDescription; labels are numbers), axes (slice, row, column).
        slices: the CT that was segmented, in order.
        place: 4x4 of the masks' own grid; by default that of the CT.
        kwargs: of highdicom's Segmentation.
    """
    described = []
    for number, name in enumerate(masks, 1):
        segment = highdicom.seg.SegmentDescription(
            number, f"Segment {number}", codes.SCT.AnatomicalStructure, codes.SCT.Lung, "MANUAL"
        )
        segment.SegmentDescription = name
        described.append(segment)
    pixels = np.stack(list(masks.values()), axis=-1).astype(np.uint8)
    if place is not None:
        frame = slices[0].FrameOfReferenceUID
        pixels = highdicom.Volume(
            pixels,
            place,
            "PATIENT",
            frame_of_reference_uid=frame,
            channels={"SegmentNumber": list(range(1, len(masks) + 1))},
        )
    for each in slices:
        for keyword in (
            "PatientBirthDate",
            "StudyID",
            "StudyDate",
            "StudyTime",
            "AccessionNumber",
            "ReferringPhysicianName",
        ):
            if keyword not in each:
                setattr(each, keyword, "")
    kind = kwargs.pop("segmentation_type", "BINARY")
    return highdicom.seg.Segmentation(
        slices, pixels, kind, described, generate_uid(prefix=None), 9, generate_uid(prefix=None), 1, "NONE",
        "tests", "1", "0", **kwargs,
    )  # fmt: skip


def outlines(mask: np.ndarray, place: np.ndarray) -> list[np.ndarray]:
    """Closed contours of a mask, mm, each (n, 3); half way between pixels, holes as contours of their own."""
    found = []
    for index, plane in enumerate(mask):
        for line in contour_generator(z=np.pad(plane, 1).astype(float)).lines(0.5):
            columns, rows = line[:-1].T - 1  # the last point is the first
            points = np.stack([np.full(len(rows), index), rows, columns, np.ones(len(rows))])
            found.append((place @ points)[:3].T)
    return found


def structure_set(masks: Mapping[str, np.ndarray], slices: Sequence[Dataset]) -> Dataset:
    """An RTSTRUCT of masks, axes (slice, row, column), on the CT slices in order."""
    place = np.eye(4)
    first, second = (np.array(each.ImagePositionPatient, float) for each in slices[:2])
    cosines = np.array(slices[0].ImageOrientationPatient, float)
    place[:3, 0], place[:3, 3] = second - first, first
    place[:3, 1] = cosines[3:] * float(slices[0].PixelSpacing[0])
    place[:3, 2] = cosines[:3] * float(slices[0].PixelSpacing[1])
    return structures({name: outlines(mask, place) for name, mask in masks.items()}, slices[0])


def structures(
    drawn: Mapping[str, Sequence[np.ndarray]], like: Dataset, kind: str = "CLOSED_PLANAR"
) -> Dataset:
    """An RTSTRUCT of contours.

    Args:
        drawn: by name, contours in mm, each (n, 3).
        like: a slice of the CT they are drawn on.
        kind: ContourGeometricType of all.
    """
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = RTStructureSetStorage, ExplicitVRLittleEndian
    meta.MediaStorageSOPInstanceUID = generate_uid(prefix=None)
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = RTStructureSetStorage, meta.MediaStorageSOPInstanceUID
    dataset.Modality, dataset.PatientID = "RTSTRUCT", like.PatientID
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = like.StudyInstanceUID, generate_uid(prefix=None)
    series = _item(SeriesInstanceUID=like.SeriesInstanceUID)
    study = _item(RTReferencedSeriesSequence=[series])
    dataset.ReferencedFrameOfReferenceSequence = [
        _item(FrameOfReferenceUID=like.FrameOfReferenceUID, RTReferencedStudySequence=[study])
    ]
    dataset.StructureSetROISequence = [
        _item(ROINumber=n, ROIName=name, ReferencedFrameOfReferenceUID=like.FrameOfReferenceUID)
        for n, name in enumerate(drawn, 7)
    ]
    dataset.ROIContourSequence = [
        _item(ReferencedROINumber=n, ContourSequence=[_contour(points, kind) for points in contours])
        for n, contours in enumerate(drawn.values(), 7)
    ]
    return dataset


def _contour(points: np.ndarray, kind: str) -> Dataset:
    data = [f"{value:.8g}" for value in points.ravel()]
    return _item(ContourGeometricType=kind, NumberOfContourPoints=len(points), ContourData=data)


def _item(**values: object) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item
