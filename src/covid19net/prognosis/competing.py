"""More than one way to leave: cumulative incidence after Aalen and Johansen, cause-specific Cox models."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Incidence:
    """How probable it is that an event has come by a day, while others compete with it.

    Attributes:
        name: of group and event, as a legend says it.
        time: days at which it steps, from 0, rising, (step,).
        probability: of this event by that day, (step,); 0 at day 0.
        low: lower limit of its interval, (step,).
        high: upper limit, (step,).
        events: seen.
    """

    name: str
    time: np.ndarray
    probability: np.ndarray
    low: np.ndarray
    high: np.ndarray
    events: int
