"""Compressed frames inside a DICOM file, and what their code streams announce."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from io import BytesIO
from itertools import pairwise
import struct

import numpy as np

from covid19net.errors import InputError
from covid19net.io.files import Source
from covid19net.io.header import BIG_ENDIAN, DEFLATED, EXPLICIT, IMPLICIT, Slice, Stored, inflated

UNDEFINED = 0xFFFFFFFF  # length of an encapsulated element
MOST_TILES = 65535  # of a JPEG 2000 image (ISO 15444-1 A.4.2)
ITEM, END_OF_SEQUENCE = 0xE000FFFE, 0xE0DDFFFE  # little endian (group, element)


def encoded_frame(plane: Slice) -> bytes:
    """The compressed bytes of one frame (DICOM PS3.5 A.4).

    Raises:
        InputError: the element is not encapsulated, is cut short, or has no such frame.
    """
    return _encoded_frames(plane)[plane.frame]


def _encoded_frames(plane: Slice) -> list[bytes]:
    """The compressed bytes of every frame of a plane's object."""
    source, stored = plane.source, plane.stored
    data = source.read(int(stored.offset or 0), min(source.size, _most_encoded(stored)))
    if len(data) < 20 or struct.unpack_from("<L", data, 8)[0] != UNDEFINED:
        raise InputError(f"{source.name}: the header says compressed pixels, but they are not encapsulated")
    table, *fragments = _items(data, source.name)
    if stored.frames == 1:
        return [b"".join(fragments)]
    if len(fragments) == stored.frames:
        return fragments
    return _by_offset_table(table, fragments, plane)


def split_frames(planes: Sequence[Slice]) -> list[Slice]:
    """The same planes, those of multi-frame objects each with bytes of their own.

    So that an object is read, inflated and split once and not again for each of its frames.
    """
    objects: dict[int, list[tuple[Source, Stored, int]]] = {}
    found = []
    for plane in planes:
        if plane.stored.frames > 1:
            if id(plane.source) not in objects:
                objects[id(plane.source)] = _frames_of(plane)
            source, stored, frame = objects[id(plane.source)][plane.frame]
            plane = replace(plane, source=source, stored=stored, frame=frame)
        found.append(plane)
    return found


def _frames_of(plane: Slice) -> list[tuple[Source, Stored, int]]:
    """For each frame of a plane's object: where its bytes are, how they are stored, which frame of those."""
    source, stored = plane.source, plane.stored
    if stored.syntax not in (DEFLATED, IMPLICIT, EXPLICIT, BIG_ENDIAN):
        alone = replace(stored, frames=1, offset=0)
        return [(_in_memory(source, _encapsulated(f)), alone, 0) for f in _encoded_frames(plane)]
    if stored.syntax == DEFLATED:
        source, stored = _in_memory(source, inflated(source)), replace(stored, syntax=EXPLICIT)
    elif source.path is None and stored.offset is not None:
        # Inside an archive each seek inflates anew from the start.
        length = 12 + stored.rows * stored.columns * stored.frames * stored.allocated // 8
        source = _in_memory(source, source.read(stored.offset, length))
        stored = replace(stored, offset=0)
    return [(source, stored, frame) for frame in range(stored.frames)]


def _in_memory(source: Source, data: bytes) -> Source:
    return Source(source.name, len(data), lambda: BytesIO(data))


def _encapsulated(frame: bytes) -> bytes:
    """A pixel data element of one frame: no offset table, one fragment (PS3.5 table A.4-1)."""
    head = struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OB", 0, UNDEFINED) + struct.pack("<LL", ITEM, 0)
    return head + struct.pack("<LL", ITEM, len(frame)) + frame + struct.pack("<LL", END_OF_SEQUENCE, 0)


def _most_encoded(stored: Stored) -> int:
    """Bytes that compressed pixels can take: incompressible noise grows a little, never to the double."""
    return 2 * stored.rows * stored.columns * stored.frames * stored.allocated // 8 + (1 << 20)


def _items(data: bytes, name: str) -> Iterator[bytes]:
    """The offset table and the fragments of an encapsulated element that starts with its tag."""
    at = 12
    while at + 8 <= len(data):
        tag, length = struct.unpack_from("<LL", data, at)
        if tag == END_OF_SEQUENCE:
            return
        if tag != ITEM or at + 8 + length > len(data):
            break
        yield data[at + 8 : at + 8 + length]
        at += 8 + length
    raise InputError(f"{name}: the compressed pixels are cut short or damaged; copy it again")


def _by_offset_table(table: bytes, fragments: list[bytes], plane: Slice) -> list[bytes]:
    """Frames of several fragments, found through the basic offset table."""
    offsets = np.frombuffer(table[: len(table) // 4 * 4], "<u4")
    if len(offsets) != plane.stored.frames:
        raise InputError(f"{plane.source.name}: frames and compressed fragments do not match")
    starts = np.cumsum([0, *(8 + len(fragment) for fragment in fragments)])
    at = np.searchsorted(starts, [*offsets.tolist(), starts[-1]]).tolist()
    return [b"".join(fragments[first:last]) for first, last in pairwise(at)]


def codestream_size(frame: bytes) -> tuple[int, int, int] | None:
    """Rows, columns and components that a JPEG, JPEG-LS or JPEG 2000 code stream announces; None for others.

    Read before decoding: a header of a few bytes can ask for gigabytes, also by 16384 components.
    """
    at = frame.find(b"\xff\x4f\xff\x51", 0, 4096)  # SOC, SIZ: ISO 15444-1 A.5.1
    if at >= 0 and len(frame) >= at + 45 and not frame.startswith(b"\xff\xd8"):
        return _size_of_jpeg_2000(*struct.unpack_from(">8LHxBB", frame, at + 8))
    at = 2
    while frame.startswith(b"\xff\xd8") and at + 10 <= len(frame) and frame[at] == 0xFF:
        marker = frame[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker == 0xF7 or (
            0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)
        ):  # SOF: ISO 10918-1
            rows, columns = struct.unpack_from(">HH", frame, at + 5)
            return rows, columns, frame[at + 9]
        else:
            at += 2 + int(struct.unpack_from(">H", frame, at + 2)[0])
    return None


def _size_of_jpeg_2000(*siz: int) -> tuple[int, int, int] | None:
    """Rows, columns and components by the numbers of a SIZ marker segment, None where they make no image.

    Decoders divide by the size of a tile and by the distance of samples before they ask whether it is 0.
    """
    right, bottom, left, top, width, height, first_left, first_top, components, across, down = siz
    if not (first_left <= left < first_left + width and first_top <= top < first_top + height):
        return None  # as ISO 15444-1 B.3 asks
    if -(-(right - first_left) // width) * -(-(bottom - first_top) // height) > MOST_TILES:
        return None
    return (bottom - top, right - left, components) if across == down == 1 else None


def is_whole_codestream(frame: bytes) -> bool:
    """Whether a code stream reaches its end; decoders fill up what is missing.

    JPEG 2000 tells how long each of its tile parts is. Otherwise the end marker must be there: it cannot
    occur inside coded data. A padding byte, not always 0, may follow it.
    """
    at = frame.find(b"\xff\x4f\xff\x51", 0, 4096) + 2
    ended = b"\xff\xd9" in frame[-16:]
    if at < 2 or frame.startswith(b"\xff\xd8"):
        return ended
    while at + 12 <= len(frame) and frame[at : at + 2] != b"\xff\xd9":
        marker, length, _, part = struct.unpack_from(">HHHL", frame, at)
        if marker == 0xFF90:  # SOT: ISO 15444-1 A.4.2
            if part == 0:  # the last part, up to the end marker
                return ended
            length = part - 2
        if marker < 0xFF00 or length < 2:
            return False
        at += 2 + length
    # Nothing is lost where only the end marker is.
    return at <= len(frame) and frame[at : at + 2] in (b"\xff\xd9", b"\0\0", b"\0", b"")
