"""What the commands share: common options, lines, bars, and how a fault is told."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from covid19net.errors import Covid19netError, InputError, fault_from

if TYPE_CHECKING:
    from covid19net.volume import Finding

HomeOption = Annotated[
    Path | None,
    typer.Option("--home", envvar="COVID19NET_WEIGHTS", help="Folder of installed weights."),
]
WeightsOption = Annotated[str, typer.Option(help="'bundled', an installed name, or a folder.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda, mps or torch-cpu.")]
EverySliceOption = Annotated[
    bool, typer.Option("--every-slice", help="Segment every slice, as published (slower).")
]
EvidenceOption = Annotated[
    str,
    typer.Option(help="Of the heat map: 'full', or 'basic' without its stability: a quarter of the time."),
]
PrognosisOption = Annotated[
    str, typer.Option(help="Prognostic model: 'bundled', 'none', or a file. Needs age, sex, comorbidity.")
]
PdfOption = Annotated[
    bool, typer.Option("--pdf", help="Write the report as PDF too (needs the extra 'pdf').")
]
SeriesOption = Annotated[
    str | None, typer.Option(help="SeriesInstanceUID to use when a folder holds several.")
]
IrregularOption = Annotated[
    bool,
    typer.Option(
        "--allow-irregular", help="Read scans with missing, unevenly spaced or odd slices, with a warning."
    ),
]


def say(text: str) -> None:
    """One line for the user."""
    typer.echo(text)


def is_full(evidence: str) -> bool:
    """Whether --evidence asks for the full one.

    Raises:
        InputError: it asks for something else.
    """
    if evidence not in ("basic", "full"):
        raise InputError(f"--evidence {evidence}: choose basic or full")
    return evidence == "full"


def home_of(home: Path | None) -> Path:
    """Folder of installed weights: as given, or the user's data folder."""
    from platformdirs import user_data_path

    return home or user_data_path("covid19net") / "weights"


def cache_folder() -> Path:
    """Where converted weights go when their own folder cannot be written."""
    from platformdirs import user_cache_path

    return user_cache_path("covid19net")


@contextmanager
def progress_bar(title: str, told: Path | None = None) -> Iterator[Callable[[str, float], None]]:
    """A bar on stderr that names the stage; silent when stderr is no terminal.

    Args:
        title: before the stage.
        told: file that gets a line "share stage" for each stage instead, for another process.
    """
    if told:
        with told.open("w", buffering=1) as file:
            yield lambda stage, share: print(f"{share:.3f} {stage}", file=file)
        return
    if not sys.stderr.isatty():
        yield lambda _stage, _share: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f}%"))
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=1.0)
        yield lambda stage, share: bar.update(task, description=f"{title}: {stage}", completed=share)


@contextmanager
def fault_of(title: str, codes: list[int]) -> Iterator[None]:
    """Tell a fault in one line on stderr, keep its exit code, and go on."""
    try:
        yield
    except Exception as error:  # a fault of ours too: one scan must not stop the others
        fault = fault_from(error)
        if type(fault) is Covid19netError and sys.flags.dev_mode:
            raise
    else:
        return
    typer.echo(f"{title}error: {fault}", err=True)
    codes.append(fault.exit_code)


@contextmanager
def without_names(scan: Path) -> Iterator[None]:
    """Take the names of an archive's entries, which may name a patient, out of a fault."""
    try:
        yield
    except Covid19netError as error:
        import zipfile

        from covid19net.io.files import printable

        said = str(error)
        names = zipfile.ZipFile(scan).namelist() if zipfile.is_zipfile(scan) else []
        for number, name in sorted(enumerate(names, start=1), key=lambda each: -len(each[1])):
            for known in (printable(name), printable(name.rpartition("/")[2])):
                said = said.replace(known, f"entry {number}") if known else said
        raise type(error)(said) from error


def show_findings(findings: tuple["Finding", ...]) -> None:
    """One line for each finding."""
    for finding in findings:
        say(f"{finding.code}: {finding.message}")
