"""A prognostic model taken to another hospital: who stays longer is kept, how long is learned anew.

The coefficients stay; the baseline hazard is estimated from the hospital's own patients with the model's
predictor as offset (van Houwelingen, Stat Med 2000;19:3401-3415). The slope of the predictor says whether the
coefficients hold there: 1 where they do, below 1 where they are too strong.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import chi2

from covid19net.errors import InputError
from covid19net.evaluate.estimate import Estimate, quantile
from covid19net.prognosis.curve import Baseline, Cause, baseline
from covid19net.prognosis.fit import other_cause
from covid19net.prognosis.model import PrognosticModel, predictor, risk_of
from covid19net.prognosis.outcome import Outcome
from covid19net.prognosis.partial import maximise, risk_sets

FEWEST_EVENTS = 10  # below, a baseline hazard is guesswork


@dataclass(frozen=True)
class Recalibration:
    """What a recalibration found.

    Attributes:
        patients: of the hospital.
        events: of interest among them.
        observed: events within both horizons, compared with what is expected.
        expected_before: with the model as it was.
        expected_after: with the new baseline; equal to `observed` but for rounding of tied days.
        before: observed over expected, as it was, with an exact Poisson interval.
        after: the same with the new baseline; it was made so.
        slope: of the model's predictor in this hospital.
        cut: of the risk; the training sample's median, kept.
        local_median: of the risk in this hospital, for information.
    """

    patients: int
    events: int
    observed: int
    expected_before: float
    expected_after: float
    before: Estimate
    after: Estimate
    slope: Estimate
    cut: float
    local_median: float


def expected_events(found: Baseline, outcome: Outcome, log_hazard: np.ndarray) -> float:
    """Events a baseline expects within its horizon: the cumulative hazard each patient was exposed to.

    The d events of one day came one after another, in an order nobody knows: each was exposed to (d + 1) / 2d
    of that day's hazard on average. So a baseline expects what its own sample saw.

    Args:
        found: the baseline.
        outcome: follow-up.
        log_hazard: of each patient over that of the baseline's centre, (patient,).
    """
    time = np.minimum(outcome.time, found.horizon)
    seen = outcome.event & (outcome.time <= found.horizon)
    cumulative = np.append(0.0, found.hazard)
    after = np.searchsorted(found.day, time, side="right")
    before = np.searchsorted(found.day, time, side="left")
    tied = dict(zip(*np.unique(time[seen], return_counts=True), strict=True))
    number = np.array([tied.get(day, 1) for day in time])
    share = np.where(seen, (number + 1) / (2 * number), 1.0)
    exposed = cumulative[before] + share * (cumulative[after] - cumulative[before])
    return float((exposed * np.exp(log_hazard)).sum())


def ratio(observed: int, expected: float, *, level: float = 0.95) -> Estimate:
    """Observed over expected events with the exact Poisson interval (Garwood, Biometrika 1936;28:437-442).

    Raises:
        InputError: nothing is expected.
    """
    if expected <= 0:
        raise InputError("no event is expected: follow-up ends before the first event the model knows")
    tail = (1 - level) / 2
    low = float(chi2.ppf(tail, 2 * observed)) / 2 if observed else 0.0
    high = float(chi2.ppf(1 - tail, 2 * observed + 2)) / 2
    return Estimate(observed / expected, low / expected, high / expected, level)


def recalibrate(
    model: PrognosticModel,
    outcome: Outcome,
    covariates: np.ndarray,
    origin: str,
    *,
    demonstration: bool = False,
    notes: Sequence[str] = (),
) -> tuple[PrognosticModel, Recalibration]:
    """Estimate the baseline hazard of a model anew from the patients of one hospital.

    Args:
        model: its coefficients, their covariance, its cut and its ranges are kept.
        outcome: follow-up of the hospital's patients.
        covariates: (patient, covariate), in the model's order.
        origin: whose patients these are, for the model's provenance.
        demonstration: whether they are synthetic; the new model is a demonstration if they or the model are.
        notes: sentences on their data, such as ages from bands; they join the model's limits.

    Raises:
        InputError: fewer than 10 events, covariates that do not fit, or the same predictor for everyone.
    """
    events = int(outcome.event.sum())
    if events < FEWEST_EVENTS:
        raise InputError(f"recalibration needs at least {FEWEST_EVENTS} events, got {events}")
    if not origin.strip():
        raise InputError("recalibration needs to know whose patients these are: the origin is empty")
    x = np.asarray(covariates, np.float64)
    made = baseline(outcome, x, model.coefficients, centre=model.baseline.centre)
    found = _compared(model, made, outcome, x)
    about = replace(
        model.about,
        origin=f"{model.about.origin}; baseline hazard: {origin}",
        demonstration=model.about.demonstration or demonstration,
        provenance={**model.about.provenance, "recalibration": _record(found, origin)},
        limits=" ".join(filter(None, (model.about.limits, *notes))),
    )
    return replace(model, about=about, baseline=made, competing=_other(model, outcome, x)), found


def _compared(model: PrognosticModel, made: Baseline, outcome: Outcome, x: np.ndarray) -> Recalibration:
    log_hazard = predictor(model, x)
    observed = int((outcome.event & (outcome.time <= model.baseline.horizon)).sum())
    before = expected_events(model.baseline, outcome, log_hazard)
    after = expected_events(made, outcome, log_hazard)
    events = int(outcome.event.sum())
    fit = maximise(risk_sets(outcome, log_hazard[:, None]))
    slope, half = float(fit.coefficients[0]), quantile(0.95) * float(np.sqrt(fit.covariance[0, 0]))
    return Recalibration(
        patients=outcome.size,
        events=events,
        observed=observed,
        expected_before=before,
        expected_after=after,
        before=ratio(observed, before),
        after=ratio(events, after),
        slope=Estimate(slope, slope - half, slope + half),
        cut=model.cut,
        local_median=float(np.median(risk_of(model, x))),
    )


def _other(model: PrognosticModel, outcome: Outcome, x: np.ndarray) -> Cause | None:
    """The hospital's own hazard of the competing event; None where nobody had it."""
    other = other_cause(outcome)
    if not other.event.any():
        return None
    coefficients = model.competing.coefficients if model.competing else np.zeros(x.shape[1])
    return Cause(baseline(other, x, coefficients, centre=model.baseline.centre), coefficients)


def _record(found: Recalibration, origin: str) -> dict[str, object]:
    return {
        "origin": origin,
        "patients": found.patients,
        "events": found.events,
        "observed": found.observed,
        "expected_before": round(found.expected_before, 2),
        "observed_over_expected_before": str(found.before),
        "slope": str(found.slope),
        "kept": "coefficients, their covariance, the cut of the risk groups",
        "local_median_risk": round(found.local_median, 4),
    }
