"""A multivariate model whose table cannot be had costs the table, not the study."""

import numpy as np

from covid19net.errors import InputError
from covid19net.prognosis.stepwise import Procedure, stepwise
from covid19net.study import prognosis
from covid19net.study.judged import Followed
from covid19net.study.sets import StudySet
from tests.prognostic_models import sample


def test_a_model_that_does_not_converge_is_a_note(monkeypatch):
    outcome, clinical = sample()
    noise = np.random.default_rng(0).normal(size=(outcome.size, 64))
    x = np.column_stack([noise, clinical[:, 1], clinical[:, 2], clinical[:, 2]])[:, : len(prognosis.NAMES)]
    part = StudySet("training", (), np.empty(0), np.empty((0, 64)), None)
    training = Followed("training", part, outcome, x)
    chosen = stepwise(outcome, x, prognosis.NAMES, Procedure(most=2))
    table, notes = prognosis._selected_table(training, chosen)
    assert [row.name for row in table.rows] == list(chosen.names)
    assert notes == ()

    def fails(*_args, **_options):
        raise InputError("the Cox model does not converge")

    monkeypatch.setattr(prognosis, "cox_table", fails)
    found = prognosis._selected_table(training, chosen)
    assert found == (None, ("no table of the multivariate model: the Cox model does not converge",))
