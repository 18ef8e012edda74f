"""Writing a CT volume as a DICOM series."""

from collections.abc import Mapping
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from covid19net.errors import InputError
from covid19net.io.files import write_fault, write_whole
from covid19net.io.header import CT_IMAGE, EXPLICIT
from covid19net.volume import CTVolume

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


def write_dicom_series(
    volume: CTVolume, folder: str | Path, headers: Mapping[str, Any] | None = None
) -> list[Path]:
    """Write one CT Image Storage file per slice, uncompressed (explicit VR little endian).

    Args:
        volume: int16 HU; the first axis becomes the slices.
        folder: is made where it is absent; files in it are named by slice number, from the feet.
        headers: DICOM keywords and values for every slice (PatientID, SeriesDescription, ...); UIDs that are
            not given are made anew.

    Returns:
        The files, in slice order.

    Raises:
        InputError: HU that are not int16, a keyword that is none, or a folder that cannot be written.
        ResourceError: the disk is full.
    """
    if volume.hu.dtype != np.int16:
        raise InputError(f"DICOM slices hold whole Hounsfield units; the volume has {volume.hu.dtype}")
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_fault(folder, error) from error
    common = _common(volume, headers or {})
    paths = []
    for index in range(volume.shape[0]):
        path = folder / f"slice-{index + 1:04d}.dcm"
        dataset = _slice(common, volume, index)
        write_whole(path, lambda place, dataset=dataset: dataset.save_as(place, enforce_file_format=True))  # type: ignore[misc]
        paths.append(path)
    return paths


def _common(volume: CTVolume, headers: Mapping[str, Any]) -> "Dataset":
    """What all slices share."""
    from pydicom.dataset import Dataset
    from pydicom.uid import generate_uid

    dataset = Dataset()
    defaults = {
        "SOPClassUID": CT_IMAGE,
        "ImageType": ["DERIVED", "SECONDARY", "AXIAL"],
        "Modality": "CT",
        "StudyInstanceUID": generate_uid(prefix=None),
        "SeriesInstanceUID": generate_uid(prefix=None),
        "FrameOfReferenceUID": generate_uid(prefix=None),
        "PatientName": "",
        "PatientID": "",
        "PatientBirthDate": "",
        "PatientSex": "",
        "StudyDate": "",
        "StudyTime": "",
        "StudyID": "",
        "SeriesNumber": 1,
        "AccessionNumber": "",
        "ReferringPhysicianName": "",
        "PositionReferenceIndicator": "",
        "Manufacturer": "",
        "KVP": "",
        "AcquisitionNumber": "",
        "SliceThickness": decimal(volume.spacing[0]),
    }
    for keyword, value in {**defaults, **headers}.items():
        try:
            setattr(dataset, keyword, value)
        except (ValueError, TypeError) as error:
            raise InputError(f"{keyword} cannot be written: {error}") from error
        if keyword not in dataset:
            raise InputError(f"{keyword} is no DICOM keyword")
    direction = volume.affine[:3, :3] / volume.spacing
    dataset.ImageOrientationPatient = [decimal(v) for v in (*direction[:, 2], *direction[:, 1])]
    dataset.PixelSpacing = [decimal(volume.spacing[1]), decimal(volume.spacing[2])]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = volume.shape[1:]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = "0", "1", "HU"
    return dataset


def _slice(common: "Dataset", volume: CTVolume, index: int) -> "Dataset":
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID, generate_uid

    dataset = copy(common)
    dataset.SOPInstanceUID = generate_uid(prefix=None)
    dataset.InstanceNumber = index + 1
    place = volume.affine @ [index, 0, 0, 1]
    dataset.ImagePositionPatient = [decimal(v) for v in place[:3]]
    dataset.PixelData = np.ascontiguousarray(volume.hu[index], "<i2").tobytes()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(EXPLICIT)
    dataset.file_meta.MediaStorageSOPClassUID = UID(dataset.SOPClassUID)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return dataset


def decimal(value: float) -> str:
    """A decimal string of at most 16 characters (PS3.5 6.2), as exact as that allows."""
    for digits in range(16, 0, -1):
        text = f"{float(value) + 0.0:.{digits}g}"
        if len(text) <= 16:
            return text
    return "0"
