"""Several manifests as one, with the sources of all beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
import json
import os
from pathlib import Path
from typing import Any

from covid19net.cohort.manifest import DECIMALS, FAULTS_SHOWN, PATHS, Patient, read_manifest, write_table
from covid19net.cohort.sources import read_sidecar, refuse_foreign, sidecar_of
from covid19net.errors import InputError
from covid19net.table import read_cells, write_whole

Row = dict[str, object]
Renames = Mapping[tuple[str, str], str]  # (stem of a manifest, name of a set) -> new name


@dataclass(frozen=True)
class Joined:
    """What was written.

    Attributes:
        manifest: the CSV.
        sidecar: the JSON beside it: a list of sources.
        sets: name of each set -> stem of each manifest -> patients.
    """

    manifest: Path
    sidecar: Path
    sets: Mapping[str, Mapping[str, int]]


def relative(path: Path, base: Path) -> str:
    """A path as a manifest in a folder names it."""
    try:
        return Path(os.path.relpath(path.resolve(), base.resolve())).as_posix()
    except ValueError:  # another drive of Windows
        return str(path.resolve())


def join_manifests(manifests: Sequence[Path], out: Path, renames: Renames | None = None) -> Joined:
    """Write the rows of several manifests into one, and their sources beside it.

    Columns are those of all, also those that no part of the program knows; paths are made relative to the new
    place. Sets of one name become one set.

    Args:
        manifests: with different stems.
        out: the manifest to write; none of those read.
        renames: sets that get another name.

    Raises:
        InputError: faults of a manifest or of the file beside it, a patient or scan in two of them, a set to
            rename that is not there, or a place that cannot be written.
    """
    stems = [path.stem for path in manifests]
    if len(set(stems)) < max(2, len(stems)):
        raise InputError(f"{', '.join(stems) or 'nothing'}: to join takes two manifests or more, named apart")
    if out.resolve() in {path.resolve() for path in manifests}:
        raise InputError(f"{out.name}: is one of the manifests to join; give another name")
    tables = {path.stem: read_manifest(path, needs=["patient_id"], scans=False) for path in manifests}
    _refuse_doubles(tables)
    rows: list[Row] = []
    sources: list[dict[str, Any]] = []
    sets: dict[str, dict[str, int]] = {}
    left = dict(renames or {})
    for path in manifests:
        sources += [facts for facts in read_sidecar(path) if facts not in sources]
        for row in _rows(path, out.parent):
            old = str(row.get("set", ""))
            row["set"] = (renames or {}).get((path.stem, old), old)
            left.pop((path.stem, old), None)
            counts = sets.setdefault(str(row["set"]), {})
            counts[path.stem] = counts.get(path.stem, 0) + 1
            rows.append(row)
    if left:
        absent = ", ".join(f"{stem}:{name}" for stem, name in left)
        raise InputError(f"no row is of the set to rename: {absent}")
    columns = dict.fromkeys(name for row in rows for name in row)
    refuse_foreign(out)  # the source file first: a manifest without one is somebody else's
    sidecar = write_whole(sidecar_of(out), json.dumps(sources, indent=2) + "\n")
    write_table(out, [{name: row.get(name) for name in columns} for row in rows])
    return Joined(out, sidecar, sets)


def _rows(path: Path, base: Path) -> list[Row]:
    """Rows of a manifest as text, its paths as a manifest in another folder names them."""
    cells, comma = read_cells(path)
    header = [name.strip().lower() for name in cells[0]]
    rows: list[Row] = []
    for line in cells[1:]:
        if any(cell.strip() for cell in line):
            row = {name: cell.strip() for name, cell in zip(header, line, strict=False) if name}
            rows.append({name: _moved(name, cell, path, base, comma=comma) for name, cell in row.items()})
    return rows


def _moved(name: str, cell: str, path: Path, base: Path, *, comma: bool) -> str:
    if name in PATHS and cell:
        return relative(path.parent / cell, base)
    return cell.replace(",", ".") if comma and name in DECIMALS else cell


def _refuse_doubles(tables: Mapping[str, Sequence[Patient]]) -> None:
    """One patient or scan in two manifests would stand on both sides of a split."""
    holders: dict[tuple[str, str], str] = {}
    faults = []
    for stem, patients in tables.items():
        for patient in patients:
            keys = [("patient_id", patient.patient_id)]
            if "scan" in patient.values:
                keys.append(("scan", str(Path(str(patient.values["scan"])).resolve())))
            for kind, value in keys:
                first = holders.setdefault((kind, value), stem)
                if first != stem:
                    shown = f" {value}" if kind == "patient_id" else f" of row {patient.row} of {stem}"
                    faults.append(f"{kind}{shown} stands in {first} and {stem}")
    if faults:
        more = f"; and {len(faults) - FAULTS_SHOWN} more" if len(faults) > FAULTS_SHOWN else ""
        raise InputError(f"cannot be joined: {'; '.join(faults[:FAULTS_SHOWN])}{more}")
