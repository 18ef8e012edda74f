"""Commands on tables of patients."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from covid19net.cli.cohort_from import cohort_from
from covid19net.cli.terminal import progress_bar, say

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from covid19net.cohort import Patient
    from covid19net.study.guard import ScanNotes

cohort_app = typer.Typer(no_args_is_help=True, help="Tables of patients.")
cohort_app.command("from")(cohort_from)

SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="MANIFEST:OLD=NEW",
        help="Another name for a set of one manifest (its name, no .csv).",
    ),
]
ManifestArgument = Annotated[Path, typer.Argument(help="CSV with one row a patient.")]


@cohort_app.command("check")
def cohort_check(
    manifests: Annotated[
        list[Path], typer.Argument(metavar="MANIFEST...", help="CSVs with one row a patient, used together.")
    ],
    needs: Annotated[list[str] | None, typer.Option(help="Column that every row must fill.")] = None,
    scans: Annotated[
        bool, typer.Option("--scans", help="Read every scan: copies, headers, units, missing slices.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for cohort-check.csv, .html, .tex and .txt.")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 at a leak or a class that equals a fact.")
    ] = False,
) -> None:
    """Name every fault of manifests by row and column, then what would make a study fool its authors.

    Looked for are one patient or scan in two sets or under two labels, classes that can be told from how
    patients were scanned, and (with --scans) data that are not Hounsfield units or lack slices. The verdict
    is a result: the exit code is 0 unless --strict is given.
    """
    from covid19net.cohort import read_manifest, unknown_columns
    from covid19net.study.guard import guard

    tables = {}
    for name, path in zip(_names(manifests), manifests, strict=True):
        patients = tables[name] = read_manifest(path, needs=needs or ["scan"])
        say(f"{f'{name}: ' if len(manifests) > 1 else ''}{len(patients)} patients, no fault")
        if unknown := unknown_columns(path):
            say(f"columns not known, left alone: {', '.join(unknown)}")
        _say_counts(patients)
        _say_sources(path, patients)
    verdict = guard(tables, _notes(tables) if scans else None)
    for line in verdict.lines():
        say(line)
    if out is not None:
        verdict.table().write(out)
        say(f"written: {out}")
    if strict and verdict.is_severe:
        raise typer.Exit(1)


def _names(manifests: list[Path]) -> list[str]:
    """Names of manifests: of their files, with the folder where files are called alike."""
    stems = [path.stem for path in manifests]
    if len(set(stems)) == len(stems):
        return stems
    names = [f"{path.resolve().parent.name}/{path.stem}" for path in manifests]
    return names if len(set(names)) == len(names) else [f"{i + 1}. {name}" for i, name in enumerate(names)]


def _say_counts(patients: "Sequence[Patient]") -> None:
    for column in ("set", "centre", "label", "egfr"):
        counts = Counter(str(p.values[column]) for p in patients if column in p.values)
        if counts:
            say(f"{column}: {', '.join(f'{name} {n}' for name, n in sorted(counts.items()))}")


def _say_sources(path: Path, patients: "Sequence[Patient]") -> None:
    """Where the patients come from, and what binds whoever uses them."""
    from covid19net.cohort import cautions, read_sources

    sources = read_sources(path, patients)
    for source in sources:
        say(f"source: {source}")
    for line in cautions(sources):
        say(f"warning: {line}")


@cohort_app.command("join")
def cohort_join(
    manifests: Annotated[
        list[Path], typer.Argument(metavar="MANIFEST...", help="CSVs with one row a patient.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The manifest to write.")],
    sets: SetOption = None,
) -> None:
    """Make one manifest of several, and put the sources of all beside it.

    Sets of one name become one: --set "b:validation=validation 2" calls that of b.csv otherwise.
    """
    from covid19net.cohort import join_manifests, read_manifest

    joined = join_manifests(manifests, out, dict(map(_renaming, sets or [])))
    for name, counts in joined.sets.items():
        say(f"{name or 'no set'}: {', '.join(f'{count} of {stem}' for stem, count in counts.items())}")
    _say_sources(out, read_manifest(out, needs=["patient_id"], scans=False))
    say(f"written: {joined.manifest}, {joined.sidecar}")


def _renaming(text: str) -> tuple[tuple[str, str], str]:
    old, equals, new = text.partition("=")
    stem, colon, name = old.partition(":")
    if not (equals and colon and stem and new):
        raise typer.BadParameter(f"--set {text!r} is not MANIFEST:OLD=NEW")
    return (stem, name), new


def _notes(tables: "Mapping[str, Sequence[Patient]]") -> "ScanNotes":
    """Read the scans of all rows."""
    from covid19net.cohort import members_of
    from covid19net.study.scans import notes_of, read_scans

    with progress_bar("scans") as progress:
        return notes_of(read_scans(members_of(tables), progress))


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
