"""The data folder: its parts, and how what is written there outlives a power cut."""

from collections.abc import Iterator
from contextlib import contextmanager
import errno
import os
from pathlib import Path
import shutil

from covid19net.errors import InputError
from covid19net.service.job import DiskFull

DATABASE, LOCK = "service.sqlite", "service.lock"
INCOMING, INPUTS, RUNNING, RESULTS, ARRIVING = "incoming", "inputs", "running", "results", "arriving"
FOLDERS = (INCOMING, INPUTS, RUNNING, RESULTS, ARRIVING)
FULL = (errno.ENOSPC, errno.EDQUOT)


def prepare(data: Path) -> None:
    """Make the data folder and its parts, for this user alone; what was half written or half done goes.

    Raises:
        InputError: it cannot be made.
        DiskFull: it cannot be written.
    """
    try:
        with telling_full():
            for folder in (data, *(data / name for name in FOLDERS)):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                folder.chmod(0o700)
            for unfinished in (*(data / INCOMING).iterdir(), *(data / RUNNING).iterdir()):
                remove(unfinished)
            sync_folder(data)
    except OSError as error:
        raise InputError(f"{data}: cannot be the data folder ({error.strerror})") from error


def remove(path: Path) -> None:
    """Delete a file or a folder with everything in it; nothing there is no fault."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def remove_whole(folder: Path, bin_folder: Path) -> None:
    """Delete a folder so that nobody ever finds a part of it under its name."""
    doomed = bin_folder / f"removed-{folder.parent.name}-{folder.name}"
    try:
        folder.rename(doomed)
    except FileNotFoundError:
        return
    remove(doomed)


def sync_file(path: Path) -> None:
    """Return when a file's bytes are on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Return when the names in a folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Return when a folder and all in it are on the disk."""
    for place, _, names in os.walk(folder):
        for name in names:
            sync_file(Path(place, name))
        sync_folder(Path(place))


@contextmanager
def telling_full() -> Iterator[None]:
    """Raise DiskFull where there was no room to write."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise DiskFull("the disk of the service is full") from error
        raise
