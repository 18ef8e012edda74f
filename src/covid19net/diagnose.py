"""What the probability means: the decision at a stated threshold, and when none may be given."""

from typing import Literal, NamedTuple

import numpy as np

from covid19net.volume import Finding

Call = Literal["positive", "negative", "indeterminate"]


class Decision(NamedTuple):
    """A call, and the threshold it was made at.

    Attributes:
        call: "positive" when the probability exceeds the threshold; "indeterminate" instead of "negative"
            when part of the lungs is missing from the scan.
        threshold: in (0, 1); travels with the weights.
    """

    call: Call
    threshold: float


class Distance(NamedTuple):
    """How far a scan lies from the training images of the diagnosis network.

    Attributes:
        value: Mahalanobis distance of its DL feature, >= 0, without a unit.
        limit: the largest distance of a scan like the training images; travels with the weights.
    """

    value: float
    limit: float


def check_distance(distance: Distance | None) -> tuple[Finding, ...]:
    """The finding "out-of-distribution" for a scan beyond the limit; none where no distance is known."""
    if distance is None or distance.value <= distance.limit:
        return ()
    message = (
        "to the diagnosis network this scan is unlike those it was trained on (distance "
        f"{distance.value:.4g}, limit {distance.limit:.4g}): its probability and heat map may mean nothing"
    )
    return (Finding("out-of-distribution", message),)


def probability_of(logit: float) -> float:
    """Probability of COVID-19 against other pneumonia, in [0, 1]; the logistic function of the logit."""
    return float(1 / (1 + np.exp(-np.float64(logit)))) if logit > -700 else 0.0


def decide(probability: float, threshold: float, findings: tuple[Finding, ...]) -> Decision:
    """Call a scan positive or negative, as the authors' released test does (probability > threshold).

    A negative call needs the whole lungs: COVID-19 is a disease of the bases, and a scan that cuts them off
    cannot rule it out. The finding "coverage" turns "negative" into "indeterminate".
    """
    if probability > threshold:
        return Decision("positive", threshold)
    cut = any(finding.code == "coverage" for finding in findings)
    return Decision("indeterminate" if cut else "negative", threshold)
