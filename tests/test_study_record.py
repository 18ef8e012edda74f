"""Results as plain values: everything arrives, and what is not finite is refused."""

from dataclasses import dataclass
from enum import Enum
import json
from pathlib import Path

import numpy as np
import pytest

from covid19net.cohort import Patient
from covid19net.evaluate import OperatingPoint
from covid19net.study.record import plain
from covid19net.study.sets import Options, StudySet


class Colour(Enum):
    RED = "red"


@dataclass
class Inner:
    values: np.ndarray
    name: str | None = None


def test_numbers_keep_their_kind():
    given = (True, np.bool_(False), 3, np.int8(-4), 0.5, np.float32(0.25), None, "text")
    found = plain(given)
    assert found == [True, False, 3, -4, 0.5, 0.25, None, "text"]
    assert [type(value) for value in found] == [bool, bool, int, int, float, float, type(None), str]


def test_numbers_have_nine_digits():
    assert plain(1 / 3) == 0.333333333
    assert plain(123456789.123) == 123456789.0
    assert plain(1.23456789012e-20) == 1.23456789e-20


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -np.inf, np.float32("nan")])
def test_what_is_not_finite_is_no_result(bad):
    for value in (bad, np.array([1.0, bad]), {"a": [bad]}, Inner(np.array([bad]))):
        with pytest.raises(ValueError, match="is no result"):
            plain(value)


def test_arrays_objects_mappings_and_paths():
    given = {
        "a": np.arange(4).reshape(2, 2),
        5: Inner(np.array([0.5]), "n"),
        "p": Path("x/y"),
        "e": Colour.RED,
    }
    assert plain(given) == {
        "a": [[0, 1], [2, 3]],
        "5": {"values": [0.5], "name": "n"},
        "p": "x/y",
        "e": "Colour.RED",
    }


def test_options_arrive_whole():
    found = plain(Options(threshold=0.25, draws=7))
    assert found["threshold"] == 0.25
    assert found["procedure"]["criterion"] == "aic"
    assert found["end_points"] == ["death", "icu", "ventilation"]
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_set_is_its_name_and_its_ids_and_nothing_else_of_a_patient():
    people = tuple(Patient(f"p{i}", i, {"age": 70.0, "centre": "secret"}) for i in range(2))
    part = StudySet("training", people, np.array([0.1, 0.2]), np.zeros((2, 64)), None)
    assert plain(part) == {"name": "training", "patients": ["p0", "p1"]}


def test_what_is_no_result_is_refused_by_kind():
    with pytest.raises(TypeError, match="object is no result"):
        plain({"a": object()})
    with pytest.raises(TypeError, match="type is no result"):
        plain(OperatingPoint)
