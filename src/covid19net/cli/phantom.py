"""Commands that make synthetic patients."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from covid19net.cli.terminal import progress_bar, say
from covid19net.errors import InputError

phantom_app = typer.Typer(no_args_is_help=True, help="Synthetic patients whose truth is known.")

SeedOption = Annotated[int, typer.Option(min=0, help="Equal seeds give equal patients.")]
GridOption = Annotated[
    Literal["lungs", "whole"],
    typer.Option(help="'lungs': the box around the lungs at the size training needs; 'whole': 512 x 512."),
]
FormOption = Annotated[Literal["nifti", "dicom"], typer.Option(help="Format of the scans.")]
ConfounderOption = Annotated[
    float,
    typer.Option(help="Chance (0 to 1) that the label chooses the slice thickness: a trap."),
]


@phantom_app.command("case")
def case(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for scan, masks and truth.json.")],
    kind: Annotated[
        str, typer.Option(help="covid, bacterial, mycoplasma, viral, fungal, mutant or wild (lung cancer).")
    ] = "covid",
    centre: Annotated[str, typer.Option(help="Whose scanner and patients: Wuhan, Anhui, ...")] = "Wuhan",
    seed: SeedOption = 0,
    grid: GridOption = "whole",
    form: FormOption = "nifti",
) -> None:
    """Make one synthetic patient: scan, lung, lobe and lesion masks, and everything that was planted."""
    from covid19net.phantom.centres import plan_case
    from covid19net.synthetic import Options, draw_subject, write_subject

    plan = plan_case(kind, centre)
    options = Options(seed=seed, grid=grid, form=form)
    with progress_bar("phantom") as progress:
        progress("scanning", 0.0)
        truth = write_subject(draw_subject(plan, options), out, options)
    say(
        f"a synthetic patient (no real person): {truth['class']}, looks like {truth['pattern']}, "
        f"severity {truth['severity']:.2f}, lungs {truth['lung_ml'] / 1000:.2f} l: {out}"
    )


@phantom_app.command("cohort")
def cohort(  # noqa: PLR0913 - each argument is an option of the command
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for cases/, manifest.csv and truth.csv.")],
    scale: Annotated[float, typer.Option(help="Factor on the paper's numbers of patients (5372).")] = 0.02,
    scale_of: Annotated[
        list[str] | None, typer.Option(metavar="SET=FACTOR", help="Another factor for one set; repeatable.")
    ] = None,
    sets: Annotated[
        list[str] | None, typer.Option("--set", help="Only this set; may be given several times.")
    ] = None,
    seed: SeedOption = 0,
    grid: GridOption = "lungs",
    form: FormOption = "nifti",
    confounder: ConfounderOption = 0.0,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0 for one a core.")] = 0,
) -> None:
    """Make the paper's seven centres as synthetic patients; an interrupted cohort is completed."""
    import os

    from covid19net.phantom.centres import plan_cohort
    from covid19net.synthetic import Options, make_cohort

    options = Options(seed=seed, grid=grid, form=form, confounder=confounder)
    scales = dict(factor_of(text) for text in scale_of or [])
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # one patient a process is the parallelism
        os.environ.setdefault(name, "1")
    plans = plan_cohort(scale, tuple(sets) if sets else None, scales)
    if not plans:
        raise InputError("no patients: the chosen sets are empty")
    with progress_bar("phantoms") as progress:
        manifest = make_cohort(
            plans, out, options, workers=workers or os.cpu_count() or 1,
            progress=lambda done, count: progress(f"{done} of {count}", done / count),
        )  # fmt: skip
    say(f"{len(plans)} synthetic patients (no real person): {manifest}")


def factor_of(text: str) -> tuple[str, float]:
    """A set and its factor from SET=FACTOR."""
    name, _, factor = text.rpartition("=")
    try:
        return name, float(factor)
    except ValueError:
        raise InputError(f"--scale-of {text}: expected SET=FACTOR, for example auxiliary=0.1") from None
