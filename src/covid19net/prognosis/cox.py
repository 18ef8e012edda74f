"""The table of a Cox model, and the penalised model as an alternative to selecting covariates.

A hazard ratio above 1 means that higher values go with earlier events: with a sooner discharge where
discharge is waited for, with more deaths where death is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
import math
from typing import Any
import warnings

import numpy as np
from scipy.stats import chi2, norm

from covid19net.errors import InputError
from covid19net.evaluate.estimate import Estimate, quantile
from covid19net.prognosis.concordance import concordance
from covid19net.prognosis.outcome import Outcome
from covid19net.prognosis.partial import likelihood, maximise, risk_sets, subset
from covid19net.prognosis.screen import Dropped, checked_covariates, usable

PRECISION = 1e-12  # of lifelines: with its default the sixth decimal of a coefficient is not yet right
LARGEST_LOG = 700.0  # of a hazard ratio: exp of more overflows


@dataclass(frozen=True)
class HazardRatio:
    """One row of a Cox table.

    Attributes:
        name: of the covariate.
        coefficient: log hazard ratio for one unit of the covariate; above 0: higher values, earlier event.
        standard_error: of the coefficient.
        hazard_ratio: for `per` units.
        p: two-sided, by Wald.
        proportional_p: of the hypothesis that the ratio is the same at all times; None where not tested.
        per: units of the covariate.
    """

    name: str
    coefficient: float
    standard_error: float
    hazard_ratio: Estimate
    p: float
    proportional_p: float | None = None
    per: float = 1.0


@dataclass(frozen=True)
class CoxTable:
    """A Cox model of several covariates.

    Attributes:
        rows: one a covariate, in the order given.
        patients: in the sample.
        events: of interest.
        log_likelihood: log partial likelihood (Efron), without a penalty.
        aic: -2 log partial likelihood + 2 a covariate.
        p: of the likelihood ratio test that no covariate matters.
        proportional_p: of the global test that all hazard ratios are constant in time; None where the
            numbers are too large or small to compute.
        concordance: Harrell's C of the linear predictor on the same patients, which flatters it.
        ridge: penalty; above 0 the standard errors and tests are those of a penalised fit, not exact ones.
        notes: what lifelines remarked.
    """

    rows: tuple[HazardRatio, ...]
    patients: int
    events: int
    log_likelihood: float
    aic: float
    p: float
    proportional_p: float | None
    concordance: Estimate
    ridge: float
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Univariable:
    """One Cox model a covariate.

    Attributes:
        rows: of the covariates that have a fit, in table order.
        dropped: the others, and why.
    """

    rows: tuple[HazardRatio, ...]
    dropped: tuple[Dropped, ...]


def per_sd(covariates: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    """The sd of each covariate (divisor n - 1), to give hazard ratios per sd; constant ones are left out."""
    deviation = np.asarray(covariates, np.float64).std(0, ddof=1)
    return {name: float(sd) for name, sd in zip(names, deviation, strict=True) if sd > 0}


def cox_table(
    outcome: Outcome,
    covariates: np.ndarray,
    names: Sequence[str],
    *,
    level: float = 0.95,
    ridge: float = 0.0,
    per: Mapping[str, float] | None = None,
) -> CoxTable:
    """Fit a Cox model with lifelines (Efron's ties).

    The tests of proportional hazards are those of Grambsch and Therneau (Biometrika 1994;81:515-526) on the
    scale of the Kaplan-Meier estimate, as cox.zph of R's survival before version 3 computed them.

    Args:
        outcome: follow-up.
        covariates: (patient, covariate), in their own units.
        names: of the columns.
        level: confidence of the intervals.
        ridge: penalty as in `maximise`; that of lifelines is ridge (n - 1) / n^2 for n patients.
        per: units of a covariate for which its hazard ratio is given, such as age: 10; 1 where absent.

    Raises:
        InputError: no event, covariates that are constant, collinear or no finite numbers (named), a unit
            that is not above 0 or of no covariate, or a model that does not converge.
    """
    units = _units(per, names)
    outcome.check_events()
    covariates = checked_covariates(outcome, covariates, names)
    dropped = usable(covariates, names)[1]
    if dropped or not len(names):
        reasons = "; ".join(f"{d.name}: {d.reason}" for d in dropped)
        raise InputError(f"no Cox model of these covariates: {reasons or 'there are none'}")
    fitter, residuals, notes = _lifelines(outcome, covariates, ridge)
    beta = fitter.params_.to_numpy()
    covariance = fitter.variance_matrix_.to_numpy()
    error = np.sqrt(np.diag(covariance))
    sets = risk_sets(outcome, covariates)
    value = likelihood(sets, beta * sets.scale)[0]
    constant, proportional = _proportional(outcome, residuals, covariance)
    rows = [
        _row(name, (beta[i], error[i]), level, units.get(name, 1.0), constant[i])
        for i, name in enumerate(names)
    ]
    return CoxTable(
        rows=tuple(rows),
        patients=outcome.size,
        events=int(outcome.event.sum()),
        log_likelihood=value,
        aic=-2 * value + 2 * len(names),
        p=float(chi2.sf(2 * (value - sets.null), len(names))),
        proportional_p=proportional,
        concordance=concordance(outcome, covariates @ beta, level=level),
        ridge=ridge,
        notes=notes,
    )


def univariable(
    outcome: Outcome,
    covariates: np.ndarray,
    names: Sequence[str],
    *,
    level: float = 0.95,
    per: Mapping[str, float] | None = None,
) -> Univariable:
    """Fit one Cox model a covariate.

    Args:
        outcome: follow-up.
        covariates: (patient, covariate), in their own units.
        names: of the columns.
        level: confidence of the intervals.
        per: see `cox_table`.

    Raises:
        InputError: no event, or covariates that are no finite numbers. A covariate that is constant or has
            no fit is not a fault: it is named in `dropped`.
    """
    units = _units(per, names)
    outcome.check_events()
    covariates = checked_covariates(outcome, covariates, names)
    kept = [i for i, name in enumerate(names) if usable(covariates[:, [i]], [name])[0]]
    sets = risk_sets(outcome, covariates[:, kept]) if kept else None
    rows: list[HazardRatio] = []
    dropped = []
    for column, name in enumerate(names):
        if sets is None or column not in kept:
            dropped.append(Dropped(name, "the same for every patient"))
            continue
        try:
            fit = maximise(subset(sets, [kept.index(column)]))
            found = fit.coefficients[0], math.sqrt(fit.covariance[0, 0])
            rows.append(_row(name, found, level, units.get(name, 1.0)))
        except InputError as error:
            dropped.append(Dropped(name, str(error)))
    return Univariable(tuple(rows), tuple(dropped))


def _units(per: Mapping[str, float] | None, names: Sequence[str]) -> Mapping[str, float]:
    units = per or {}
    wrong = [name for name, unit in units.items() if name not in names or not 0 < unit < math.inf]
    if wrong:
        raise InputError(f"units of a hazard ratio belong to a covariate and are above 0: {', '.join(wrong)}")
    return units


def _row(
    name: str, fit: tuple[float, float], level: float, per: float, constant: float | None = None
) -> HazardRatio:
    beta, error = map(float, fit)
    half = quantile(level) * error
    if (abs(beta) + half) * per > LARGEST_LOG:
        raise InputError(f"{name}: the hazard ratio of {per:g} units has no finite interval")
    value, low, high = (math.exp(per * log) for log in (beta, beta - half, beta + half))
    ratio = Estimate(value, low, high, level)
    return HazardRatio(name, beta, error, ratio, float(2 * norm.sf(abs(beta / error))), constant, per)


def _lifelines(
    outcome: Outcome, covariates: np.ndarray, ridge: float
) -> tuple[Any, np.ndarray, tuple[str, ...]]:
    """The fit, its Schoenfeld residuals by rising time (event, covariate), and what lifelines remarked."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        from lifelines import CoxPHFitter
        from lifelines.exceptions import ConvergenceError, ConvergenceWarning
        import pandas as pd

        columns = [f"x{i}" for i in range(covariates.shape[1])]  # ours could collide with days and event
        frame = pd.DataFrame(covariates, columns=columns).assign(days=outcome.time, event=outcome.event)
        fitter = CoxPHFitter(penalizer=ridge * (outcome.size - 1) / outcome.size**2)
        # It begins at the maximum: from 0 its first steps can fail where covariates are nearly collinear.
        start = maximise(risk_sets(outcome, covariates), ridge=ridge).coefficients * frame[columns].std()
        precise = {"precision": PRECISION, "r_precision": PRECISION}
        try:
            fitter.fit(frame, "days", "event", initial_point=start.to_numpy(), fit_options=precise)
            residuals = fitter.compute_residuals(frame, "schoenfeld")
        except ConvergenceError as error:
            raise InputError(f"the Cox model does not converge: {' '.join(str(error).split())}") from None
    # Warnings of what "may harm convergence", such as a small variance, are guesses that depend on units;
    # that there is a maximum `maximise` has shown.
    remarks = [remark for remark in seen if "may harm convergence" not in str(remark.message)]
    for remark in remarks:
        if issubclass(remark.category, ConvergenceWarning):
            raise InputError(f"the Cox model does not converge: {' '.join(str(remark.message).split())}")
    notes = [
        " ".join(str(remark.message).split())
        for remark in remarks
        if not issubclass(remark.category, DeprecationWarning | FutureWarning | PendingDeprecationWarning)
    ]
    place = residuals.index.to_numpy()
    order = np.argsort(outcome.time[place], kind="stable")
    return fitter, residuals.to_numpy()[order], tuple(dict.fromkeys(notes))


def _proportional(
    outcome: Outcome, residuals: np.ndarray, covariance: np.ndarray
) -> tuple[list[float | None], float | None]:
    """P values of constant hazard ratios, of each covariate and of all; None for what is no number."""
    days, number = np.unique(outcome.time[outcome.event], return_counts=True)
    at_risk = outcome.size - np.searchsorted(np.sort(outcome.time), days, side="left")
    before = np.append(1.0, np.cumprod(1 - number / at_risk)[:-1])  # Kaplan-Meier just before each day
    scale = np.repeat(1 - before, number)
    scale = scale - scale.mean()
    spread = float(scale @ scale)
    if spread == 0:  # all events on one day: nothing can change in time
        return [1.0] * len(covariance), 1.0
    score = scale @ residuals
    events = number.sum()
    single = (covariance @ score) ** 2 * events / (np.diag(covariance) * spread)
    together = float(score @ covariance @ score) * events / spread
    return [_tail(value, 1) for value in single], _tail(together, len(covariance))


def _tail(value: float, degrees: int) -> float | None:
    return float(chi2.sf(value, degrees)) if np.isfinite(value) else None
