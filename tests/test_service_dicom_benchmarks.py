"""The scripts that load and kill the DICOM node run, at toy size: a script that nobody runs rots."""

import os
from pathlib import Path
import subprocess
import sys

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks" / "service"


@pytest.mark.parametrize(
    ("script", "options", "words"),
    [
        (
            "dicom_flood.py",
            ("--closed", 30, "--parallel", 18, "--half-open", 5, "--malformed", 6),
            "16 x accepted, 2 x 00 02 03 02",  # PS3.8 table 9-21: transient, presentation, local limit
        ),
        ("stored.py", ("--kills", 3), "3 of 3 slices on the disk, whole"),
        ("downstream.py", ("--seconds", 0.5, "--first-pause", 0.2), "each once, with its own UID: yes"),
    ],
)
def test_script(script: str, options: tuple[object, ...], words: str):
    done = subprocess.run(
        [sys.executable, FOLDER / script, *map(str, options)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(FOLDER.parents[1] / "src")},
    )
    assert done.returncode == 0, done.stderr
    assert words in done.stdout
