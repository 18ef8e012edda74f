"""Stored analyses: read back as written, and refused by row and column."""

from dataclasses import replace

import numpy as np
import pytest

from covid19net.cohort import Patient
from covid19net.errors import InputError
from covid19net.features import DENSITY, FEATURES, Analysis, read_features, write_features


def stored(seed):
    rng = np.random.default_rng(seed)
    features = np.array([float(f"{value:.7g}") for value in rng.normal(size=64)])
    return Analysis(0.25, features, 3.5, dict.fromkeys(DENSITY, 1.5), ("metal",), "ab12")


def test_stored_features_are_read_back(tmp_path):
    patients = [Patient("a", 2), Patient("b", 3), Patient("absent", 4)]
    kept = {"a": stored(1), "b": replace(stored(2), distance=None, density={}, findings=(), weights="")}
    found = read_features(write_features(patients, kept, tmp_path / "features.csv"))
    assert list(found) == ["a", "b"]
    for name, analysis in kept.items():
        assert np.array_equal(found[name].features, analysis.features)
        assert found[name].distance == analysis.distance
        assert found[name].density == analysis.density
        assert found[name].findings == analysis.findings
        assert found[name].weights == analysis.weights


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda rows: [rows[0].replace("f07", "g07"), *rows[1:]], "column f07 is missing"),
        (lambda rows: rows[:1], "no rows"),
        (lambda rows: [*rows, rows[1]], "row 3: the patient stands in an earlier row"),
        (
            lambda rows: [rows[0], rows[1].replace("0.25", "soon", 1)],
            "row 2 column probability: not a finite number",
        ),
        (
            lambda rows: [rows[0], rows[1].replace("0.25", "25", 1)],
            "row 2 column probability: 25 does not lie",
        ),
    ],
)
def test_a_bad_table_of_features_is_refused(tmp_path, change, fault):
    path = write_features([Patient("a", 2)], {"a": stored(1)}, tmp_path / "features.csv")
    path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")
    with pytest.raises(InputError, match=fault):
        read_features(path)


def test_there_are_as_many_names_as_features():
    assert len(set(FEATURES)) == 64


def test_a_number_no_network_gives_is_refused(tmp_path):
    huge = replace(stored(1), features=np.full(64, 1e300))
    path = write_features([Patient("a", 2)], {"a": huge}, tmp_path / "f")
    with pytest.raises(InputError, match="row 2 column f00: 1e\\+300 is no feature"):
        read_features(path)
