"""Image files of a download: whether they hold Hounsfield units, and lung masks as training takes them."""

from collections.abc import Collection
from pathlib import Path
import re

import numpy as np

from covid19net.collections.layout import search
from covid19net.errors import InputError
from covid19net.io import read_ct, write_volume
from covid19net.io.files import source_of
from covid19net.io.itk import READERS, read_image
from covid19net.io.nifti import Header
from covid19net.volume import Overlay

SAME_PLACE = 0.5  # mm between the corners of a mask and those of its scan, at most
BRIGHTEST_PICTURE = 255


def header_of(path: Path) -> Header:
    """The header of a NIfTI, NRRD or MetaImage file.

    Raises:
        InputError: damaged, or its voxels are not beside it.
    """
    suffix = next(s for s in sorted(READERS, key=len, reverse=True) if path.name.lower().endswith(s))
    return READERS[suffix][1](source_of(path, path.name))


def refuse_picture(path: Path) -> None:
    """Refuse values of 8 bits by the header alone: they are grey levels of a window, not Hounsfield units.

    Raises:
        InputError: 8-bit values, or a header that cannot be read.
    """
    if header_of(path).kind.itemsize == 1:
        raise InputError(f"{path.name}: 8-bit values, not Hounsfield units; refused")


def refuse_window(path: Path) -> None:
    """Refuse grey levels of 0 to 255 in whatever type they are stored; reads the whole file.

    Raises:
        InputError: no value below 0 and none above 255.
    """
    hu = read_ct(path).volume.hu
    if hu.min() >= 0 and hu.max() <= BRIGHTEST_PICTURE:
        raise InputError(f"{path.name}: values of 0 to 255, a window and not Hounsfield units; refused")


def paired(folder: Path, name: re.Pattern[str], mask_folder: str) -> tuple[dict[str, Path], dict[str, Path]]:
    """Scans and masks that share their names, told apart by the folder they lie in.

    Args:
        folder: of the download.
        name: of a scan or mask, whole.
        mask_folder: what stands, in lower case, in the name of a folder above masks.

    Returns:
        File name -> scan, and file name -> mask.

    Raises:
        InputError: a scan or mask is there twice.
    """
    scans: dict[str, Path] = {}
    masks: dict[str, Path] = {}
    for path in search(folder, lambda entry: entry.is_file() and bool(name.fullmatch(entry.name))):
        above = path.relative_to(folder).parts[:-1]
        kind = masks if any(mask_folder in part.lower() for part in above) else scans
        if path.name in kind:
            raise InputError(f"{path.name}: there twice in {folder.name}; is the download there twice?")
        kind[path.name] = path
    return scans, masks


def lung_mask(mask: Path, scan: Path, made: Path, lungs: Collection[int] = ()) -> Path:
    """A mask of 0 and 1 on its scan's grid: the file itself, or a converted one.

    Training takes 255 for "unknown" and any other value for lung, so other values cannot stay.

    Args:
        mask: its file.
        scan: the scan's.
        made: folder for the converted mask, made where it is absent.
        lungs: the values that are lung; by default all but 0.

    Raises:
        InputError: it cannot be read, holds no lung, or is not on the scan's grid.
    """
    ours, theirs = header_of(mask), header_of(scan)
    corners = np.array([[*c, 1] for c in np.ndindex(2, 2, 2)]) * [*(n - 1 for n in ours.shape), 1]
    apart = np.abs(corners @ (ours.affine - theirs.affine).T).max()
    if ours.shape != theirs.shape or apart > SAME_PLACE:
        raise InputError(f"{mask.name}: the lung mask is not on its scan's grid")
    volume = read_image(source_of(mask, mask.name)).volume
    found = {int(value) for plane in volume.hu for value in np.unique(plane)}
    wanted = set(lungs) or found - {0}
    if not found & wanted:
        raise InputError(f"{mask.name}: the mask holds no lung")
    if found <= {0, 1} and wanted == {1}:
        return mask
    stem = mask.name.removesuffix(".gz").rsplit(".", 1)[0]
    made.mkdir(parents=True, exist_ok=True)
    place = made / f"{stem}.nii.gz"
    write_volume(Overlay(np.isin(volume.hu, sorted(wanted)).astype(np.uint8), volume.affine), place)
    return place
