"""How well a label is told from facts beside the disease, such as how patients were scanned."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from math import comb

import numpy as np

from covid19net.errors import InputError
from covid19net.evaluate.estimate import Estimate
from covid19net.evaluate.logistic import fit_logistic
from covid19net.evaluate.roc import auc

FOLDS = 5
FEWEST = 10  # patients of each class below which nothing is cross-validated
MOST_VALUES = 8  # different numbers that are values of their own; more are divided into fifths
FIFTHS = (0.2, 0.4, 0.6, 0.8)
BY_CHANCE = 0.01  # probability of a separating number below which it is no accident
LEVEL = 0.95  # of the intervals that are given
# Confidence at which an area is called above one half. In 200 random tables of 300 patients, half of a class,
# and four facts without truth, 1.5 % gave an alarm, against 4 % with 0.95; the mean area was 0.49.
ALARM = 0.99
NOT_RECORDED = "not recorded"

Fact = str | float | None


@dataclass(frozen=True)
class Predictability:
    """What facts tell of a label.

    Attributes:
        positive: patients with the label.
        negative: patients without.
        equals: facts from which the label follows without exception -> which values hold which class.
        together: cross-validated AUC of all facts; None where there are no facts or too few patients.
        alone: fact -> cross-validated AUC of it alone.
        told: whether `together` is above one half with 99 % confidence.
        named: facts whose AUC alone is so, all of them being looked at (Bonferroni); the largest first.
    """

    positive: int
    negative: int
    equals: Mapping[str, str] = field(default_factory=dict)
    together: Estimate | None = None
    alone: Mapping[str, Estimate] = field(default_factory=dict)
    told: bool = False
    named: tuple[str, ...] = ()

    @property
    def predictable(self) -> bool:
        """Whether the label can be told from the facts better than by chance."""
        return self.told or bool(self.named or self.equals)


def predictability(
    label: np.ndarray, facts: Mapping[str, Sequence[Fact]], patient: Sequence[str]
) -> Predictability:
    """How well a label is predicted from facts, in patients the prediction has not seen.

    A ridge logistic regression in five folds. Each patient is in one fold, which a hash of the id decides,
    and both classes are spread over all folds, so that equal tables give equal numbers. Text is one-hot; a
    number goes in as it is and, because its effect need not rise steadily, in fifths; that a fact is not
    recorded is a value of its own, since that can tell the label too. Intervals are DeLong's of the pooled
    predictions. With no truth in the facts the areas lie a little below one half.

    A fact equals the class when each of its values holds one class only, and there are no more than half as
    many values as patients; so does a number with one threshold between the classes where that would be
    seen by chance in less than one of a hundred tables.

    Args:
        label: bool, axis (patient,); one entry a row.
        facts: name -> value of each row, None where it is not recorded. A fact that is the same in all rows
            is left out.
        patient: id of each row; rows of one patient stay in one fold.

    Raises:
        InputError: not one value a row, or a single class.
    """
    label = np.asarray(label, bool)
    if any(len(values) != label.size for values in (*facts.values(), patient)):
        raise InputError("one value of each fact and one id a row are needed")
    positive, negative = int(label.sum()), int((~label).sum())
    if not (positive and negative):
        raise InputError(f"two classes are needed, found {positive} positive, {negative} negative")
    varied = {name: values for name, values in facts.items() if len(set(values)) > 1}
    equals = {name: said for name, values in varied.items() if (said := _equals(label, values))}
    designs = {name: _design(values) for name, values in varied.items()}
    designs = {name: design for name, design in designs.items() if design.shape[1]}
    if not designs or min(positive, negative) < FEWEST:
        return Predictability(positive, negative, equals)
    fold = _folds(label, patient)
    alone = {name: _predicted(label, design, fold) for name, design in designs.items()}
    together = _predicted(label, np.column_stack(list(designs.values())), fold)
    strict = 1 - (1 - ALARM) / len(alone)
    named = [name for name, score in alone.items() if auc(label, score, level=strict).low > 0.5]
    areas = {name: auc(label, score, level=LEVEL) for name, score in alone.items()}
    named.sort(key=lambda name: -areas[name].value)
    told = auc(label, together, level=ALARM).low > 0.5
    area = auc(label, together, level=LEVEL)
    return Predictability(positive, negative, equals, area, areas, told, tuple(named))


def _is_number(values: Sequence[Fact]) -> bool:
    return all(isinstance(value, float | int) for value in values if value is not None)


def _numbers(values: Sequence[Fact]) -> np.ndarray:
    return np.array([np.nan if value is None else float(value) for value in values])


def strata(values: Sequence[Fact]) -> list[str]:
    """Classes of a fact's values: as they are, or fifths of a number with more than eight of them."""
    known = {value for value in values if value is not None}
    if not _is_number(values) or len(known) <= MOST_VALUES:
        return [NOT_RECORDED if v is None else f"{v:g}" if isinstance(v, float) else str(v) for v in values]
    numbers = _numbers(values)
    edges = np.unique(np.quantile(numbers[np.isfinite(numbers)], FIFTHS))
    place = np.searchsorted(edges, numbers, side="right")
    names = [f"below {edges[0]:g}", *(f"from {edge:g}" for edge in edges)]
    return [names[i] if np.isfinite(n) else NOT_RECORDED for i, n in zip(place, numbers, strict=True)]


def _equals(label: np.ndarray, values: Sequence[Fact]) -> str:
    """Which values hold which class; empty where a value holds both, or the values are nearly as many."""
    groups: dict[str, list[bool]] = {}
    for name, ill in zip(strata(values), label.tolist(), strict=True):
        groups.setdefault(name, []).append(ill)
    if all(len(set(members)) == 1 for members in groups.values()) and 2 * len(groups) <= label.size:
        sides = {
            side: [
                f"{name} ({len(members)})" for name, members in sorted(groups.items()) if members[0] is side
            ]
            for side in (True, False)
        }
        return f"{', '.join(sides[True])} against {', '.join(sides[False])}"
    if not _is_number(values) or None in values or 2 / comb(label.size, int(label.sum())) >= BY_CHANCE:
        return ""
    numbers = _numbers(values)
    for ill, well in ((label, ~label), (~label, label)):
        if numbers[ill].min() > numbers[well].max():
            middle = (numbers[ill].min() + numbers[well].max()) / 2
            return f"{'above' if ill is label else 'below'} {middle:g} against the others"
    return ""


def _design(values: Sequence[Fact]) -> np.ndarray:
    """Columns of a fact, axes (row, column): values that two rows share, and the number itself."""
    names = strata(values)
    shared = [name for name, count in sorted(Counter(names).items()) if count > 1]
    columns = [np.array([own == name for own in names], float) for name in shared]
    if _is_number(values):
        numbers = _numbers(values)
        columns.append(np.where(np.isfinite(numbers), numbers, np.nanmean(numbers)))
    return np.column_stack(columns) if columns else np.empty((len(values), 0))


def _folds(label: np.ndarray, patient: Sequence[str]) -> np.ndarray:
    """Number of each row's fold, axis (row,): by patient, both classes alike in all."""
    kind = dict(zip(patient, label.tolist(), strict=True))
    order = sorted(kind, key=lambda name: sha256(name.encode()).digest())
    fold: dict[str, int] = {}
    for ill in (True, False):
        fold |= {name: i % FOLDS for i, name in enumerate(name for name in order if kind[name] is ill)}
    return np.array([fold[name] for name in patient])


def _predicted(label: np.ndarray, design: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Probability of each row from a model of the other folds, axis (row,)."""
    names = [str(i) for i in range(design.shape[1])]
    probability = np.empty(label.size)
    for number in np.unique(fold):
        out = fold == number
        probability[out] = fit_logistic(label[~out], design[~out], names).probability(design[out])
    return probability
