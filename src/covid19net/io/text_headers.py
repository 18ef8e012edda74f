"""Headers of MetaImage and NRRD files: text before the voxels, or in a file of its own beside them.

They are read here and not by ITK, which opens whatever file a header names, takes 1 mm where no voxel size is
given, and does not verify the checksum of compressed voxels.
"""

import re

import numpy as np

from covid19net.errors import InputError, NotChestCTError
from covid19net.io.files import Source
from covid19net.io.nifti import Header

LONGEST_HEADER = 1 << 16  # bytes of text
MOST_VOXELS = 1 << 31  # along an axis; more is damage
UNITS = {"": 1.0, "?": 1.0, "???": 1.0, "mm": 1.0, "cm": 10.0, "m": 1e3, "um": 1e-3, "µm": 1e-3, "in": 25.4}
META_TYPES = {
    "CHAR": "i1", "ASCII_CHAR": "i1", "UCHAR": "u1", "SHORT": "i2", "USHORT": "u2", "INT": "i4", "UINT": "u4",
    "LONG": "i4", "ULONG": "u4", "LONG_LONG": "i8", "ULONG_LONG": "u8", "FLOAT": "f4", "DOUBLE": "f8",
}  # fmt: skip
NRRD_TYPES = {  # each also with _t behind
    "i1": "signed char, int8", "u1": "uchar, unsigned char, uint8",
    "i2": "short, short int, signed short, signed short int, int16",
    "u2": "ushort, unsigned short, unsigned short int, uint16",
    "i4": "int, signed int, int32", "u4": "uint, unsigned int, uint32",
    "i8": "longlong, long long, long long int, signed long long, signed long long int, int64",
    "u8": "ulonglong, unsigned long long, unsigned long long int, uint64",
    "f4": "float", "f8": "double",
}  # fmt: skip
NRRD_PACKINGS = {"raw": "", "gz": "gzip", "gzip": "gzip", "bz2": "bzip2", "bzip2": "bzip2"}
META_LINE = r"\s*([^=:]*?)\s*[=:](.*)"
NRRD_LINE = r"\s*([^#:=][^:]*?)\s*:(?!=)(.*)"  # neither comments nor `key:=value`
# The line that ends a MetaImage header, however it is spaced; what follows LOCAL are voxels.
META_END = rb"(?i)(?:^|(?<=[\r\n]))[^\S\r\n]*ElementDataFile[^\S\r\n]*[=:]([^\r\n]*)(?:\r?\n|$)"
# Spaces in which left and right are those of the patient: left-posterior-superior, LPS, RAST ...
PATIENT = r"(left-|right-|l|r)(anterior-|posterior-|a|p)(superior|s)(-time|t)?"
DAMAGED = "the header is damaged"
NOT_GREY = "colours, vectors or time, not one grey value per voxel"


class _Fields:
    """The lines of a header.

    Args:
        source: the file, to name it.
        text: the header.
        line: regular expression with two groups, key and value.
        fold: whether neither case nor blanks count in a key.
    """

    def __init__(self, source: Source, text: bytes, line: str, *, fold: bool = False) -> None:
        self._name = source.name
        self._values: dict[str, list[str]] = {}
        for part in re.split(r"[\r\n]+", _decoded(text)):
            if found := re.match(line, part):
                key = re.sub(r"\s", "", found[1]).lower() if fold else found[1]
                self._values.setdefault(key, []).append(found[2].strip())

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def fault(self, reason: str) -> InputError:
        """The error to raise."""
        return InputError(f"{self._name}: {reason}")

    def text(self, *keys: str, default: str = "") -> str:
        """The value of the first key that is there; raises InputError where it is there twice."""
        values = next((self._values[key] for key in keys if key in self._values), [default])
        if len(values) > 1:
            raise self.fault("the header says the same thing twice")
        return values[0]

    def is_true(self, *keys: str, default: str = "False") -> bool:
        """Whether a value says yes."""
        return self.text(*keys, default=default)[:1] in ("T", "t", "1")

    def whole(self, key: str, default: str = "") -> int:
        """A whole number; raises InputError where there is none."""
        try:
            return int(self.text(key, default=default))
        except ValueError:
            raise self.fault(DAMAGED) from None

    def numbers(self, count: int, *keys: str) -> np.ndarray:
        """As many numbers as asked for; none at all where no key is there."""
        values = self._numbers(self.text(*keys).split())
        if len(values) not in (0, count):
            raise self.fault(DAMAGED)
        return values

    def vectors(self, key: str) -> list[np.ndarray | None]:
        """Vectors `(x,y,z)` in the world, longer ones without the rest, None for `none`."""
        found = list(re.finditer(r"\(([^()]*)\)|none", self.text(key).lower()))
        vectors = [None if part[1] is None else self._numbers(part[1].split(","))[:3] for part in found]
        if any(vector is not None and len(vector) < 3 for vector in vectors):
            raise self.fault(DAMAGED)
        return vectors

    def _numbers(self, words: list[str]) -> np.ndarray:
        try:
            return np.array([float(word) for word in words])
        except ValueError:
            raise self.fault(DAMAGED) from None

    def shape(self, dimension: int, key: str) -> tuple[int, int, int]:
        """Voxels along (z, y, x); raises NotChestCTError for a plane, InputError for more dimensions."""
        if not 1 <= dimension <= 16:
            raise self.fault(DAMAGED)
        sizes = self.numbers(dimension, key)
        if not sizes.size or not ((sizes >= 1) & (sizes < MOST_VOXELS)).all():
            raise self.fault(DAMAGED)
        if dimension < 3:
            raise NotChestCTError(f"{self._name}: a plane is no volume of 3 slices or more")
        if (sizes[3:] != 1).any():
            raise self.fault(f"{dimension} dimensions; a CT scan has 3")
        x, y, z = (int(n) for n in sizes[:3])
        return z, y, x

    def size(self, count: int, *keys: str) -> np.ndarray:
        """Voxel size along (x, y, z), in the unit of the file; raises InputError where there is none."""
        values = self.numbers(count, *keys)[:3]
        if not values.size or not np.isfinite(values).all():
            raise self.fault("voxel size absent")
        if not (values > 0).all():
            raise self.fault("voxel size zero or negative")
        return values

    def units(self, key: str) -> np.ndarray:
        """Units along (x, y, z) in mm; they are mm where none are given."""
        words = re.findall(r'"[^"]*"|[^"\s]+', self.text(key)) or [""]
        lengths = [UNITS.get(word.strip('"').strip().lower()) for word in words]
        lengths = (lengths * 3 if len(lengths) == 1 else lengths)[:3]
        if len(lengths) < 3 or None in lengths:
            raise self.fault("its voxel size is in a unit that is not read (mm, cm, m, um and in are)")
        return np.array(lengths, float)


def _decoded(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")  # as the names of files are


def _beside(source: Source, name: str) -> Source:
    """The file with the voxels: a regular one right beside the header, never a link."""
    plain = re.fullmatch(r"[^/\\%:]+", name) and name not in (".", "..")
    if not plain or re.match(r"(SKIP)?LIST(\s|$)", name) or source.path is None:
        raise InputError(
            f"{source.name}: its voxels are said to be in another place; only its folder is read"
        )
    file = source.path.parent / name
    try:
        size = file.stat().st_size if file.is_file() and not file.is_symlink() else None
    except OSError:  # no name that a file can have
        size = None
    if size is None:
        raise InputError(f"{source.name}: the file with its voxels is not beside it")
    return Source(source.name, size, lambda: file.open("rb"), file)


def _affine(axes: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """4x4 from indices (z, y, x); the columns of `axes` are the steps along x, y and z in mm, LPS."""
    affine = np.eye(4)
    affine[:3, :3] = axes[:, ::-1]
    affine[:3, 3] = origin
    return affine


def _before_end(holder: Source, shape: tuple[int, int, int], kind: np.dtype) -> int:
    """Byte at which voxels begin that reach to the end of their file."""
    return max(holder.size - int(np.prod(shape, dtype=object)) * kind.itemsize, 0)


def _head(source: Source, end: bytes) -> tuple[bytes, list[re.Match[bytes]]]:
    """The beginning of a file, and what in it may be the end of the header."""
    head = source.read(0, LONGEST_HEADER)
    found = list(re.finditer(end, head))
    if not found and source.size > LONGEST_HEADER:
        raise InputError(f"{source.name}: its header does not end within {LONGEST_HEADER} bytes")
    return head, found


def read_metaimage(source: Source) -> Header:
    """Read the header of a MetaImage file.

    Args:
        source: .mha or .mhd; in an archive only with its voxels in the same file.

    Raises:
        InputError: damaged; voxels absent, as text or in another place; colours or time; no voxel size.
        NotChestCTError: a plane.
    """
    head, ends = _head(source, META_END)
    if len(ends) != 1:
        raise InputError(f"{source.name}: its header does not name one file with its voxels")
    fields = _Fields(source, head[: ends[0].start()], META_LINE)
    place = _decoded(ends[0][1]).strip()
    local = place.upper() == "LOCAL"
    holder = source if local else _beside(source, place)
    kind = _metaimage_kind(fields)
    shape = fields.shape(fields.whole("NDims"), "DimSize")
    packed = fields.is_true("CompressedData")
    start = fields.whole("HeaderSize", "0") or (ends[0].end() if local else 0)
    if start == -1 and not packed:
        start = _before_end(holder, shape, kind)
    if not 0 <= start <= holder.size:
        raise fields.fault(DAMAGED)
    packing = "" if not packed else "gzip" if holder.read(start, 2) == b"\x1f\x8b" else "zlib"
    return Header(holder, shape, kind, *_metaimage_place(fields), packing, start)


def _metaimage_kind(fields: _Fields) -> np.dtype:
    """Type of the stored values."""
    stored = META_TYPES.get(fields.text("ElementType").removeprefix("MET_"))
    if stored is None or fields.whole("ElementNumberOfChannels", "1") != 1:
        raise fields.fault(NOT_GREY)
    if not fields.is_true("BinaryData", default="True"):
        raise fields.fault("its voxels are written as text, which is not read")
    big = fields.is_true("BinaryDataByteOrderMSB", "ElementByteOrderMSB")
    return np.dtype((">" if big else "<") + stored)


def _metaimage_place(fields: _Fields) -> tuple[np.ndarray, bool]:
    """Affine, and whether the file gives an orientation; of several keys the one that ITK prefers."""
    count = fields.whole("NDims")
    size = fields.size(count, "ElementSpacing", "ElementSize")
    unit = fields.units("DistanceUnits")[:, None]
    rows = fields.numbers(count * count, "TransformMatrix", "Rotation", "Orientation")
    direction = rows.reshape(count, count)[:3, :3].T if rows.size else np.eye(3)
    origin = fields.numbers(count, "ImagePosition", "Origin", "Offset", "Position")[:3]
    return _affine(
        direction * size * unit, origin * unit[:, 0] if origin.size else np.zeros(3)
    ), rows.size > 0


def read_nrrd(source: Source) -> Header:
    """Read the header of an NRRD file.

    Args:
        source: .nrrd or .nhdr; in an archive only with its voxels in the same file.

    Raises:
        InputError: damaged; voxels as text or in another place; colours or time; no voxel size.
        NotChestCTError: a plane.
    """
    head, ends = _head(source, rb"\r?\n\r?\n")
    if not re.match(rb"NRRD00(0[1-5]|\.01)\s", head):
        raise InputError(f"{source.name}: not an NRRD file")
    end, begin = (ends[0].start(), ends[0].end()) if ends else (len(head), len(head))
    fields = _Fields(source, head[:end], NRRD_LINE, fold=True)
    holder = source
    if "datafile" in fields:
        holder, begin = _beside(source, fields.text("datafile")), 0
    packing = NRRD_PACKINGS.get(fields.text("encoding").lower())
    if packing is None:
        raise fields.fault("its voxels are written in a way that is not read (raw, gzip and bzip2 are)")
    kind = _nrrd_kind(fields)
    shape = fields.shape(fields.whole("dimension"), "sizes")
    skip = fields.whole("byteskip", "0")
    start = _before_end(holder, shape, kind) if skip == -1 else begin + skip
    if skip < -1 or (skip and packing) or fields.whole("lineskip", "0"):
        raise fields.fault("what stands before its voxels is not read")
    return Header(holder, shape, kind, *_nrrd_place(fields), packing, start)


def _nrrd_kind(fields: _Fields) -> np.dtype:
    """Type of the stored values; the order of bytes may be left out where a value is one byte."""
    name = fields.text("type").lower().removesuffix("_t")
    stored = next((kind for kind, names in NRRD_TYPES.items() if name in names.split(", ")), None)
    if stored is None:
        raise fields.fault(NOT_GREY)
    order = {"little": "<", "big": ">", "": "|"}.get(fields.text("endian").lower())
    if order is None or (order == "|" and stored[1] != "1"):
        raise fields.fault(DAMAGED)
    return np.dtype(order + stored)


def _nrrd_place(fields: _Fields) -> tuple[np.ndarray, bool]:
    """Affine, and whether it is that of the patient: there are other spaces."""
    count = fields.whole("dimension")
    if set(fields.text("kinds").lower().split()[:3]) - {"domain", "space", "???", "none"}:
        raise fields.fault(NOT_GREY)
    steps = fields.vectors("spacedirections")
    if not steps:
        size, unit = fields.size(count, "spacings"), fields.units("units")
        corner = fields.numbers(count, "axismins")[:3]
        inside = 0.0 if "node" in fields.text("centerings", "centers") else 0.5  # where the first voxel is
        origin = corner + inside * size if corner.size and np.isfinite(corner).all() else np.zeros(3)
        return _affine(np.diag(size * unit), origin * unit), False
    if len(steps) != count or any(step is None for step in steps[:3]):
        raise fields.fault(NOT_GREY)
    axes = np.array(steps[:3], float).T
    if not np.isfinite(axes).all():
        raise fields.fault("voxel size absent")
    to_mm = fields.units("spaceunits")
    space = re.fullmatch(PATIENT, fields.text("space").lower())
    if space:  # to LPS
        to_mm[:2] *= -1 if space[1][0] == "r" else 1, -1 if space[2][0] == "a" else 1
    first = (fields.vectors("spaceorigin") or [None])[0]
    return _affine(axes * to_mm[:, None], np.zeros(3) if first is None else first * to_mm), bool(space)
