"""The penalty of a Cox model by cross-validation: an alternative to selecting covariates."""

from dataclasses import dataclass

import numpy as np

from covid19net.errors import InputError
from covid19net.prognosis.outcome import Outcome
from covid19net.prognosis.partial import RiskSets, likelihood, maximise, risk_sets

PER_EVENT = np.logspace(-3, 1, 17)  # penalties tried, as multiples of the number of events


@dataclass(frozen=True, eq=False)
class RidgeChoice:
    """A penalty and why it was chosen.

    Attributes:
        ridge: the best penalty, as `maximise` takes it.
        ridges: all that were tried, rising, (penalty,).
        scores: cross-validated log partial likelihood of each, higher is better, (penalty,).
        coefficients: log hazard ratios for one unit of each covariate at the best, (covariate,).
        at_edge: whether the best is the smallest or largest tried, so that a better one may lie beyond.
    """

    ridge: float
    ridges: np.ndarray
    scores: np.ndarray
    coefficients: np.ndarray
    at_edge: bool


def ridge_path(outcome: Outcome, covariates: np.ndarray, ridges: np.ndarray) -> np.ndarray:
    """Coefficients at every penalty, (penalty, covariate), for one unit of each covariate.

    Args:
        outcome: follow-up.
        covariates: (patient, covariate), none constant.
        ridges: penalties above 0; see `maximise`.

    Raises:
        InputError: see `risk_sets` and `maximise`.
    """
    return _path(risk_sets(outcome, covariates), ridges)


def choose_ridge(
    outcome: Outcome,
    covariates: np.ndarray,
    rng: np.random.Generator,
    *,
    folds: int = 10,
    ridges: np.ndarray | None = None,
) -> RidgeChoice:
    """Choose the penalty by cross-validated partial likelihood (Verweij and van Houwelingen 1993).

    A fold's score is the log partial likelihood of everybody less that of the others, both at the
    coefficients fitted to the others (Stat Med 1993;12:2305-2314): what the patients left out add. Events
    and censored patients are dealt to the folds in turn. Covariates are standardized once, in all patients.

    Args:
        outcome: follow-up.
        covariates: (patient, covariate), none constant.
        rng: deals the folds; the only source of chance.
        folds: at least 2, at most the number of events.
        ridges: penalties above 0, rising; where None 0.001 to 10 times the number of events.

    Raises:
        InputError: too few events for the folds, penalties that are not above 0; see `risk_sets`.
    """
    events = int(outcome.event.sum())
    ridges = PER_EVENT * events if ridges is None else np.asarray(ridges, np.float64)
    whole = risk_sets(outcome, covariates)
    if not 2 <= folds <= events:
        raise InputError(f"{folds} folds need at least 2 folds and as many events, got {events} events")
    if not ridges.size or not (ridges > 0).all() or (np.diff(ridges) <= 0).any():
        raise InputError("penalties must be above 0 and rise")
    fold = np.empty(outcome.size, int)
    for members in (np.flatnonzero(outcome.event), np.flatnonzero(~outcome.event)):
        fold[rng.permutation(members)] = np.arange(members.size) % folds
    scores = np.zeros(ridges.size)
    for number in range(folds):
        rest = fold != number
        others = risk_sets(outcome[rest], np.asarray(covariates)[rest], like=whole)
        for i, coefficients in enumerate(_path(others, ridges)):
            beta = coefficients * whole.scale
            scores[i] += likelihood(whole, beta)[0] - likelihood(others, beta)[0]
    best = int(scores.argmax())
    coefficients = maximise(whole, ridge=float(ridges[best])).coefficients
    return RidgeChoice(float(ridges[best]), ridges, scores, coefficients, best in (0, ridges.size - 1))


def _path(sets: RiskSets, ridges: np.ndarray) -> np.ndarray:
    """From the largest penalty down, each fit beginning at the one before."""
    path = np.empty((len(ridges), sets.covariates.shape[1]))
    start = None
    for i in np.argsort(ridges)[::-1]:
        path[i] = maximise(sets, ridge=float(ridges[i]), start=start).coefficients
        start = path[i] * sets.scale
    return path
