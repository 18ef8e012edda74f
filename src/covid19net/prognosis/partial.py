"""Cox's partial likelihood, maximised: fast enough to try thousands of models in a stepwise selection.

Ties after Efron (J Am Stat Assoc 1977;72:557-565), Newton's method with halved steps. The tables a reader
sees come from lifelines; that both agree is tested.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from covid19net.errors import InputError
from covid19net.prognosis.outcome import Outcome

STEPS = 50  # of Newton's method, at most; five are common
CONVERGED = 1e-9  # relative change of the log partial likelihood
HALVINGS = 20
LARGEST_PREDICTOR = 500.0  # of a linear predictor on standardized covariates: exp of more overflows


@dataclass(frozen=True, eq=False)
class RiskSets:
    """A sample sorted for the partial likelihood.

    Attributes:
        covariates: (patient, covariate), by falling time, standardized: mean 0, sd 1.
        events: places of the events in that order.
        last: for each event, the last place of its risk set.
        ties: for each event, the first and the number of the events at the same time.
        share: for each event, the share of its ties that Efron takes out of the risk set.
        mean: of each covariate.
        scale: sd of each covariate.
    """

    covariates: np.ndarray
    events: np.ndarray
    last: np.ndarray
    ties: np.ndarray
    share: np.ndarray
    mean: np.ndarray
    scale: np.ndarray


@dataclass(frozen=True, eq=False)
class Maximum:
    """Where the partial likelihood is largest; in the covariates' own units.

    Attributes:
        coefficients: log hazard ratios for one unit of each covariate, (covariate,).
        covariance: of the coefficients, the inverse information, (covariate, covariate).
        log_likelihood: log partial likelihood there, without a penalty.
        null: log partial likelihood without covariates.
    """

    coefficients: np.ndarray
    covariance: np.ndarray
    log_likelihood: float
    null: float


def risk_sets(outcome: Outcome, covariates: np.ndarray) -> RiskSets:
    """Sort a sample once for many fits.

    Args:
        outcome: follow-up.
        covariates: (patient, covariate), finite, none of them constant.

    Raises:
        InputError: no event, or covariates that are not finite, constant, or not one row a patient.
    """
    outcome.check_events()
    covariates = np.asarray(covariates, np.float64)
    if covariates.ndim != 2 or len(covariates) != outcome.size:
        raise InputError(f"{outcome.size} patients need as many rows of covariates, got {covariates.shape}")
    if not np.isfinite(covariates).all():
        raise InputError("a covariate is NaN or infinite")
    mean, scale = covariates.mean(0), covariates.std(0)
    if (scale <= 1e-12 * np.maximum(1, np.abs(mean))).any():
        raise InputError("a covariate is the same for every patient")
    order = np.lexsort((~outcome.event, -outcome.time))  # by falling time, events first
    time, event = outcome.time[order], outcome.event[order]
    events = np.flatnonzero(event)
    last = np.searchsorted(-time, -time[events], side="right") - 1
    _, first, number = np.unique(-time[events], return_index=True, return_counts=True)
    ties = np.repeat(np.stack([first, number], 1), number, axis=0)
    share = (np.arange(events.size) - ties[:, 0]) / ties[:, 1]
    return RiskSets((covariates[order] - mean) / scale, events, last, ties, share, mean, scale)


def subset(sets: RiskSets, chosen: list[int]) -> RiskSets:
    """The same sample with some of its covariates."""
    return RiskSets(
        sets.covariates[:, chosen], sets.events, sets.last, sets.ties, sets.share,
        sets.mean[chosen], sets.scale[chosen],
    )  # fmt: skip


def likelihood(sets: RiskSets, beta: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Log partial likelihood, its gradient and the information, at coefficients of standardized covariates.

    Every sum over risk sets is a cumulative sum or a product of matrices: with w = exp(predictor), the sum
    over events of the second moments is X' diag(w c) X, c being for each patient the sum of 1 / denominator
    over the events at whose time the patient was at risk.
    """
    x, events = sets.covariates, sets.events
    predictor = x @ beta
    weight = np.exp(predictor - predictor.max())
    weighted = weight[:, None] * x
    total, moment = np.cumsum(weight)[sets.last], np.cumsum(weighted, 0)[sets.last]
    before = np.zeros((events.size + 1, x.shape[1] + 1))  # running sums over the events alone
    np.cumsum(np.column_stack([weight, weighted])[events], 0, out=before[1:])
    tied = before[sets.ties.sum(1)] - before[sets.ties[:, 0]]
    total = total - sets.share * tied[:, 0]
    mean = (moment - sets.share[:, None] * tied[:, 1:]) / total[:, None]
    value = float((predictor[events] - predictor.max() - np.log(total)).sum())
    gradient = (x[events] - mean).sum(0)
    counted = np.bincount(sets.last, 1 / total, len(x))[::-1].cumsum()[::-1]
    starts = np.zeros(events.size + 1)
    np.cumsum(sets.share / total, out=starts[1:])
    counted[events] -= starts[sets.ties.sum(1)] - starts[sets.ties[:, 0]]
    information = (weighted * counted[:, None]).T @ x - mean.T @ mean
    return value, gradient, information


def maximise(sets: RiskSets, *, ridge: float = 0.0, start: np.ndarray | None = None) -> Maximum:
    """Fit a Cox model.

    Args:
        sets: from `risk_sets`.
        ridge: penalty: half of it times the sum of squared coefficients of standardized covariates is taken
            from the log likelihood.
        start: coefficients of standardized covariates to begin with.

    Raises:
        InputError: collinear covariates, or no maximum: a covariate separates those with early events.
    """
    count = sets.covariates.shape[1]
    beta = np.zeros(count) if start is None else start
    null = likelihood(sets, np.zeros(count))[0]
    value, gradient, information = likelihood(sets, beta)
    penalised = value - ridge / 2 * beta @ beta
    for _ in range(STEPS if count else 0):
        step = _solve(information + ridge * np.eye(count), gradient - ridge * beta)
        for _ in range(HALVINGS):
            tried = beta + step
            if np.abs(sets.covariates @ tried).max() < LARGEST_PREDICTOR:
                new, gradient, information = likelihood(sets, tried)
                better = new - ridge / 2 * tried @ tried
                if better >= penalised - CONVERGED * abs(penalised):
                    break
            step = step / 2
        else:
            raise InputError("the Cox model does not converge: its likelihood has no maximum")
        change, beta, value, penalised = better - penalised, tried, new, better
        if abs(change) <= CONVERGED * (1 + abs(penalised)) and np.abs(step).max() < 1e-4:
            break
    else:
        if count:
            raise InputError("the Cox model does not converge: a covariate separates early from late events")
    inverse = _solve(information + ridge * np.eye(count), np.eye(count)) if count else np.zeros((0, 0))
    return Maximum(beta / sets.scale, inverse / np.outer(sets.scale, sets.scale), value, null)


def _solve(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    try:
        solution: np.ndarray = cho_solve(cho_factor(matrix), right)
    except LinAlgError:
        raise InputError("collinear covariates: the information of the Cox model is singular") from None
    return solution
