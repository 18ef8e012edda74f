"""Risk groups: the cut, their Kaplan-Meier curves with numbers at risk, and the log-rank test."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class WaitingCurve:
    """The Kaplan-Meier estimate of one group: the probability that the event has not come yet.

    Attributes:
        name: of the group.
        time: days at which the estimate steps, from 0, rising, (step,).
        waiting: probability after each step, (step,); 1 at day 0.
        low: lower limit of its interval, (step,).
        high: upper limit, (step,).
        censored: days on which somebody was last seen without the event, rising, one for each (patient,).
        times: follow-up of every patient in days, rising, (patient,); for the numbers at risk.
        patients: in the group.
        events: seen among them.
        median: day by which half have had the event; None where the curve does not fall that far.
    """

    name: str
    time: np.ndarray
    waiting: np.ndarray
    low: np.ndarray
    high: np.ndarray
    censored: np.ndarray
    times: np.ndarray
    patients: int
    events: int
    median: float | None

    def at_risk(self, days: np.ndarray) -> np.ndarray:
        """How many were still followed just before each of these days: int, (day,)."""
        return self.patients - np.searchsorted(self.times, days, side="left")
