"""Where the patients of a manifest come from: licence, citation and claims, of NAME.source.json beside it.

The manifest itself stays a plain table that spreadsheets open: it names `collection` and `licence` in each
row, and the file beside it says the rest. What is made from a manifest (weights, reports, prognostic models)
carries the same facts on.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
import json
from pathlib import Path
import re
from typing import Any

from covid19net.cohort.manifest import Patient
from covid19net.errors import InputError

SIDECAR = ".source.json"  # after the manifest's stem
LARGEST = 1 << 20  # bytes; a page of text for each source
UNKNOWN = "unknown"
NONE_STATED = "none stated"
LEARNED, MEASURED = "learned from", "measured on"
EARLIER = "learned from by the weights that training started from"
UNCONFIRMED = "(unconfirmed)"  # ends a licence that nobody read on the collection's page
NON_COMMERCIAL = re.compile(r"\bNC\b|(?i:\bnon-?commercial)")
_NEEDED = ("collection", "title", "licence")


@dataclass(frozen=True)
class DataSource:
    """One collection that patients come from.

    Attributes:
        collection: its name, as in the column `collection`.
        title: as its makers call it; "" where nothing but the rows names the collection.
        licence: of the data; "unknown" where nobody says.
        citation: what to cite.
        address: where it is.
        claims: what may be claimed of what is made from it, and what not.
        refused: use -> why it cannot be used so.
        unconfirmed: facts that await confirmation on the collection's page.
        role: of weights' sources `LEARNED`, `EARLIER` or `MEASURED`; otherwise "".
    """

    collection: str
    title: str
    licence: str
    citation: str = ""
    address: str = ""
    claims: str = ""
    refused: Mapping[str, str] = field(default_factory=dict)
    unconfirmed: tuple[str, ...] = ()
    role: str = ""

    def __str__(self) -> str:
        cite = f"; {self.citation}" if self.citation else ""
        return f"{self.title or self.collection} ({self.licence}{cite})"

    def facts(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self) | {"refused": dict(self.refused), "unconfirmed": list(self.unconfirmed)}


def source_from(facts: object) -> DataSource:
    """A source from what JSON holds of it; entries of other names are left alone.

    Raises:
        InputError: no object, or an entry that is missing or of the wrong type.
    """
    if not isinstance(facts, Mapping):
        raise InputError("a source must be an object")
    known = {f.name: facts[f.name] for f in fields(DataSource) if f.name in facts}
    empty = [name for name in _NEEDED if not known.get(name) and not (name == "title" and name in known)]
    if empty:
        raise InputError(f"{', '.join(map(repr, empty))} of a source is missing or empty")
    for name, value in known.items():
        good = isinstance(value, str)
        if name == "refused":
            good = isinstance(value, Mapping) and _texts([*value, *value.values()])
        elif name == "unconfirmed":
            good = isinstance(value, list) and _texts(value)
        if not good:
            raise InputError(f"{name!r} of a source is of the wrong type")
    return DataSource(**known | {"unconfirmed": tuple(known.get("unconfirmed", ()))})


def _texts(values: Iterable[object]) -> bool:
    return all(isinstance(value, str) for value in values)


def sidecar_of(manifest: Path) -> Path:
    """The place of the file beside a manifest."""
    return manifest.with_name(manifest.stem + SIDECAR)


def refuse_foreign(manifest: Path) -> None:
    """Refuse to write a manifest over a table that was not made so: with no source file beside it.

    Raises:
        InputError: there is such a table.
    """
    if manifest.exists() and not sidecar_of(manifest).exists():
        raise InputError(
            f"{manifest.name}: is there already, and not made by this command; give another name"
        )


def read_sidecar(manifest: Path) -> list[dict[str, Any]]:
    """Everything in the file beside a manifest: one object a source; nothing where there is no such file.

    Raises:
        InputError: the file cannot be read or is no list of sources; the message names it.
    """
    path = sidecar_of(manifest)
    if not path.exists():
        return []
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"larger than {LARGEST} bytes")
        found = json.loads(path.read_text(encoding="utf-8"))
        found = found if isinstance(found, list) else [found]
        for facts in found:
            source_from(facts)
    except OSError as error:
        raise InputError(f"{path.name}: {(error.strerror or 'cannot be read').lower()}") from error
    except (ValueError, RecursionError) as error:  # InputError and UnicodeDecodeError are ValueErrors
        raise InputError(f"{path.name}: not a file of sources: {error}") from error
    return found


def read_sources(manifest: Path, patients: Sequence[Patient]) -> tuple[DataSource, ...]:
    """The sources of a manifest: those of the file beside it, and those that only its rows name.

    Args:
        manifest: the CSV.
        patients: its rows.

    Returns:
        Each source once. One that only rows name has no title, and the licence of its rows or "unknown".

    Raises:
        InputError: see `read_sidecar`.
    """
    found: list[DataSource] = []
    for source in map(source_from, read_sidecar(manifest)):
        found += [] if source in found else [source]
    stated = {source.collection for source in found}
    rest: dict[str, set[str]] = {}
    for patient in patients:
        if "collection" in patient.values and (name := str(patient.values["collection"])) not in stated:
            licence = patient.values.get("licence")
            rest.setdefault(name, set()).update([str(licence)] if licence is not None else [])
    found += [DataSource(name, "", " or ".join(sorted(said)) or UNKNOWN) for name, said in rest.items()]
    return tuple(found)


def sources_of(
    sources: Sequence[DataSource], group: Iterable[Patient], everybody: Iterable[Patient]
) -> tuple[DataSource, ...]:
    """Those that some patients come from.

    A source that no row of the manifest names cannot be told from the others, so it is taken to be used.
    """
    named = {str(p.values["collection"]) for p in group if "collection" in p.values}
    anywhere = {str(p.values["collection"]) for p in everybody if "collection" in p.values}
    return tuple(s for s in sources if s.collection in named or s.collection not in anywhere)


def made_from(
    sources: Sequence[DataSource],
    learned: Sequence[Patient],
    measured: Sequence[Patient],
    everybody: Sequence[Patient],
    inherited: Sequence[DataSource] = (),
) -> tuple[DataSource, ...]:
    """The sources of weights, each with its role: those learned from, also by the weights they started from.

    Args:
        sources: of the manifest.
        learned: patients who taught the network or chose among its states.
        measured: patients of other sets who were scored.
        everybody: all rows of the manifest.
        inherited: sources of the weights that it started from.
    """
    taught = sources_of(sources, learned, everybody)
    before = [replace(source, role="") for source in learned_from(inherited)]
    found = [replace(source, role=EARLIER) for source in before if source not in taught]
    found += [replace(source, role=LEARNED) for source in taught]
    scored = sources_of(sources, measured, everybody)
    return (*found, *(replace(source, role=MEASURED) for source in scored if source not in taught))


def learned_from(sources: Sequence[DataSource]) -> tuple[DataSource, ...]:
    """Those of a model's sources that it was made from, not only measured on."""
    return tuple(source for source in sources if source.role != MEASURED)


def licence_of(stated: str, sources: Sequence[DataSource]) -> str:
    """The licence of what was made from sources: as its maker states it, else the licences of the data."""
    made = dict.fromkeys(source.licence for source in learned_from(sources))
    if stated != NONE_STATED or not made:
        return stated
    under = [f"{licence} ({_names(sources, licence)})" for licence in made]
    return f"{NONE_STATED}; made from data under {', '.join(under)}"


def _names(sources: Sequence[DataSource], licence: str) -> str:
    names = dict.fromkeys(s.collection for s in learned_from(sources) if s.licence == licence)
    return ", ".join(names)


def cautions(sources: Sequence[DataSource], uses: Collection[str] = ()) -> tuple[str, ...]:
    """What a user of data, or of what was made from them, has to know first; a line for each.

    Args:
        sources: of the data.
        uses: what they are used for, as the keys of `DataSource.refused`; an earlier step had its own use.
    """
    unstated = [s for s in sources if not s.title]
    lines = []
    for known, words in ((False, "licence"), (True, "citation and claims")):
        names = dict.fromkeys(s.collection for s in unstated if (s.licence != UNKNOWN) == known)
        if names:
            lines.append(f"no source file beside the manifest: {words} of {', '.join(names)} unknown")
    for source in sources:
        if NON_COMMERCIAL.search(source.licence):
            lines.append(f"non-commercial licence of {source.collection}: {source.licence}")
        elif source.licence.endswith(UNCONFIRMED):
            lines.append(f"licence of {source.collection} to be confirmed on its page: {source.licence}")
        lines += [
            f"{source.collection} is no source for {use}: {why}"
            for use, why in source.refused.items()
            if use in uses and source.role != EARLIER
        ]
    return tuple(dict.fromkeys(lines))
