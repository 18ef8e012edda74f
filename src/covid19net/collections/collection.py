"""What is known of a public collection, each fact with how sure it is, and what was found of it on disk."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

SURE = {
    "table": "read in a copy of the collection's own table or file",
    "page": "the collection's own page or read-me",
    "code": "read in source code that parses the collection",
    "disputed": "sources disagree or none states it; awaits confirmation on the live page",
    "memory": "from memory; awaits confirmation on the live page",
}
Progress = Callable[[int, int], None]  # patients done and in all
CONFIRMED = {"table", "page", "code"}
USES = ("lungs", "egfr", "diagnosis", "severity", "prognosis", "analysis")


@dataclass(frozen=True)
class Stated:
    """A fact in words.

    Attributes:
        text: the fact.
        sure: a key of `SURE`.
    """

    text: str
    sure: str

    def __str__(self) -> str:
        return self.text if self.sure in CONFIRMED else f"{self.text} (unconfirmed)"


@dataclass(frozen=True)
class Count:
    """A published number of patients, scans or masks.

    Attributes:
        published: the number; several where publications of the same data differ.
        sure: a key of `SURE`; a difference from a number that is not confirmed is told, not refused.
    """

    published: tuple[int, ...]
    sure: str = "table"

    def __str__(self) -> str:
        return " or ".join(map(str, self.published))


@dataclass
class Gathered:
    """What an adapter found.

    Attributes:
        rows: of the manifest; scan and lungs are paths that exist.
        counts: what was counted; the keys of the collection's published counts among them.
        notes: what was chosen or left out, and why.
        gaps: what should be there and is not; they stop, unless incomplete data are allowed.
    """

    rows: list[dict[str, object]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Collection:
    """A public collection.

    Attributes:
        name: as the command line calls it, and the prefix of its patient ids.
        title: as its makers call it.
        uses: for which steps of the paper it can be used, of `USES`, the first its main one.
        licence: of the data.
        citation: what to cite.
        address: where to get it.
        size: of the download.
        claims: what a model made from it can claim, and what not.
        gather: reads a download: its folder, a folder for what has to be made (masks), and what to tell of
            patients done where that takes long.
        refused: use -> why it is refused.
        counts: what is counted -> the published number.
        unconfirmed: further facts that await confirmation.
    """

    name: str
    title: str
    uses: tuple[str, ...]
    licence: Stated
    citation: str
    address: Stated
    size: Stated
    claims: str
    gather: Callable[[Path, Path, Progress], Gathered]
    refused: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, Count] = field(default_factory=dict)
    unconfirmed: tuple[str, ...] = ()

    def awaits(self) -> list[str]:
        """Every fact that awaits confirmation, in words."""
        stated = {"licence": self.licence, "address": self.address, "size": self.size}
        found = [f"{name}: {fact.text}" for name, fact in stated.items() if fact.sure not in CONFIRMED]
        found += [f"{name}: {n}" for name, n in self.counts.items() if n.sure not in CONFIRMED]
        return found + list(self.unconfirmed)
