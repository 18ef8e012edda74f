"""The folder of a case: all of it or nothing, also after a power cut.

    OUT/cases/3fa/PATIENT/    result.json, ..., and batch.json, which says what the rest was made from

4096 folders of folders keep each short: ten million cases are 2400 in one.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
import hashlib
import json
from pathlib import Path
import secrets
import shutil
from typing import Any

from covid19net.io.files import sync_folder, sync_tree, write_fault, write_whole

SCHEMA = "covid19net-batch/1"
RECORD = "batch.json"
APART = "~"  # in no case's name

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Stored:
    """What batch.json says.

    Attributes:
        key: from `key_of`.
        content: from `content_of`; empty where the input could not be hashed.
        signature: from `signature_of`; empty where the input was not there.
        files: name -> size of each other file of the case.
        row: of the table.
    """

    key: str
    content: str
    signature: str
    files: Mapping[str, int]
    row: Row


def folder_of(out: Path, name: str) -> Path:
    """The folder of a case."""
    return out / "cases" / hashlib.sha256(name.encode()).hexdigest()[:3] / name


def read_stored(folder: Path) -> Stored | None:
    """What is stored of a case; None where there is nothing whole."""
    try:
        values = json.loads((folder / RECORD).read_bytes())
        if values.pop("schema") != SCHEMA:
            return None
        found = Stored(**values)
        if any((folder / name).stat().st_size != size for name, size in found.files.items()):
            return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return found


def new_folder(folder: Path) -> Path:
    """A folder beside a case's, to be filled and `settle`d; what an earlier run left half done is removed.

    Raises:
        InputError: it cannot be made.
        ResourceError: the disk is full.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        for left in folder.parent.glob(f".{folder.name}{APART}*"):
            shutil.rmtree(left, ignore_errors=True)
        made = folder.with_name(f".{folder.name}{APART}{secrets.token_hex(4)}")
        made.mkdir()
    except OSError as error:
        raise write_fault(folder, error) from error
    return made


def settle(made: Path, folder: Path, stored: Stored) -> None:
    """Write what a case was made from, and give its folder its name; an earlier result goes.

    Args:
        made: from `new_folder`, with the files of the case.
        folder: its place.
        stored: of the case; its files are those of `made`.

    Raises:
        InputError: it cannot be written.
        ResourceError: the disk is full.
    """
    try:
        _write_record(made / RECORD, stored)
        sync_tree(made)
        if folder.exists():  # between the two renames there is no result: it is made again
            old = made.with_name(made.name + ".old")
            folder.rename(old)
            made.rename(folder)
            shutil.rmtree(old, ignore_errors=True)
        else:
            made.rename(folder)
        sync_folder(folder.parent)
    except OSError as error:
        raise write_fault(folder, error) from error


def sizes_in(folder: Path) -> dict[str, int]:
    """Every file below a folder, but for batch.json, and its size."""
    return {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != RECORD
    }


def sign_again(folder: Path, stored: Stored) -> None:
    """Replace batch.json where the input's files have another state and the same bytes.

    Raises:
        InputError: it cannot be written.
        ResourceError: the disk is full.
    """
    write_whole(folder / RECORD, lambda part: _write_record(part, stored))


def _write_record(path: Path, stored: Stored) -> None:
    text = json.dumps({"schema": SCHEMA, **asdict(stored)}, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")
