"""What a DICOM header says about one image, as plain values."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from io import BytesIO
import struct
from typing import TYPE_CHECKING, Any
from warnings import catch_warnings
import zlib

from covid19net.errors import Covid19netError, InputError, ResourceError
from covid19net.io.elements import TAGS, TEXT_TAGS, decimals_of, number_of, sequence_of, text_of
from covid19net.io.files import LARGEST_VOLUME, Source

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

FIRST_READ = 1 << 16  # bytes; holds the whole header of all but a few files
LARGEST_HEADER = 16 << 20  # bytes
MOST_FRAMES = 5000  # of one object; a CT scan has a few hundred
LONGEST_FIRST = 1024  # bytes of the first element of a file without preamble
DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
CONVERTED_CT = "1.2.840.10008.5.1.4.1.1.2.2"  # legacy converted enhanced CT
CT_CLASSES = {CT_IMAGE, ENHANCED_CT, CONVERTED_CT, ""}  # "": left out by an anonymiser


@dataclass(frozen=True)
class Stored:
    """How the pixels of an image are written down.

    Attributes:
        syntax: transfer syntax UID.
        offset: byte of the pixel data element in the (inflated) file; None when there is none.
        rows, columns, frames: of the whole object.
        allocated, stored, high_bit: bits, as DICOM PS3.5 section 8.1 names them.
        signed: two's complement.
    """

    syntax: str
    offset: int | None
    rows: int
    columns: int
    frames: int = 1
    allocated: int = 16
    stored: int = 16
    high_bit: int = 15
    signed: bool = False


@dataclass(frozen=True)
class Slice:
    """One image plane of a DICOM object; what the header does not carry is None.

    Attributes:
        source: the file.
        stored: how its pixels are written down.
        frame: index inside a multi-frame object.
        position: (x, y, z) of the centre of the first pixel, mm, LPS.
        orientation: direction cosines of a row, then of a column.
        spacing: mm between rows, then between columns.
        slope, intercept: HU = slope * stored value + intercept.
        padding: stored value that marks pixels outside the field of view.
        padding_limit: other end of a range of such values.
        tags: other elements, by keyword, as text.
        unreadable: an element of place or scale that is there but holds no usable numbers; else empty.
    """

    source: Source
    stored: Stored
    frame: int = 0
    position: tuple[float, ...] | None = None
    orientation: tuple[float, ...] | None = None
    spacing: tuple[float, ...] | None = None
    slope: float | None = None
    intercept: float | None = None
    padding: int | None = None
    padding_limit: int | None = None
    tags: dict[str, str] = field(default_factory=dict)
    unreadable: str = ""

    def tag(self, keyword: str) -> str:
        """An element's text, empty when absent."""
        return self.tags.get(keyword, "")


def looks_like_dicom(head: bytes) -> bool:
    """Whether bytes begin a DICOM file, or a data set of group 2 or 8 without the preamble."""
    return head[128:132] == b"DICM" or any(_begins_data_set(head, order) for order in "<>")


def _begins_data_set(head: bytes, order: str) -> bool:
    """Whether two elements with rising tags of plausible length stand at the start."""
    if len(head) < 16 or struct.unpack_from(f"{order}H", head)[0] not in (2, 8):
        return False
    start = 8
    if head[4:6].isalpha() and head[4:6].isupper():  # a value representation: explicit
        start, at, kind = (
            (12, 8, "L") if head[6:8] == b"\0\0" and head[4:6] in (b"OB", b"OW", b"UN") else (8, 6, "H")
        )
        (length,) = struct.unpack_from(f"{order}{kind}", head, at)
    elif order == "<":
        (length,) = struct.unpack_from("<L", head, 4)
    else:
        return False
    if length % 2 or length > LONGEST_FIRST or len(head) < start + length + 4:
        return False
    return bool(
        struct.unpack_from(f"{order}HH", head) < struct.unpack_from(f"{order}HH", head, start + length)
    )


def read_slices(source: Source, head: bytes) -> list[Slice]:
    """Every image plane of a DICOM file; none when the object is no image (report, directory, ...).

    Args:
        source: the file.
        head: its first `FIRST_READ` bytes.

    Raises:
        InputError: not DICOM, or a header that cannot be read.
    """
    try:
        with catch_warnings(action="ignore"):  # pydicom's, on text that breaks the rules of its kind
            return _slices(source, head)
    except Covid19netError:
        raise
    except Exception as error:  # damage makes pydicom raise almost anything, deep recursion included
        raise InputError(f"{source.name}: the DICOM header is damaged") from error


def _slices(source: Source, head: bytes) -> list[Slice]:
    dataset, syntax, offset, complete = _dataset(source, head)
    rows, columns = number_of(dataset, "Rows"), number_of(dataset, "Columns")
    kind = text_of(dataset, "SOPClassUID") or _meta_class(dataset)
    if not complete and kind in CT_CLASSES:
        raise InputError(f"{source.name}: the DICOM file ends before its pixels, or has none; copy it again")
    if rows is None or columns is None:
        if kind in CT_CLASSES:
            raise InputError(f"{source.name}: the DICOM header has no Rows or Columns")
        return []
    stored = _stored(dataset, syntax, offset, source)
    tags = {key: text for key in TEXT_TAGS if (text := text_of(dataset, key))}
    padding, limit = (_padding(dataset, stored, f"PixelPadding{end}") for end in ("Value", "RangeLimit"))
    first = Slice(source, stored, tags=tags, padding=padding, padding_limit=limit)
    first = _placed(first, dataset)
    if sequence_of(dataset, "PerFrameFunctionalGroupsSequence"):
        return list(_frames(first, dataset))
    if stored.frames > 1:
        return [replace(first, frame=frame) for frame in range(stored.frames)]
    return [first]


def inflated(source: Source) -> bytes:
    """The bytes of a file in the deflated transfer syntax, as if it had been written without compression.

    Raises:
        InputError: the compressed part is damaged.
        ResourceError: it inflates to more than `LARGEST_VOLUME`, or two hundredfold.
    """
    packed = source.read(0, source.size)
    start = _after_meta(packed, source.name)
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        body = engine.decompress(packed[start:], min(LARGEST_VOLUME, max(64 << 20, 200 * len(packed))))
    except zlib.error as error:
        raise InputError(f"{source.name}: the deflated data set is damaged") from error
    if engine.unconsumed_tail:
        raise ResourceError(f"{source.name}: inflates to more than a CT slice holds; refused")
    return packed[:start] + body


def _after_meta(packed: bytes, name: str) -> int:
    """Byte after the file meta information, from its group length (0002,0000)."""
    if packed[128:138] != b"DICM\x02\x00\x00\x00UL":
        raise InputError(f"{name}: the file meta information has no group length")
    return int(144 + struct.unpack_from("<L", packed, 140)[0])


def _dataset(source: Source, head: bytes) -> tuple["Dataset", str, int | None, bool]:
    """Header, transfer syntax, byte at which the pixel data element begins, and whether there are pixels."""
    if not looks_like_dicom(head):
        raise InputError(f"{source.name}: not a DICOM file")
    if b"1.2.840.10008.1.2.1.99" in head[:1024]:
        head = inflated(source)
    while True:
        try:
            dataset, syntax, offset, complete = _parse(head)
        except InputError:
            if len(head) >= min(source.size, LARGEST_HEADER):
                raise InputError(f"{source.name}: the DICOM header is damaged") from None
            complete = False
        if complete or len(head) >= min(source.size, LARGEST_HEADER):
            return dataset, syntax, offset, complete
        head = source.read(0, min(len(head) * 16, LARGEST_HEADER))


def _parse(head: bytes) -> tuple["Dataset", str, int | None, bool]:
    """Parse the start of a file; the last value tells whether it reached the pixel data."""
    from pydicom.filereader import dcmread

    stream = BytesIO(with_plain_syntax(head))
    tags: list[Any] = list(TAGS.values())
    try:
        dataset = dcmread(stream, stop_before_pixels=True, force=True, specific_tags=tags)
    except Exception as error:  # see read_slices
        raise InputError("damaged header") from error
    meta = getattr(dataset, "file_meta", None)
    syntax = str(meta.get("TransferSyntaxUID", "") or "") if meta is not None else ""
    if not syntax:
        syntax = IMPLICIT if dataset.original_encoding[0] else EXPLICIT
    if DEFLATED.encode() in head[:1024]:
        syntax = DEFLATED
    at = stream.tell()
    order = ">" if syntax == BIG_ENDIAN else "<"
    found = head[at : at + 4] in (struct.pack(f"{order}HH", 0x7FE0, n) for n in (0x10, 0x08, 0x09))
    is_pixels = head[at : at + 4] == struct.pack(f"{order}HH", 0x7FE0, 0x10)
    return dataset, syntax, at if is_pixels else None, found


def _meta_class(dataset: "Dataset") -> str:
    """What the file meta information says the object is; empty when it says nothing."""
    meta = getattr(dataset, "file_meta", None)
    return str(meta.get("MediaStorageSOPClassUID", "") or "") if meta is not None else ""


def with_plain_syntax(head: bytes) -> bytes:
    """An already inflated file, named explicit little endian so that it is not inflated again."""
    at = head.find(DEFLATED.encode(), 0, 1024)
    if at < 0:
        return head
    return head[:at] + EXPLICIT.encode().ljust(len(DEFLATED), b"\0") + head[at + len(DEFLATED) :]


def _padding(dataset: "Dataset", stored: Stored, keyword: str) -> int | None:
    value = number_of(dataset, keyword)
    if value is not None and stored.signed and value >= 1 << 15:
        return value - (1 << 16)
    return value


def _stored(dataset: "Dataset", syntax: str, offset: int | None, source: Source) -> Stored:
    def number(keyword: str, default: int) -> int:
        value = number_of(dataset, keyword)
        return default if value is None else value

    allocated = number("BitsAllocated", 16)
    bits = number("BitsStored", allocated)
    found = Stored(
        syntax=syntax,
        offset=offset,
        rows=number("Rows", 0),
        columns=number("Columns", 0),
        frames=number("NumberOfFrames", 1),
        allocated=allocated,
        stored=bits,
        high_bit=number("HighBit", bits - 1),
        signed=number("PixelRepresentation", 0) == 1,
    )
    if not found.rows or not found.columns or not found.frames:
        raise InputError(f"{source.name}: Rows, Columns or NumberOfFrames is 0")
    pixels = found.rows * found.columns * found.frames
    if pixels * max(allocated, 8) // 8 > LARGEST_VOLUME or found.frames > MOST_FRAMES:
        size = f"{found.frames} x {found.rows} x {found.columns}"
        raise ResourceError(f"{source.name}: the header asks for {size} pixels; refused")
    return found


def _placed(plane: Slice, group: "Dataset") -> Slice:
    """The plane with what a data set or functional group adds about place and scale."""
    found = {keyword: decimals_of(group, keyword, count) for keyword, count in DECIMALS.items()}
    unreadable = next((k for k, values in found.items() if values is None and text_of(group, k)), "")
    slope, intercept = found["RescaleSlope"], found["RescaleIntercept"]
    return replace(
        plane,
        position=found["ImagePositionPatient"] or plane.position,
        orientation=found["ImageOrientationPatient"] or plane.orientation,
        spacing=found["PixelSpacing"] or plane.spacing,
        slope=slope[0] if slope else plane.slope,
        intercept=intercept[0] if intercept else plane.intercept,
        unreadable=plane.unreadable or unreadable,
    )


DECIMALS = {
    "ImagePositionPatient": 3,
    "ImageOrientationPatient": 6,
    "PixelSpacing": 2,
    "RescaleSlope": 1,
    "RescaleIntercept": 1,
}
GROUPS = (
    "PixelMeasuresSequence",
    "PlaneOrientationSequence",
    "PlanePositionSequence",
    "PixelValueTransformationSequence",
)


def _frames(first: Slice, dataset: "Dataset") -> Iterator[Slice]:
    """The planes of an enhanced object, from its shared and per-frame functional groups."""
    for shared in sequence_of(dataset, "SharedFunctionalGroupsSequence")[:1]:
        first = _grouped(first, shared)
    groups = sequence_of(dataset, "PerFrameFunctionalGroupsSequence")
    if len(groups) != first.stored.frames:
        raise InputError(
            f"{first.source.name}: {first.stored.frames} frames but {len(groups)} descriptions of frames"
        )
    for index, group in enumerate(groups):
        yield replace(_grouped(first, group), frame=index)


def _grouped(plane: Slice, group: "Dataset") -> Slice:
    for keyword in GROUPS:
        for item in sequence_of(group, keyword)[:1]:
            plane = _placed(plane, item)
            told = {key: text for key in ("SliceThickness", "RescaleType") if (text := text_of(item, key))}
            if told:
                plane = replace(plane, tags={**plane.tags, **told})
    return plane
