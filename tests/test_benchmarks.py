"""The benchmarks run, at toy size: one that nobody runs rots."""

import csv
from pathlib import Path
import runpy
import sys

import pytest

from covid19net.cohort import write_table
from covid19net.phantom.centres import plan_cohort
from covid19net.synthetic import Options, make_cohort
from covid19net.train.classify import start_network
from covid19net.weights import tensors_of, write_weights

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def output(capsys, monkeypatch):
    """What a benchmark prints; run in this process, which has loaded the libraries already."""

    def run(name, *arguments):
        monkeypatch.syspath_prepend(BENCHMARKS)  # as for a script
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(BENCHMARKS / name), run_name="__main__")
        return capsys.readouterr().out

    return run


def test_zoom(output):
    assert "largest difference 0.00" in output("bench_zoom.py", "--shape", 20, 30, 40, "--repeats", 1)


def test_engine(output):
    text = output("bench_engine.py", "--widths", "8,8", "--slices", 2, "--repeats", 1)
    assert "slice 8,8 f32" in text
    assert "scan f32, with gradient" in text


def test_modes(output, phantom_dicom):
    assert "| 1 |" in output("compare_modes.py", phantom_dicom)


def test_performance_page(output, phantom_dicom, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- begin measured -->\nearlier\n<!-- end measured -->\nafter\n")
    output("performance.py", "--scan", phantom_dicom, "--runs", 1, "--only", "stages", "--page", page)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("<!-- end measured -->\nafter\n")
    assert "earlier" not in text
    assert "| lungs | " in text


def test_phantoms(output):
    text = output("compare_phantoms.py", "--patients", 2, "--slices", 4)
    assert "| healthy phantoms (1) | COVID-19 phantoms (1) |" in text
    assert "lung HU, percentile 50" in text


def test_training(output):
    assert "| 24 x 60 x 90 | 8 |" in output("bench_train.py", "--recipe", "quick", "--steps", 4)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Eight patients of validation 2, and a set of weights' scores of them."""
    out = tmp_path_factory.mktemp("cohort")
    plans = plan_cohort(0.05, ("validation 2",))
    make_cohort(plans, out, Options(seed=1))
    truth = list(csv.DictReader((out / "truth.csv").read_text().splitlines()))
    rows = [
        {"patient_id": t["patient_id"], "set": "validation 2", "positive": int(t["class"] == "covid"),
         "type": t["class"], "thickness": t["thickness"], "kernel": t["kernel"],
         "probability": 0.3 + 0.05 * float(t["best_score"]) + 0.01 * i}
        for i, t in enumerate(truth)
    ]  # fmt: skip
    words = dict.fromkeys(("name", "licence", "origin", "training_data", "intended_use"), "toy")
    tensors = tensors_of(start_network(None, 0))
    write_weights(out / "set", "diagnosis", tensors, **words, options={"threshold": 0.3})
    write_table(out / "set" / "scores.csv", rows)
    return out


def test_diagnosis(output, cohort):
    text = output(
        "measure_diagnosis.py", cohort / "set", "--truth", cohort / "truth.csv", "--without", cohort / "set"
    )
    assert "| validation 2 | 5 / 3 |" in text  # a twentieth of 92, and of 25, 15 and 29
    assert "within kernel, pooled" in text
    assert "0.00 (" in text  # the difference of a set from itself


def test_heat_maps(output, cohort):
    text = output("measure_heatmaps.py", cohort, "--patients", 5, "--set", "validation 2", "--shuffles", 1)
    assert "| trained | " in text
    assert "| randomised 0 |" in text


@pytest.mark.slow
def test_phantoms_drawn(output, tmp_path):
    output("compare_phantoms.py", "--patients", 2, "--slices", 4, "--figures", tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"phantom-beside-real.png", "phantom-slices.png"}


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--published-decoder"]])
def test_scan(output, options, phantom_dicom):
    text = output("bench_scan.py", phantom_dicom, "--runs", 1, *options)
    assert "a second scan" in text
    assert "lungs" in text


def test_study(output, monkeypatch):
    monkeypatch.setattr("covid19net.report.figures.METADATA", {"svg": {"Date": None}})  # one form of three
    text = output("bench_study.py", "--patients", 200)
    assert "200 patients, everything but the bootstrap:" in text
    assert "discharge, training (resubstitution): concordance" in text


def test_batch_scheduler(output, tmp_path):
    assert "| 300 | nobody |" in output("bench_batch.py", "one", tmp_path, 300, "nobody", 1)
