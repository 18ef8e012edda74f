"""The prognostic half of a study, for any end point: selection, Cox model, risk groups, and how they hold.

The model is made on the training set alone; every other set is judged with its coefficients and its cut.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np

from covid19net.cohort import clinical
from covid19net.errors import InputError
from covid19net.evaluate import Estimate
from covid19net.evaluate.estimate import quantile
from covid19net.features import FEATURES
from covid19net.prognosis.competing import CauseRow, Incidence, cause_specific, incidence
from covid19net.prognosis.concordance import TimedAuc, concordance, time_dependent_auc
from covid19net.prognosis.cox import CoxTable, Univariable, cox_table, per_sd, univariable
from covid19net.prognosis.fit import fit_model
from covid19net.prognosis.groups import LogRank, WaitingCurve, by_group, logrank, split
from covid19net.prognosis.model import About, PrognosticModel
from covid19net.prognosis.model import predictor as log_hazard
from covid19net.prognosis.optimism import Optimism, optimism
from covid19net.prognosis.outcome import COMPETING, END_POINTS, OF_INTEREST, Outcome, outcome_of
from covid19net.prognosis.partial import maximise, risk_sets
from covid19net.prognosis.ridge import RidgeChoice, choose_ridge
from covid19net.prognosis.stepwise import Selection, stepwise
from covid19net.study.sets import Options, StudySet

SELECTED = "selected"
FEWEST_EVENTS = 10  # in training, below which nothing is modelled
CLINICAL = ("age", "sex_male", "comorbidity")
NAMES = (*FEATURES, *CLINICAL)
TIMES = (0.25, 0.5, 0.75)  # quantiles of the training set's event days at which the timed AUC is given
Progress = Callable[[int, int], None]
T = TypeVar("T")


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
        clinical_concordance: of a Cox model on age, sex and comorbidity alone, made on the training set.
        ridge_concordance: of the penalised Cox model on all covariates, made on the training set.
        slope: of the predictor in this set; 1 where the coefficients hold.
        timed: AUC at some days.
        incidences: of the event and of what competes, in each group; empty where nothing competes.
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
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class EndPointStudy:
    """Everything about one end point.

    Attributes:
        end_point: a key of `END_POINTS`.
        selection: covariates and the path to them.
        table: multivariate Cox model of these; None where nothing was selected.
        model: for single patients, with cut and baseline: of the selected covariates or the penalised one.
        univariable: each covariate alone.
        ridge: the penalised model of all covariates that vary.
        causes: cause-specific Cox models, where events compete.
        optimism: of the whole procedure by bootstrap; None where it was not asked for.
        sets: name -> judged set, training first.
        notes: what could not be done, and why.
    """

    end_point: str
    selection: Selection
    table: CoxTable | None = None
    model: PrognosticModel | None = None
    univariable: Univariable | None = None
    ridge: RidgeChoice | None = None
    causes: tuple[CauseRow, ...] = ()
    optimism: Optimism | None = None
    sets: Mapping[str, Judged] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def followed_sets(
    sets: Mapping[str, StudySet], end_point: str, options: Options
) -> tuple[dict[str, Followed], tuple[str, ...]]:
    """Every set with follow-up to an end point, the training set first; and why others are absent.

    Raises:
        InputError: clinical values are missing and are to be refused, or follow-up that contradicts itself.
    """
    found, notes = {}, []
    reference = sets[options.training].followed().patients
    for name, part in sets.items():
        part = _with_end_point(part.followed(), end_point)
        if not part.patients:
            continue
        table = clinical(part.patients, options.missing, reference=reference)
        kept = part[np.isin(np.arange(len(part.patients)), table.kept)]
        try:
            outcome = outcome_of(kept.patients, end_point)
        except InputError as fault:
            if "no event" not in str(fault):
                raise
            notes.append(f"{name}: {fault}")
            continue
        covariates = np.column_stack([kept.features, table.values])
        found[name] = Followed(name, kept, outcome, covariates, table.notes)
    return found, tuple(notes)


def _with_end_point(part: StudySet, end_point: str) -> StudySet:
    column = END_POINTS[end_point].column
    return part[np.array([column in patient.values for patient in part.patients], bool)]


def study_end_point(
    sets: Mapping[str, StudySet],
    end_point: str,
    options: Options,
    about: Callable[[Followed], About],
    *,
    draws: int = 0,
    progress: Progress | None = None,
) -> EndPointStudy | str:
    """Select, fit, cut and judge.

    Args:
        sets: from `study_sets`.
        end_point: a key of `END_POINTS`.
        options: of the study.
        about: makes the model's card from the training patients.
        draws: of the bootstrap of the whole procedure; 0 leaves it out.
        progress: of that bootstrap.

    Returns:
        The results, or why there are none.

    Raises:
        InputError: see `followed_sets`.
    """
    followed, notes = followed_sets(sets, end_point, options)
    training = followed.get(options.training)
    if training is None:
        return f"{end_point}: nobody in the set {options.training!r} has follow-up with this event"
    events = int(training.outcome.event.sum())
    if events < FEWEST_EVENTS:
        return f"{end_point}: {events} events in the set {options.training!r}; {FEWEST_EVENTS} are needed"
    selection = stepwise(training.outcome, training.covariates, NAMES, options.procedure)
    if not selection.names and options.model == SELECTED:
        return EndPointStudy(end_point, selection, notes=(*notes, "no covariate was selected: no model"))
    found = _modelled(followed, end_point, selection, options, about)
    judged = _optimism(training, options, progress) if draws and options.model == SELECTED else None
    return replace(found, optimism=judged, notes=(*notes, *found.notes))


def _optimism(training: Followed, options: Options, progress: Progress | None) -> Optimism:
    return optimism(
        training.outcome, training.covariates, NAMES, options.procedure,
        seed=options.seed, draws=options.draws, workers=options.workers, progress=progress,
    )  # fmt: skip


def _modelled(
    followed: Mapping[str, Followed],
    end_point: str,
    selection: Selection,
    options: Options,
    about: Callable[[Followed], About],
) -> EndPointStudy:
    training = followed[options.training]
    rivals = _rivals(training, selection, options)
    columns, ridge = selection.indices, 0.0
    if options.model != SELECTED:
        columns, ridge = rivals.varies, rivals.choice.ridge
    names = tuple(NAMES[i] for i in columns)
    model = fit_model(training.outcome, training.covariates[:, columns], names, about(training), ridge=ridge)
    days = np.unique(np.quantile(training.outcome.time[training.outcome.event], TIMES).round())
    sets = {
        name: _judge(each, (model, columns), rivals, training.outcome, days)
        for name, each in followed.items()
    }
    causes, told = _causes(training, selection)
    return EndPointStudy(
        end_point,
        selection,
        _selected_table(training, selection),
        replace(model, about=replace(model.about, metrics=_metrics(sets, options))),
        univariable(training.outcome, training.covariates, NAMES, per=_units(training.covariates)),
        rivals.choice,
        causes,
        sets=sets,
        notes=told,
    )


def _selected_table(training: Followed, selection: Selection) -> CoxTable | None:
    if not selection.names:
        return None
    units = _units(training.covariates)
    per = {name: units[name] for name in selection.names if name in units}
    return cox_table(training.outcome, training.covariates[:, selection.indices], selection.names, per=per)


def _units(covariates: np.ndarray) -> dict[str, float]:
    """For what a hazard ratio is given: ten years, a standard deviation of a DL feature; else one unit."""
    units = per_sd(covariates, NAMES)
    return {name: 10.0 if name == "age" else sd for name, sd in units.items() if name not in CLINICAL[1:]}


def _metrics(sets: Mapping[str, "Judged"], options: Options) -> dict[str, object]:
    """What the model's card says of each set."""
    return {
        f"{name} (resubstitution)" if name == options.training else name: {
            "patients": judged.followed.outcome.size,
            "events": int(judged.followed.outcome.event.sum()),
            "concordance": None if judged.concordance is None else str(judged.concordance),
            "log-rank p": None if judged.test is None else float(f"{judged.test.p:.3g}"),
        }
        for name, judged in sets.items()
    }


@dataclass(frozen=True, eq=False)
class _Rivals:
    """Log hazard ratios of all three models, (covariate,), and what made the penalised one."""

    selected: np.ndarray | None
    clinical: np.ndarray
    penalised: np.ndarray
    choice: RidgeChoice
    varies: tuple[int, ...]


def _rivals(training: Followed, selection: Selection, options: Options) -> _Rivals:
    outcome, x = training.outcome, training.covariates
    varies = np.flatnonzero(np.ptp(x, axis=0) > 0)
    clinical_only = varies[varies >= len(FEATURES)]
    weights = np.zeros((3, len(NAMES)))
    if clinical_only.size:
        weights[0, clinical_only] = maximise(risk_sets(outcome, x[:, clinical_only])).coefficients
    choice = choose_ridge(outcome, x[:, varies], np.random.default_rng([options.seed, 1]))
    weights[1, varies] = choice.coefficients
    if selection.indices:
        chosen = list(selection.indices)
        weights[2, chosen] = maximise(risk_sets(outcome, x[:, chosen])).coefficients
    selected = weights[2] if selection.indices else None
    return _Rivals(selected, weights[0], weights[1], choice, tuple(varies.tolist()))


def _causes(training: Followed, selection: Selection) -> tuple[tuple[CauseRow, ...], tuple[str, ...]]:
    if not (training.outcome.cause == COMPETING).any() or not selection.indices:
        return (), ()
    try:
        x = training.covariates[:, selection.indices]
        return cause_specific(training.outcome, x, selection.names), ()
    except InputError as fault:
        return (), (f"cause-specific Cox models: {fault}",)


def _judge(
    followed: Followed,
    used: tuple[PrognosticModel, tuple[int, ...]],
    rivals: _Rivals,
    training: Outcome,
    days: np.ndarray,
) -> Judged:
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

    days = days[days < outcome.time.max()]
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
        attempt(lambda: time_dependent_auc(training, outcome, hazard, days.tolist())) or (),
        attempt(lambda: _incidences(outcome, group)) or (),
        tuple(dict.fromkeys(notes)),
    )


def _slope(outcome: Outcome, hazard: np.ndarray) -> Estimate:
    fit = maximise(risk_sets(outcome, hazard[:, None]))
    value, half = float(fit.coefficients[0]), quantile(0.95) * float(np.sqrt(fit.covariance[0, 0]))
    return Estimate(value, value - half, value + half)


def _incidences(outcome: Outcome, group: np.ndarray) -> tuple[Incidence, ...]:
    if not (outcome.cause == COMPETING).any():
        return ()
    return tuple(
        incidence(outcome[group == name], cause, f"{name} risk, {word}")
        for cause, word in ((OF_INTEREST, "event"), (COMPETING, "competing"))
        for name in ("low", "high")
        if (group == name).any()
    )
