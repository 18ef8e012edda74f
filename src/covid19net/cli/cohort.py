"""Commands on tables of patients."""

from pathlib import Path
from typing import Annotated

import typer

from covid19net.cli.terminal import say

cohort_app = typer.Typer(no_args_is_help=True, help="Tables of patients.")

ManifestArgument = Annotated[Path, typer.Argument(help="CSV with one row a patient.")]


@cohort_app.command("check")
def cohort_check(
    manifest: ManifestArgument,
    needs: Annotated[list[str] | None, typer.Option(help="Column that every row must fill.")] = None,
) -> None:
    """Name every fault of a manifest by row and column, all at once."""
    from collections import Counter

    from covid19net.cohort import read_manifest, unknown_columns

    patients = read_manifest(manifest, needs=needs or ["scan"])
    say(f"{len(patients)} patients, no fault")
    if unknown := unknown_columns(manifest):
        say(f"columns not known, left alone: {', '.join(unknown)}")
    for column in ("set", "centre", "label", "egfr"):
        counts = Counter(str(p.values[column]) for p in patients if column in p.values)
        if counts:
            say(f"{column}: {', '.join(f'{name} {n}' for name, n in sorted(counts.items()))}")


@cohort_app.command("table1")
def cohort_table1(
    manifest: ManifestArgument,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for table-1.csv, .html, .tex and .txt.")
    ] = None,
) -> None:
    """Describe the patients of each set: the paper's Table 1."""
    from covid19net.cohort import read_manifest, table_one

    table = table_one(read_manifest(manifest, needs=["patient_id"], scans=False))
    say(table.text())
    if out is not None:
        table.write(out)
        say(f"written: {out}")
