"""Logistic regression on a few clinical covariates: the simple rule every network has to beat."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from covid19net.errors import InputError
from covid19net.evaluate.estimate import checked

RIDGE = 1.0  # as much as scikit-learn's default, C = 1
STEPS = 100  # of Newton's method, at most; six are common
LONGEST_STEP = 4.0  # on the scale of the logit
CONVERGED = 1e-9  # largest step, on the scale of the logit
LARGEST = 1e100  # of a covariate; the square of a larger one can overflow
NO_SPREAD = 1e-9  # standard deviation, of the largest value, below which a covariate is constant


@dataclass(frozen=True, eq=False)
class Logistic:
    """A fitted logistic regression.

    Attributes:
        names: of the covariates.
        intercept: log-odds of a patient whose covariates are all average.
        coefficients: log-odds for one standard deviation of each covariate, axis (covariate,); 0 for one that
            was the same in all patients.
        mean: of each covariate in the patients of the fit.
        scale: standard deviation of each, 1 where constant.
        ridge: penalty on half the sum of the squared coefficients.
    """

    names: tuple[str, ...]
    intercept: float
    coefficients: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    ridge: float

    def probability(self, covariates: np.ndarray) -> np.ndarray:
        """Probability of being positive, in (0, 1), axis (patient,).

        Args:
            covariates: axes (patient, covariate), in the order and units of the fit.

        Raises:
            InputError: another number of covariates, or values that are not finite or beyond 1e100.
        """
        values = _covariates(covariates, self.names)
        result: np.ndarray = expit(self.intercept + (values - self.mean) / self.scale @ self.coefficients)
        return result


def fit_logistic(
    label: np.ndarray, covariates: np.ndarray, names: Sequence[str], *, ridge: float = RIDGE
) -> Logistic:
    """Fit a logistic regression with a ridge penalty (Le Cessie and van Houwelingen, Appl Stat 1992;41:191).

    Covariates are standardized, the intercept is not penalised. The penalty keeps the coefficients finite
    where covariates separate the classes or follow from each other.

    Args:
        label: bool, axis (patient,).
        covariates: axes (patient, covariate), complete.
        names: of the covariates.
        ridge: above 0; 1 / C of scikit-learn.

    Raises:
        InputError: covariates that are not finite, beyond 1e100 or not one row a patient, no ridge; see
            `checked`.
    """
    values = _covariates(covariates, names)
    label, _ = checked(label, values[:, 0])
    if not 0 < ridge < np.inf:
        raise InputError(f"the ridge must be above 0, got {ridge:g}")
    mean, scale = values.mean(axis=0), values.std(axis=0)
    constant = scale <= NO_SPREAD * np.abs(values).max(axis=0)
    scale = np.where(constant, 1.0, scale)
    design = np.column_stack([np.where(constant, 0.0, (values - mean) / scale), np.ones(label.size)])
    penalty = np.append(np.full(len(names), float(ridge)), 0.0)
    found, _ = newton(design, label, np.zeros(label.size), penalty)
    return Logistic(tuple(names), float(found[-1]), found[:-1], mean, scale, float(ridge))


def _covariates(covariates: np.ndarray, names: Sequence[str]) -> np.ndarray:
    values = np.asarray(covariates, np.float64)
    if values.ndim != 2 or not names or values.shape[1] != len(names):
        wanted = ", ".join(names) or "at least one"
        raise InputError(f"covariates ({wanted}) of each patient are needed, got shape {values.shape}")
    if not np.isfinite(values).all():
        bad = [name for i, name in enumerate(names) if not np.isfinite(values[:, i]).all()]
        raise InputError(f"covariate {', '.join(bad)}: values are missing or infinite")
    large = np.abs(values).max(axis=0, initial=0.0) > LARGEST
    if large.any():
        bad = [name for name, is_large in zip(names, large, strict=True) if is_large]
        raise InputError(f"covariate {', '.join(bad)}: values beyond {LARGEST:g} cannot be reckoned with")
    return values


def newton(
    design: np.ndarray, label: np.ndarray, offset: np.ndarray, penalty: np.ndarray | float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Maximise the (penalised) likelihood of a logistic regression: iteratively reweighted least squares.

    Args:
        design: axes (patient, coefficient); the maximum must be finite.
        label: bool, axis (patient,).
        offset: fixed part of the logit, axis (patient,).
        penalty: on half the square of each coefficient.

    Returns:
        Coefficients, and the information matrix at them.

    Raises:
        InputError: no maximum was reached.
    """
    penalty = np.broadcast_to(penalty, design.shape[1])

    def objective(at: np.ndarray) -> float:
        logits = design @ at + offset
        return float((label * logits - np.logaddexp(0, logits)).sum() - penalty @ at**2 / 2)

    coefficients = np.zeros(design.shape[1])
    for _ in range(STEPS):
        fitted = expit(design @ coefficients + offset)
        information = (design.T * (fitted * (1 - fitted))) @ design + np.diag(penalty)
        step = np.linalg.solve(information, design.T @ (label - fitted) - penalty * coefficients)
        # Far from the maximum a whole step can overshoot, to where nothing has any weight; the likelihood
        # is concave, so a part of the step helps.
        step *= min(1.0, LONGEST_STEP / max(np.abs(design @ step).max(), CONVERGED))
        reached = objective(coefficients)
        while np.abs(step).max() > CONVERGED and objective(coefficients + step) < reached:
            step /= 2
        coefficients += step
        if np.abs(step).max() <= CONVERGED:
            return coefficients, information
    raise InputError("the logistic regression did not converge: its covariates nearly separate the classes")
