"""A prognostic model from a training sample, with covariates that were chosen elsewhere."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np

from covid19net.errors import InputError
from covid19net.prognosis.curve import Cause, baseline
from covid19net.prognosis.groups import median_cut
from covid19net.prognosis.model import About, PrognosticModel, risk_of
from covid19net.prognosis.outcome import COMPETING, OF_INTEREST, Outcome
from covid19net.prognosis.partial import maximise, risk_sets

FEWEST_COMPETING = 10  # events for each covariate, below which they are taken to come alike to everyone


def fit_model(
    outcome: Outcome, covariates: np.ndarray, names: Sequence[str], about: About, *, ridge: float = 0.0
) -> PrognosticModel:
    """Fit a Cox model with covariates chosen elsewhere.

    What else ends the stay gets a Cox model of its own with the same covariates, where there are enough such
    events; where there are few, or they have no maximum, its hazard is the same for everyone.

    Args:
        outcome: follow-up of the training sample.
        covariates: (patient, covariate).
        names: of the covariates, of `UNITS`.
        about: name, end point, weights, provenance and card.
        ridge: penalty, as for `maximise`.

    Raises:
        InputError: no event, covariates that cannot be fitted, or unknown names.
    """
    x = np.asarray(covariates, np.float64)
    fit = maximise(risk_sets(outcome, x), ridge=ridge)
    found = baseline(outcome, x, fit.coefficients)
    model = PrognosticModel(
        about=about,
        covariates=tuple(names),
        coefficients=fit.coefficients,
        covariance=fit.covariance,
        baseline=found,
        cut=0.0,
        lowest=x.min(0),
        highest=x.max(0),
        competing=_competing(outcome, x),
    )
    return replace(model, cut=median_cut(risk_of(model, x)))


def _competing(outcome: Outcome, x: np.ndarray) -> Cause | None:
    other = other_cause(outcome)
    events = int(other.event.sum())
    if not events:
        return None
    coefficients = np.zeros(x.shape[1])
    if events >= FEWEST_COMPETING * x.shape[1]:
        with suppress(InputError):  # a covariate may separate them: no finite hazard ratio is known
            coefficients = maximise(risk_sets(other, x)).coefficients
    return Cause(baseline(other, x, coefficients), coefficients)


def other_cause(outcome: Outcome) -> Outcome:
    """The same follow-up with the competing event as the one of interest."""
    swap: Mapping[int, int] = {OF_INTEREST: COMPETING, COMPETING: OF_INTEREST}
    return Outcome(outcome.time, np.array([swap.get(int(cause), 0) for cause in outcome.cause], np.int8))
