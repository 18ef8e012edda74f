"""Sets of a study: who belongs to each, in which order, and which part is the paper's "2-viral"."""

from dataclasses import replace

import numpy as np
import pytest

from covid19net.cohort import Patient
from covid19net.errors import InputError
from covid19net.features import DENSITY, Analysis
from covid19net.study.results import Material
from covid19net.study.sets import study_sets
from tests.study_cohort import SIZES, cohort, sets_of


def patient(number, **values):
    return Patient(f"p{number}", number + 2, values)


def analysis(number, **more):
    return Analysis(number / 10, np.full(64, float(number)), **more)


def divided(people, training="training"):
    return study_sets(people, {p.patient_id: analysis(i) for i, p in enumerate(people)}, training)


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    return sets_of(tmp_path_factory.mktemp("sets"), *cohort())


def test_the_training_set_comes_first_and_everybody_is_somewhere_once(sets):
    assert list(sets) == ["training", "validation 1", "validation 3"]
    assert {name: len(part.patients) for name, part in sets.items()} == SIZES
    everybody = [p.patient_id for part in sets.values() for p in part.patients]
    assert len(set(everybody)) == 280


def test_every_patient_keeps_what_was_said_of_him(sets):
    _, found = cohort()
    for part in sets.values():
        for i, one in enumerate(part.patients):
            said = found[one.patient_id]
            assert part.probability[i] == said.probability
            assert np.array_equal(part.features[i], said.features)
            assert part.density[i].tolist() == list(said.density.values())


def test_who_has_no_analysis_is_in_no_set():
    people = [patient(0, set="training"), patient(1, set="training"), patient(2, set="b")]
    sets = study_sets(people, {"p1": analysis(1)}, "training")
    assert [p.patient_id for p in sets["training"].patients] == ["p1"]
    assert list(sets) == ["training"]


def test_a_manifest_without_sets_is_one_set():
    assert list(divided([patient(0), patient(1)], "all")) == ["all"]


def test_an_unknown_training_set_is_refused_with_the_names_there_are():
    with pytest.raises(InputError, match=r"'training'.*there are 'a', 'b'"):
        divided([patient(0, set="a"), patient(1, set="b")])


def test_density_needs_every_patient_of_the_set():
    people = [patient(0, set="training"), patient(1, set="training"), patient(2, set="b")]
    full = dict.fromkeys(DENSITY, 1.0)
    found = {"p0": analysis(0, density=full), "p1": analysis(1), "p2": analysis(2, density=full)}
    sets = study_sets(people, found, "training")
    assert sets["training"].density is None
    assert sets["b"].density.tolist() == [[1.0] * 9]


def test_the_viral_part_is_all_covid_and_the_viral_pneumonias():
    """The paper's "2-viral": 92 with COVID-19 as in validation 2, and 29 of its 69 others, the viral ones."""
    people = [patient(i, set="training", label="covid", type="viral") for i in range(3)]
    people += [patient(i, set="training", label="other", type="viral") for i in range(3, 5)]
    people += [patient(5, set="training", label="other", type="bacterial")]
    people += [patient(6, set="training", label="other"), patient(7, set="training", type="viral")]
    viral = divided(people)["training"].viral()
    assert viral.name == "training-viral"
    assert [p.patient_id for p in viral.patients] == ["p0", "p1", "p2", "p3", "p4"]
    assert viral.label.tolist() == [True] * 3 + [False] * 2
    assert viral.probability.tolist() == [0.0, 0.1, 0.2, 0.3, 0.4]


@pytest.mark.parametrize("kinds", [("viral", "viral"), ("bacterial", "fungal"), (None, None)])
def test_there_is_no_viral_part_where_it_is_no_choice(kinds):
    others = [{"type": kind} if kind else {} for kind in kinds]
    people = [patient(0, set="training", label="covid")]
    people += [patient(i, set="training", label="other", **kind) for i, kind in enumerate(others, 1)]
    assert divided(people)["training"].viral() is None


def test_a_set_without_covid_has_no_viral_part():
    people = [patient(i, set="training", label="other", type=t) for i, t in enumerate(("viral", "fungal"))]
    assert divided(people)["training"].viral() is None


def test_the_prognosis_takes_covid_or_no_label_followed_for_more_than_five_days():
    """More than five days is the paper's rule; five are not more."""
    seen = {"set": "training", "discharged": True}
    people = [
        patient(0, label="covid", days=5.1, **seen),
        patient(1, label="covid", days=5.0, **seen),
        patient(2, days=9.0, **seen),
        patient(3, label="other", days=9.0, **seen),
        patient(4, label="covid", set="training", days=9.0),
        patient(5, label="covid", **seen),
    ]
    assert [p.patient_id for p in divided(people)["training"].followed().patients] == ["p0", "p2"]


def test_features_of_different_weights_make_no_study():
    people = [patient(0), patient(1)]
    one = {"p0": analysis(0, weights="a" * 64), "p1": analysis(1, weights="a" * 64)}
    assert Material(people, one).weights_sha256 == "a" * 64
    with pytest.raises(InputError, match="2 different weights"):
        _ = Material(people, one | {"p1": analysis(1, weights="b" * 64)}).weights_sha256
    with pytest.raises(InputError, match="different weights"):
        _ = Material(people, one | {"p1": analysis(1)}).weights_sha256
    assert Material(people, {"p0": analysis(0)}).weights_sha256 == ""


def test_one_synthetic_patient_makes_a_demonstration():
    people = [patient(0, synthetic=False), patient(1)]
    material = Material(people, {"p0": analysis(0)})
    assert not material.demonstration
    assert replace(material, patients=[*people, patient(2, synthetic=True)]).demonstration
