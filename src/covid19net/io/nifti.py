"""NIfTI files: careful reading of headers, writing with exact geometry, compressed on all cores."""

import bz2
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
import gzip
import os
from pathlib import Path
import struct
from typing import Any, BinaryIO
import zlib

import numpy as np

from covid19net.errors import InputError
from covid19net.io.files import LARGEST_VOLUME, Source

DATA_TYPES = {"uint8": 2, "int16": 4, "float32": 16}  # NIfTI-1 codes
HEADER_SIZE = 352  # bytes before the voxels: the header of 348 and four zeros, "no extensions"
# NIfTI data type -> numpy's, without the byte order.
TYPES = {
    2: "u1",
    4: "i2",
    8: "i4",
    16: "f4",
    64: "f8",
    256: "i1",
    512: "u2",
    768: "u4",
    1024: "i8",
    1280: "u8",
}
# Bytes at which the fields begin.
NIFTI_1 = {
    "pixdim": 76, "offset": 108, "slope": 112, "codes": 252, "quaternion": 256, "sform": 280, "units": 123,
}  # fmt: skip
NIFTI_2 = {
    "pixdim": 104, "offset": 168, "slope": 176, "codes": 344, "quaternion": 352, "sform": 400, "units": 500,
}  # fmt: skip
LONGEST_HEADER = 544
MOST_BEHIND = 64 << 20  # bytes that may follow the voxels in a compressed file
SKEW = 0.01  # cosine between two axes; float32 rounding gives 1e-6
MILLIMETRES = 2
SCANNER_SPACE = 1  # qform and sform code: coordinates of the scanner
CHUNK = 4 << 20  # bytes compressed at a time
GZIP_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\x04\xff"  # deflate, no name, no time: same voxels, same file


@dataclass(frozen=True)
class Header:
    """What the header of an image file says about its voxels.

    Attributes:
        source: the file that holds them, under the name of the one that was given.
        shape: voxels along (z, y, x).
        kind: type of the stored values, byte order included.
        affine: 4x4, from indices (z, y, x) to mm, LPS.
        placed: whether the file says how the voxels lie in the patient.
        packing: how they are compressed, a key of `UNPACKERS`.
        start: byte of the file at which they, or what is compressed, begin.
        offset: bytes before the voxels from there, after unpacking.
        behind: bytes that may follow them in what was compressed.
        scale: slope and intercept; value = slope * stored + intercept.
    """

    source: Source
    shape: tuple[int, int, int]
    kind: np.dtype
    affine: np.ndarray
    placed: bool
    packing: str = ""
    start: int = 0
    offset: int = 0
    behind: int = 0
    scale: tuple[float, float] = (1.0, 0.0)


class _Inflated:
    """Reads what zlib compressed; Python has no such file. The checksum is verified at the end."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw, self._engine = raw, zlib.decompressobj()

    def read(self, size: int) -> bytes:
        """Up to `size` bytes, none only at the end; raises zlib.error or EOFError where damaged or cut."""
        part = b""
        while not part and not self._engine.eof:
            packed = self._engine.unconsumed_tail or self._raw.read(CHUNK)
            part = self._engine.decompress(packed, size)
            if not packed and not part and not self._engine.eof:
                raise EOFError
        return part


UNPACKERS: dict[str, Callable[[BinaryIO], Any]] = {
    "": lambda raw: raw,
    "gzip": lambda raw: gzip.GzipFile(fileobj=raw),
    "bzip2": bz2.BZ2File,
    "zlib": _Inflated,
}
DAMAGE = (EOFError, zlib.error, OSError, struct.error)  # what reading from `unpacked` may raise


@contextmanager
def unpacked(source: Source, packing: str, start: int = 0) -> Iterator[Any]:
    """A file from byte `start` on, uncompressed; has `read` and, but for zlib, `seek`."""
    with source.stream() as raw:
        raw.seek(start)
        yield UNPACKERS[packing](raw)


def read_nifti(source: Source) -> Header:
    """Read the header of a NIfTI file; ITK is not asked, it fills cut files with zeros and makes NaN zero.

    Args:
        source: .nii or .nii.gz, on disk or in an archive.

    Raises:
        InputError: no NIfTI file, damaged, cut short; colours or time in it.
    """
    packing = "gzip" if source.read(0, 2) == b"\x1f\x8b" else ""
    try:
        with unpacked(source, packing) as stream:
            return _header(source, packing, stream.read(LONGEST_HEADER))
    except DAMAGE as error:
        raise InputError(f"{source.name}: the file is damaged or cut short; copy it again") from error


def _header(source: Source, packing: str, head: bytes) -> Header:
    """Parse the header of NIfTI-1 (348 bytes) or NIfTI-2 (540 bytes), in either byte order."""
    name = source.name
    order = next((o for o in "<>" if struct.unpack_from(f"{o}l", head)[0] in (348, 540)), None)
    if order is None:
        raise InputError(f"{name}: not a NIfTI file")
    first = struct.unpack_from(f"{order}l", head)[0] == 348
    kind = TYPES.get(struct.unpack_from(f"{order}h", head, 70 if first else 12)[0])
    if kind is None:
        raise InputError(f"{name}: its values are colours or of an unknown type")
    dim = struct.unpack_from(f"{order}8{'h' if first else 'q'}", head, 40 if first else 16)
    if not 1 <= dim[0] <= 7 or any(n < 1 for n in dim[1 : dim[0] + 1]):
        raise InputError(f"{name}: the header is damaged")
    if any(n > 1 for n in dim[4 : dim[0] + 1]):
        raise InputError(f"{name}: {dim[0]} dimensions; a CT scan has 3")
    x, y, z = (dim[axis] if axis <= dim[0] else 1 for axis in (1, 2, 3))
    numbers = _numbers(head, order, first=first)
    if not 0 <= numbers["offset"] <= LARGEST_VOLUME:
        raise InputError(f"{name}: the header is damaged")
    offset = max(int(numbers["offset"]), 352 if first else 544)
    affine, placed = _affine(numbers)
    scale = _scale(numbers["slope"], numbers["intercept"])
    return Header(
        source, (z, y, x), np.dtype(f"{order}{kind}"), affine, placed, packing, 0, offset, MOST_BEHIND, scale
    )


def _scale(slope: float, intercept: float) -> tuple[float, float]:
    """Slope and intercept; neither counts where the slope is zero or no number, as in nibabel."""
    if not np.isfinite(slope) or slope == 0:
        return 1.0, 0.0
    return slope, intercept if np.isfinite(intercept) else 0.0


def _numbers(head: bytes, order: str, *, first: bool) -> dict[str, Any]:
    """Fields of the header, by name; byte places of nifti1.h and nifti2.h."""
    real, code = ("f", "h") if first else ("d", "l")
    places = NIFTI_1 if first else NIFTI_2
    (offset,) = struct.unpack_from(f"{order}{'f' if first else 'q'}", head, places["offset"])
    (units,) = struct.unpack_from(f"{order}{'B' if first else 'l'}", head, places["units"])
    slope, intercept = struct.unpack_from(f"{order}2{real}", head, places["slope"])
    return {
        "offset": offset,
        "units": units & 7,
        "slope": slope,
        "intercept": intercept,
        "pixdim": np.array(struct.unpack_from(f"{order}8{real}", head, places["pixdim"]), float),
        "codes": struct.unpack_from(f"{order}2{code}", head, places["codes"]),
        "quaternion": np.array(struct.unpack_from(f"{order}6{real}", head, places["quaternion"]), float),
        "sform": np.array(struct.unpack_from(f"{order}12{real}", head, places["sform"]), float).reshape(3, 4),
    }


def _affine(numbers: dict[str, Any]) -> tuple[np.ndarray, bool]:
    """4x4 from indices (z, y, x) to mm, LPS, and whether the file gives an orientation."""
    qform, sform = numbers["codes"]
    size = np.abs(numbers["pixdim"][1:4])
    ras = np.eye(4)
    if sform > 0 and (qform <= 0 or is_perpendicular(numbers["sform"][:, :3])):
        ras[:3] = numbers["sform"]
    elif qform > 0:
        ras[:3, :3] = _rotation(numbers["quaternion"][:3]) * size
        ras[:3, 2] *= -1 if numbers["pixdim"][0] < 0 else 1
        ras[:3, 3] = numbers["quaternion"][3:]
    else:
        ras[:3, :3] = np.diag(size)
    ras[:3] *= {1: 1000.0, 3: 0.001}.get(numbers["units"], 1.0)  # metres, micrometres
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ ras[:, [2, 1, 0, 3]], qform > 0 or sform > 0


def is_perpendicular(axes: np.ndarray) -> bool:
    """Whether the columns are perpendicular to each other, as far as rounding allows, and none is zero."""
    lengths = np.linalg.norm(axes, axis=0)
    if not (np.isfinite(lengths).all() and (lengths > 0).all()):
        return False
    cosines = (axes / lengths).T @ (axes / lengths)
    return bool(np.abs(cosines - np.eye(3)).max() < SKEW)


def _rotation(bcd: np.ndarray) -> np.ndarray:
    """3x3 of a quaternion's last three numbers; not finite where they belong to none, which is refused later.

    To make a rotation of any numbers all the same, by their direction, would turn the patient by chance.
    """
    length = float(bcd @ bcd)
    if not length <= 1 + SKEW:  # NaN included
        return np.full((3, 3), np.nan)
    b, c, d = bcd / np.sqrt(max(1.0, length))
    a = np.sqrt(max(0.0, 1.0 - length))
    turn = [  # nifti1.h, "orientation in space", method 2
        [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
        [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
        [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
    ]
    return np.array(turn)


def write_nifti(path: Path, array: np.ndarray, affine: np.ndarray, *, packed: bool) -> None:
    """Write a NIfTI-1 file.

    Args:
        path: where to, in place.
        array: axes (z, y, x), contiguous; uint8, int16 or float32.
        affine: from indices (z, y, x) to mm, LPS; axes perpendicular.
        packed: compress with gzip, level 1.
    """
    header = nifti_header(array, affine)
    with path.open("wb") as file:
        if packed:
            for part in gzip_parts(header, array.reshape(-1).view(np.uint8).data):
                file.write(part)
        else:
            file.write(header)
            file.write(array.reshape(-1).view(np.uint8).data)


def nifti_header(array: np.ndarray, affine: np.ndarray) -> bytes:
    """The 352 bytes before the voxels (nifti1.h); x runs fastest, as in the array.

    Args:
        array: axes (z, y, x).
        affine: from indices (z, y, x) to mm, LPS. NIfTI's world is RAS: x and y change sign.
    """
    ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine[:, [2, 1, 0, 3]]
    spacing = np.linalg.norm(ras[:3, :3], axis=0)
    quaternion, handedness = _quaternion(ras[:3, :3] / spacing)
    z, y, x = array.shape
    head = bytearray(HEADER_SIZE)
    struct.pack_into("<l", head, 0, 348)
    struct.pack_into("<8h", head, 40, 3, x, y, z, 1, 1, 1, 1)
    struct.pack_into("<2h", head, 70, DATA_TYPES[array.dtype.name], array.itemsize * 8)
    struct.pack_into("<8f", head, 76, handedness, *spacing, 1, 1, 1, 1)
    struct.pack_into("<3f", head, 108, HEADER_SIZE, 1, 0)
    struct.pack_into("<B", head, 123, MILLIMETRES)
    struct.pack_into("<2h", head, 252, SCANNER_SPACE, SCANNER_SPACE)
    struct.pack_into("<6f", head, 256, *quaternion, *ras[:3, 3])
    struct.pack_into("<12f", head, 280, *ras[:3].ravel())
    head[344:348] = b"n+1\0"
    return bytes(head)


def _quaternion(rotation: np.ndarray) -> tuple[np.ndarray, float]:
    """(b, c, d) of the quaternion with a >= 0, and the handedness -1 or 1 (qfac) that NIfTI stores apart."""
    handedness = 1.0 if np.linalg.det(rotation) > 0 else -1.0
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = rotation * [1, 1, handedness]
    # Four times the products of each two of a, b, c, d: the rotation that `_rotation` makes, solved for them.
    products = np.array(
        [
            [1 + xx + yy + zz, zy - yz, xz - zx, yx - xy],
            [zy - yz, 1 + xx - yy - zz, xy + yx, xz + zx],
            [xz - zx, xy + yx, 1 - xx + yy - zz, yz + zy],
            [yx - xy, xz + zx, yz + zy, 1 - xx - yy + zz],
        ]
    )
    row = products[products.diagonal().argmax()]
    found = row / np.linalg.norm(row)
    return found[1:] * (1 if found[0] >= 0 else -1), handedness


def gzip_parts(header: bytes, voxels: memoryview) -> Iterator[bytes]:
    """One gzip member, its deflate blocks made in parallel.

    Each chunk is deflated by itself and ends on a byte (a full flush), so the parts join to one stream that
    every reader understands; several members in one file would not be: some stop at the first.
    """
    chunks: list[bytes | memoryview] = [
        header,
        *(voxels[at : at + CHUNK] for at in range(0, len(voxels), CHUNK)),
    ]
    check = 0
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
        yield GZIP_HEADER
        for chunk, deflated in zip(chunks, pool.map(_deflate, chunks), strict=True):
            check = zlib.crc32(chunk, check)
            yield deflated
    yield b"\x03\0"  # an empty last block
    yield struct.pack("<2L", check, (len(header) + len(voxels)) & 0xFFFFFFFF)


def _deflate(chunk: bytes | memoryview) -> bytes:
    engine = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    return engine.compress(chunk) + engine.flush(zlib.Z_FULL_FLUSH)
