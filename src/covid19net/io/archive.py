"""Zip archives, read in place: nothing is unpacked to disk, and no entry is inflated further than needed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
import lzma
import os
from pathlib import Path, PurePosixPath
import stat
import struct
from typing import Any, BinaryIO, cast
import zipfile
import zlib

from covid19net.errors import InputError, ResourceError
from covid19net.io.files import MOST_FILES, Found, Source, printable

LARGEST_DIRECTORY = (
    8 << 20
)  # bytes of the archive's table of contents; 20,000 entries with long names need 4 MB
LARGEST_ENTRY = 2 << 30  # bytes, inflated
SUSPICIOUS_RATIO = 200  # deflate reaches 1032 on zeros; a CT slice with its noise reaches 2 to 10
SMALL_ENTRY = 32 << 20  # bytes; below it a high ratio does no harm (an empty slice compresses well)
OTHER_ARCHIVES = {
    b"Rar!": "RAR",
    b"7z\xbc\xaf": "7-Zip",
    b"\xfd7zXZ": "xz",
    b"BZh": "bzip2",
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "Zstandard",
}
ENCRYPTED = 0x1  # general purpose flag, bit 0 (APPNOTE 4.4.4)


def refuse_other_archives(source: Source) -> None:
    """Raise an InputError that names the format when the file is a RAR, 7-Zip, xz, bzip2 or tar archive."""
    head = source.read(0, 512)
    kind = next((kind for magic, kind in OTHER_ARCHIVES.items() if head.startswith(magic)), None)
    if head[257:262] == b"ustar":
        kind = "tar"
    if kind:
        raise InputError(f"{source.name}: {kind} archives are not read; unpack it, or use zip")


@contextmanager
def open_zip(source: Source) -> Iterator[Found]:
    """The entries of a zip archive as sources, valid inside the `with` block.

    Raises:
        InputError: damaged, encrypted or empty archive; entries that point outside it, overlap or are links.
        ResourceError: more entries or bytes than any CT scan has.
    """
    _check_directory(source)
    try:
        archive = zipfile.ZipFile(cast(Path, source.path))
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError, struct.error) as error:
        raise InputError(f"{source.name}: not a complete zip archive; copy or download it again") from error
    with archive:
        entries = [entry for entry in archive.infolist() if not entry.filename.endswith("/")]
        _check_entries(source.name, entries)
        sources = [_entry_source(archive, entry) for entry in entries if entry.file_size]
        sources.sort(key=lambda each: each.name)
        yield Found(sources, len(entries) - len(sources))


def _check_directory(source: Source) -> None:
    """Raise when the table of contents is larger than any scan needs, before it is read.

    The end record (APPNOTE 4.3.16) holds its size at byte 12; the 64-bit form (4.3.14) at byte 40 of its own.
    """
    tail_start = max(0, source.size - 22 - 65535 - 20 - 56)
    tail = source.read(tail_start, source.size)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) < at + 22:
        raise InputError(f"{source.name}: not a complete zip archive; copy or download it again")
    (size,) = struct.unpack_from("<L", tail, at + 12)
    at64 = tail.rfind(b"PK\x06\x06", 0, at)
    if size == 0xFFFFFFFF and at64 >= 0 and len(tail) >= at64 + 48:
        (size,) = struct.unpack_from("<Q", tail, at64 + 40)
    if size > LARGEST_DIRECTORY:
        raise ResourceError(f"{source.name}: the archive lists more files than a CT scan has")


def _check_entries(name: str, entries: list[zipfile.ZipInfo]) -> None:
    if not entries:
        raise InputError(f"{name}: the archive is empty")
    if len(entries) > MOST_FILES:
        raise ResourceError(f"{name}: the archive holds {len(entries)} files, more than {MOST_FILES}")
    for entry in entries:
        _check_entry(name, entry)
    ordered = sorted(entries, key=lambda entry: entry.header_offset)
    for one, following in pairwise(ordered):
        if one.header_offset + 30 + one.compress_size > following.header_offset:
            raise InputError(f"{name}: entries of the archive overlap; it was not made by a normal program")


def _check_entry(name: str, entry: zipfile.ZipInfo) -> None:
    path = PurePosixPath(entry.filename.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or not path.parts or path.parts[0].endswith(":"):
        raise InputError(f"{name}: an entry of the archive points outside it; refused")
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise InputError(f"{name}: the archive holds a symbolic link; refused")
    if entry.flag_bits & ENCRYPTED:
        raise InputError(f"{name}: the archive is encrypted; unpack it with its password first")
    ratio = entry.file_size / max(entry.compress_size, 1)
    if entry.file_size > LARGEST_ENTRY or (entry.file_size > SMALL_ENTRY and ratio > SUSPICIOUS_RATIO):
        raise ResourceError(f"{name}: an entry inflates to {entry.file_size >> 20} MB; refused")


def _entry_source(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Source:
    def stream() -> BinaryIO:
        try:
            return cast(BinaryIO, _Guarded(cast(BinaryIO, archive.open(entry))))
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
            raise OSError(0, "damaged entry of the archive") from error

    return Source(printable(entry.filename), entry.file_size, stream)


class _Guarded:
    """An entry's stream whose damage shows as an OSError, as a file's would."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def __enter__(self) -> "_Guarded":
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a byte of the inflated entry."""
        return int(self._whole(lambda: self._stream.seek(offset, whence)))

    def read(self, length: int = -1) -> bytes:
        """Read up to `length` inflated bytes."""
        return cast(bytes, self._whole(lambda: self._stream.read(length)))

    def _whole(self, move: Callable[[], Any]) -> Any:  # noqa: ANN401
        try:
            return move()
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError) as error:
            raise OSError(0, "damaged entry of the archive") from error
