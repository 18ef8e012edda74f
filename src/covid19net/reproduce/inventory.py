"""What of a recipe's collections lies on disk: where, how many patients, how much, and as of when."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
import hashlib
import os
from pathlib import Path
import re

from covid19net.collections import are_phantoms
from covid19net.collections.layout import search
from covid19net.errors import InputError


@dataclass(frozen=True)
class Wanted:
    """A collection that a recipe can use.

    Attributes:
        name: of the collection.
        purpose: what it is for.
        without: what happens without it.
        known_by: regular expression of the names of files or folders that tell a download of it.
        patient: the same of the names that stand for a patient each, for counting.
    """

    name: str
    purpose: str
    without: str
    known_by: str
    patient: str


@dataclass(frozen=True)
class Holding:
    """A download on disk.

    Attributes:
        folder: where it lies.
        patients: names in it that stand for a patient; those that can be used are told by its manifest.
        files: how many.
        size: bytes.
        digest: SHA-256 of names, sizes and times of all files; it changes when a file does.
        phantoms: whether its scans are synthetic.
    """

    folder: Path
    patients: int
    files: int
    size: int
    digest: str
    phantoms: bool


def take_inventory(data: Path, wanted: Iterable[Wanted], out: Path) -> dict[str, Holding]:
    """Find the downloads in a folder: NAME/ of a collection, or any other subfolder that looks like one.

    Args:
        data: folder of the downloads; a subfolder may be a link to another disk.
        wanted: the collections of the recipe.
        out: folder of the results, which is never taken for a download.

    Returns:
        Name -> what is there; collections that are not there are absent.

    Raises:
        InputError: no such folder, one that cannot be listed, or phantoms beside scans of people.
    """
    if not data.is_dir():
        raise InputError(f"{data}: there is no such folder")
    children = [c for c in sorted(data.iterdir()) if c.is_dir() and not c.name.startswith(".")]
    children = [child for child in children if child.resolve() != out.resolve()]
    found = {}
    for one in wanted:
        place = data / one.name
        if not place.is_dir():
            others = (child for child in children if _looks_like(child, one.known_by))
            place = next(others, place)
        if place.is_dir():
            found[one.name] = _holding(place, one.patient)
    _refuse_mixture(found)
    return found


def _looks_like(folder: Path, known_by: str) -> bool:
    name = re.compile(known_by, re.IGNORECASE)
    return bool(name.fullmatch(folder.name)) or any(
        True for _ in search(folder, lambda entry: bool(name.fullmatch(entry.name)))
    )


def _holding(folder: Path, patient: str) -> Holding:
    name = re.compile(patient, re.IGNORECASE)
    patients: set[str] = set()
    digest, files, size = hashlib.sha256(), 0, 0
    for place, inside, names in os.walk(folder):
        inside.sort()
        patients.update(n.lower().removesuffix(".zip") for n in (*inside, *names) if name.fullmatch(n))
        for each in sorted(names):
            path = Path(place) / each
            facts = path.lstat()
            files, size = files + 1, size + facts.st_size
            key = f"{path.relative_to(folder).as_posix()}\0{facts.st_size}\0{facts.st_mtime_ns}\n"
            digest.update(key.encode("utf-8", "surrogateescape"))
    return Holding(folder, len(patients), files, size, digest.hexdigest(), are_phantoms(folder))


def _refuse_mixture(found: Mapping[str, Holding]) -> None:
    """Weights of phantoms and people together would be neither a demonstration nor a result."""
    synthetic = [name for name, holding in found.items() if holding.phantoms]
    if synthetic and len(synthetic) < len(found):
        others = [name for name in found if name not in synthetic]
        raise InputError(
            f"{', '.join(synthetic)}: phantoms, but {', '.join(others)} not; keep the two in folders apart"
        )
