"""A new patient among a cohort whose features are known: where, and beside whom."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from covid19net.errors import InputError
from covid19net.evaluate.space import Components, principal_components
from covid19net.features import Analysis

NEAREST = 5


@dataclass(frozen=True, eq=False)
class Place:
    """Where a patient lies.

    Attributes:
        space: the cohort's first two principal components.
        point: the patient's place in it, (component,).
        nearest: patient ids of the cohort, nearest first, with their distance in all 64 features.
        usual: median distance of a patient of the cohort to the nearest other one.
    """

    space: Components
    point: np.ndarray
    nearest: tuple[tuple[str, float], ...]
    usual: float

    @property
    def alone(self) -> bool:
        """Whether the nearest case is more than three times as far as is usual within the cohort."""
        return self.nearest[0][1] > 3 * self.usual


def place(
    features: np.ndarray, cohort: Mapping[str, Analysis], *, weights: str = "", count: int = NEAREST
) -> Place:
    """Place a patient by Euclidean distance of the DL features, which share a scale.

    Args:
        features: the patient's, (64,).
        cohort: patient id -> what the same network said of that patient.
        weights: SHA-256 of the network the features are from; "" where that is not known.
        count: nearest cases wanted.

    Raises:
        InputError: fewer than three patients, or features of other weights.
    """
    if len(cohort) < 3:
        raise InputError(f"a cohort of {len(cohort)} patients has no space to place another one in")
    if weights and any(known.weights not in ("", weights) for known in cohort.values()):
        raise InputError("the features of the cohort are those of other weights: they cannot be compared")
    names = list(cohort)
    table = np.array([cohort[name].features for name in names], np.float64)
    space = principal_components(table)
    distance = np.linalg.norm(table - features, axis=1)
    order = np.argsort(distance, kind="stable")[:count]
    among = [np.partition(np.linalg.norm(table - row, axis=1), 1)[1] for row in table]
    return Place(
        space,
        space.place(np.asarray(features)[None])[0],
        tuple((names[i], float(distance[i])) for i in order),
        float(np.median(among)),
    )
