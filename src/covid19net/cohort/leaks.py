"""The same patient or scan where there should be two: in two sets, under two labels, or counted twice."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Literal

from covid19net.cohort.manifest import Patient

CLASSES = ("label", "egfr")  # columns that no patient may have two values of

Kind = Literal["two labels", "two sets", "twice"]
KINDS: tuple[Kind, ...] = ("two labels", "two sets", "twice")  # the worst first


@dataclass(frozen=True)
class Member:
    """A row of one of several manifests.

    Attributes:
        manifest: name of the table.
        patient: its row.
    """

    manifest: str
    patient: Patient

    @property
    def set(self) -> str:
        """The set; a manifest without the column is a set of its own."""
        return str(self.patient.values.get("set", self.manifest))

    def __str__(self) -> str:
        return f"{self.manifest} row {self.patient.row} ({self.patient.patient_id})"


@dataclass(frozen=True)
class Leak:
    """Two rows that are one patient.

    Attributes:
        kind: under two labels, in two sets, or twice in one set under one label.
        first: the earlier row.
        second: the later row.
        evidence: why they are taken for one.
    """

    kind: Kind
    first: Member
    second: Member
    evidence: str


def members_of(manifests: Mapping[str, Sequence[Patient]]) -> list[Member]:
    """The rows of several manifests, in their order."""
    return [Member(name, patient) for name, patients in manifests.items() for patient in patients]


def alike(keys: Sequence[str | None]) -> list[tuple[int, int]]:
    """Pairs of places that hold the same key; None is nobody's."""
    places: dict[str, list[int]] = {}
    for place, key in enumerate(keys):
        if key is not None:
            places.setdefault(key, []).append(place)
    return [pair for found in places.values() for pair in combinations(found, 2)]


def by_name(members: Sequence[Member]) -> list[tuple[int, int, str]]:
    """Pairs of rows with one patient_id (small and capital letters alike) or one path of the scan."""
    ids: list[str | None] = [member.patient.patient_id.strip().casefold() or None for member in members]
    scans = [member.patient.values.get("scan") for member in members]
    paths = [None if scan is None else str(Path(str(scan)).resolve()) for scan in scans]
    named = [(i, j, "the same patient_id") for i, j in alike(ids)]
    return named + [(i, j, "the same file or folder") for i, j in alike(paths)]


def find_leaks(members: Sequence[Member], pairs: Iterable[tuple[int, int, str]]) -> tuple[Leak, ...]:
    """What pairs of rows that are one patient mean, the worst first.

    Args:
        members: rows.
        pairs: places of both rows, and the evidence; of several for one pair the first counts.
    """
    found: dict[tuple[int, int], Leak] = {}
    for i, j, evidence in pairs:
        first, second = members[i], members[j]
        found.setdefault((i, j), Leak(_kind(first, second), first, second, evidence))
    return tuple(sorted(found.values(), key=lambda leak: KINDS.index(leak.kind)))


def _kind(first: Member, second: Member) -> Kind:
    values = first.patient.values, second.patient.values
    if any(len({v[column] for v in values if column in v}) > 1 for column in CLASSES):
        return "two labels"
    return "two sets" if first.set != second.set else "twice"
