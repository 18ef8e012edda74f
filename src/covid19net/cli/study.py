"""The command that makes a study of a manifest."""

import os
from pathlib import Path
import shlex
import sys
from typing import Annotated, Literal

import typer

from covid19net.cli.terminal import (
    DeviceOption,
    HomeOption,
    WeightsOption,
    cache_folder,
    home_of,
    progress_bar,
    say,
)


def study(  # noqa: PLR0913 - each argument is an option of the command
    manifest: Annotated[Path, typer.Argument(metavar="MANIFEST", help="CSV with one row a patient.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the study.")],
    features: Annotated[
        Path | None,
        typer.Option(help="Stored scores and features (features.csv of a study): no scan is read."),
    ] = None,
    training: Annotated[
        str, typer.Option(help="Set on which threshold and prognosis are made.")
    ] = "training",
    threshold: Annotated[
        str, typer.Option(help="youden (of the training set), card, released (0.8), or a number.")
    ] = "youden",
    direction: Annotated[
        Literal["forward", "backward", "both"], typer.Option(help="Of the selection of covariates.")
    ] = "both",
    criterion: Annotated[Literal["aic", "bic", "p"], typer.Option(help="Of the selection.")] = "aic",
    model: Annotated[
        Literal["selected", "penalised"],
        typer.Option(help="Cox model that makes the risk groups: of selected covariates, or ridge on all."),
    ] = "selected",
    most: Annotated[int | None, typer.Option(min=1, help="Covariates selected at most.")] = None,
    draws: Annotated[int, typer.Option(min=0, help="Bootstrap draws of the whole selection; 0: none.")] = 200,
    missing: Annotated[
        Literal["refuse", "exclude", "median"],
        typer.Option(help="What to do with patients whose age, sex or comorbidity is missing."),
    ] = "refuse",
    age_band: Annotated[
        Literal["refuse", "middle"],
        typer.Option(help="Where the age is known as a band only: refuse, or take the middle of the band."),
    ] = "refuse",
    seed: Annotated[int, typer.Option(min=0, help="Of every bootstrap.")] = 0,
    workers: Annotated[int, typer.Option(min=0, help="Processes and threads; 0 for one a core.")] = 0,
    weights: WeightsOption = "bundled",
    device: DeviceOption = "auto",
    home: HomeOption = None,
) -> None:
    """Analyze what is not yet analyzed, then every table and figure, beside the published numbers.

    OUT gets report.html, tables, figures, results.json, features.csv and the prognostic model.
    """
    from covid19net.prognosis.stepwise import Procedure
    from covid19net.study.results import Source
    from covid19net.study.run import run_study
    from covid19net.study.sets import Options

    # Worker processes share the cores already; linear algebra in several threads each would slow them down.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    options = Options(
        training=training,
        threshold=_threshold(threshold),
        procedure=Procedure(direction=direction, criterion=criterion, most=most),
        model=model,
        draws=draws,
        missing=missing,
        age_band=age_band,
        seed=seed,
        workers=workers or os.cpu_count() or 1,
    )
    source = Source(
        manifest,
        features,
        weights,
        device,
        home_of(home),
        cache_folder(),
        _command(sys.argv[1:]),
    )
    with progress_bar("study") as progress:
        report = run_study(source, out, options, progress=progress)
    for line in report.lines:
        say(line)
    say(f"look at {report.page}")


def _command(arguments: list[str]) -> str:
    """The command for the record, without folders: their names may say who the patients are."""
    return shlex.join(["covid19net", *(Path(word).name if "/" in word else word for word in arguments)])


def _threshold(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text
