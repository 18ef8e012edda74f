"""The diagnostic half of a study: the threshold, what is measured, and why something is not."""

import numpy as np
import pytest

from covid19net.cohort import Patient
from covid19net.errors import InputError
from covid19net.evaluate import performance, youden_threshold
from covid19net.features import Analysis
from covid19net.report.shelf import Shelf
from covid19net.study import tables
from covid19net.study.diagnosis import study_diagnosis
from covid19net.study.diagnosis_report import space_section
from covid19net.study.published import TABLE_2
from covid19net.study.sets import Options, StudySet, study_sets
from covid19net.table import INDENT
from tests.study_cohort import cohort, sets_of


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    return sets_of(tmp_path_factory.mktemp("sets"), *cohort())


@pytest.fixture(scope="module")
def diagnosis(sets):
    return study_diagnosis(sets, Options())


def small(*patients):
    """Sets of patients given as (set, label, probability)."""
    people = [
        Patient(f"p{i}", i + 2, {"set": name} | ({"label": label} if label else {}))
        for i, (name, label, _) in enumerate(patients)
    ]
    found = {f"p{i}": Analysis(score, np.zeros(64)) for i, (*_, score) in enumerate(patients)}
    return study_sets(people, found, "training")


# Positive above 0.6: sensitivity 2/2 and specificity 2/3, no other cut has more; worked out by hand.
BY_HAND = (
    ("training", "covid", 0.9),
    ("training", "covid", 0.7),
    ("training", "other", 0.95),
    ("training", "other", 0.6),
    ("training", "other", 0.2),
    ("b", "covid", 0.65),
    ("b", "covid", 0.5),
    ("b", "other", 0.3),
)


def test_youdens_threshold_is_that_of_the_training_set_alone():
    found = study_diagnosis(small(*BY_HAND), Options())
    assert 0.6 <= found.threshold < 0.7
    assert "'training'" in found.threshold_origin
    for name, sensitivity, specificity in (("training", 1, 2 / 3), ("b", 0.5, 1)):
        point = found.sets[name].performance.point
        assert point.sensitivity.value == pytest.approx(sensitivity)
        assert point.specificity.value == pytest.approx(specificity)


@pytest.mark.parametrize(
    ("wanted", "value", "word"),
    [("card", 0.31, "card"), ("released", 0.8, "released"), (0.25, 0.25, "given")],
)
def test_the_other_thresholds(wanted, value, word):
    found = study_diagnosis(small(*BY_HAND), Options(threshold=wanted), 0.31)
    assert found.threshold == value
    assert word in found.threshold_origin
    assert set(found.thresholds) == {"youden", "card", "released"}
    assert {m.performance.point.threshold for m in found.sets.values()} == {value}


@pytest.mark.parametrize("wanted", [0.0, 1.0, -2.0, float("nan"), float("inf")])
def test_a_threshold_that_is_no_probability_is_refused(wanted):
    with pytest.raises(InputError, match="between 0 and 1"):
        study_diagnosis(small(*BY_HAND), Options(threshold=wanted))


def test_a_card_without_a_threshold_is_refused_with_those_there_are():
    with pytest.raises(InputError, match=r"'card'.*there are youden, released, or a number"):
        study_diagnosis(small(*BY_HAND), Options(threshold="card"))


def test_a_threshold_that_nobody_knows_is_refused_before_anything_is_read():
    with pytest.raises(InputError, match="'best': there are youden, card, released, or a number"):
        Options(threshold="best")


def test_youden_needs_both_classes_in_training_and_others_do_not():
    sets = small(("training", "covid", 0.9), *BY_HAND[5:])
    said = study_diagnosis(sets, Options())
    assert said.startswith("diagnosis: threshold 'youden' needs both classes in the set 'training'; choose")
    assert "released or a number (--threshold)" in said
    assert "training: 1 patients with COVID-19 only" in said
    found = study_diagnosis(sets, Options(threshold="released"))
    assert list(found.sets) == ["b"]
    assert any("training: 1 patients with COVID-19 only" in note for note in found.notes)


def test_nobody_labelled_and_one_class_only_are_reasons():
    assert "no patient has a label" in study_diagnosis(small(("training", None, 0.5)), Options())
    said = study_diagnosis(small(("training", "other", 0.5), ("b", "covid", 0.5)), Options())
    assert "two classes" in said
    assert "training: 1 patients with other pneumonia only" in said
    assert "b: 1 patients with COVID-19 only" in said


def test_who_has_no_label_is_not_judged():
    found = study_diagnosis(small(*BY_HAND, ("training", None, 0.99)), Options())
    measured = found.sets["training"].performance
    assert (measured.positive, measured.negative) == (2, 3)


def test_sets_are_in_order_each_with_its_viral_part(diagnosis):
    names = ["training", "validation 1", "validation 3"]
    assert list(diagnosis.sets) == [each for name in names for each in (name, f"{name}-viral")]
    assert (diagnosis.sets["training"].part.label.sum(), diagnosis.sets["training"].part.label.size) == (
        sum(i % 3 != 2 for i in range(160)),
        160,
    )


def test_table_two_is_what_performance_says(diagnosis, sets):
    table = tables.table_two(diagnosis)
    rows = {row[0]: row for row in table.rows}
    threshold = youden_threshold(sets["training"].label, sets["training"].probability)
    for name, part in sets.items():
        said = performance(part.label, part.probability, threshold)
        point, cells = said.point, rows[name]
        assert cells[1] == f"{said.positive} / {said.negative}"
        assert cells[2].startswith(f"{said.auc.value:.2f} ({said.auc.low:.2f}")
        shares = (point.accuracy, point.sensitivity, point.specificity, point.ppv, point.npv)
        for cell, share in zip(cells[3:], shares, strict=True):
            assert cell.startswith(f"{100 * share.value:.1f} (")
            assert f"{100 * share.low:.1f}" in cell
            assert f"{100 * share.high:.1f})" in cell


def test_published_rows_stand_below_the_sets_of_that_name(diagnosis):
    """Wang et al. 2020, Table 2: typed here again."""
    rows = tables.table_two(diagnosis).rows
    names = [row[0] for row in rows]
    printed = {
        "training": ("", "0.90 (0.89–0.91)", "81.24", "78.93", "89.93", "", ""),  # noqa: RUF001 - en dash
        "validation 1": ("", "0.87 (0.86–0.89)", "78.32", "80.39", "76.61", "", ""),  # noqa: RUF001
    }
    for name, cells in printed.items():
        below = rows[names.index(name) + 1]
        assert below[0] == f"{INDENT}published"
        assert below[1:] == cells
    assert names.count(f"{INDENT}published") == 2
    assert TABLE_2["validation 2-viral"].accuracy == 0.85


def test_strata_cover_everybody_and_are_never_nan(diagnosis):
    for name, measured in diagnosis.sets.items():
        if measured.part.derived_from is not None:  # its set has them already
            assert measured.strata == ()
            continue
        table = tables.strata_table(name, measured, "set")
        text = table.text().lower()
        assert " nan" not in text
        assert "none" not in text
        counts = [row[1].split(" / ") for row in table.rows if row[0].startswith(f"{INDENT}centre")]
        assert len(counts) == 4
        assert sum(int(p) + int(n) for p, n in counts) == measured.part.label.size


def test_the_baseline_is_made_on_the_training_set_and_compared(diagnosis):
    assert diagnosis.baseline is not None
    for measured in diagnosis.sets.values():
        apart = measured.performance.auc.value - measured.baseline.auc.value
        assert measured.comparison.difference.value == pytest.approx(apart)
    assert diagnosis.sets["training"].baseline.auc.value > 0.5
    without = study_diagnosis(small(*BY_HAND), Options())
    assert without.baseline is None
    assert tables.baseline_table(without) is None
    assert any("no baseline" in note for note in without.notes)


def test_the_audited_table_holds_the_same_numbers(diagnosis):
    rows = {row[0]: row for row in tables.audited_table(diagnosis).rows}
    for name, measured in diagnosis.sets.items():
        found = measured.performance
        assert rows[name][1:4] == tuple(
            map(str, (found.positive + found.negative, found.positive, found.negative))
        )
        assert rows[name][8] == f"{100 * found.point.sensitivity.value:.2f} %"


def test_sets_of_alike_names_share_no_file():
    names = ["A b", "a-B", "a b 2", "<>", "", "../x", "x" * 300, "x" * 301]
    found = tables.stems(names)
    assert list(found) == names
    assert found["A b"] == "a-b"
    assert len(set(found.values())) == len(names)
    assert all(stem and stem.replace("-", "").isalnum() and len(stem) < 50 for stem in found.values())


def test_a_set_named_like_a_viral_part_is_kept():
    kinds = ("viral", "viral", "fungal")
    people = [patient_of(i, "training", kind) for i, kind in enumerate(kinds)]
    people += [patient_of(i + 3, "training-viral", kind) for i, kind in enumerate((None, "fungal"))]
    people += [patient_of(5, "training", None)]
    found = {p.patient_id: Analysis(0.5, np.zeros(64)) for p in people}
    diagnosis = study_diagnosis(study_sets(people, found, "training"), Options(threshold=0.3))
    assert list(diagnosis.sets) == ["training", "training-viral"]
    assert [p.patient_id for p in diagnosis.sets["training-viral"].part.patients] == ["p3", "p4"]


def patient_of(number, name, kind):
    values = {"label": "other", "type": kind} if kind else {"label": "covid"}
    return Patient(f"p{number}", number + 2, {"set": name} | values)


def test_features_that_are_the_same_for_everybody_cost_their_figure_alone(tmp_path):
    labels = {"a": "covid", "b": "other", "c": "covid"}
    people = tuple(Patient(name, 2, {"label": label}) for name, label in labels.items())
    part = StudySet("all", people, np.array([0.2, 0.4, 0.6]), np.ones((3, 64)), None)
    (section,) = space_section({"all": part}, Shelf(tmp_path))
    assert [part.text for part in section.parts] == [
        "Not drawn: the features of all 3 patients are the same: they span no space."
    ]
