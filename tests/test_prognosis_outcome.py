"""The border every survival sample passes: days, causes, and how a manifest row becomes them."""

import numpy as np
import pytest

from covid19net.cohort import Patient
from covid19net.errors import InputError
from covid19net.prognosis.outcome import COMPETING, Outcome, outcome_of


def patient(row=2, **values):
    return Patient(**{**EMPTY, "row": row, "values": values})


EMPTY = dict.fromkeys(Patient.__dataclass_fields__)


def test_death_competes_with_discharge_and_the_other_way_round():
    rows = [
        patient(days=9, discharged=True, died=False),
        patient(days=4, discharged=False, died=True),
        patient(days=30, discharged=False, died=False),
    ]
    assert outcome_of(rows).cause.tolist() == [1, COMPETING, 0]
    assert outcome_of(rows, "death").cause.tolist() == [COMPETING, 1, 0]
    assert outcome_of(rows).time.tolist() == [9, 4, 30]


def test_intensive_care_ends_on_its_own_day():
    rows = [
        patient(days=20, discharged=True, icu=True, icu_days=3),
        patient(days=8, discharged=True, icu=False),
        patient(days=15, discharged=False, icu=False),
    ]
    outcome = outcome_of(rows, "icu")
    assert outcome.time.tolist() == [3, 8, 15]
    assert outcome.cause.tolist() == [1, COMPETING, 0]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"days": 5}, "row 7 column discharged is empty"),
        ({"days": 5, "discharged": True, "died": True}, "row 7: both discharged and died"),
        ({"days": 0, "discharged": True}, "0 is not above 0"),
    ],
)
def test_contradictions_name_the_row(values, message):
    with pytest.raises(InputError, match=message):
        outcome_of([patient(row=7, **values)])


def test_a_stay_in_intensive_care_after_the_end_is_a_contradiction():
    with pytest.raises(InputError, match="icu_days: 9 does not lie within the stay of 5"):
        outcome_of([patient(days=5, discharged=True, icu=True, icu_days=9)], "icu")


def test_no_event_and_an_unknown_end_point_are_refused():
    with pytest.raises(InputError, match="no event among 1 patients"):
        outcome_of([patient(days=5, discharged=False)])
    with pytest.raises(InputError, match="there are discharge, death, icu, ventilation"):
        outcome_of([patient(days=5, discharged=True)], "relapse")


@pytest.mark.parametrize(
    ("time", "cause", "message"),
    [
        ([], [], "no patients"),
        ([1, 2], [1], "one time and one cause"),
        ([1, 0], [1, 1], "1 of 2 times"),
        ([1, np.nan], [1, 1], "1 of 2 times"),
        ([1, 2], [1, 3], "causes are 0"),
    ],
)
def test_a_sample_that_cannot_be_used(time, cause, message):
    with pytest.raises(InputError, match=message):
        Outcome(np.array(time, float), np.array(cause, int))


def test_a_part_of_a_sample():
    outcome = Outcome([3, 1, 2], np.array([1, 0, 2]))
    part = outcome[np.array([2, 0])]
    assert part.time.tolist() == [2, 3]
    assert part.event.tolist() == [False, True]
    assert part.size == 2
