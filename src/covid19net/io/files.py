"""Files that may hold slices: found without following links, waiting on pipes or reading more than needed."""

from collections.abc import Callable
from dataclasses import dataclass
import errno
import os
from pathlib import Path, PurePosixPath
import secrets
import stat
from typing import IO, BinaryIO

from covid19net.errors import InputError, ResourceError

MOST_FILES = 20_000  # in one folder or archive; a CD with ten thin-slice series holds about 10,000
DEEPEST_FOLDER = 64
LARGEST_VOLUME = 2 << 30  # bytes of voxels as stored; 512 x 512 x 4096 of 16 bits
DICOM_SUFFIXES = (".dcm", ".dicom")
IMAGE_SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")


@dataclass(frozen=True)
class Source:
    """A readable run of bytes, in a file or inside an archive.

    Attributes:
        name: how to name it to the user, relative to the path that was given.
        size: length in bytes.
        stream: opens it anew, at its start.
        path: its file, None inside an archive.
    """

    name: str
    size: int
    stream: Callable[[], BinaryIO]
    path: Path | None = None

    def read(self, start: int, length: int) -> bytes:
        """Up to `length` bytes from `start`; fewer only at the end.

        Raises:
            InputError: the file cannot be opened or read.
        """
        try:
            with self.stream() as stream:
                stream.seek(start)
                return stream.read(max(length, 0))
        except OSError as error:
            raise InputError(f"{self.name}: cannot be read ({error.strerror or 'damaged'})") from error


@dataclass(frozen=True)
class Found:
    """What a folder or archive holds.

    Attributes:
        sources: regular, non-empty files, sorted by name.
        irregular: number of links, pipes, devices and empty files that were left alone.
    """

    sources: list[Source]
    irregular: int = 0


def is_image_name(name: str) -> bool:
    """Whether a file name says NIfTI, NRRD or MetaImage."""
    return name.lower().endswith(IMAGE_SUFFIXES)


def is_shadow(name: str) -> bool:
    """Whether a file is one of those macOS puts beside each file on foreign disks and in archives."""
    return PurePosixPath(name).name.startswith("._")


def printable(name: str) -> str:
    """A file name fit for a message of one line: control characters and broken encodings shown as "?"."""
    return "".join(c if c.isprintable() else "?" for c in name)


def source_of(path: Path, name: str) -> Source:
    """A regular file as a source.

    Raises:
        InputError: it is not a regular file, or is empty.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{name}: not a regular file")
    if status.st_size == 0:
        raise InputError(f"{name}: the file is empty (0 bytes)")
    return Source(printable(name), status.st_size, lambda: path.open("rb"), path)


def find_files(folder: Path, *, deep: bool = True) -> Found:
    """Every regular file of a folder, and below it unless `deep` is false; links left alone.

    Raises:
        InputError: the folder cannot be listed, or is nested deeper than `DEEPEST_FOLDER`.
        ResourceError: it holds more than `MOST_FILES` files.
    """
    sources: list[Source] = []
    irregular = 0
    waiting = [(folder, 0)]
    while waiting:
        here, depth = waiting.pop()
        if depth > DEEPEST_FOLDER:
            raise InputError(f"{folder.name}: folders are nested deeper than {DEEPEST_FOLDER}")
        for entry in _entries(here):
            if entry.is_dir(follow_symlinks=False):
                waiting += [(Path(entry.path), depth + 1)] if deep else []
            elif entry.is_file(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_size:
                sources.append(_entry_source(entry, folder))
            else:
                irregular += 1
            if len(sources) + irregular > MOST_FILES:
                raise ResourceError(
                    f"{folder.name}: more than {MOST_FILES} files; give the folder of one scan"
                )
    sources.sort(key=lambda source: source.name)
    return Found(sources, irregular)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise InputError(f"{folder.name}: the folder cannot be listed ({error.strerror})") from error


def _entry_source(entry: os.DirEntry[str], folder: Path) -> Source:
    path = Path(entry.path)
    size = entry.stat(follow_symlinks=False).st_size
    name = printable(path.relative_to(folder).as_posix())
    return Source(name, size, lambda: path.open("rb"), path)


def write_whole(path: Path, write: Callable[[Path], None], suffix: str = "") -> None:
    """Let `write` fill a file under a temporary name, then give it its name.

    Args:
        path: the final name.
        write: is called with the temporary path.
        suffix: ending of the temporary name.

    Raises:
        InputError: no such folder, or no permission.
        ResourceError: the disk is full.
    """
    unfinished = path.with_name(f".unfinished-{secrets.token_hex(4)}{suffix}")
    try:
        write(unfinished)
        sync_file(unfinished)
        unfinished.replace(path)
    except (OSError, RuntimeError) as error:
        raise write_fault(path, error) from error
    finally:
        unfinished.unlink(missing_ok=True)


def sync_file(path: Path) -> None:
    """Return when a file's bytes are on the disk."""
    with path.open("r+b") as file:  # Windows syncs only what is open for writing
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Return when the names in a folder are on the disk. Windows has no such call and needs none."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def sync_tree(folder: Path) -> None:
    """Return when a folder and all in it are on the disk."""
    for place, _, names in os.walk(folder):
        for name in names:
            sync_file(Path(place, name))
        sync_folder(Path(place))


def take_lock(path: Path) -> IO[str] | None:
    """An open file that is a lock until it is closed, or its process ends; None where another has it.

    On Windows it is a file and no lock.

    Raises:
        OSError: the file cannot be made, or its file system has no locks.
    """
    file = path.open("a")
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:  # Windows
        return file
    except OSError as error:
        file.close()
        if isinstance(error, BlockingIOError):
            return None
        raise
    return file


def write_fault(path: Path, error: Exception) -> InputError | ResourceError:
    """The error to raise when a place could not be written: a full disk is a matter of resources."""
    reason = getattr(error, "strerror", None) or "writing failed"
    full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
    return (ResourceError if full else InputError)(f"{path}: cannot be written ({reason})")
