"""Synthetic DICOM series in every variation that scanners, archives and accidents produce."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    generate_uid,
)

SPACING = (2.5, 0.7, 0.8)  # mm, axes (z, y, x)
ORIGIN = (-12.5, -20.25, -130.5)  # mm, LPS: centre of the first pixel of the lowest slice
AXIAL = (1, 0, 0, 0, 1, 0)


def chest(shape: tuple[int, int, int] = (12, 48, 40), *, seed: int = 0) -> np.ndarray:
    """Something like a thorax: air, a body, two unequal lungs, a spine, noise; int16 HU, axes (z, y, x).

    No plane of it is like another or like its mirror image, so that any flip or swap shows.
    """
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    hu = np.full(shape, -1000.0)
    hu[(x / 0.9) ** 2 + (y / 0.8) ** 2 < 1] = 40
    hu[((x + 0.4) / 0.3) ** 2 + ((y + 0.05) / 0.5) ** 2 + (z / 1.3) ** 2 < 1] = -850
    hu[((x - 0.4) / 0.25) ** 2 + ((y - 0.05) / 0.45) ** 2 + (z / 1.1) ** 2 < 1] = -820
    hu[(x / 0.1) ** 2 + ((y - 0.6) / 0.12) ** 2 < 1] = 500
    noise = np.random.default_rng(seed).normal(0, 20, shape)
    return np.clip(np.rint(hu + noise + 10 * z), -1024, 2000).astype(np.int16)


def affine(spacing: Sequence[float] = SPACING, origin: Sequence[float] = ORIGIN) -> np.ndarray:
    """4x4 of an upright scan, from indices (z, y, x) to mm, LPS."""
    matrix = np.zeros((4, 4))
    matrix[2, 0], matrix[1, 1], matrix[0, 2] = spacing
    matrix[:3, 3] = origin
    matrix[3, 3] = 1
    return matrix


def ct_slices(hu: np.ndarray, *, place: np.ndarray | None = None, **tags: object) -> list[Dataset]:
    """One CT Image dataset per slice of an array; stored as unsigned 12 bit with intercept -1024.

    Args:
        hu: whole HU from -1024 to 3071, axes (slice, row, column).
        place: 4x4 from (slice, row, column) to mm; upright by default.
        tags: other values of elements, by keyword; None removes the element.
    """
    place = affine() if place is None else place
    study, series, frame = (generate_uid(prefix=None) for _ in range(3))
    spacing = np.linalg.norm(place[:3, :3], axis=0)
    direction = place[:3, :3] / spacing
    datasets = []
    for index, image in enumerate(hu):
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.SOPClassUID = CTImageStorage
        dataset.SOPInstanceUID = generate_uid(prefix=None)
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        dataset.Modality = "CT"
        dataset.Manufacturer = "NONE"
        dataset.PatientName, dataset.PatientID = "Doe^Jane", "P-1"
        dataset.PatientSex, dataset.PatientAge = "F", "061Y"
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = (
            study,
            series,
            frame,
        )
        dataset.BodyPartExamined = "CHEST"
        dataset.ConvolutionKernel = "B30f"
        dataset.KVP, dataset.SliceThickness = "120", "2.5"
        dataset.InstanceNumber, dataset.AcquisitionNumber, dataset.SeriesNumber = len(hu) - index, 1, 3
        dataset.ImagePositionPatient = [f"{v:.10g}" for v in (place @ [index, 0, 0, 1])[:3]]
        dataset.ImageOrientationPatient = [f"{v:.10g}" for v in (*direction[:, 2], *direction[:, 1])]
        dataset.PixelSpacing = [f"{spacing[1]:.10g}", f"{spacing[2]:.10g}"]
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.Rows, dataset.Columns = image.shape
        set_pixels(dataset, image, bits=12)
        for keyword, value in tags.items():
            change(dataset, keyword, value)
        datasets.append(dataset)
    return datasets


def set_pixels(
    dataset: Dataset, hu: np.ndarray, *, bits: int = 16, signed: bool = False, intercept: int = -1024
) -> None:
    """Store HU as integers of so many bits."""
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, bits, bits - 1
    dataset.PixelRepresentation = int(signed)
    dataset.RescaleIntercept, dataset.RescaleSlope = str(intercept), "1"
    values = hu.astype(np.int32) - intercept
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    assert low <= values.min()
    assert values.max() <= high
    dataset.PixelData = values.astype("<i2" if signed else "<u2").tobytes()


def change(dataset: Dataset, keyword: str, value: object) -> None:
    """Set an element, or remove it when the value is None."""
    if value is not None:
        setattr(dataset, keyword, value)
    elif keyword in dataset:
        delattr(dataset, keyword)


def write(
    datasets: Sequence[Dataset], folder: Path, names: Sequence[str] | None = None, **kwargs: object
) -> Path:
    """Save datasets as files of a folder, named by number unless names are given.

    Elements longer than the standard allows, absent UIDs and the like are written as they are.
    """
    for index, dataset in enumerate(datasets):
        path = folder / (names[index] if names else f"{index:04d}")
        path.parent.mkdir(parents=True, exist_ok=True)
        kwargs.setdefault("enforce_file_format", False)
        dataset.save_as(path, **kwargs)
    return folder


def with_preamble(dataset: Dataset) -> Dataset:
    """A dataset that is saved with the 128 bytes before `DICM`, as files have it."""
    dataset.preamble = b"\0" * 128
    return dataset


def series(hu: np.ndarray, folder: Path, **tags: object) -> Path:
    """Write an upright or placed series (see `ct_slices`) into a folder."""
    return write([with_preamble(d) for d in ct_slices(hu, **tags)], folder)


def compressed(path: Path, syntax: int) -> None:
    """Compress a file in place with GDCM, `syntax` one of gdcm.TransferSyntax's constants."""
    import gdcm

    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    to = gdcm.ImageChangeTransferSyntax()
    to.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    to.SetInput(reader.GetImage())
    assert to.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(to.GetOutput())
    assert writer.Write()


def enhanced(hu: np.ndarray, *, order: Sequence[int] | None = None) -> Dataset:
    """One Enhanced CT object whose frames are the slices, in any order."""
    slices = ct_slices(hu)
    order = range(len(hu)) if order is None else order
    dataset = with_preamble(slices[0])
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope",
                    "RescaleIntercept", "SliceThickness"):  # fmt: skip
        delattr(dataset, keyword)
    first = ct_slices(hu)[0]
    dataset.SOPClassUID = EnhancedCTImageStorage
    dataset.NumberOfFrames = len(hu)
    shared = Dataset()
    shared.PlaneOrientationSequence = _item(ImageOrientationPatient=first.ImageOrientationPatient)
    shared.PixelMeasuresSequence = _item(PixelSpacing=first.PixelSpacing, SliceThickness="2.5")
    shared.PixelValueTransformationSequence = _item(
        RescaleSlope="1", RescaleIntercept="-1024", RescaleType="HU"
    )
    dataset.SharedFunctionalGroupsSequence = DicomSequence([shared])
    frames = []
    for index in order:
        group = Dataset()
        group.PlanePositionSequence = _item(ImagePositionPatient=ct_slices(hu)[index].ImagePositionPatient)
        frames.append(group)
    dataset.PerFrameFunctionalGroupsSequence = DicomSequence(frames)
    dataset.PixelData = b"".join((hu[i].astype(np.int32) + 1024).astype("<u2").tobytes() for i in order)
    return dataset


def _item(**values: object) -> DicomSequence:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return DicomSequence([item])


def localizer(like: Dataset) -> Dataset:
    """A frontal scout image of the same series."""
    dataset = ct_slices(chest((1, 30, 40)))[0]
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = like.StudyInstanceUID, like.SeriesInstanceUID
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    return with_preamble(dataset)
