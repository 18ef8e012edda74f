"""What several test files share: a phantom patient, its files, and one analysis of it."""

from collections.abc import Iterator
import os
from pathlib import Path
import subprocess
from typing import Any

import numpy as np
import pytest

from covid19net.models import Models, load_models
from covid19net.phantom import PhantomCase, Scanner, draw_patient, scan_patient
from covid19net.pipeline import CaseResult, analyze
from covid19net.volume import Scan
from tests.chromium import chromium


@pytest.fixture(scope="session")
def phantom() -> PhantomCase:
    """A patient with COVID-19-like lesions on a coarse grid, so that a whole analysis takes seconds."""
    rng = np.random.default_rng(7)
    patient = draw_patient(rng, disease="covid")
    return scan_patient(patient, Scanner(spacing=8.0, thickness=8.0, matrix=160), rng)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="session")
def phantom_dicom(phantom: PhantomCase, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The phantom as a DICOM folder."""
    from covid19net.io import write_dicom_series

    folder = tmp_path_factory.mktemp("phantom") / "dicom"
    write_dicom_series(phantom.volume, folder)
    return folder


@pytest.fixture(scope="session")
def models() -> Models:
    """The bundled networks on the CPU."""
    return load_models(device="cpu")


@pytest.fixture(scope="session")
def case(phantom: PhantomCase, models: Models) -> CaseResult:
    """One analysis of the phantom."""
    return analyze(Scan(phantom.volume), models)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 MB."""
    if os.geteuid():
        pytest.skip("mounting needs root")
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)]).returncode:
        pytest.skip("mounting is not allowed here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
