"""Mild and severe COVID-19 apart, which the paper names among its limits: do the risk groups hold?"""

from dataclasses import dataclass

import numpy as np

from covid19net.errors import InputError
from covid19net.evaluate import Estimate
from covid19net.prognosis.concordance import concordance
from covid19net.prognosis.groups import LogRank, WaitingCurve, by_group, logrank
from covid19net.study.judged import Judged

GRADES = ("mild", "severe")
FEWEST_EVENTS = 10  # of a grade in a set, below which nothing is tested


@dataclass(frozen=True, eq=False)
class Grade:
    """The risk groups of one set among the patients of one grade.

    Attributes:
        name: "mild" or "severe".
        patients: of that grade.
        curves: Kaplan-Meier of each group.
        test: log-rank between them; None where it cannot be had.
        concordance: of the risk; None likewise.
        reason: why something is missing.
    """

    name: str
    patients: int
    curves: tuple[WaitingCurve, ...]
    test: LogRank | None
    concordance: Estimate | None
    reason: str = ""


def grades_of(judged: Judged, sign: int) -> tuple[Grade, ...]:
    """Judge each grade of a set; nothing where the manifest does not hold it.

    Args:
        judged: the set.
        sign: of the risk against the log hazard, as `PrognosticModel.sign`.
    """
    grade = np.array([str(p.values.get("severity", "")) for p in judged.followed.part.patients])
    found = []
    for name in GRADES:
        chosen = grade == name
        if chosen.any():
            found.append(_grade(name, judged, chosen, sign))
    return tuple(found)


def _grade(name: str, judged: Judged, chosen: np.ndarray, sign: int) -> Grade:
    outcome, group = judged.followed.outcome[chosen], judged.group[chosen]
    count = int(chosen.sum())
    curves = by_group(outcome, group)
    events = int(outcome.event.sum())
    if events < FEWEST_EVENTS:
        return Grade(name, count, curves, None, None, f"{events} events, {FEWEST_EVENTS} are needed")
    try:
        test = logrank(outcome, group)
        return Grade(name, count, curves, test, concordance(outcome, sign * judged.risk[chosen]))
    except InputError as fault:
        return Grade(name, count, curves, None, None, str(fault))
