"""NIfTI, NRRD and MetaImage files; the last two are written by SimpleITK, whose world is LPS like ours."""

from collections.abc import Iterator
from itertools import product
import os
from pathlib import Path
from typing import Any

import numpy as np

from covid19net.errors import InputError, NotChestCTError, ResourceError, VolumeError
from covid19net.io.files import LARGEST_VOLUME, Source, write_whole
from covid19net.io.nifti import CHUNK, DAMAGE, Header, is_perpendicular, read_nifti, unpacked, write_nifti
from covid19net.io.pixels import AIR, MOST_HU
from covid19net.io.text_headers import read_metaimage, read_nrrd
from covid19net.volume import CTVolume, Finding, Overlay, Scan, upright

READERS = {
    ".nii": ("NIfTI", read_nifti),
    ".nii.gz": ("NIfTI", read_nifti),
    ".nrrd": ("NRRD", read_nrrd),
    ".nhdr": ("NRRD", read_nrrd),
    ".mha": ("MetaImage", read_metaimage),
    ".mhd": ("MetaImage", read_metaimage),
}
MOST_HELD = 1 << 30  # bytes of voxels as int16 or float32, so that reading stays below 1.5 GB
MOST_COMPRESSION = 200  # a CT with its noise reaches 2 to 4; below 1 MB anything goes
LARGEST_SLICE = 2048 * 2048  # voxels; bounds what working on one slice takes


@np.errstate(all="ignore")  # senseless numbers are refused or replaced, and counted
def read_image(source: Source) -> Scan:
    """Read one NIfTI, NRRD or MetaImage file.

    Args:
        source: a file on disk or inside an archive; voxels in a second file only on disk.

    Returns:
        The scan as stored, not yet upright; values that are not numbers replaced by air.

    Raises:
        InputError: damaged or cut file; a header that points to another place; colours or time in it.
        VolumeError: geometry that is none, or axes that are not perpendicular.
        NotChestCTError: a plane, not a volume.
        ResourceError: the header asks for more than any CT scan holds.
    """
    name = source.name.lower()
    suffix = next(suffix for suffix in sorted(READERS, key=len, reverse=True) if name.endswith(suffix))
    kind, read = READERS[suffix]
    header = read(source)
    _check(header)
    try:
        hu, findings = _whole_hu(header)
        volume = CTVolume(hu, header.affine)
    except VolumeError as error:
        raise VolumeError(f"{source.name}: {error}") from None
    except DAMAGE as error:
        raise InputError(f"{source.name}: the file is damaged or cut short; copy it again") from error
    if not header.placed:
        findings.append(
            Finding("orientation-unknown", "the file does not say which side of the patient is which")
        )
    return Scan(volume, {"format": kind}, tuple(findings))


def _check(header: Header) -> None:
    """Refuse a volume by its header alone, before any of it is allocated."""
    name, size, count = header.source.name, header.source.size, int(np.prod(header.shape, dtype=object))
    text = " x ".join(str(n) for n in reversed(header.shape))
    if min(header.shape) < 3:
        raise NotChestCTError(f"{name}: {text} voxels are no volume of 3 slices or more")
    stored = count * header.kind.itemsize
    most = min(LARGEST_VOLUME, max(size, 1 << 20) * MOST_COMPRESSION)
    if stored > most or count * 2 > MOST_HELD or count // min(header.shape) > LARGEST_SLICE:
        raise ResourceError(f"{name}: the header asks for {text} voxels; refused")
    if not header.packing and header.start + header.offset + stored > size:
        raise InputError(f"{name}: the file is damaged or cut short; copy it again")
    if not is_perpendicular(header.affine[:3, :3]):
        raise VolumeError(f"{name}: the axes of the volume have no length or are not perpendicular")


def _whole_hu(header: Header) -> tuple[np.ndarray, list[Finding]]:
    """Voxels as int16 where all are whole numbers, else float32; padding and impossible values replaced.

    Returns:
        HU, axes (z, y, x), at least `AIR`, and what was replaced.
    """
    hu, replaced, whole = _filled(header, np.dtype(np.int16))
    if not whole:
        if hu.size * 4 > MOST_HELD:
            raise ResourceError(f"{header.source.name}: more voxels with fractions than are read; refused")
        del hu  # the file is read again rather than both are held
        hu, replaced, _ = _filled(header, np.dtype(np.float32))
    return hu, [
        Finding(code, text.format(n=count))
        for count, (code, text) in zip(replaced.tolist(), REPLACED.items(), strict=True)
        if count
    ]


def _filled(header: Header, kind: np.dtype) -> tuple[np.ndarray, np.ndarray, bool]:
    """HU of a type, how many values were replaced, and whether the type can hold them; if not, not all."""
    hu, replaced = _room(header, kind), np.zeros(3, np.int64)
    for plane, rows, values in _blocks(header):
        block, counts = _limited(values, header.scale)
        if kind == np.int16 and block.dtype.kind == "f" and not np.array_equal(block, np.rint(block)):
            return hu, replaced, False
        hu[plane, rows] = block
        replaced += counts
    return hu, replaced, True


def _room(header: Header, kind: np.dtype) -> np.ndarray:
    """An array for the voxels, axes (z, y, x), laid out in memory so that `upright` need not copy it."""
    corners = upright(CTVolume(np.arange(8).reshape(2, 2, 2), header.affine)).hu
    steps = (corners[[1, 0, 0], [0, 1, 0], [0, 0, 1]] - corners[0, 0, 0]).tolist()
    order = [(4, 2, 1).index(abs(step)) for step in steps]  # which stored axis each upright one is
    room = np.empty([header.shape[axis] for axis in order], kind)
    turned = np.flip(room, tuple(axis for axis, step in enumerate(steps) if step < 0))
    return turned.transpose([order.index(axis) for axis in range(3)])


def _blocks(header: Header) -> Iterator[tuple[int, slice, np.ndarray]]:
    """The stored values, some rows at a time: index of the plane, of the rows, values with axes (y, x)."""
    planes, height, width = header.shape
    most = max(1, CHUNK // (width * header.kind.itemsize))
    with unpacked(header.source, header.packing, header.start) as stream:
        if header.offset:
            stream.seek(header.offset, os.SEEK_CUR)
        for plane, row in product(range(planes), range(0, height, most)):
            count = min(most, height - row)
            data = _bytes(stream, count * width * header.kind.itemsize)
            yield plane, slice(row, row + count), np.frombuffer(data, header.kind).reshape(count, width)
        if header.packing:
            _drain(header, stream)


def _bytes(stream: Any, count: int) -> bytes:  # noqa: ANN401
    data = b""
    while len(data) < count:
        part = stream.read(count - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def _drain(header: Header, stream: Any) -> None:  # noqa: ANN401
    """Read on to the end, where a compressed file has its checksum; damage may have made it longer."""
    left = header.behind
    while part := stream.read(CHUNK):
        left -= len(part)
        if left < 0:
            raise InputError(
                f"{header.source.name}: the file is longer than its header says; damaged, or not a CT volume"
            )


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


def _simpleitk() -> Any:  # noqa: ANN401
    """SimpleITK, loaded when first needed (0.1 s); it has no types."""
    import SimpleITK

    return SimpleITK


def _write_itk(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    itk = _simpleitk()
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image = itk.GetImageFromArray(array)
    image.SetSpacing(spacing[::-1].tolist())
    image.SetDirection((affine[:3, :3] / spacing)[:, ::-1].ravel().tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    itk.WriteImage(image, str(path), useCompression=True, compressionLevel=1)
