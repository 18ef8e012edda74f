"""A number with its interval, the border every sample passes once, and intervals of proportions."""

from dataclasses import dataclass
import math

import numpy as np
from scipy.stats import beta, norm

from covid19net.errors import InputError


@dataclass(frozen=True)
class Estimate:
    """A number with its confidence interval; `str` gives "0.89 (95% CI 0.58-1.00)".

    Attributes:
        value: in the unit of the quantity; fractions, not percent.
        low: lower limit, `value`'s unit.
        high: upper limit, at or above `low`.
        level: confidence of the interval, in (0, 1).

    Raises:
        InputError: a level outside (0, 1), a number that is not finite, or limits in the wrong order.
    """

    value: float
    low: float
    high: float
    level: float = 0.95

    def __post_init__(self) -> None:
        if not 0 < self.level < 1:
            raise InputError(f"a confidence level lies between 0 and 1, got {self.level:g}")
        if not all(map(math.isfinite, (self.value, self.low, self.high))) or self.low > self.high:
            raise InputError(f"no estimate: {self.value:g} with limits {self.low:g} and {self.high:g}")

    def __str__(self) -> str:
        dash = " to " if self.low < 0 else "-"  # "-0.10-0.02" could be read as two negative numbers
        return f"{self.value:.2f} ({100 * self.level:g}% CI {self.low:.2f}{dash}{self.high:.2f})"


def checked(label: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A sample with which one can count: label as bool and score as float64, both with the axis (patient,).

    Raises:
        InputError: empty, unequal lengths, more than one axis, a label that is not boolean, scores that are
            no numbers or not finite, or a single class (with the counts).
    """
    label, score = np.asarray(label), np.asarray(score)
    if label.ndim != 1 or score.shape != label.shape:
        raise InputError(f"one label and one score a patient are needed, got {label.shape} and {score.shape}")
    if not label.size:
        raise InputError("no patients: label and score are empty")
    if label.dtype != bool:
        raise InputError(f"label must be boolean (True: positive), got {label.dtype}")
    if score.dtype.kind not in "bfiu":
        raise InputError(f"scores must be numbers, got {score.dtype}")
    score = score.astype(np.float64)
    if not np.isfinite(score).all():
        raise InputError(f"{(~np.isfinite(score)).sum()} of {score.size} scores are NaN or infinite")
    positive = int(label.sum())
    if positive in (0, label.size):
        raise InputError(
            f"two classes are needed, found {positive} positive, {label.size - positive} negative"
        )
    return label, score


def checked_probability(label: np.ndarray, probability: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A sample whose scores are probabilities of being positive.

    Raises:
        InputError: a value outside [0, 1]; see `checked`.
    """
    label, probability = checked(label, probability)
    outside = int(((probability < 0) | (probability > 1)).sum())
    if outside:
        raise InputError(f"{outside} of {label.size} values lie outside 0 to 1: probabilities are needed")
    return label, probability


def quantile(level: float) -> float:
    """Half the width, in standard errors, of a normal interval of this confidence: 1.96 for 0.95."""
    return float(norm.ppf(0.5 + level / 2))


def proportion(count: int, total: int, *, level: float = 0.95) -> Estimate:
    """A proportion with Wilson's score interval, which stays in [0, 1] and never has zero width.

    Source: Wilson 1927; recommended by Brown, Cai and DasGupta, Stat Sci 2001;16:101-133.

    Args:
        count: cases that have the property.
        total: all cases, at least 1.
        level: confidence of the interval.

    Raises:
        InputError: no cases, or a count outside 0 to total.
    """
    if not 0 <= count <= total or total == 0:
        raise InputError(f"no proportion: {count} of {total}")
    z2 = quantile(level) ** 2
    share = count / total
    centre = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = math.sqrt(z2 * share * (1 - share) / total + z2**2 / (4 * total**2)) / (1 + z2 / total)
    low = 0.0 if count == 0 else centre - half  # exactly: rounding would leave 1e-17
    high = 1.0 if count == total else centre + half
    return Estimate(share, low, high, level)


def exact_proportion(share: float, trials: float, *, level: float = 0.95) -> Estimate:
    """A share of independent trials with the interval of Clopper and Pearson (Biometrika 1934;26:404-413).

    Args:
        share: in [0, 1]; share x trials need not be whole.
        trials: above 0, need not be whole.
        level: confidence of the interval.
    """
    hits, misses, tail = trials * share, trials * (1 - share), (1 - level) / 2
    low = float(beta.ppf(tail, hits, misses + 1)) if share > 0 else 0.0
    high = float(beta.ppf(1 - tail, hits + 1, misses)) if share < 1 else 1.0
    return Estimate(share, low, high, level)
