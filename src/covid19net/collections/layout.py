"""Finding things in a download: tables by their columns, patients by the names of their folders."""

from collections.abc import Callable, Collection, Iterator
import os
from pathlib import Path
import re

from covid19net.errors import InputError
from covid19net.table import read_cells

DEEPEST = 4  # folders below the one that was given; whoever unpacked it may have added some

SEXES = {"F": "F", "FEMALE": "F", "M": "M", "MALE": "M"}

Record = dict[str, str]


def records_of(path: Path) -> list[Record]:
    """Rows of a CSV by column; blanks around names and values go, the first of two like names counts.

    Raises:
        InputError: not a table.
    """
    rows, _ = read_cells(path)
    header = [name.strip() for name in rows[0]]
    found = []
    for row in rows[1:]:
        if any(cell.strip() for cell in row):
            pairs = zip(
                reversed(header), reversed(row[: len(header)] + [""] * (len(header) - len(row))), strict=True
            )
            found.append({name: cell.strip() for name, cell in pairs})
    return found


def tables_with(folder: Path, columns: Collection[str]) -> list[Path]:
    """CSVs in a folder or right below it that have all of some columns; a renamed file is found as well."""
    found = []
    for path in sorted([*folder.glob("*.csv"), *folder.glob("*/*.csv")]):
        try:
            header = {name.strip() for name in read_cells(path)[0][0]}
        except InputError:
            continue
        if set(columns) <= header:
            found.append(path)
    return found


def table_with(folder: Path, columns: Collection[str], what: str) -> list[Record]:
    """The one table with all of some columns.

    Args:
        folder: of the download.
        columns: names of columns.
        what: the table, as a fault calls it.

    Raises:
        InputError: none, or several.
    """
    found = tables_with(folder, columns)
    if len(found) != 1:
        count = "no CSV" if not found else f"{len(found)} CSVs"
        raise InputError(
            f"{folder.name}: {count} with the columns of {what} ({', '.join(sorted(columns))}); one is "
            "needed. Save a workbook as CSV UTF-8"
        )
    return records_of(found[0])


def entries(folder: Path) -> list[os.DirEntry[str]]:
    """What a folder holds, by name; links and hidden files are left out.

    Raises:
        InputError: it cannot be listed.
    """
    try:
        with os.scandir(folder) as found:
            kept = [e for e in found if not e.is_symlink() and not e.name.startswith(".")]
    except OSError as error:
        raise InputError(f"{folder.name}: the folder cannot be listed ({error.strerror})") from error
    return sorted(kept, key=lambda entry: entry.name)


def search(folder: Path, wanted: Callable[[os.DirEntry[str]], bool], depth: int = DEEPEST) -> Iterator[Path]:
    """Files and folders that are wanted, not looked into further, in a folder and some levels below it."""
    for entry in entries(folder):
        if wanted(entry):
            yield Path(entry.path)
        elif depth and entry.is_dir():
            yield from search(Path(entry.path), wanted, depth - 1)


def patient_folders(folder: Path, pattern: str) -> dict[str, Path]:
    """Folders whose whole name is a patient's, by that name; the given folder may be one itself.

    Raises:
        InputError: two folders of one patient: the download is there twice.
    """
    name = re.compile(pattern, re.IGNORECASE)
    found: dict[str, Path] = {}
    places = search(folder, lambda entry: entry.is_dir() and bool(name.fullmatch(entry.name)))
    for place in [folder] if name.fullmatch(folder.name) else places:
        if place.name in found:
            raise InputError(f"{place.name}: two folders of this patient; is the download there twice?")
        found[place.name] = place
    return found


def number(text: str) -> float | None:
    """The first number of a cell, without the arrows and signs around it; None where there is none."""
    found = re.search(r"\d+(?:\.\d+)?", text)
    return float(found[0]) if found else None


def sex_of(text: str) -> str:
    """Sex as F or M, however a table writes it; empty for anything else."""
    return SEXES.get(text.strip().upper(), "")
