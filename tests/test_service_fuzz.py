"""Damaged files end in a scan or a refusal, at toy size; and what must not be is seen by who counts it."""

import os
from pathlib import Path
import signal
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest
import SimpleITK

SCRIPTS = Path(__file__).parents[1] / "benchmarks" / "service"
sys.path.insert(0, str(SCRIPTS))  # as they find each other when run

import fuzz  # noqa: E402


def test_damaged_files_are_read_or_refused():
    command = [sys.executable, SCRIPTS / "fuzz.py", "--mutations", "60"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    row = [cell.strip() for cell in done.stdout.splitlines()[2].strip("|").split("|")]
    assert row[0] == "60"
    assert int(row[2]) + int(row[3]) == 60 + int(row[1])
    assert row[4:9] == ["0"] * 5


def misbehave(path: str) -> str:
    """Do what the file says."""
    deeds = {
        "crash": lambda: os.kill(os.getpid(), signal.SIGSEGV),
        "hang": lambda: time.sleep(60),
        "raise": lambda: [][0],
        "warn": lambda: warnings.warn("beware", stacklevel=1),
        "write": lambda: Path(path).with_name("more").write_text("x"),
        "elsewhere": lambda: (Path(path).parents[2] / "away").write_text("x"),
        "natively": lambda: SimpleITK.WriteImage(SimpleITK.Image(2, 2, SimpleITK.sitkUInt8), "dropped.mha"),
        "start": lambda: subprocess.run(["true"], check=True),
        "fill": lambda: np.ones(500_000_000, np.uint8).sum(),
    }
    text = Path(path).read_text()
    deeds.get(text, lambda: None)()
    return text if text == "refuse" else ""


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    started = fuzz.Reader(tmp_path_factory.mktemp("fuzz") / "reader", misbehave, hang=5, memory=5e8)
    yield started
    started.end()


@pytest.mark.parametrize(
    ("deed", "kind"),
    [
        ("crash", "signal"), ("hang", "hang"), ("raise", "traceback"), ("warn", "traceback"),
        ("write", "written"), ("elsewhere", "written"), ("natively", "written"), ("start", "written"),
        ("fill", "memory"), ("refuse", "refused"), ("read", "read"),
    ],
)  # fmt: skip
def test_whatever_must_not_be_is_seen(reader, deed, kind):
    """And the next file is read all the same."""
    assert reader.outcome({"a": deed.encode()}).kind == kind
    assert reader.outcome({"a": b"read"}).kind == "read"


def test_the_same_key_gives_the_same_damage():
    ours = fuzz.made()
    one, other = (fuzz.mutation(samples, [], "7/3") for samples in (ours, fuzz.made()))
    assert one == other
    assert len({str(fuzz.mutation(ours, [], f"7/{n}")) for n in range(50)}) > 45
