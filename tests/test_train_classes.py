"""Patients are divided once, by id, and never stand on two sides."""

from collections import Counter

import pytest

from covid19net.cohort import Patient
from covid19net.errors import InputError
from covid19net.train.classes import is_positive, split_patients


def patients(covid=30, other=20, training_set="training", prefix="p"):
    return [
        Patient(f"{prefix}{i}", i + 2, {"label": "covid" if i < covid else "other", "set": training_set})
        for i in range(covid + other)
    ]


def test_a_fifth_of_each_class_tunes():
    split = split_patients(patients(), "label", "training")
    assert Counter(is_positive(p, "label") for p in split.tuning) == {True: 6, False: 4}
    assert Counter(is_positive(p, "label") for p in split.training) == {True: 24, False: 16}


def test_nobody_stands_on_two_sides():
    table = patients() + patients(5, 5, "validation 1", "v")
    split = split_patients(table, "label", "training")
    parts = [split.training, split.tuning, *split.validation.values()]
    ids = [p.patient_id for part in parts for p in part]
    assert len(set(ids)) == len(ids) == 60
    assert set(split.validation) == {"validation 1"}


def test_a_patient_keeps_their_part_when_others_change_order():
    one = {p.patient_id for p in split_patients(patients(), "label", "training").tuning}
    two = {p.patient_id for p in split_patients(patients()[::-1], "label", "training").tuning}
    other_seed = {p.patient_id for p in split_patients(patients(), "label", "training", seed=1).tuning}
    assert one == two
    assert one != other_seed


def test_patients_of_other_sets_without_the_column_are_left_out():
    table = [*patients(), Patient("x", 99, {"set": "auxiliary"})]
    split = split_patients(table, "label", "training")
    assert not split.validation
    assert "x" not in {p.patient_id for p in (*split.training, *split.tuning)}


def test_a_patient_to_learn_from_without_a_class_is_a_fault_and_so_is_one_without_a_set():
    table = [*patients(), Patient("x", 99, {"set": "training"}), Patient("y", 100, {"label": "covid"})]
    with pytest.raises(InputError, match=r"2 faults: row 99 column label: is empty; row 100 column set"):
        split_patients(table, "label", "training")


def test_without_sets_all_are_for_training():
    table = [Patient(p.patient_id, p.row, {"label": p.values["label"]}) for p in patients()]
    split = split_patients(table, "label", "training")
    assert len(split.training) + len(split.tuning) == 50
    assert not split.validation


@pytest.mark.parametrize("counts", [(50, 3), (0, 50)])
def test_too_few_of_a_class_are_refused_with_the_counts(counts):
    with pytest.raises(InputError, match=f"{counts[0]} positive and {counts[1]} negative"):
        split_patients(patients(*counts), "label", "training")


def test_positive_is_the_word_or_yes():
    assert is_positive(Patient("a", 2, {"egfr": "mutant"}), "egfr")
    assert not is_positive(Patient("a", 2, {"egfr": "wild"}), "egfr")
    assert is_positive(Patient("a", 2, {"kras": True}), "kras")
    assert not is_positive(Patient("a", 2, {"kras": False}), "kras")
