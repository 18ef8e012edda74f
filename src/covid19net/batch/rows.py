"""What the table of a batch says of a scan, and the table: CSV always, Parquet where pyarrow is there.

Nothing in a row depends on when, where or by how many workers it was made.
"""

from array import array
from collections.abc import Iterator, Mapping
from contextlib import suppress
import csv
import io
import json
from pathlib import Path
import re
from tempfile import TemporaryFile
from types import TracebackType
from typing import Any, BinaryIO

from covid19net.batch.cases import Case
from covid19net.batch.store import Row
from covid19net.errors import Covid19netError
from covid19net.features import FEATURES
from covid19net.io.files import write_fault, write_whole
from covid19net.pipeline import CaseResult
from covid19net.table import harmless

TEXT = (
    "patient_id",
    "scan_id",
    "case",
    "status",
    "reason",
    "call",
    "findings",
    "group",
    "weights",
    "scan_sha256",
)
COLUMNS = (
    "patient_id", "scan_id", "case", "status", "exit_code", "reason", "probability", "call", "threshold",
    "distance", "findings", "lungs_ml", "right_ml", "left_ml", "mean_hu", "ground_glass", "consolidation",
    "risk", "group", "expected_days", "weights", "scan_sha256", *FEATURES,
)  # fmt: skip
TOGETHER = 2_000  # rows of Parquet in one group
_NUMBER = re.compile(r"\d+([.,]\d+)*")


def done_row(case: Case, result: CaseResult) -> Row:
    """The row of a scan that was analyzed."""
    both = result.quantification.regions["both"]
    right, left = result.lung_millilitres if result.sides_known else (None, None)
    distance, prognosis = result.feature_distance, result.prognosis
    row = _named(case) | {
        "status": "done",
        "exit_code": 0,
        "probability": float(f"{result.probability:.9g}"),
        "call": result.decision.call,
        "threshold": result.decision.threshold,
        "distance": distance and float(f"{distance.value:.6g}"),
        "findings": " ".join(dict.fromkeys(f.code for f in result.findings)),
        "lungs_ml": round(both.millilitres, 1),
        "right_ml": right and round(right, 1),
        "left_ml": left and round(left, 1),
        "mean_hu": round(both.mean_hu, 1),
        "ground_glass": round(both.ground_glass, 4),
        "consolidation": round(both.consolidation, 4),
        "scan_sha256": result.scan.headers.get("scan_sha256"),
    }
    weights = result.provenance["weights"]
    row["weights"] = weights["diagnosis"]["sha256"] if isinstance(weights, dict) else None
    if prognosis:
        row |= {
            "risk": float(f"{prognosis.risk:.9g}"),
            "group": prognosis.group,
            "expected_days": prognosis.curve.median,
        }
    row |= {name: float(f"{v:.7g}") for name, v in zip(FEATURES, result.features.tolist(), strict=True)}
    return row


def failed_row(case: Case, fault: Covid19netError, reason: str) -> Row:
    """The row of a scan that could not be analyzed."""
    return _named(case) | {"status": "failed", "exit_code": fault.exit_code, "reason": reason}


def _named(case: Case) -> dict[str, Any]:
    return {"patient_id": case.patient_id, "scan_id": case.scan_id, "case": case.name}


def kind_of(reason: str) -> str:
    """A reason without its numbers, so that failures of one kind are counted together."""
    return _NUMBER.sub("#", reason)


class Spool:
    """Rows in the order they come, on the disk; in memory eight bytes a row say where each lies.

    Args:
        folder: for the unnamed file.
        count: of rows, at most.

    Raises:
        InputError: the file cannot be made.
    """

    def __init__(self, folder: Path, count: int) -> None:
        self._folder = folder
        try:
            self._file: BinaryIO = TemporaryFile(dir=folder)  # noqa: SIM115 - as long as the spool
        except OSError as error:
            raise write_fault(folder, error) from error
        self._starts = array("q", [-1]) * count

    def __enter__(self) -> "Spool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # on a full disk, which was told; nobody needs the file any more
            self._file.close()

    def add(self, place: int, row: Row) -> None:
        """Keep the row of the case at a place of the manifest.

        Raises:
            InputError: it cannot be written.
            ResourceError: the disk is full.
        """
        try:
            self._starts[place] = self._file.seek(0, io.SEEK_END)
            self._file.write(json.dumps(row).encode() + b"\n")
        except OSError as error:
            raise write_fault(self._folder, error) from error

    def rows(self) -> Iterator[Mapping[str, Any]]:
        """The rows in the order of the manifest."""
        for start in self._starts:
            if start >= 0:
                self._file.seek(start)
                yield json.loads(self._file.readline())


def write_csv(spool: Spool, path: Path) -> Path:
    """Write the table as CSV, whole or not at all.

    Raises:
        InputError: it cannot be written.
        ResourceError: the disk is full.
    """

    def write(part: Path) -> None:
        with part.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            for row in spool.rows():
                writer.writerow([_cell(row.get(name)) for name in COLUMNS])

    write_whole(path, write)
    return path


def _cell(value: object) -> object:
    return harmless(value) if isinstance(value, str) else value


def write_parquet(spool: Spool, path: Path) -> Path | None:
    """Write the table as Parquet, whole or not at all; None where pyarrow is not installed.

    Raises:
        InputError: it cannot be written.
        ResourceError: the disk is full.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        return None
    types = dict.fromkeys(TEXT, pyarrow.string()) | {"exit_code": pyarrow.int8()}
    schema = pyarrow.schema([(name, types.get(name, pyarrow.float64())) for name in COLUMNS])

    def write(part: Path) -> None:
        with parquet.ParquetWriter(part, schema, compression="zstd") as writer:
            group: list[Mapping[str, Any]] = []
            for row in spool.rows():
                group.append(row)
                if len(group) == TOGETHER:
                    writer.write_table(pyarrow.Table.from_pylist(group, schema))
                    group = []
            if group:
                writer.write_table(pyarrow.Table.from_pylist(group, schema))

    write_whole(path, write)
    return path
