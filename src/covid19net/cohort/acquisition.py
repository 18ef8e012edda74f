"""What a manifest says of how patients were scanned, and how classes are spread over its sets."""

from collections.abc import Sequence
from math import isfinite

from covid19net.cohort.leaks import Member

FACTS = ("centre", "source", "collection", "vendor", "kernel", "thickness", "year", "contrast")
NUMBERS = ("thickness", "year")  # as far as they are written as such


def acquisition(members: Sequence[Member]) -> dict[str, list[str | float | None]]:
    """Facts of the acquisition: those of `FACTS` that anything is known of, and the manifest of several.

    Returns:
        Fact -> value of each row; None where it is not recorded.
    """
    facts: dict[str, list[str | float | None]] = {}
    for name in FACTS:
        values = [member.patient.values.get(name) for member in members]
        if any(value is not None for value in values):
            texts = [None if value is None else str(value) for value in values]
            facts[name] = _numbers(texts) if name in NUMBERS else [*texts]
    if len({member.manifest for member in members}) > 1:
        facts["manifest"] = [member.manifest for member in members]
    return facts


def _numbers(texts: Sequence[str | None]) -> list[str | float | None]:
    """Values as numbers where all of them are finite, else as text."""
    try:
        numbers = [None if text is None else float(text) for text in texts]
    except ValueError:
        return [*texts]
    return [*numbers] if all(n is None or isfinite(n) for n in numbers) else [*texts]


def class_by_set(members: Sequence[Member], column: str) -> str:
    """A class that only one of several sets holds, in words; empty where every class is in two or more."""
    sets: dict[str, set[str]] = {}
    for member in members:
        if column in member.patient.values:
            sets.setdefault(str(member.patient.values[column]), set()).add(member.set)
    every = set().union(*sets.values()) if sets else set()
    if len(every) < 2 or len(sets) < 2:
        return ""
    sole = [
        f"{name} only in set {next(iter(found))}" for name, found in sorted(sets.items()) if len(found) == 1
    ]
    return "; ".join(sole)
