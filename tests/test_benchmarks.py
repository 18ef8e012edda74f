"""The benchmarks run, at toy size: one that nobody runs rots."""

from pathlib import Path
import subprocess
import sys

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def output(name, *arguments):
    done = subprocess.run(
        [sys.executable, BENCHMARKS / name, *map(str, arguments)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_zoom():
    assert "largest difference 0.00" in output("bench_zoom.py", "--shape", 20, 30, 40, "--repeats", 1)


def test_engine():
    text = output("bench_engine.py", "--widths", "8,8", "--slices", 2, "--repeats", 1)
    assert "slice 8,8 f32" in text
    assert "scan f32, with gradient" in text


def test_modes(phantom_dicom):
    assert "| 1 |" in output("compare_modes.py", phantom_dicom)


def test_phantoms():
    text = output("compare_phantoms.py", "--patients", 2, "--slices", 4)
    assert "| healthy phantoms (1) | COVID-19 phantoms (1) |" in text
    assert "lung HU, percentile 50" in text


@pytest.mark.slow
def test_phantoms_drawn(tmp_path):
    output("compare_phantoms.py", "--patients", 2, "--slices", 4, "--figures", tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"phantom-beside-real.png", "phantom-slices.png"}


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--published-decoder"]])
def test_scan(options, phantom_dicom):
    text = output("bench_scan.py", phantom_dicom, "--runs", 1, *options)
    assert "a second scan" in text
    assert "lungs" in text
