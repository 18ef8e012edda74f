"""Stepwise selection of the covariates of a Cox model, as R's step does it, with everything it did on record.

Selected by the same data, coefficients are too large and p values too small: `optimism` measures by how much
the whole procedure flatters itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
import math
from typing import Literal

import numpy as np
from scipy.stats import chi2

from covid19net.errors import InputError
from covid19net.prognosis.outcome import Outcome
from covid19net.prognosis.partial import Maximum, RiskSets, maximise, risk_sets, subset
from covid19net.prognosis.screen import Dropped, checked_covariates, usable

TIE = 1e-6  # smaller differences of a criterion are rounding: the earlier column wins, and no step is taken

Direction = Literal["forward", "backward", "both"]
Criterion = Literal["aic", "bic", "p"]


@dataclass(frozen=True)
class Procedure:
    """How covariates are selected.

    Attributes:
        direction: "forward" adds to the empty model, "backward" takes from the full one, "both" does either
            at each step, whichever is better.
        start: model with which "both" begins.
        criterion: "aic": -2 log partial likelihood + 2 df, lower is better; "bic" the same with log(n) df;
            "p": the likelihood ratio test of one covariate, removals before additions.
        bic_count: what n counts. Events, as Volinsky and Raftery (Biometrics 2000;56:256-262) recommend for
            censored data; patients, as step(k = log(n)) is often called in R.
        enter: a covariate with a p up to this is added; for "p" only.
        remain: a covariate with a p above this is removed; for "p" only, not below `enter`.
        most: covariates selected, at most; a larger start is reduced to it whatever the criterion says.
        ridge: penalty of `maximise`; a covariate then counts as less than one degree of freedom.

    Raises:
        InputError: an unknown word, limits outside (0, 1] or in the wrong order, a negative number, or
            "p" with a ridge, for which there is no such test.
    """

    direction: Direction = "both"
    start: Literal["empty", "full"] = "empty"
    criterion: Criterion = "aic"
    bic_count: Literal["events", "patients"] = "events"
    enter: float = 0.05
    remain: float = 0.1
    most: int | None = None
    ridge: float = 0.0

    def __post_init__(self) -> None:
        for value, known in (
            (self.direction, ("forward", "backward", "both")),
            (self.start, ("empty", "full")),
            (self.criterion, ("aic", "bic", "p")),
            (self.bic_count, ("events", "patients")),
        ):
            if value not in known:
                raise InputError(f"{value!r} is not one of {', '.join(known)}")
        if not 0 < self.enter <= self.remain <= 1:
            raise InputError(f"0 < enter <= remain <= 1 is needed, got {self.enter:g} and {self.remain:g}")
        if (self.most is not None and self.most < 0) or not 0 <= self.ridge < math.inf:
            raise InputError(f"most and ridge cannot be {self.most} and {self.ridge:g}")
        if self.criterion == "p" and self.ridge:
            raise InputError("a p value needs ridge 0: penalised models have no likelihood ratio test")

    @property
    def from_full(self) -> bool:
        """Whether the first model holds every usable covariate."""
        return self.direction == "backward" or (self.direction == "both" and self.start == "full")


@dataclass(frozen=True)
class Move:
    """One covariate added or removed, and the model that gives.

    Attributes:
        action: "+" or "-".
        name: of the covariate.
        criterion: of the model; for "p" the p value.
        log_likelihood: log partial likelihood of the model, without the penalty.
        df: degrees of freedom of the model: covariates, less what a ridge takes.
        p: of the likelihood ratio test of this covariate, one degree of freedom; None with a ridge.
    """

    action: Literal["+", "-"]
    name: str
    criterion: float
    log_likelihood: float
    df: float
    p: float | None


@dataclass(frozen=True)
class Step:
    """A move that was made.

    Attributes:
        number: from 1.
        move: the one made.
        runner_up: the second best; None where there was no other.
        skipped: covariates whose models did not converge.
    """

    number: int
    move: Move
    runner_up: Move | None
    skipped: tuple[str, ...]


@dataclass(frozen=True)
class Selection:
    """What was selected, and how.

    Attributes:
        names: selected covariates, in table order; may be empty.
        indices: their columns.
        steps: in the order made.
        refused: the best move not made, for which the selection ended; None where there was none.
        skipped: covariates whose models did not converge when the selection ended.
        dropped: covariates that no model could use.
        null: criterion of the model without covariates; for "p" 1.
        full: of the model with every usable covariate; for "p" the p value of the likelihood ratio test of
            all. None where that model does not converge.
        procedure: how.
    """

    names: tuple[str, ...]
    indices: tuple[int, ...]
    steps: tuple[Step, ...]
    refused: Move | None
    skipped: tuple[str, ...]
    dropped: tuple[Dropped, ...]
    null: float
    full: float | None
    procedure: Procedure


@dataclass(frozen=True, eq=False)
class _Model:
    """A fitted model: columns among the usable ones, standardized coefficients, likelihood, freedom."""

    chosen: tuple[int, ...]
    beta: np.ndarray
    log_likelihood: float
    df: float


@dataclass(frozen=True, eq=False)
class _Trial:
    """A move, the model it leads to, and how much it improves the criterion."""

    move: Move
    model: _Model
    gain: float


def stepwise(
    outcome: Outcome, covariates: np.ndarray, names: Sequence[str], how: Procedure | None = None
) -> Selection:
    """Select the covariates of a Cox model.

    At every step all possible moves are fitted; the best is made if it improves the criterion by more than
    `TIE`. Among equals the earlier column wins. A selection of nothing is a result, not an error.

    Args:
        outcome: follow-up.
        covariates: (patient, covariate), in any units; the selection does not depend on them.
        names: of the columns.
        how: AIC in both directions from the empty model where None, as step(coxph(y ~ 1)) in R.

    Raises:
        InputError: no event, covariates that are no finite numbers, or a start from the full model where
            that does not converge.
    """
    how = how or Procedure()
    outcome.check_events()
    covariates = checked_covariates(outcome, covariates, names)
    kept, dropped = usable(covariates, names)
    if not kept:
        null = maximise(risk_sets(outcome, np.empty((outcome.size, 0)))).null
        value = 1.0 if how.criterion == "p" else -2 * null
        return Selection((), (), (), None, (), dropped, value, value, how)
    search = _Search(outcome, covariates[:, kept], [names[i] for i in kept], how)
    model = search.full() if how.from_full else search.empty
    steps: list[Step] = []
    while True:
        trials, skipped = search.trials(model)
        best, runner_up = search.best(trials)
        if best is None or not search.worth(best, model):
            break
        second = runner_up.move if runner_up else None
        steps.append(Step(len(steps) + 1, best.move, second, skipped))
        model = best.model
    return Selection(
        names=tuple(names[kept[i]] for i in model.chosen),
        indices=tuple(kept[i] for i in model.chosen),
        steps=tuple(steps),
        refused=best.move if best else None,
        skipped=skipped,
        dropped=dropped,
        null=search.criterion(search.empty, 1.0),
        full=search.full_criterion(),
        procedure=how,
    )


class _Search:
    """One sample and one procedure; sorts the sample once and begins every fit at the last one."""

    def __init__(self, outcome: Outcome, covariates: np.ndarray, names: list[str], how: Procedure) -> None:
        self.sets: RiskSets = risk_sets(outcome, covariates)
        self.names, self.how = names, how
        events = int(outcome.event.sum())
        self.price = math.log(events if how.bic_count == "events" else outcome.size)
        if how.criterion == "aic":
            self.price = 2.0
        self.empty = _Model((), np.zeros(0), maximise(subset(self.sets, [])).null, 0.0)

    def fit(self, chosen: tuple[int, ...], start: np.ndarray | None = None) -> _Model:
        sets = subset(self.sets, list(chosen))
        found: Maximum = maximise(sets, ridge=self.how.ridge, start=start)
        taken = self.how.ridge * float((np.diag(found.covariance) * sets.scale**2).sum())
        return _Model(chosen, found.coefficients * sets.scale, found.log_likelihood, len(chosen) - taken)

    def full(self) -> _Model:
        """The model with every usable covariate."""
        try:
            return self.fit(tuple(range(len(self.names))))
        except InputError as error:
            raise InputError(
                f"the full model of {len(self.names)} covariates: {error}; start empty"
            ) from None

    def full_criterion(self) -> float | None:
        try:
            full = self.full()
        except InputError:
            return None
        ratio = 2 * (full.log_likelihood - self.empty.log_likelihood)
        return self.criterion(full, float(chi2.sf(ratio, len(self.names))))

    def criterion(self, model: _Model, p: float | None) -> float:
        if self.how.criterion == "p" and p is not None:  # with "p" there is no ridge
            return p
        return -2 * model.log_likelihood + self.price * model.df

    def trials(self, model: _Model) -> tuple[list[_Trial], tuple[str, ...]]:
        """Every possible move that converges, in table order, and the names of those that do not."""
        trials, skipped = [], []
        count, most = len(model.chosen), self.how.most
        for column, name in enumerate(self.names):
            out = column in model.chosen
            full = most is not None and count >= most
            if (out and self.how.direction == "forward") or (
                not out and (self.how.direction == "backward" or full)
            ):
                continue
            try:
                trials.append(self._trial(model, column, out))
            except InputError:
                skipped.append(name)
        return trials, tuple(skipped)

    def _trial(self, model: _Model, column: int, out: bool) -> _Trial:
        beta = dict(zip(model.chosen, model.beta, strict=True))
        if out:
            del beta[column]
        else:
            beta[column] = 0.0
        chosen = tuple(sorted(beta))
        found = self.fit(chosen, np.array([beta[i] for i in chosen]))
        ratio = 2 * abs(found.log_likelihood - model.log_likelihood)
        p = None if self.how.ridge else float(chi2.sf(ratio, 1))
        if self.how.criterion == "p":
            gain = (
                float(chi2.isf(self.how.remain, 1)) - ratio
                if out
                else ratio - float(chi2.isf(self.how.enter, 1))
            )
        else:
            gain = self.criterion(model, p) - self.criterion(found, p)
        move = Move(
            "-" if out else "+",
            self.names[column],
            self.criterion(found, p),
            found.log_likelihood,
            found.df,
            p,
        )
        return _Trial(move, found, gain)

    def best(self, trials: list[_Trial]) -> tuple[_Trial | None, _Trial | None]:
        """The best move and the second best; for "p" a removal that is due comes before any addition."""
        if self.how.criterion == "p":
            due = [trial for trial in trials if trial.move.action == "-" and trial.gain > TIE]
            trials = due or trials
        first = _best(trials)
        return first, _best([trial for trial in trials if trial is not first])

    def worth(self, trial: _Trial, model: _Model) -> bool:
        """Whether a move is made."""
        most = self.how.most
        return trial.gain > TIE or (most is not None and len(model.chosen) > most)


def _best(trials: list[_Trial]) -> _Trial | None:
    if not trials:
        return None
    gain = max(trial.gain for trial in trials)
    return next(trial for trial in trials if trial.gain >= gain - TIE)
