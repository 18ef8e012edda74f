"""NIfTI, NRRD and MetaImage files. The last two go through SimpleITK, whose world is LPS like ours."""

from pathlib import Path
import re
from typing import Any

import numpy as np

from covid19net.errors import InputError, VolumeError
from covid19net.io.files import LARGEST_VOLUME, Source, write_whole
from covid19net.io.nifti import check_size, is_perpendicular, read_nifti, write_nifti
from covid19net.io.pixels import AIR, MOST_HU
from covid19net.volume import CTVolume, Finding, Overlay, Scan

READERS = {
    ".nii": "NIfTI",
    ".nii.gz": "NIfTI",
    ".nrrd": "NRRD",
    ".nhdr": "NRRD",
    ".mha": "MetaImage",
    ".mhd": "MetaImage",
}
LONGEST_HEADER = 1 << 16  # bytes of text before the voxels


def read_image(source: Source) -> Scan:
    """Read one NIfTI, NRRD or MetaImage file.

    Args:
        source: a file on disk; NIfTI also inside an archive.

    Returns:
        The scan as stored, not yet upright; values that are not numbers replaced by air.

    Raises:
        InputError: damaged or cut file; a header that points to another place; colours or time in it.
        VolumeError: geometry that is none.
        NotChestCTError: a plane, not a volume.
        ResourceError: the header asks for more than any CT scan holds.
    """
    kind = READERS[_suffix(source.name)]
    if kind == "NIfTI":
        values, header = read_nifti(source)
        affine, placed, scale = header.affine, header.placed, (header.slope, header.intercept)
    else:
        values, affine, placed = _read_itk(source, kind)
        scale = (1.0, 0.0)
    hu, findings = whole_hu(values, scale)
    if not placed:
        findings.append(
            Finding("orientation-unknown", "the file does not say which side of the patient is which")
        )
    try:
        volume = CTVolume(hu, affine)
    except VolumeError as error:
        raise VolumeError(f"{source.name}: {error}") from None
    return Scan(volume, {"format": kind}, tuple(findings))


def _read_itk(source: Source, kind: str) -> tuple[np.ndarray, np.ndarray, bool]:
    """Values, affine, and whether the header gives an orientation."""
    if source.path is None:
        raise InputError(f"{source.name}: {kind} is not read inside an archive; unpack it")
    text = source.read(0, LONGEST_HEADER).decode("latin-1")
    ended = re.search(r"\r?\n\r?\n" if kind == "NRRD" else r"(?m)^ElementDataFile", text)
    if ended is None and source.size > LONGEST_HEADER:
        raise InputError(f"{source.name}: its header does not end within {LONGEST_HEADER} bytes")
    if kind == "NRRD":
        text = re.split(r"\r?\n\r?\n", text)[0]
    _check_data_file(source, text, kind)
    word = r"^space( dimension)?\s*:" if kind == "NRRD" else r"^(TransformMatrix|Orientation)\s*="
    placed = re.search(word, text, re.MULTILINE | re.IGNORECASE) is not None
    image = _load(source, source.path, kind)
    return _array(image), _affine(image), placed


def _suffix(name: str) -> str:
    return next(suffix for suffix in sorted(READERS, key=len, reverse=True) if name.lower().endswith(suffix))


def _check_data_file(source: Source, header: str, kind: str) -> None:
    """Raise unless the voxels follow the header, or are in one regular file right beside it."""
    pattern = r"^data ?file\s*:\s*(.*)$" if kind == "NRRD" else r"^ElementDataFile\s*=\s*(.*)$"
    names = [name.strip() for name in re.findall(pattern, header, re.MULTILINE | re.IGNORECASE)]
    for name in names:
        if name.upper() == "LOCAL" and source.name.lower().endswith(".mha"):
            continue
        plain = (
            re.fullmatch(r"[^/\\%]+", name)
            and name not in (".", "..")
            and not name.upper().startswith("LIST")
        )
        if not plain or source.path is None:
            raise InputError(
                f"{source.name}: its voxels are said to be in another place; only its folder is read"
            )
        beside = source.path.parent / name
        if beside.is_symlink() or not beside.is_file():
            raise InputError(f"{source.name}: the file with its voxels is not beside it")


def _load(source: Source, path: Path, kind: str) -> Any:  # noqa: ANN401
    itk = _simpleitk()
    itk.ProcessObject.SetGlobalWarningDisplay(False)  # its warnings hold file names
    reader = itk.ImageFileReader()
    reader.SetImageIO(f"{'Meta' if kind == 'MetaImage' else 'Nrrd'}ImageIO")
    reader.SetFileName(str(path))
    damaged = f"{source.name}: the file is damaged, cut short, or not what its name says"
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise InputError(damaged) from error
    _check_header(source, reader)
    try:
        return reader.Execute()
    except RuntimeError as error:
        raise InputError(damaged) from error


def _check_header(source: Source, reader: Any) -> None:  # noqa: ANN401
    """Refuse by the header alone, before voxels are allocated."""
    size = reader.GetSize()
    if reader.GetNumberOfComponents() != 1 or reader.GetPixelID() not in _pixel_bytes():
        raise InputError(f"{source.name}: colours or vectors, not one grey value per voxel")
    if any(n != 1 for n in size[3:]):
        raise InputError(f"{source.name}: {len(size)} dimensions; a CT scan has 3")
    size = size[:3]
    voxels = int(np.prod(size, dtype=object))
    beside = source
    if source.name.lower().endswith((".mhd", ".nhdr")):  # the size of the other file is not asked
        beside = Source(source.name, LARGEST_VOLUME, source.stream)
    check_size(beside, size[::-1], voxels * _pixel_bytes()[reader.GetPixelID()])


def _simpleitk() -> Any:  # noqa: ANN401
    """SimpleITK, loaded when first needed (0.1 s); it has no types."""
    import SimpleITK

    return SimpleITK


def _pixel_bytes() -> dict[int, int]:
    """SimpleITK's scalar pixel types, and their sizes."""
    itk = _simpleitk()
    names = {1: "Int8", 2: "Int16", 4: "Int32", 8: "Int64"}
    sizes = {getattr(itk, f"sitk{sign}{name}"): size for size, name in names.items() for sign in ("", "U")}
    return {**sizes, itk.sitkFloat32: 4, itk.sitkFloat64: 8}


def _array(image: Any) -> np.ndarray:  # noqa: ANN401
    array: np.ndarray = _simpleitk().GetArrayFromImage(image)
    return array.reshape(array.shape[-3:])


def _affine(image: Any) -> np.ndarray:  # noqa: ANN401
    """4x4, from array indices (z, y, x) to mm in LPS."""
    dimension = image.GetDimension()
    direction = np.array(image.GetDirection()).reshape(dimension, dimension)[:3, :3]
    affine = np.eye(4)
    affine[:3, :3] = (direction * image.GetSpacing()[:3])[:, ::-1]
    affine[:3, 3] = image.GetOrigin()[:3]
    return affine


def whole_hu(values: np.ndarray, scale: tuple[float, float] = (1.0, 0.0)) -> tuple[np.ndarray, list[Finding]]:
    """Values as int16 where all are whole numbers, else float32; padding and impossible values replaced.

    Args:
        values: stored values, axes (z, y, x), any numeric type.
        scale: slope and intercept that make HU of them.

    Returns:
        HU, at least `AIR`, and what was replaced.
    """
    for kind in (np.int16, np.float32):
        out = np.empty(values.shape, kind)
        replaced = np.zeros(3, np.int64)
        for plane, target in zip(values, out, strict=True):
            hu, counts = _limited(plane, scale)
            if kind is np.int16 and hu.dtype.kind == "f" and not np.array_equal(hu, np.rint(hu)):
                break
            target[...] = hu
            replaced += counts
        else:
            break
    return out, [
        Finding(code, text.format(n=count))
        for count, (code, text) in zip(replaced.tolist(), REPLACED.items(), strict=True)
        if count
    ]


REPLACED = {
    "not-finite": "{n} values that are no numbers were replaced",
    "padding": f"{{n}} values below {AIR} HU were set to {AIR} HU (air)",
    "values-clipped": f"{{n}} values above {MOST_HU} HU were set to {MOST_HU} HU",
}


def _limited(plane: np.ndarray, scale: tuple[float, float]) -> tuple[np.ndarray, list[int]]:
    """One slice in HU between `AIR` and `MOST_HU`; how many values were no numbers, too low, too high."""
    hu = plane if scale == (1.0, 0.0) else plane.astype(np.float64) * scale[0] + scale[1]
    strange = 0
    if hu.dtype.kind == "f" and not (finite := np.isfinite(hu)).all():
        strange = int(hu.size - np.count_nonzero(finite))
        hu = np.nan_to_num(hu, nan=AIR, posinf=MOST_HU, neginf=AIR)
    low, high = int(np.count_nonzero(hu < AIR)), int(np.count_nonzero(hu > MOST_HU))
    if low or high:
        hu = np.clip(hu, AIR, MOST_HU) if hu.dtype.kind != "u" else np.minimum(hu, MOST_HU)
    return hu, [strange, low, high]


def write_volume(volume: CTVolume | Overlay, path: str | Path) -> None:
    """Write a scan, mask or map as NIfTI (.nii, .nii.gz), NRRD (.nrrd) or MetaImage (.mha).

    The file appears under its name only when it is complete.

    Args:
        volume: int16, uint8 or float32 are kept; other types raise.
        path: where to; the ending names the format.

    Raises:
        InputError: an ending that is none of these, a type that the format cannot hold, or a place that
            cannot be written.
        VolumeError: axes that are not perpendicular.
        ResourceError: the disk is full.
    """
    path = Path(path)
    array = np.ascontiguousarray(volume.hu if isinstance(volume, CTVolume) else volume.values)
    suffix = next((s for s in (".nii.gz", ".nii", ".nrrd", ".mha") if path.name.lower().endswith(s)), None)
    if suffix is None:
        raise InputError(f"{path.name}: volumes are written as .nii.gz, .nii, .nrrd or .mha")
    if array.dtype not in (np.int16, np.uint8, np.float32):
        raise InputError(f"{path.name}: volumes are written as int16, uint8 or float32, not {array.dtype}")
    if not is_perpendicular(volume.affine[:3, :3]):
        raise VolumeError("the axes of the volume are not perpendicular; it cannot be written")

    def write(unfinished: Path) -> None:
        if suffix.startswith(".nii"):
            write_nifti(unfinished, array, volume.affine, packed=suffix == ".nii.gz")
        else:
            _write_itk(unfinished, array, volume.affine)

    write_whole(path, write, suffix)


def _write_itk(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    itk = _simpleitk()
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image = itk.GetImageFromArray(array)
    image.SetSpacing(spacing[::-1].tolist())
    image.SetDirection((affine[:3, :3] / spacing)[:, ::-1].ravel().tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    itk.WriteImage(image, str(path), useCompression=True, compressionLevel=1)
