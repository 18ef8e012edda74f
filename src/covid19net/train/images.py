"""The lung images of a cohort, made once and kept on disk under a key of everything that decides them."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
import hashlib
from pathlib import Path
import secrets

import numpy as np

from covid19net.cohort import Patient, write_table
from covid19net.errors import InputError, NotChestCTError, ResourceError, naming
from covid19net.io import read_ct
from covid19net.io.files import write_fault
from covid19net.models import Models
from covid19net.pipeline import segment
from covid19net.preprocess import (
    AIR,
    SLICE_SIZE,
    WHOLE,
    lung_image,
    segmentation_affine,
    shrunken,
)
from covid19net.volume import CTVolume, Overlay

RECIPE = "lung-image-1"  # of the preprocessing; another name makes every image anew
LEFT_OUT = "left-out.csv"  # patients whose scan could not be used
SAME_PLACE = 0.5  # mm a corner of a mask's grid may lie beside its scan's
Shrink = tuple[int, int, int]


@dataclass(frozen=True)
class Sample:
    """One patient's lung image and class.

    Attributes:
        path: a .npy file, float16, (48, 240, 360).
        positive: of the class to be found.
        patient: the row of the manifest.
    """

    path: Path
    positive: bool
    patient: Patient

    def read(self, shrink: Shrink = WHOLE) -> np.ndarray:
        """The image, float16; shrunken images have mean 0 and sd 1 again.

        Args:
            shrink: voxels along (z, y, x) whose mean is taken; whole divisors of the image's size.
        """
        image: np.ndarray = np.load(self.path)
        return image if shrink == WHOLE else shrunken(image, shrink).astype(np.float16)


@dataclass(frozen=True)
class Images:
    """Lung images of patients on disk.

    Attributes:
        paths: patient_id -> .npy, float16, (48, 240, 360).
        unusable: patient_id of those without one -> why.
    """

    paths: dict[str, Path]
    unusable: dict[str, str]


def content_hash(place: Path) -> str:
    """SHA-256 of a file's bytes, or of every file's under a folder, in the order of their names."""
    digest = hashlib.sha256()
    files = sorted(p for p in place.rglob("*") if p.is_file()) if place.is_dir() else [place]
    for file in files:
        with file.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()


def image_key(patient: Patient, lungs: str) -> str:
    """Key of a patient's lung image: content of scan and mask, or the network that finds the lungs.

    Args:
        patient: a row of the manifest with a scan.
        lungs: SHA-256 of the lung network, for patients without a mask.
    """
    scan, mask = patient.values["scan"], patient.values.get("lungs")
    parts = (RECIPE, content_hash(Path(str(scan))), content_hash(Path(str(mask))) if mask else lungs)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def on_slice_grid(mask: np.ndarray, volume: CTVolume) -> Overlay:
    """A lung mask of a scan as the lung network would give it: 256 x 256 a slice, end slices empty.

    Args:
        mask: on the scan's grid, (z, y, x); not 0 is lung.
        volume: the scan.
    """
    rows, columns = (np.linspace(0, n - 1, SLICE_SIZE).round().astype(int) for n in mask.shape[1:])
    small = (mask[:, rows][:, :, columns] > 0).astype(np.uint8)
    small[[0, -1]] = 0
    return Overlay(small, segmentation_affine(volume))


def scan_and_lungs(patient: Patient, models: Models | None) -> tuple[CTVolume, Overlay]:
    """Read a patient's scan, and find or read the lungs: one slice of 256 x 256 for each of the scan's.

    Raises:
        InputError: scan or mask cannot be read or do not fit, or there is neither mask nor network.
        NotChestCTError: no lungs.
    """
    volume = read_ct(Path(str(patient.values["scan"]))).volume
    volume = replace(volume, hu=np.maximum(volume.hu, AIR))
    if "lungs" not in patient.values:
        if models is None:
            raise InputError(f"row {patient.row}: no lung mask, and no network to find the lungs with")
        return volume, segment(volume, models)[0].mask
    mask = read_mask(Path(str(patient.values["lungs"])), volume)
    return volume, on_slice_grid(mask, volume)


def patient_image(patient: Patient, models: Models | None) -> np.ndarray:
    """Cut out a patient's lung image: float32, (48, 240, 360).

    Raises:
        InputError: see `scan_and_lungs`.
        NotChestCTError: no usable lungs.
    """
    return lung_image(*scan_and_lungs(patient, models)).values


def read_mask(path: Path, volume: CTVolume) -> np.ndarray:
    """Values of a lung mask on the grid of its scan: uint8, (z, y, x).

    Raises:
        InputError: it cannot be read, or lies on another grid.
    """
    mask = read_ct(path).volume
    corners = np.array([[*corner, 1] for corner in np.ndindex(2, 2, 2)]) * [*(n - 1 for n in volume.shape), 1]
    apart = np.abs(corners @ (mask.affine - volume.affine).T).max()
    if mask.shape != volume.shape or apart > SAME_PLACE:
        raise InputError(f"{path.name}: the lung mask is not on its scan's grid")
    return mask.hu.astype(np.uint8)


def prepare(
    patients: Sequence[Patient],
    cache: Path,
    *,
    models: Models | None = None,
    workers: int = 1,
    leave_out: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Images:
    """Make the lung images that are not in the cache yet; scan and mask of a patient are hashed for it, once.

    Args:
        patients: rows of a manifest with a scan, and a lung mask each unless models are given.
        cache: folder, made where it is absent; 8 MB a patient.
        models: to find lungs where a row has no mask.
        workers: threads.
        leave_out: go on where a scan cannot be used, and say why; else the first such is a fault.
        progress: called with the number of patients done and in all.

    Raises:
        Covid19netError: a scan that cannot be used, named by its row, unless these are left out; what is not
            the fault of a scan: a full disk, damaged weights.
    """
    found = Images({}, {})
    with ThreadPoolExecutor(workers) as pool:
        jobs = [pool.submit(kept_image, patient, cache, models) for patient in patients]
        try:
            for done, (patient, job) in enumerate(zip(patients, jobs, strict=True), start=1):
                try:
                    found.paths[patient.patient_id] = job.result()
                except (InputError, NotChestCTError) as fault:
                    if not leave_out:
                        raise
                    found.unusable[patient.patient_id] = str(fault)
                if progress:
                    progress(done, len(patients))
        finally:
            pool.shutdown(cancel_futures=True)
    return found


def kept_image(patient: Patient, cache: Path, models: Models | None) -> Path:
    """A patient's lung image in the cache, made where it is not there yet.

    Raises:
        Covid19netError: the scan cannot be used; named by its row.
    """
    with naming(f"row {patient.row}"):
        path = cache / f"{image_key(patient, models.weights.lungs.card.sha256 if models else '')}.npy"
        if not path.exists():
            keep_array(path, patient_image(patient, models).astype(np.float16))
        return path


def tell_left_out(path: Path, rows: Sequence[dict[str, object]]) -> None:
    """Name the patients left out before anything is learned; a list of an earlier run goes."""
    if rows:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_table(path, list(rows))
    else:
        path.unlink(missing_ok=True)


def keep_array(path: Path, image: np.ndarray) -> None:
    """Write an array whole or not at all; two runs may write the same one.

    Raises:
        ResourceError: it cannot be written; never the fault of the scan it was made of.
    """
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            np.save(file, image)
        part.replace(path)
    except OSError as error:
        raise ResourceError(str(write_fault(path, error))) from error
    finally:
        part.unlink(missing_ok=True)
