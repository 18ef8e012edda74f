"""One set of patients judged with the models of the training set."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from covid19net.errors import InputError
from covid19net.evaluate import Estimate
from covid19net.evaluate.estimate import quantile
from covid19net.prognosis.competing import Incidence, gray_test, incidence
from covid19net.prognosis.concordance import TimedAuc, concordance, time_dependent_auc
from covid19net.prognosis.groups import GroupTest, LogRank, WaitingCurve, by_group, logrank, split
from covid19net.prognosis.model import PrognosticModel
from covid19net.prognosis.model import predictor as log_hazard
from covid19net.prognosis.outcome import COMPETING, OF_INTEREST, Outcome
from covid19net.prognosis.partial import maximise, risk_sets
from covid19net.prognosis.ridge import RidgeChoice
from covid19net.study.sets import StudySet

T = TypeVar("T")
COMPETITORS = {"discharge": "death", "death": "discharge"}  # of other end points: BOTH
BOTH = "discharge or death"
WORDS = {"icu": "intensive care"}  # as a reader would say it


@dataclass(frozen=True, eq=False)
class Followed:
    """Patients with follow-up and complete covariates; arrays have the axis (patient,) first.

    Attributes:
        name: of the set.
        part: the patients.
        outcome: what happened.
        covariates: (patient, covariate): 64 features, age, sex (1 male), comorbidity.
        notes: what was left out or filled in.
    """

    name: str
    part: StudySet
    outcome: Outcome
    covariates: np.ndarray
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Judged:
    """One set judged with the model of the training set.

    Attributes:
        followed: its patients.
        risk: of each patient, larger is worse, (patient,).
        group: "low" or "high", (patient,).
        curves: Kaplan-Meier of each group; competing events count as censored.
        test: log-rank; None where there is one group only.
        concordance: of the predictor that made the groups; None where no pair can be compared.
        selected_concordance: of the Cox model of the selected covariates; None where none was selected.
        clinical_concordance: of a Cox model on age, sex and comorbidity alone, made on the training set; None
            where it cannot be had.
        ridge_concordance: of the penalised Cox model on all covariates, made on the training set.
        slope: of the predictor in this set; 1 where the coefficients hold.
        timed: AUC at some days.
        incidences: of the event and of what competes, in each group; empty where nothing competes.
        gray: Gray's test that the event's incidence is the same in both groups; None where nothing competes.
        notes: what could not be done, and why.
    """

    followed: Followed
    risk: np.ndarray
    group: np.ndarray
    curves: tuple[WaitingCurve, ...]
    test: LogRank | None
    concordance: Estimate | None
    selected_concordance: Estimate | None
    clinical_concordance: Estimate | None
    ridge_concordance: Estimate | None
    slope: Estimate | None
    timed: tuple[TimedAuc, ...] = ()
    incidences: tuple[Incidence, ...] = ()
    gray: GroupTest | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Rivals:
    """Log hazard ratios of all three models, (covariate,), and what made the penalised one.

    One that cannot be fitted is None, and `notes` say why.
    """

    selected: np.ndarray | None
    clinical: np.ndarray | None
    penalised: np.ndarray
    choice: RidgeChoice
    varies: tuple[int, ...]
    notes: tuple[str, ...] = ()


def judge(
    followed: Followed,
    used: tuple[PrognosticModel, tuple[int, ...]],
    rivals: Rivals,
    days: np.ndarray,
) -> Judged:
    """Judge a set: risk, groups, curves and tests.

    Args:
        followed: its patients.
        used: model that makes the groups, and the columns of its covariates.
        rivals: all three models.
        days: at which the AUC by day is given, where the set reaches so far.
    """
    outcome, x = followed.outcome, followed.covariates
    model, columns = used
    hazard = log_hazard(model, x[:, columns])
    risk = model.sign * hazard
    group = split(risk, model.cut)
    notes: list[str] = []

    def attempt(make: Callable[[], T]) -> T | None:
        try:
            return make()
        except InputError as fault:
            notes.append(str(fault))
            return None

    def ranked(weights: np.ndarray | None) -> Estimate | None:
        return None if weights is None else attempt(lambda: concordance(outcome, x @ weights))

    return Judged(
        followed,
        risk,
        group,
        by_group(outcome, group),
        attempt(lambda: logrank(outcome, group)),
        attempt(lambda: concordance(outcome, hazard)),
        ranked(rivals.selected),
        ranked(rivals.clinical),
        ranked(rivals.penalised),
        attempt(lambda: _slope(outcome, hazard)),
        _timed(outcome, hazard, days, notes),
        attempt(lambda: _incidences(outcome, group, model.about.end_point)) or (),
        attempt(lambda: gray_test(outcome, group)) if (outcome.cause == COMPETING).any() else None,
        tuple(dict.fromkeys(notes)),
    )


def _timed(outcome: Outcome, hazard: np.ndarray, days: np.ndarray, notes: list[str]) -> tuple[TimedAuc, ...]:
    """AUC at each day by itself, where the set has cases and controls.

    The censoring that weights undo is the set's own: hospitals differ in how long they follow.
    """
    found: list[TimedAuc] = []
    for day in days[days < outcome.time.max()].tolist():
        try:
            found += time_dependent_auc(outcome, outcome, hazard, [day])
        except InputError as fault:
            notes.append(f"AUC by day: {fault}")
    return tuple(found)


def _slope(outcome: Outcome, hazard: np.ndarray) -> Estimate:
    fit = maximise(risk_sets(outcome, hazard[:, None]))
    value, half = float(fit.coefficients[0]), quantile(0.95) * float(np.sqrt(fit.covariance[0, 0]))
    return Estimate(value, value - half, value + half)


def _incidences(outcome: Outcome, group: np.ndarray, end_point: str) -> tuple[Incidence, ...]:
    if not (outcome.cause == COMPETING).any():
        return ()
    return tuple(
        incidence(outcome[group == name], cause, f"{name} risk, {word}")
        for cause, word in (
            (OF_INTEREST, WORDS.get(end_point, end_point)),
            (COMPETING, COMPETITORS.get(end_point, BOTH)),
        )
        for name in ("low", "high")
        if (group == name).any()
    )
