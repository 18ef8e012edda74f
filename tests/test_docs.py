"""Every Python block of README.md and docs/ runs as it is printed."""

from pathlib import Path
import re

import pytest

ROOT = Path(__file__).parents[1]
BLOCKS = [
    pytest.param(block, id=f"{page.relative_to(ROOT)}-{i}")
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    for i, block in enumerate(re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S))
]


@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_runs(block, phantom_dicom, tmp_path, monkeypatch):
    (tmp_path / "scan").symlink_to(phantom_dicom)  # what the examples call their scan
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "block", "exec"), {})


def test_links_between_pages_lead_somewhere():
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} points to {target}"
