"""`covid19net batch`: every scan of a manifest, on all cores or a cluster, resumable at any moment."""

from collections.abc import Iterator
from contextlib import contextmanager
import os
from pathlib import Path
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from covid19net.cli.terminal import (
    DeviceOption,
    EverySliceOption,
    EvidenceOption,
    HomeOption,
    IrregularOption,
    PdfOption,
    PrognosisOption,
    WeightsOption,
    cache_folder,
    home_of,
    is_full,
    say,
)
from covid19net.errors import InputError

if TYPE_CHECKING:
    from covid19net.batch.run import Progress, Summary

REASONS_SHOWN = 20


def batch(  # noqa: PLR0913 - each argument is an option of the command
    manifest: Annotated[
        Path, typer.Argument(metavar="MANIFEST", help="CSV with columns patient_id and scan, one row a scan.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of results; the same one goes on.")],
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes, or actors of Ray [as many as cores or GPUs].")
    ] = None,
    ray: Annotated[
        str | None, typer.Option(help="Address of a Ray cluster, or 'local' (needs the extra 'ray').")
    ] = None,
    keep: Annotated[
        str, typer.Option(help="Of each case: 'all', 'maps' (and result.json), or 'result' (that alone).")
    ] = "all",
    weights: WeightsOption = "bundled",
    device: DeviceOption = "auto",
    prognosis: PrognosisOption = "bundled",
    every_slice: EverySliceOption = False,
    evidence: EvidenceOption = "full",
    allow_irregular: IrregularOption = False,
    pdf: PdfOption = False,
    dicom: Annotated[bool, typer.Option("--dicom", help="DICOM results too.")] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Analyze scans again that failed before.")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Hash every input again, also where it looks untouched.")
    ] = False,
    dicomweb_header: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VARIABLE",
            help="Header for DICOMweb, and the environment variable that holds it: Authorization=TOKEN.",
        ),
    ] = None,
    home: HomeOption = None,
) -> None:
    """Analyze every scan of a manifest: a folder for each in OUT/cases, and OUT/results.csv.

    Killed at any time and started again, it does what is missing, and again what was made from other inputs,
    options, weights or another version. A scan that cannot be analyzed is a row with its reason.
    """
    from covid19net.stream import ONE_THREAD

    # The networks have threads of their own; those of matrix products would only fight over the cores.
    os.environ.update(ONE_THREAD)  # before anything loads; workers inherit it
    from covid19net.batch import Plan, run_batch

    plan = Plan(
        out=out,
        weights=weights if "/" not in weights else str(Path(weights).absolute()),
        home=home_of(home),
        cache=cache_folder(),
        device=device,
        prognosis=prognosis if prognosis in ("bundled", "none") else str(Path(prognosis).absolute()),
        every_slice=every_slice,
        full_evidence=is_full(evidence),
        allow_irregular=allow_irregular,
        keep=keep,  # type: ignore[arg-type]  # checked there
        pdf=pdf,
        dicom=dicom,
        retry_failed=retry_failed,
        verify=verify,
        headers=dict(map(header_of, dicomweb_header or [])),
    )
    with scans_bar() as progress:
        summary = run_batch(manifest, plan, workers=workers, ray=ray, progress=progress)
    show(summary)
    if summary.first_code:
        raise typer.Exit(summary.first_code)


def header_of(text: str) -> tuple[str, str]:
    """A header and its value, which only the environment may hold: what is typed stays in lists of processes.

    Raises:
        InputError: not NAME=VARIABLE, or no such variable.
    """
    name, sign, variable = text.partition("=")
    if not (name and sign and variable):
        raise InputError(f"--dicomweb-header {name}: write NAME=VARIABLE")
    if variable not in os.environ:
        raise InputError(f"--dicomweb-header {name}: the named environment variable is not set")
    return name, os.environ[variable]


@contextmanager
def scans_bar() -> "Iterator[Progress | None]":
    """A bar on stderr with rate and time left; silent when stderr is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("scans", total=None)

        def step(done: int, failed: int, count: int) -> None:
            speed = bar.tasks[0].speed
            rate = f", {speed * 3600:.0f} an hour" if speed else ""
            lost = f", {failed} failed" if failed else ""
            bar.update(task, description=f"scans{rate}{lost}", completed=done, total=count)

        yield step


def show(summary: "Summary") -> None:
    """What became of the batch, failures counted by reason."""
    before = f", {summary.again} of them in earlier runs" if summary.again else ""
    say(f"{summary.count} scans: {summary.done} analyzed, {summary.failed} failed{before}")
    for (code, reason), count in summary.reasons.most_common(REASONS_SHOWN):
        say(f"  {count} failed (exit code {code}): {reason}")
    if len(summary.reasons) > REASONS_SHOWN:
        say(f"  and for {len(summary.reasons) - REASONS_SHOWN} more reasons, see the table")
    say(f"written: {', '.join(map(str, summary.tables))}")
