"""From a download to a manifest, with a second file that says where it comes from and what it allows."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
import json
from pathlib import Path

from covid19net.cohort import refuse_foreign, relative, sidecar_of, write_table
from covid19net.collections.collection import CONFIRMED, Collection, Gathered, Progress, Stated
from covid19net.errors import InputError
from covid19net.table import write_whole

MADE = "-masks"  # folder of converted masks, after the manifest's stem
LEADING = ("patient_id", "scan", "lungs", "collection", "licence", "set", "centre", "label", "type")
SHOWN = 8  # differences in one message
PHANTOMS = "covid19net-phantoms.txt"  # a file of this name says that the scans of its folder are synthetic
PHANTOM_VENDOR = "covid19net phantom"  # so does this Manufacturer
SYNTHETIC = "the scans are synthetic (phantoms): everything made of them is a demonstration"


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        manifest: the CSV.
        sidecar: the JSON beside it: licence, citation, claims, counts, notes.
        patients: rows.
        source: the collection, or phantoms in its layout.
        notes: what was chosen or left out, and differences that were allowed.
    """

    manifest: Path
    sidecar: Path
    patients: int
    source: Collection
    notes: tuple[str, ...]


def write_manifest(
    collection: Collection,
    folder: Path,
    out: Path,
    *,
    use: str = "",
    allow_incomplete: bool = False,
    progress: Progress | None = None,
) -> Written:
    """Read a download and write its manifest and, beside it, NAME.source.json.

    Args:
        collection: which one it is.
        folder: where it was unpacked.
        out: the manifest, a CSV; paths in it are relative to its folder where they can be.
        use: what it is wanted for, of `USES`; by default the collection's main one.
        allow_incomplete: whether counts that differ from the published ones are a note, not a fault.
        progress: called with the number of patients done and in all, where a collection takes long.

    Raises:
        InputError: no such folder; a use the collection does not allow; counts or files that differ.
    """
    refuse_use(collection, use or collection.uses[0])
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder")
    refuse_foreign(out)
    gathered = collection.gather(
        folder, out.with_name(out.stem + MADE), progress or (lambda _done, _count: None)
    )
    differ, doubts = differences(collection, gathered)
    if not gathered.rows:
        raise InputError(f"{collection.name}: no usable patient was found; {_first(differ) or 'is it here?'}")
    if differ and not allow_incomplete:
        raise InputError(
            f"{collection.name}: {_first(differ)}. Complete the download, or allow incomplete data "
            "(--allow-incomplete) to have this noted"
        )
    _refuse_doubles(collection, gathered)
    if are_phantoms(folder, gathered):
        collection = as_phantoms(collection)
        gathered.notes.insert(0, SYNTHETIC)
        gathered.rows = [row | {"synthetic": "yes"} for row in gathered.rows]
    notes = [*gathered.notes, *(f"allowed: {line}" for line in differ), *doubts]
    sidecar = sidecar_of(out)  # first: a manifest without one is somebody else's
    write_whole(sidecar, json.dumps(source_of(collection, gathered, notes), indent=2) + "\n")
    write_table(out, manifest_rows(collection, gathered, out.parent))
    return Written(out, sidecar, len(gathered.rows), collection, tuple(notes))


def are_phantoms(folder: Path, gathered: Gathered | None = None) -> bool:
    """Whether a download has phantoms for scans: a file in, above or right below its folder says so.

    Args:
        folder: of the download.
        gathered: what was found in it; one header that says so is enough as well.
    """
    place = folder.resolve()
    inside = [child for child in place.iterdir() if child.is_dir()]
    rows = gathered.rows if gathered else []
    return any((near / PHANTOMS).is_file() for near in (place, *place.parents, *inside)) or any(
        str(row.get("vendor", "")).startswith(PHANTOM_VENDOR) for row in rows
    )


def as_phantoms(collection: Collection) -> Collection:
    """What is true of phantoms in a collection's layout: none of its data, licence or claims."""
    return replace(
        collection,
        title=f"phantoms in the layout of {collection.title}",
        licence=Stated("Apache-2.0", "code"),
        citation="covid19net",
        address=Stated("made by covid19net", "code"),
        size=Stated("small", "code"),
        claims=f"{SYNTHETIC[0].upper()}{SYNTHETIC[1:]}.",
        refused={},
        counts={},
        unconfirmed=(),
    )


def refuse_use(collection: Collection, use: str) -> None:
    """Raise an InputError where a collection cannot be used for something, with the reason."""
    if use in collection.refused:
        raise InputError(f"{collection.name}: refused for {use}: {collection.refused[use]}")
    if use not in collection.uses:
        raise InputError(f"{collection.name}: holds nothing for {use}; use it for {_either(collection.uses)}")


def differences(collection: Collection, gathered: Gathered) -> tuple[list[str], list[str]]:
    """What differs from the published counts or is not there, and what differs from unconfirmed counts."""
    differ, doubts = list(gathered.gaps), []
    for what, count in collection.counts.items():
        found = gathered.counts.get(what, 0)
        if found in count.published:
            continue
        line = f"{what}: {found} found, {count} published"
        if count.sure in CONFIRMED:
            differ.append(line)
        else:
            doubts.append(f"{line} (a number that awaits confirmation)")
    return differ, doubts


def _first(lines: list[str]) -> str:
    more = f"; and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    return "; ".join(lines[:SHOWN]) + more


def _either(uses: tuple[str, ...]) -> str:
    return " or ".join(uses)


def _refuse_doubles(collection: Collection, gathered: Gathered) -> None:
    names = Counter(str(row["patient_id"]) for row in gathered.rows)
    double = [name for name, n in names.items() if n > 1]
    if double:
        raise InputError(
            f"{collection.name}: found more than once: {_first(double)}; is the download there twice?"
        )


def manifest_rows(collection: Collection, gathered: Gathered, base: Path) -> list[dict[str, object]]:
    """Rows with the same columns each, ids prefixed, paths relative to a folder."""
    used = {key for row in gathered.rows for key, value in row.items() if value not in (None, "")}
    used |= {"patient_id", "scan", "collection", "licence"}
    columns = [name for name in LEADING if name in used]
    columns += [key for row in gathered.rows for key in row if key in used and key not in LEADING]
    return [
        {name: _cell(name, row, collection, base) for name in dict.fromkeys(columns)} for row in gathered.rows
    ]


def _cell(name: str, row: Mapping[str, object], collection: Collection, base: Path) -> object:
    value = row.get(name)
    if name == "collection":
        return collection.name
    if name == "licence":
        return str(collection.licence)
    if name == "patient_id":
        return f"{collection.name}-{value}".replace(" ", "-")
    return relative(value, base) if isinstance(value, Path) else value


def source_of(collection: Collection, gathered: Gathered, notes: list[str]) -> dict[str, object]:
    """The content of the file beside the manifest."""
    return {
        "collection": collection.name,
        "title": collection.title,
        "licence": str(collection.licence),
        "citation": collection.citation,
        "address": str(collection.address),
        "uses": list(collection.uses),
        "refused": dict(collection.refused),
        "claims": collection.claims,
        "patients": len(gathered.rows),
        "counts": {
            what: {
                "found": found,
                "published": list(collection.counts[what].published) if what in collection.counts else None,
            }
            for what, found in gathered.counts.items()
        },
        "notes": notes,
        "unconfirmed": collection.awaits(),
    }
