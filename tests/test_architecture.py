"""The import rules of the package, kept by a test."""

import ast
from pathlib import Path
import subprocess
import sys

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "covid19net"

# From the bottom up. A part imports only from the rows below its own.
LAYERS = [
    {"errors", "origin"},
    {"volume", "table", "runs", "stream", "resize"},
    {"io", "gate", "phantom", "preprocess", "lungs", "density", "nets", "cohort", "evaluate"},
    {"features", "quantify"},
    {"prognosis"},
    {"weights"},
    {"engine"},
    {"models", "segment", "diagnose", "explain"},
    {"pipeline", "collections"},
    {"train", "report", "synthetic"},
    {"study", "dicom_results"},
    {"output"},
    {"reproduce", "batch", "service"},
    {"cli"},
]
HEIGHT = {part: row for row, parts in enumerate(LAYERS) for part in parts}

# A heavy or risky library has one home.
HOMES = {
    "torch": {"nets", "weights", "engine", "explain", "train"},
    "openvino": {"engine"},
    "pydicom": {"io", "dicom_results", "service"},
    "highdicom": {"io", "dicom_results"},
    "SimpleITK": {"io"},
    "imagecodecs": {"io"},
    "PIL": {"report"},
    "h5py": {"weights"},
    "lifelines": {"prognosis"},
    "pandas": {"prognosis"},
    "matplotlib": {"io", "report"},
    "jinja2": {"report"},
    "weasyprint": {"report"},
    "typer": {"cli"},
    "rich": {"cli"},
    "platformdirs": {"cli"},
    "fastapi": {"service"},
    "starlette": {"service"},
    "uvicorn": {"service"},
    "prometheus_client": {"service"},
    "pynetdicom": {"service"},
    "dicomweb_client": {"io"},
    "ray": {"batch"},
    "pyarrow": {"batch"},
    "tensorflow": set(),
    "keras": set(),
}


def imports(path: Path) -> set[str]:
    """Absolute dotted names of everything a file imports, at any depth."""
    here = ("covid19net", *path.relative_to(PACKAGE).with_suffix("").parts)
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(here[: -node.level]) if node.level else ""
            stem = ".".join(filter(None, [base, node.module]))
            found |= {f"{stem}.{alias.name}" for alias in node.names}
    return found


FILES = sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path):
    part = path.relative_to(PACKAGE).with_suffix("").parts[0]
    for name in imports(path):
        root, *rest = name.split(".")
        if root == "covid19net" and rest and rest[0] in HEIGHT and rest[0] != part:
            assert HEIGHT[rest[0]] < HEIGHT[part], f"{part} may not import {rest[0]}"
        if root in HOMES:
            assert part in HOMES[root], f"{root} belongs to {HOMES[root]}, not to {part}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_the_command_line_speaks_and_reads_the_environment(path):
    if path.parent.name == "cli":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Name):
            assert node.id != "print", f"print in {path}"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert (node.value.id, node.attr) not in {("sys", "exit"), ("sys", "argv"), ("os", "environ")}


STATISTICS = ["covid19net.cohort", "covid19net.evaluate", "covid19net.prognosis.model"]


@pytest.mark.parametrize("module", ["covid19net", "covid19net.cli", "covid19net.pipeline", *STATISTICS])
def test_importing_does_not_import_heavy_libraries(module):
    heavy = {"torch", "openvino", "SimpleITK", "pydicom", "highdicom", "lifelines", "matplotlib"}
    code = f"import sys, {module}; sys.exit(str({heavy} & set(sys.modules) or '') or None)"
    done = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
