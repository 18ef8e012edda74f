"""The commands that make synthetic patients and train: one call each, one line for a fault."""

import json
import sys

import numpy as np
import pytest

from covid19net.cli import main
from covid19net.cli.train import say_sources, typed_command
from covid19net.errors import WeightsError
from covid19net.train.recipes import RECIPES, find_recipe
from covid19net.weights import write_weights


def run(capsys, *arguments):
    """Exit code, output, errors of a command."""
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return stop.value.code, out, err


def test_one_synthetic_patient(capsys, tmp_path):
    code, out, _ = run(capsys, "phantom", "case", "-o", tmp_path / "one", "--kind", "wild", "--grid", "lungs")
    assert code == 0
    assert "no real person" in out
    assert {p.name for p in (tmp_path / "one").iterdir()} == {
        "ct.nii.gz", "lungs.nii.gz", "lobes.nii.gz", "lesions.nii.gz", "truth.json",
    }  # fmt: skip


def test_a_folder_with_something_else_in_it_is_left_alone(capsys, tmp_path):
    (tmp_path / "thesis.txt").write_text("years")
    code, _, err = run(capsys, "phantom", "case", "-o", tmp_path, "--grid", "lungs")
    assert code == 2
    assert "left alone" in err
    assert (tmp_path / "thesis.txt").read_text() == "years"


def test_a_cohort_of_one(capsys, tmp_path):
    arguments = ("--scale", "0.001", "--set", "validation 3", "--workers", "1")
    code, out, _ = run(capsys, "phantom", "cohort", "-o", tmp_path / "few", *arguments)
    assert code == 0
    assert "1 synthetic patients (no real person)" in out
    assert len((tmp_path / "few" / "manifest.csv").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    "wrong", [("--seed", "-1"), ("--scale", "0"), ("--set", "validation 9"), ("--kind", "flu")]
)
def test_what_is_no_cohort_is_told_in_one_line(capsys, tmp_path, wrong):
    command = "case" if wrong[0] == "--kind" else "cohort"
    code, out, err = run(capsys, "phantom", command, "-o", tmp_path / "x", *wrong)
    assert code == 2
    assert not out
    assert "Traceback" not in err
    assert not (tmp_path / "x").exists()


def test_a_recipe_can_be_printed_changed_and_used(capsys, tmp_path):
    code, out, _ = run(capsys, "train", "recipe", "coarse")
    assert code == 0
    (tmp_path / "mine.json").write_text(out)
    assert find_recipe(str(tmp_path / "mine.json")) == RECIPES["coarse"]
    assert json.loads(out)[0]["schedule"]["steps"] == 800


@pytest.mark.parametrize("task", ["auxiliary", "diagnosis", "lungs"])
def test_a_manifest_with_faults_is_refused_before_anything_is_written(capsys, tmp_path, task):
    (tmp_path / "m.csv").write_text("patient_id,scan,lungs,label,egfr\np1,nowhere,,flu,x\n")
    code, out, err = run(capsys, "train", task, tmp_path / "m.csv", "-o", tmp_path / "out", "--device", "cpu")
    assert code == 2
    assert not out
    assert len(err.splitlines()) == 1
    for fault in (
        "row 2 column scan",
        "row 2 column lungs",
        "row 2 column label: 'flu'",
        "row 2 column egfr",
    ):
        assert fault in err
    assert not (tmp_path / "out").exists()


def test_the_command_on_the_card_names_no_folder(monkeypatch):
    words = ["train", "diagnosis", "/home/me/m.csv", "--out=/data/x", "--origin", "Clinic A/B of C",
             "--licence", "https://example.org/by/4.0/"]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["covid19net", *words])
    assert typed_command() == (
        "covid19net train diagnosis m.csv --out=x --origin 'Clinic A/B of C' --licence https://example.org/by/4.0/"
    )


def test_the_end_of_a_training_names_sources_and_what_binds(capsys, tmp_path):
    about = dict.fromkeys(("name", "origin", "training_data", "intended_use"), "toy")
    sources = [
        {"collection": "a", "title": "A", "licence": "CC BY-NC 4.0", "role": "learned from"},
        {"collection": "b", "title": "B", "licence": "CC BY-NC 3.0", "role": "measured on"},
    ]
    tensors = {"head.predict.bias": np.zeros(1, np.float32)}
    weights = write_weights(tmp_path, "diagnosis", tensors, **about, licence="CC0-1.0", sources=sources)
    say_sources(weights)
    assert capsys.readouterr().out.splitlines() == [
        "learned from: A (CC BY-NC 4.0)",
        "measured on: B (CC BY-NC 3.0)",
        "warning: non-commercial licence of a: CC BY-NC 4.0",
        "licence of the weights: CC0-1.0",
    ]
    code, out, _ = run(capsys, "weights", "card", f"{tmp_path}/")
    assert code == 0
    assert '"role": "measured on"' in out
    with pytest.raises(WeightsError, match="sources: 'licence' of a source is missing"):
        write_weights(tmp_path, "diagnosis", tensors, **about, licence="x", sources=[{"collection": "a",
                      "title": ""}])  # fmt: skip
