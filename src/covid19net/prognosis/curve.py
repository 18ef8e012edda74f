"""One patient's way: the baseline hazard of a sample, and the probability of the event by day."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class PatientCurve:
    """The probability that one patient has had the event by a day.

    Attributes:
        day: from 0, rising, (day,).
        probability: by the end of that day, (day,).
        low: lower limit of its interval, (day,).
        high: upper limit, (day,).
        level: confidence of the interval.
        median: day by which the event is as probable as not; None where follow-up does not reach so far.
        mean: expected days until the event within `horizon` (restricted mean).
        horizon: last day with follow-up in the sample; nothing is claimed beyond it.
    """

    day: np.ndarray
    probability: np.ndarray
    low: np.ndarray
    high: np.ndarray
    level: float
    median: float | None
    mean: float
    horizon: float
