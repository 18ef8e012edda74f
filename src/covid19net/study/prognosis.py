"""The prognostic half of a study, for any end point: selection, Cox model, risk groups, and how they hold.

The model is made on the training set alone; every other set is judged with its coefficients and its cut.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from covid19net.cohort import clinical, is_in_time
from covid19net.errors import InputError
from covid19net.features import FEATURES
from covid19net.prognosis.competing import CauseRow, cause_specific
from covid19net.prognosis.cox import CoxTable, Univariable, cox_table, per_sd, univariable
from covid19net.prognosis.fit import fit_model
from covid19net.prognosis.model import About, PrognosticModel
from covid19net.prognosis.optimism import Optimism, optimism
from covid19net.prognosis.outcome import COMPETING, END_POINTS, outcome_of
from covid19net.prognosis.partial import maximise, risk_sets
from covid19net.prognosis.ridge import RidgeChoice, choose_ridge
from covid19net.prognosis.screen import usable
from covid19net.prognosis.stepwise import Selection, stepwise
from covid19net.study.judged import WORDS, Followed, Judged, Rivals, judge
from covid19net.study.sets import Options, StudySet

SELECTED = "selected"
FEWEST_EVENTS = 10  # in training, below which nothing is modelled
CLINICAL = ("age", "sex_male", "comorbidity")
NAMES = (*FEATURES, *CLINICAL)
TIMES = (0.25, 0.5, 0.75)  # quantiles of the training set's event days at which the timed AUC is given
Progress = Callable[[int, int], None]


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
        causes: cause-specific Cox models, where events compete, in the units of `units_of`.
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

    @property
    def word(self) -> str:
        """The end point as a reader would say it."""
        return word_of(self.end_point)


def word_of(end_point: str) -> str:
    """An end point as a reader would say it."""
    return WORDS.get(end_point, end_point)


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
        part, left_out = _with_end_point(part, end_point)
        if not part.patients:
            continue
        try:
            table = clinical(part.patients, options.missing, reference=reference, bands=options.age_band)
            kept = part[np.isin(np.arange(len(part.patients)), table.kept)]
            outcome = outcome_of(kept.patients, end_point)
        except InputError as fault:
            if not str(fault).startswith(("no event", "nobody is left")):
                raise
            notes.append(f"{name}: {fault}")
            continue
        covariates = np.column_stack([kept.features, table.values])
        found[name] = Followed(name, kept, outcome, covariates, (*left_out, *table.notes))
    return found, tuple(notes)


def _with_end_point(part: StudySet, end_point: str) -> tuple[StudySet, tuple[str, ...]]:
    """Those with follow-up and a say on the end point, and how many others have follow-up without one.

    Who leaves a column empty unless something happened leaves in only the patients to whom it did.
    """
    notes = []
    in_time = np.array([is_in_time(patient) for patient in part.patients], bool)
    part = part[in_time]
    for column in dict.fromkeys(("discharged", END_POINTS[end_point].column)):
        known = np.array([column in patient.values for patient in part.patients], bool)
        if not known.all():
            lacking = f"{(~known).sum()} of {known.size} patients with follow-up are left out"
            notes.append(f"{lacking}: column {column} is empty (no is 0)")
        part = part[known]
    point = END_POINTS[end_point]
    there = [bool(p.values[point.column]) and p.values.get(point.days) == 0 for p in part.patients]
    if any(there):
        notes.append(f"{sum(there)} of {len(there)} patients are left out: {word_of(end_point)} on day 0")
    return part[~np.array(there, bool)], tuple(notes)


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
        why = [note for note in notes if note.startswith(f"{options.training}: ")]
        nobody = f"nobody in the set {options.training!r} has follow-up to this event"
        return f"{word_of(end_point)} is not studied: {', '.join(why) or nobody}"
    events = int(training.outcome.event.sum())
    if events < FEWEST_EVENTS:
        few = f"{events} events in the set {options.training!r}; {FEWEST_EVENTS} are needed"
        return f"{word_of(end_point)} is not studied: {few}"
    try:
        selection = stepwise(training.outcome, training.covariates, NAMES, options.procedure)
    except InputError as fault:
        return f"{word_of(end_point)} is not studied: {fault}"
    if not selection.names and (options.model == SELECTED or len(selection.dropped) == len(NAMES)):
        none = (*training.notes, "no covariate was selected: no model")
        return EndPointStudy(end_point, selection, notes=(*notes, *none))
    found = _modelled(followed, end_point, selection, options, about)
    wanted = draws and options.model == SELECTED
    judged, failed = _optimism(training, options, progress) if wanted else (None, ())
    return replace(found, optimism=judged, notes=(*notes, *found.notes, *failed))


def _optimism(
    training: Followed, options: Options, progress: Progress | None
) -> tuple[Optimism | None, tuple[str, ...]]:
    """The optimism; one that cannot be had does not cost the rest of the study."""
    try:
        return optimism(
            training.outcome, training.covariates, NAMES, options.procedure,
            seed=options.seed, draws=options.draws, workers=options.workers, progress=progress,
        ), ()  # fmt: skip
    except InputError as fault:
        return None, (f"optimism: {fault}",)


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
    sets = {name: judge(each, (model, columns), rivals, days) for name, each in followed.items()}
    causes, told = _causes(training, selection)
    table, failed = _selected_table(training, selection)
    return EndPointStudy(
        end_point,
        selection,
        table,
        replace(model, about=replace(model.about, metrics=_metrics(sets, options))),
        univariable(training.outcome, training.covariates, NAMES, per=units_of(training.covariates)),
        rivals.choice,
        causes,
        sets=sets,
        notes=(*rivals.notes, *failed, *told),
    )


def _selected_table(training: Followed, selection: Selection) -> tuple[CoxTable | None, tuple[str, ...]]:
    """The table of the selected covariates; one that cannot be had does not cost the rest of the study."""
    if not selection.names:
        return None, ()
    units = units_of(training.covariates)
    per = {name: units[name] for name in selection.names if name in units}
    x = training.covariates[:, selection.indices]
    try:
        return cox_table(training.outcome, x, selection.names, per=per), ()
    except InputError as fault:
        return None, (f"no table of the multivariate model: {fault}",)


def units_of(covariates: np.ndarray) -> dict[str, float]:
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


def _rivals(training: Followed, selection: Selection, options: Options) -> Rivals:
    outcome, x = training.outcome, training.covariates
    varies = np.flatnonzero([bool(usable(x[:, [i]], [name])[0]) for i, name in enumerate(NAMES)])
    weights = np.zeros((3, len(NAMES)))
    clinical_only = len(FEATURES) + np.array(usable(x[:, len(FEATURES) :], CLINICAL)[0], int)
    notes: tuple[str, ...] = ()
    try:
        weights[0, clinical_only] = maximise(risk_sets(outcome, x[:, clinical_only])).coefficients
    except InputError as fault:
        notes = (f"clinical alone: {fault}",)
    choice = choose_ridge(outcome, x[:, varies], np.random.default_rng([options.seed, 1]))
    weights[1, varies] = choice.coefficients
    if selection.indices:
        chosen = list(selection.indices)
        weights[2, chosen] = maximise(risk_sets(outcome, x[:, chosen])).coefficients
    selected = weights[2] if selection.indices else None
    alone = None if notes else weights[0]
    return Rivals(selected, alone, weights[1], choice, tuple(varies.tolist()), notes)


def _causes(training: Followed, selection: Selection) -> tuple[tuple[CauseRow, ...], tuple[str, ...]]:
    if not (training.outcome.cause == COMPETING).any() or not selection.indices:
        return (), ()
    try:
        x, units = training.covariates[:, selection.indices], units_of(training.covariates)
        return cause_specific(training.outcome, x, selection.names, per=units), ()
    except InputError as fault:
        return (), (f"cause-specific Cox models: {fault}",)
