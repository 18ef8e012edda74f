"""Cox's partial likelihood, maximised: fast enough to try thousands of models in a stepwise selection.

Ties after Efron (J Am Stat Assoc 1977;72:557-565), Newton's method with halved steps. The tables a reader
sees come from lifelines; that both agree is tested.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from covid19net.errors import InputError
from covid19net.prognosis.outcome import Outcome

STEPS = 50  # of Newton's method, at most; five are common
CONVERGED = 1e-9  # relative change of the log partial likelihood that a step promises
SMALL_STEP = 1e-4  # of every coefficient; the error after it is of the order of its square
HALVINGS = 20
# Of the coefficient of a standardized covariate. `screen` lets an inflation of 1e8 pass; where the likelihood
# only flattens towards infinity, until rounding ends the steps, 1e13 and more were seen.
LARGEST_VARIANCE = 1e10
LARGEST_PREDICTOR = 150.0  # of a linear predictor on standardized covariates: exp(-4 x) must not become 0


@dataclass(frozen=True, eq=False)
class RiskSets:
    """A sample sorted for the partial likelihood.

    Patients stand by falling time, so that a risk set is everybody up to a place. A block is one distinct
    time of an event with everybody who left since the block before.

    Attributes:
        covariates: (patient, covariate), standardized: mean 0, sd 1.
        events: places of the events, (event,).
        starts: place of the first patient of each block, and at the end that after the last, (block + 1,).
        first: first event of each block, as an index of `events`, (block,).
        block: of each event, (event,).
        share: for each event, the share of the events at its time that Efron takes out of the risk set.
        mean: of each covariate.
        scale: sd of each covariate, with n as the divisor.
        null: log partial likelihood without covariates.
    """

    covariates: np.ndarray
    events: np.ndarray
    starts: np.ndarray
    first: np.ndarray
    block: np.ndarray
    share: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    null: float


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


def risk_sets(outcome: Outcome, covariates: np.ndarray, *, like: RiskSets | None = None) -> RiskSets:
    """Sort a sample once for many fits.

    Args:
        outcome: follow-up.
        covariates: (patient, covariate), finite, none of them constant.
        like: standardize with the mean and sd of this sample instead, as in cross-validation; a covariate
            may then be constant.

    Raises:
        InputError: no event, or covariates that are not finite, constant, or not one row a patient.
    """
    outcome.check_events()
    covariates = np.asarray(covariates, np.float64)
    if covariates.ndim != 2 or len(covariates) != outcome.size:
        raise InputError(f"{outcome.size} patients need as many rows of covariates, got {covariates.shape}")
    if not np.isfinite(covariates).all():
        raise InputError("a covariate is NaN or infinite")
    mean, scale = (like.mean, like.scale) if like else (covariates.mean(0), covariates.std(0))
    if not like and (scale <= 1e-12 * np.maximum(1, np.abs(mean))).any():
        raise InputError("a covariate is the same for every patient")
    order = np.lexsort((~outcome.event, -outcome.time))  # by falling time, events first
    time, event = outcome.time[order], outcome.event[order]
    events = np.flatnonzero(event)
    _, first, block, number = np.unique(
        -time[events], return_index=True, return_inverse=True, return_counts=True
    )
    last = np.searchsorted(-time, -time[events[first]], side="right")
    share = (np.arange(events.size) - first[block]) / number[block]
    null = -float(np.log(last[block] - share * number[block]).sum())
    return RiskSets(
        (covariates[order] - mean) / scale, events, np.append(0, last), first, block, share, mean, scale, null
    )


def subset(sets: RiskSets, chosen: list[int]) -> RiskSets:
    """The same sample with some of its covariates."""
    return replace(
        sets, covariates=sets.covariates[:, chosen], mean=sets.mean[chosen], scale=sets.scale[chosen]
    )


def likelihood(sets: RiskSets, beta: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Log partial likelihood, its gradient and the information, at coefficients of standardized covariates.

    Nothing is computed per event and covariate: follow-up is counted in days, so there are far fewer blocks
    than patients. With w = exp(predictor), the sum over events of the second moments is X' diag(w c) X, c
    being for each patient the sum of 1 / denominator over the events at whose time the patient was at risk;
    that of the squared means is a quadratic form of the moments of each block.
    """
    end = sets.starts[-1]  # who left before the first event is in no risk set
    x, events, block, share = sets.covariates[:end], sets.events, sets.block, sets.share
    predictor = x @ beta
    weight = np.exp(predictor - predictor.max())
    weighted = weight[:, None] * x
    total = np.add.reduceat(weight, sets.starts[:-1]).cumsum()[block]
    total = total - share * np.add.reduceat(weight[events], sets.first)[block]
    moment = np.add.reduceat(weighted, sets.starts[:-1]).cumsum(0)
    tied = np.add.reduceat(weighted[events], sets.first)
    value = float((predictor[events] - predictor.max() - np.log(total)).sum())
    inverse, taken = np.add.reduceat([1 / total, share / total], sets.first, axis=1)
    counted = np.repeat(inverse[::-1].cumsum()[::-1], np.diff(sets.starts))
    counted[events] -= taken[block]
    gradient = x[events].sum(0) - counted @ weighted
    squares = np.add.reduceat([1 / total**2, share / total**2, (share / total) ** 2], sets.first, axis=1)
    both = squares[0][:, None] * moment - 2 * squares[1][:, None] * tied
    mixed = moment.T @ both
    means = (mixed + mixed.T) / 2 + tied.T @ (squares[2][:, None] * tied)
    return value, gradient, (weighted * counted[:, None]).T @ x - means


def maximise(sets: RiskSets, *, ridge: float = 0.0, start: np.ndarray | None = None) -> Maximum:
    """Fit a Cox model.

    Args:
        sets: from `risk_sets`.
        ridge: penalty: half of it times the sum of squared coefficients of standardized covariates is taken
            from the log likelihood.
        start: coefficients of standardized covariates to begin with; 0 where None or out of all reason, as
            those of a larger model whose covariates balance each other can be.

    Raises:
        InputError: collinear covariates, or no maximum: a covariate separates those with early events.
    """
    count = sets.covariates.shape[1]
    if not count:
        return Maximum(np.zeros(0), np.zeros((0, 0)), sets.null, sets.null)
    beta = np.zeros(count)
    if start is not None and np.abs(sets.covariates @ start).max() < LARGEST_PREDICTOR:
        beta = start
    value, gradient, information = likelihood(sets, beta)
    for _ in range(STEPS):
        slope = gradient - ridge * beta
        step = _solve(information + ridge * np.eye(count), slope)
        if slope @ step <= CONVERGED * (1 + abs(value)) and np.abs(step).max() < SMALL_STEP:
            break
        beta, (value, gradient, information) = _advance(sets, (beta, step), value, ridge)
    else:
        raise InputError("the Cox model does not converge: a covariate separates early from late events")
    inverse = _solve(information + ridge * np.eye(count), np.eye(count))
    if not ridge and np.diag(inverse).max() > LARGEST_VARIANCE:
        raise InputError("the Cox model does not converge: its likelihood has no maximum")
    value += float(gradient @ step - step @ information @ step / 2)  # of the last step, which is made unseen
    return Maximum((beta + step) / sets.scale, inverse / np.outer(sets.scale, sets.scale), value, sets.null)


def _advance(
    sets: RiskSets, way: tuple[np.ndarray, np.ndarray], value: float, ridge: float
) -> tuple[np.ndarray, tuple[float, np.ndarray, np.ndarray]]:
    """Go from a point by a step, halved until the penalised likelihood does not fall."""
    beta, step = way
    least = value - ridge / 2 * beta @ beta
    least -= CONVERGED * abs(least)
    for _ in range(HALVINGS):
        tried = beta + step
        if np.abs(sets.covariates @ tried).max() < LARGEST_PREDICTOR:
            found = likelihood(sets, tried)
            if found[0] - ridge / 2 * tried @ tried >= least:
                return tried, found
        step = step / 2
    raise InputError("the Cox model does not converge: its likelihood has no maximum")


def _solve(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    try:
        solution: np.ndarray = cho_solve(cho_factor(matrix), right)
    except LinAlgError:
        raise InputError("collinear covariates: the information of the Cox model is singular") from None
    return solution
