"""Damage to files, the same for the same seed: what disks, networks and those who mean harm do to them."""

from collections.abc import Callable
from random import Random
import re
import struct

from samples import Sample

HEAD = 1024  # bytes; where most of the headers are
# Elements of a DICOM header whose numbers decide how much is read (PS3.6), without the byte order.
TAGS = [
    (0x0028, n) for n in (0x0002, 0x0008, 0x0010, 0x0011, 0x0100, 0x0101, 0x0102, 0x0103, 0x0120)
]  # fmt: skip
TAGS += [(0x7FE0, 0x0010), (0xFFFE, 0xE000), (0xFFFE, 0xE0DD), (0x0002, 0x0000), (0x0002, 0x0010)]
TAGS += [(0x0020, 0x0032), (0x0020, 0x0037), (0x0028, 0x0030), (0x0028, 0x1052), (0x0028, 0x1053)]
TAGS += [(0x5200, 0x9229), (0x5200, 0x9230), (0x0028, 0x0004), (0x0008, 0x0016)]
NIFTI = (0, 40, 42, 44, 46, 48, 50, 70, 72, 76, 80, 84, 88, 108, 112, 116, 123, 252, 254, 256, 280, 344)
MAGIC = (b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06", b"\xff\x4f\xff\x51", b"\x1f\x8b", b"\xff\xd8")
WORDS = (
    b"0", b"-1", b"1e400", b"nan", b"-inf", b"65535", b"2147483648", b"99999999999999999999", b"", b"1e-300",
    b"0x10", b"3 3", b"1\\2", b"9" * 5000,
)  # fmt: skip
EXTREMES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
REALS = (float("nan"), float("inf"), -1.0, 0.0, 1e30, 1e-30)


def extreme(rng: Random, width: int) -> bytes:
    """A number at the edge of what so many bytes hold, in either byte order."""
    if width == 4 and rng.random() < 0.3:
        return struct.pack(rng.choice("<>") + "f", rng.choice(REALS))
    value = rng.choice(EXTREMES) & ((1 << 8 * width) - 1)
    return value.to_bytes(width, rng.choice(("little", "big")))


def put(data: bytes, at: int, piece: bytes) -> bytes:
    """Bytes replaced, the length kept."""
    return (data[:at] + piece + data[at + len(piece) :])[: len(data)]


def somewhere(data: bytes, rng: Random) -> int:
    """A place, more often in the header."""
    return rng.randrange(min(len(data), HEAD if rng.random() < 0.6 else len(data)) or 1)


def bits(data: bytes, rng: Random) -> bytes:
    """A few bits flipped."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        changed[somewhere(data, rng)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut(data: bytes, rng: Random) -> bytes:
    """The end is missing, or the start."""
    at = somewhere(data, rng)
    return data[at:] if rng.random() < 0.2 else data[:at]


def block(data: bytes, rng: Random) -> bytes:
    """A block repeated, deleted, zeroed, set, or exchanged for noise."""
    at, length = somewhere(data, rng), rng.choice((1, 2, 4, 16, 100, 512, 4096))
    piece = data[at : at + length]
    new = rng.choice((piece * 2, piece * 50, b"", bytes(len(piece)), b"\xff" * len(piece)))
    if rng.random() < 0.2:
        new = rng.randbytes(len(piece))
    return data[:at] + new + data[at + length :]


def number(data: bytes, rng: Random) -> bytes:
    """A binary number set to an extreme, anywhere."""
    return put(data, somewhere(data, rng), extreme(rng, rng.choice((1, 2, 4, 8))))


def word(data: bytes, rng: Random) -> bytes:
    """A number written as text exchanged for one that is extreme, or none."""
    found = list(re.finditer(rb"-?\d+(\.\d+)?", data[: 4 * HEAD]))
    if not found:
        return number(data, rng)
    match, new = rng.choice(found), rng.choice(WORDS)
    if rng.random() < 0.5:  # the length that is written before it stays true
        new = new[: len(match[0])].ljust(len(match[0]))
    return data[: match.start()] + new + data[match.end() :]


def field(data: bytes, rng: Random) -> bytes:
    """The length or value of an element of DICOM, a field of NIfTI, or one behind a known mark."""
    if data[344:347] in (b"n+1", b"ni1"):
        return put(data, rng.choice(NIFTI), extreme(rng, rng.choice((2, 4))))
    marks = [struct.pack(f"{order}HH", *tag) for tag in TAGS for order in "<>"] + list(MAGIC)
    marks = [mark for mark in marks if mark in data]
    if not marks:
        return number(data, rng)
    mark = rng.choice(marks)
    places = [match.end() for match in re.finditer(re.escape(mark), data)]
    within = 48 if mark in MAGIC else 12
    return put(data, rng.choice(places) + rng.randrange(0, within, 2), extreme(rng, rng.choice((2, 2, 4))))


def marker(data: bytes, rng: Random) -> bytes:
    """What stands behind a marker of a JPEG or JPEG 2000 code stream set to an extreme."""
    places = [match.end() for match in re.finditer(rb"\xff[\x4f-\xfe]", data)]
    if not places:
        return field(data, rng)
    width = rng.choice((1, 2, 4))
    return put(data, rng.choice(places[:40]) + rng.randrange(0, 20), extreme(rng, width))


KINDS: tuple[Callable[[bytes, Random], bytes], ...] = (
    bits, cut, block, number, number, word, field, field, marker,
)  # fmt: skip


def mutation(samples: list[Sample], public: list[Sample], key: str) -> tuple[str, dict[str, bytes]]:
    """One damaged sample.

    Args:
        samples: ours, taken three times of four.
        public: others, perhaps none.
        key: the same gives the same.

    Returns:
        What was done, in words, and the files to read.
    """
    rng = Random(key)
    sample = rng.choice(public if public and rng.random() < 0.25 else samples)
    files, done = dict(sample.files), []
    inside = bool(sample.packing) and rng.random() < 0.5
    if sample.packing and not inside:
        files = sample.packed(files)
    victim = rng.choice(sorted(files))
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        kind = rng.choice(KINDS)
        if files[victim]:
            files[victim] = kind(files[victim], rng)
        done.append(kind.__name__)
    if inside:
        files = sample.packed(files)
    return f"{sample.name}, {victim}{' before packing' if inside else ''}: {', '.join(done)}", files
