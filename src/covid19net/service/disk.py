"""The data folder: its parts, what goes from it, and when it is full."""

from collections.abc import Iterator
from contextlib import contextmanager
import errno
from pathlib import Path
import shutil

from covid19net.errors import InputError
from covid19net.io.files import sync_folder
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


@contextmanager
def telling_full() -> Iterator[None]:
    """Raise DiskFull where there was no room to write."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise DiskFull("the disk of the service is full") from error
        raise
