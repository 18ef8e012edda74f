"""OHIF shows mask and map on the voxels they belong to, whatever the axes of the series.

What the viewer's own cornerstone holds of mask and map is compared, voxel by voxel, with what it holds of the
CT: both are made from the HU (see dicom_turned). Needs npm's registry, Chromium and Orthanc, so it is
not part of `make test`: `make test-viewer`.
"""

from pathlib import Path
import shutil
from typing import Any

import numpy as np
import pytest

from covid19net.io import choose
from tests.chromium import CHROMIUM
from tests.dicom_cases import SEG
from tests.dicom_turned import HU, OFF_CENTRE, heat_of, mask_of, turned, written
from tests.ohif import fetched, viewer
from tests.pacs import orthanc

pytestmark = [
    pytest.mark.network,
    pytest.mark.skipif(not (CHROMIUM.exists() and shutil.which("npm")), reason="no Chromium or no npm"),
]
TURNS = [
    ((0, 1, 2), (False, False, False)),
    ((0, 1, 2), (True, False, False)),
    ((0, 1, 2), (False, True, False)),  # a negative column cosine
    ((0, 1, 2), (False, False, True)),
    ((0, 1, 2), (True, True, True)),
    ((0, 2, 1), (True, False, True)),
    ((1, 0, 2), (False, False, False)),
    ((2, 0, 1), (False, True, False)),
]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fetched(tmp_path_factory.mktemp("ohif"))


@pytest.mark.parametrize(("order", "flips"), TURNS, ids=str)
def test_mask_and_map_lie_on_their_voxels(
    tmp_path: Path, browser: Any, pages: Path, monkeypatch, order, flips
):
    monkeypatch.setattr(choose, "AXIAL", 0.0)  # else sagittal and coronal series are refused
    lie_on_their_voxels(tmp_path, browser, pages, *turned(order, flips))


def test_they_do_in_a_tilted_series(tmp_path: Path, browser: Any, pages: Path):
    place = OFF_CENTRE.copy()
    place[:3, 0] += 2 * place[:3, 1]  # two pixels a slice
    lie_on_their_voxels(tmp_path, browser, pages, HU, place)


def lie_on_their_voxels(tmp_path: Path, browser: Any, pages: Path, hu: np.ndarray, place: np.ndarray) -> None:
    found, sources = written(tmp_path, hu, place)
    (tmp_path / "pacs").mkdir()
    with orthanc(tmp_path / "pacs") as pacs:
        pacs.add(tmp_path / "ct")
        pacs.add(tmp_path / "dicom")
        with viewer(browser, pages, pacs, found[SEG].StudyInstanceUID) as shown:
            shown.open("Suspicious areas")
            percent = shown.volume("pmap")
            assert (np.rint(percent) == heat_of(shown.volume("cornerstoneStreamingImageVolume"))).all()
        with viewer(browser, pages, pacs, found[SEG].StudyInstanceUID) as shown:
            shown.open("Lungs;")
            names, slices = shown.labels(len(sources))
            assert names == [[1, "Right lung"], [2, "Left lung"]]
            label, stored = (np.concatenate(each) for each in zip(*slices, strict=True))
            assert (label == mask_of(stored)).all()
            assert set(label) == {0, 1, 2}
