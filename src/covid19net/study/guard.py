"""The verdict on a cohort: leaks, confounding by the acquisition, and scans that cannot be used."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from covid19net.cohort import (
    Leak,
    Member,
    Patient,
    acquisition,
    alike,
    by_name,
    class_by_set,
    find_leaks,
    members_of,
)
from covid19net.cohort.acquisition import FACTS
from covid19net.cohort.leaks import KINDS
from covid19net.evaluate import Predictability, predictability
from covid19net.evaluate.predictable import FEWEST, Fact
from covid19net.table import Table

TARGETS = {"label": "covid", "egfr": "mutant"}  # column -> its positive class
WHOLE = "all rows"
MOST_SHOWN = 10  # lines of one kind on the console
MOST_NAMED = 3  # facts beside the AUC of all
HEADER = ("what", "where", "finding", "evidence")


@dataclass(frozen=True, eq=False)
class ScanNotes:
    """What the scans say, in the order of the rows; see `study.scans`.

    Attributes:
        contents: hash of each scan.
        near: places of two rows with nearly the same scan, and their correlation.
        facts: fact of the acquisition -> value of each row.
        faults: place of a row, and what is wrong with its scan.
        unmarked: scans in which no lungs were found, so that copies of them cannot be seen.
    """

    contents: Sequence[str | None]
    near: Sequence[tuple[int, int, float]]
    facts: Mapping[str, Sequence[Fact]]
    faults: Sequence[tuple[int, str]]
    unmarked: int = 0


@dataclass(frozen=True)
class Judged:
    """How well a class is told from the acquisition in a part of the cohort.

    Attributes:
        part: "all rows" or the name of a set.
        column: label or egfr.
        found: None where there is no fact or only one class.
        sole: a class that one of several sets holds alone, in words; empty where there is none.
    """

    part: str
    column: str
    found: Predictability | None
    sole: str = ""


@dataclass(frozen=True)
class Verdict:
    """What speaks against a cohort.

    Attributes:
        rows: that were looked at.
        leaks: one patient in two rows, the worst first.
        judged: confounding, by part and class.
        faults: row and what is wrong with its scan.
        facts: names of the facts that are known of anybody.
        scans: whether the scans were read.
        unmarked: scans that were read and in which no lungs were found.
    """

    rows: int
    leaks: tuple[Leak, ...]
    judged: tuple[Judged, ...]
    faults: tuple[tuple[Member, str], ...]
    facts: tuple[str, ...]
    scans: bool
    unmarked: int = 0

    @property
    def is_severe(self) -> bool:
        """Whether a patient stands in two sets or under two labels, or a class equals a fact or a set."""
        leaked = any(leak.kind != "twice" for leak in self.leaks)
        return leaked or any(_equal(judged) for judged in self.judged)

    @property
    def warns(self) -> bool:
        """Whether there is anything but peace: severe, or a class that can be told from the acquisition."""
        told = any(j.found is not None and j.found.predictable for j in self.judged)
        return self.is_severe or told or bool(self.leaks or self.faults)

    def lines(self) -> list[str]:
        """The verdict in words, the worst first."""
        order = sorted(self.judged, key=_peace)
        severe, mild = ([j for j in order if _equal(j) is flag] for flag in (True, False))
        leaks = [f"{what}: {where}: {finding}" for what, where, finding, _ in self._leak_rows()]
        worst = sum(leak.kind != "twice" for leak in self.leaks)
        lines = _shortened(leaks[:worst], "leaks") + [line for j in severe for line in _words(j)]
        lines += [line for j in mild for line in _words(j)] + _shortened(leaks[worst:], "doubles")
        faults = [f"scan: {member}: {fault}" for member, fault in self.faults]
        return lines + _shortened(faults, "scans") + self._looked_at()

    def table(self) -> Table:
        """Everything found, one row each; columns what, where, finding, evidence."""
        rows = self._leak_rows()
        for judged in sorted(self.judged, key=_peace):
            rows += _rows(judged)
        rows += [("scan", str(member), fault, "") for member, fault in self.faults]
        title = f"What speaks against the cohort ({self.rows} rows)"
        return Table("cohort-check", title, HEADER, tuple(rows), tuple(self._looked_at()))

    def _leak_rows(self) -> list[tuple[str, ...]]:
        return [
            (
                "double" if leak.kind == "twice" else "LEAK",
                f"{leak.first} and {leak.second}",
                f"one patient {_told(leak)}",
                leak.evidence,
            )
            for leak in self.leaks
        ]

    def _looked_at(self) -> list[str]:
        how = "ids, files, contents and fingerprints" if self.scans else "ids and files, not the images,"
        said = [f"{how} of {self.rows} rows compared" + ("" if self.leaks else ": no patient stands twice")]
        unknown = [name for name in FACTS if name not in self.facts]
        if unknown:
            said.append(f"not recorded, hence not judged: {', '.join(unknown)}")
        if self.unmarked:
            said.append(f"scans without lungs, of which copies cannot be seen: {self.unmarked}")
        return said


def guard(manifests: Mapping[str, Sequence[Patient]], notes: ScanNotes | None = None) -> Verdict:
    """Look for what would make a study of these patients fool its authors.

    Args:
        manifests: name -> rows of one or several manifests that are used together.
        notes: what the scans say of the rows of `members_of(manifests)`; without them only the tables speak.
    """
    members = members_of(manifests)
    pairs, facts = by_name(members), dict[str, Sequence[Fact]](acquisition(members))
    if notes is not None:
        pairs += [(i, j, "the same image, voxel by voxel") for i, j in alike(notes.contents)]
        pairs += [
            (i, j, f"nearly the same image (correlation {r:.3f}); look at both") for i, j, r in notes.near
        ]
        facts |= notes.facts
    judged = [j for column in TARGETS for j in _judge(members, column, facts)]
    faults = [(members[i], fault) for i, fault in (notes.faults if notes else ())]
    return Verdict(
        len(members),
        find_leaks(members, pairs),
        tuple(judged),
        tuple(faults),
        tuple(facts),
        notes is not None,
        notes.unmarked if notes else 0,
    )


def _judge(members: Sequence[Member], column: str, facts: Mapping[str, Sequence[Fact]]) -> list[Judged]:
    """The whole cohort and each of its sets, as far as rows have the class."""
    labelled = [i for i, member in enumerate(members) if column in member.patient.values]
    if not labelled:
        return []
    sets: dict[str, list[int]] = {}
    for i in labelled:
        sets.setdefault(members[i].set, []).append(i)
    whole = Judged(WHOLE, column, _found(members, column, facts, labelled), class_by_set(members, column))
    if len(sets) == 1:
        return [whole]
    parts = [(f"set {name}", _found(members, column, facts, chosen)) for name, chosen in sets.items()]
    return [whole, *(Judged(name, column, found) for name, found in parts if found is not None)]


def _found(
    members: Sequence[Member], column: str, facts: Mapping[str, Sequence[Fact]], chosen: Sequence[int]
) -> Predictability | None:
    label = np.array([members[i].patient.values[column] == TARGETS[column] for i in chosen])
    if not facts or label.all() or not label.any():
        return None
    part = {name: [values[i] for i in chosen] for name, values in facts.items()}
    return predictability(label, part, [members[i].patient.patient_id for i in chosen])


def _equal(judged: Judged) -> bool:
    return bool(judged.found is not None and judged.found.equals) or _apart(judged)


def _apart(judged: Judged) -> bool:
    """Whether no set holds both classes."""
    return judged.sole.count("only in set") > 1


def _peace(judged: Judged) -> float:
    """The smaller, the worse."""
    if _equal(judged):
        return 0
    if judged.found is None:
        return 3
    if judged.found.predictable and judged.found.together is not None:
        return 2 - judged.found.together.value
    return 2


def _told(leak: Leak) -> str:
    first, second = leak.first, leak.second
    if leak.kind == KINDS[0]:
        return f"under two labels: {leak.evidence}"
    if leak.kind == KINDS[1]:
        return f"in two sets, {first.set} and {second.set}: {leak.evidence}"
    return f"twice in {first.set}: {leak.evidence}"


def _rows(judged: Judged) -> list[tuple[str, ...]]:
    """Rows of the table for one part."""
    where = f"{judged.part}, {judged.column}"
    rows: list[tuple[str, ...]] = []
    if judged.sole:
        rows.append(("confounding" if _apart(judged) else "note", where, judged.sole, ""))
    found = judged.found
    if found is None:
        reason = "one class only, or nothing of the acquisition is recorded"
        return [*rows, ("not judged", where, reason, "")]
    rows += [("confounding", where, f"class equals {name}", said) for name, said in found.equals.items()]
    if found.together is None:
        return rows if found.equals else [*rows, ("not judged", where, _too_few(found), "")]
    what = "confounding" if found.predictable else "no sign"
    rows.append((what, where, "AUC of all facts of the acquisition", str(found.together)))
    return rows + [
        ("  " + ("confounding" if name in found.named else "fact"), where, f"AUC of {name} alone", str(area))
        for name, area in sorted(found.alone.items(), key=lambda item: -item[1].value)
    ]


def _too_few(found: Predictability) -> str:
    few = f"{found.positive} and {found.negative} patients of the classes"
    if min(found.positive, found.negative) < FEWEST:
        return f"{few}: fewer than {FEWEST} of one tell nothing"
    return f"{few} are alike in every fact that is recorded"


def _words(judged: Judged) -> list[str]:
    """Lines for one part."""
    where = f"{judged.part}: {judged.column}"
    found = judged.found
    lines = []
    if judged.sole:
        lines.append(f"{where}: {judged.sole}" + ("; no set holds both classes" if _apart(judged) else ""))
    if found is None:
        return [
            *lines,
            f"{where} cannot be judged: one class only, or nothing of the acquisition is recorded",
        ]
    lines += [f"{where} equals {name}: {said}" for name, said in found.equals.items()]
    if found.equals:
        return lines
    if found.together is None:
        return [*lines, f"{where} cannot be judged: {_too_few(found)}"]
    if not found.predictable:
        return [*lines, f"{where}: no sign that the acquisition tells it, AUC {found.together}"]
    best = [f"{name} {found.alone[name].value:.2f}" for name in found.named[:MOST_NAMED]]
    alone = f"; alone {', '.join(best)}" if best else ""
    return [*lines, f"{where} predictable from the acquisition: AUC {found.together}{alone}"]


def _shortened(lines: list[str], what: str) -> list[str]:
    more = len(lines) - MOST_SHOWN
    return lines if more <= 0 else [*lines[:MOST_SHOWN], f"and {more} more {what}"]
