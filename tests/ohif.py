"""The viewer OHIF in a browser, before a PACS: what it holds of a study's images, masks and maps."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
import json
from pathlib import Path
import subprocess
import tarfile
from typing import Any
from urllib.parse import urlparse

import numpy as np
import pytest

from tests.pacs import Pacs

PACKAGE = "@ohif/app@3.12.10"  # as its makers publish it, on npm; 48 MB
SECONDS = 90_000  # milliseconds a slow machine may take
TYPES = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".html": "text/html",
    ".wasm": "application/wasm",
    ".svg": "image/svg+xml",
    ".json": "application/json",
}
ALONE = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}
ROOT = "/dicom-web"
SOURCE = {
    "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
    "sourceName": "pacs",
    "configuration": {
        "name": "pacs",
        "wadoUriRoot": ROOT,
        "qidoRoot": ROOT,
        "wadoRoot": ROOT,
        "imageRendering": "wadors",
        "thumbnailRendering": "wadors",
        "enableStudyLazyLoad": True,
        "bulkDataURI": {"enabled": True, "relativeResolution": "studies"},
        "omitQuotationForMultipartRequest": True,
    },
}
SETTINGS = {
    "routerBasename": "/",
    "showStudyList": False,
    "extensions": [],
    "modes": [],
    "customizationService": {},
    "showWarningMessageForCrossOrigin": False,
    "showCPUFallbackMessage": False,
    "maxNumberOfWebWorkers": 1,
    "investigationalUseDialog": {"option": "never"},
    "defaultDataSourceName": "pacs",
    "dataSources": [SOURCE],
}
# Of its cornerstone: each volume with its values, and of each labelmap the values beside those of the slice;
# nothing of what is still being loaded.
HELD = """() => {
  const {cache} = window.cornerstone, {segmentation} = window.cornerstoneTools;
  const values = (image) => Array.from(image.voxelManager.getScalarData());
  const label = (id) => {
    const image = cache.getImage(id), slice = image && cache.getImage(image.referencedImageId);
    return slice ? [{label: values(image), ct: Array.from(slice.getPixelData())}] : [];
  };
  return {
    volumes: cache.getVolumes().filter((each) => each?.loadStatus?.loaded).map((each) => (
      {name: each.volumeId, values: Array.from(each.voxelManager.getCompleteScalarDataArray())})),
    labels: segmentation.state.getSegmentations().flatMap(
      (each) => (each.representationData.Labelmap.imageIds ?? []).flatMap(label)),
    names: segmentation.state.getSegmentations().flatMap(
      (each) => Object.values(each.segments).map(({segmentIndex, label}) => [segmentIndex, label])),
  };
}"""


def fetched(folder: Path) -> Path:
    """The viewer's pages, fetched from npm."""
    done = subprocess.run(["npm", "pack", PACKAGE], cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (archive,) = folder.glob("*.tgz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return folder / "package" / "dist"


@dataclass
class Viewer:
    """One study in the viewer."""

    page: Any

    def open(self, series: str) -> None:
        """Open a series of results by its description."""
        self.page.get_by_text(series).first.dblclick(timeout=SECONDS)

    def volume(self, kind: str) -> np.ndarray:
        """The values of the volume whose name begins so, once it is there and loaded."""
        for _ in range(SECONDS // 500):
            for each in self.page.evaluate(HELD)["volumes"]:
                if each["name"].startswith(kind):
                    return np.array(each["values"])
            self.page.wait_for_timeout(500)
        pytest.fail(f"no {kind} in the viewer")

    def labels(self, count: int) -> tuple[list[list[object]], list[tuple[np.ndarray, np.ndarray]]]:
        """Number and name of each segment, and for each of so many slices its segments and HU."""
        self.page.get_by_role("button", name="Yes", exact=True).click(timeout=SECONDS)  # load it?
        for _ in range(SECONDS // 500):
            held = self.page.evaluate(HELD)
            if len(held["labels"]) == count:
                return held["names"], [(np.array(e["label"]), np.array(e["ct"])) for e in held["labels"]]
            self.page.wait_for_timeout(500)
        pytest.fail("no such segmentation in the viewer")


@contextmanager
def viewer(browser: Any, pages: Path, pacs: Pacs, study: str) -> Iterator[Viewer]:
    """The viewer with a study of the PACS; its pages come from the folder, under the address of the PACS."""

    def answer(route: Any) -> None:
        path = urlparse(route.request.url).path
        if path.startswith(ROOT):
            route.continue_()
        elif path == "/app-config.js":
            route.fulfill(body=f"window.config = {json.dumps(SETTINGS)};", content_type=TYPES[".js"])
        else:
            file = pages / path.lstrip("/")
            file = file if file.is_file() else pages / "index.html"
            kind = TYPES.get(file.suffix, "application/octet-stream")
            route.fulfill(body=file.read_bytes(), content_type=kind, headers=ALONE)

    context = browser.new_context(viewport={"width": 1500, "height": 900})
    try:
        context.route("**/*", answer)
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{pacs.http}/viewer?StudyInstanceUIDs={study}", timeout=SECONDS)
        page.get_by_text("Skip all").click(timeout=SECONDS)  # its tour
        yield Viewer(page)
    finally:
        context.close()
