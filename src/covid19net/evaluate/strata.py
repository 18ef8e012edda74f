"""The score within strata, such as centres: does it see the disease, or who was scanned where?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from covid19net.errors import InputError
from covid19net.evaluate.estimate import Estimate, checked
from covid19net.evaluate.roc import area_interval, auc, placements, variance_of_mean


@dataclass(frozen=True)
class Stratum:
    """Patients who share a value of a covariate.

    Attributes:
        name: that value as text.
        positive: patients with the disease.
        negative: patients without.
        auc: of the score among them; None where one class is absent.
    """

    name: str
    positive: int
    negative: int
    auc: Estimate | None


@dataclass(frozen=True)
class StratifiedAuc:
    """The area under the ROC curve with and without the help of a covariate.

    Attributes:
        crude: of the score, everybody against everybody.
        within: of the score, each positive against the negatives of the same stratum only; None when no
            stratum holds both classes, so that disease and covariate cannot be told apart at all.
        alone: of the covariate: each patient scored with the share of positives in the own stratum. 0.5 means
            no confounding is possible. Counted on the same patients, hence too high with many small strata.
        strata: by name.
    """

    crude: Estimate
    within: Estimate | None
    alone: Estimate
    strata: tuple[Stratum, ...]


def by_stratum(
    label: np.ndarray, score: np.ndarray, stratum: Sequence[object] | np.ndarray, *, level: float = 0.95
) -> tuple[Stratum, ...]:
    """Counts and AUC of each stratum, in the order of the names.

    Args:
        label: bool, axis (patient,).
        score: larger for positives, axis (patient,).
        stratum: any value of each patient, such as the centre; never missing.
        level: confidence of the intervals.

    Raises:
        InputError: a missing stratum, or not one for each patient; see `checked`.
    """
    label, score = checked(label, score)
    names, place = named(stratum, label.size)
    found = []
    for number, name in enumerate(names):
        members = place == number
        positive, size = int(label[members].sum()), int(members.sum())
        area = auc(label[members], score[members], level=level) if 0 < positive < size else None
        found.append(Stratum(name, positive, size - positive, area))
    return tuple(found)


def within_strata_auc(
    label: np.ndarray, score: np.ndarray, stratum: Sequence[object] | np.ndarray, *, level: float = 0.95
) -> StratifiedAuc:
    """Compare the AUC of a score as it is with its AUC within the strata of a covariate.

    A network that reads the covariate (the scanner of the centre that sent the positives) rather than the
    disease has a high crude area and one near 0.5 within strata. The idea is the covariate-adjusted ROC curve
    of Janes and Pepe, Biometrika 2009;96:371-382; the areas of the strata are weighted by their pairs of a
    positive and a negative, not by their positives, so that the area is the share of all pairs within strata
    that are in order, and a stratum with one negative weighs little.

    The interval is that of `auc`, with the strata as given: the variance is the weighted sum of DeLong's.
    A stratum with a single patient in a class, which shows no variance, counts with the largest it can have,
    AUC (1 - AUC) / k, k the size of its smaller class.

    Args:
        label: bool, axis (patient,).
        score: larger for positives, axis (patient,).
        stratum: any value of each patient, such as the centre; never missing. Continuous covariates need
            classes, such as decades of age.
        level: confidence of the intervals.

    Raises:
        InputError: a missing stratum, or not one for each patient; see `checked`.
    """
    label, score = checked(label, score)
    names, place = named(stratum, label.size)
    size = np.bincount(place, minlength=len(names))
    positive = np.bincount(place[label], minlength=len(names))
    both = np.flatnonzero((positive > 0) & (positive < size))
    samples = [(label[place == number], score[place == number]) for number in both]
    return StratifiedAuc(
        crude=auc(label, score, level=level),
        within=_pooled(samples, level) if samples else None,
        alone=auc(label, (positive / size)[place], level=level),
        strata=by_stratum(label, score, stratum, level=level),
    )


def _pooled(samples: list[tuple[np.ndarray, np.ndarray]], level: float) -> Estimate:
    placed = [placements(*sample) for sample in samples]
    pairs = np.array([below.size * above.size for below, above in placed])
    smaller = np.array([min(below.size, above.size) for below, above in placed])
    share = pairs / pairs.sum()
    value = float(sum(n * below.mean() for n, (below, _) in zip(pairs, placed, strict=True)) / pairs.sum())
    shown = np.array([variance_of_mean(below, above) for below, above in placed])
    variance = np.where(smaller > 1, shown, value * (1 - value) / smaller)
    # As many independent pairs as would give the same variance, were it the largest possible everywhere.
    independent = 1 / (share**2 / smaller).sum()
    return area_interval(value, float((share**2 * variance).sum()), float(independent), level)


def named(stratum: Sequence[object] | np.ndarray, patients: int) -> tuple[list[str], np.ndarray]:
    """Names of the strata, sorted, and the number of each patient's, axis (patient,)."""
    values = list(stratum)
    if len(values) != patients:
        raise InputError(f"one stratum a patient is needed, got {len(values)} for {patients} patients")
    missing = sum(value is None or value != value or str(value) == "" for value in values)
    if missing:
        raise InputError(f"the stratum of {missing} of {patients} patients is missing")
    names = sorted({str(value) for value in values})
    number = {name: i for i, name in enumerate(names)}
    return names, np.array([number[str(value)] for value in values])
