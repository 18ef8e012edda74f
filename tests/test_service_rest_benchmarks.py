"""The scripts that load and attack the API run, at toy size; and what they must reach is reached there."""

from pathlib import Path
import re
import subprocess
import sys

import pytest

SCRIPTS = Path(__file__).parents[1] / "benchmarks" / "service"


def run(name: str, *options: object) -> str:
    command = [sys.executable, str(SCRIPTS / name), *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_uploads():
    told = run("uploads.py", "--clients", 3, "--times", 2, "--slices", 2)
    assert "of the same study 1; own 3" in told
    assert "failures 0" in told


def test_bodies():
    told = run("bodies.py", "--limit", 5)
    assert re.findall(r"HTTP/1.1 (\d+)", told) == ["413", "413", "413", "400", "413", "400"]
    assert "left on the disk: 0" in told


def test_queue_flood():
    told = run("queue_flood.py", "--jobs", 8, "--limit", 4, "--clients", 2)
    assert "{202: 4, 429: 4}" in told
    assert "4 of 4 accepted jobs hold what was sent" in told


@pytest.mark.slow
def test_slow_clients():
    told = run("slow_clients.py", "--connections", 10, "--every", 5)
    assert "10 of 10 dropped" in told
