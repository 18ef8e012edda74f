"""The command line: parse, one call, show. Only this module prints, exits or reads the environment.

Exit codes: 0 done, 2 bad input or arguments, 3 not a chest CT or cannot be analysed, 4 model files,
5 resources. With several scans the first failure's code is returned and the other scans are still done.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from covid19net import __version__
from covid19net.errors import Covid19netError, InputError, ResourceError, naming

if TYPE_CHECKING:
    from covid19net.pipeline import CaseResult, Clinical, Models
    from covid19net.volume import Finding, Scan

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="From a chest CT to a COVID-19 probability, lung masks and a map of suspicious areas. "
    "Research software, not a medical device.",
)
weights_app = typer.Typer(no_args_is_help=True, help="List, read, import and install model weights.")
app.add_typer(weights_app, name="weights")
cohort_app = typer.Typer(no_args_is_help=True, help="Tables of patients.")
app.add_typer(cohort_app, name="cohort")

HomeOption = Annotated[
    Path | None,
    typer.Option("--home", envvar="COVID19NET_WEIGHTS", help="Folder of installed weights."),
]
WeightsOption = Annotated[str, typer.Option(help="'bundled', an installed name, or a folder.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda, mps or torch-cpu.")]
EverySliceOption = Annotated[
    bool, typer.Option("--every-slice", help="Segment every slice, as published (slower).")
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


def home_of(home: Path | None) -> Path:
    """Folder of installed weights: as given, or the user's data folder."""
    from platformdirs import user_data_path

    return home or user_data_path("covid19net") / "weights"


def cache_folder() -> Path:
    """Where converted weights go when their own folder cannot be written."""
    from platformdirs import user_cache_path

    return user_cache_path("covid19net")


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[str, float], None]]:
    """A bar on stderr that names the stage; silent when stderr is no terminal."""
    if not sys.stderr.isatty():
        yield lambda _stage, _share: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f}%"))
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=1.0)
        yield lambda stage, share: bar.update(task, description=f"{title}: {stage}", completed=share)


def version_wanted(wanted: bool) -> None:
    """Print the version and stop."""
    if wanted:
        say(f"covid19net {__version__}")
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool, typer.Option("--version", callback=version_wanted, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options of every command."""


@app.command()
def analyze(  # noqa: PLR0913 - each argument is an option of the command
    scans: Annotated[
        list[Path],
        typer.Argument(metavar="SCAN...", help="DICOM folder, zip or file; NIfTI, NRRD, MHA or MHD."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")],
    age: Annotated[float | None, typer.Option(help="Years.")] = None,
    sex: Annotated[str | None, typer.Option(help="F or M.")] = None,
    comorbidity: Annotated[
        bool | None, typer.Option("--comorbidity/--no-comorbidity", help="Any comorbidity.")
    ] = None,
    weights: WeightsOption = "bundled",
    device: DeviceOption = "auto",
    every_slice: EverySliceOption = False,
    series: SeriesOption = None,
    allow_irregular: IrregularOption = False,
    home: HomeOption = None,
) -> None:
    """Probability, lung masks, map of suspicious areas and a picture for each scan.

    One scan: the files go into OUT. Several: into OUT/001, OUT/002 and so on, in the order given.
    """
    from covid19net.io import read_ct
    from covid19net.pipeline import Clinical, load_models

    clinical = Clinical(age, sex.upper() if sex else None, comorbidity)
    if len(scans) > 1 and clinical != Clinical():
        raise InputError("--age, --sex and --comorbidity are one patient's: give one scan with them")
    models = load_models(weights, device=device, home=home_of(home), cache=cache_folder())
    codes: list[int] = []
    for number, scan in enumerate(scans, start=1):
        folder = out if len(scans) == 1 else out / f"{number:03d}"
        reading = {"series": series, "allow_irregular": allow_irregular}
        reader = partial(read_ct, scan, series=series, allow_irregular=allow_irregular)
        with fault_of(f"scan {number} of {len(scans)}: ", codes), naming(scan.name):
            analyze_one(reader, folder, models, clinical, every_slice=every_slice, reading=reading)
    if codes:
        raise typer.Exit(codes[0])


@contextmanager
def fault_of(title: str, codes: list[int]) -> Iterator[None]:
    """Tell a fault in one line on stderr, keep its exit code, and go on."""
    try:
        yield
    except Covid19netError as error:
        fault = error
    except MemoryError:
        fault = ResourceError("not enough memory")
    except Exception as error:  # a fault of ours: one scan must not stop the others
        if sys.flags.dev_mode:
            raise
        fault = Covid19netError(
            f"unexpected fault ({type(error).__name__}); please report it with what `python -X dev -m "
            "covid19net.cli` shows"
        )
    else:
        return
    typer.echo(f"{title}error: {fault}", err=True)
    codes.append(fault.exit_code)


def analyze_one(
    read: Callable[[], "Scan"],
    folder: Path,
    models: "Models",
    clinical: "Clinical",
    *,
    every_slice: bool = False,
    reading: Mapping[str, object] | None = None,
) -> None:
    """Read, analyze, write, and say the result of one scan; `reading` are the options it was read with."""
    from time import perf_counter

    from covid19net.pipeline import analyze as analyze_scan
    from covid19net.report.case import write_case

    with progress_bar("covid19net") as progress:
        progress("reading", 0.0)
        start = perf_counter()
        scan = read()
        seconds = perf_counter() - start
        result = analyze_scan(scan, models, clinical=clinical, every_slice=every_slice, progress=progress)
        result.seconds["reading"] = round(seconds, 3)
        result.provenance["reading"] = dict(reading or {})
        progress("writing", 0.0)
        write_case(result, folder)
    show(result, folder)


def lung_volumes(result: "CaseResult") -> str:
    """Both lungs, or their sum where the file does not say which side is which."""
    right, left = (ml / 1000 for ml in result.lung_millilitres)
    sides = f"right {right:.2f} l, left {left:.2f} l" if result.sides_known else f"{right + left:.2f} l"
    return f"lung volume: {sides}"


def show(result: "CaseResult", folder: Path) -> None:
    """The result in a few lines."""
    say(
        f"COVID-19 probability {result.probability:.3f}: {result.decision.call} "
        f"at threshold {result.decision.threshold:g}"
    )
    say(lung_volumes(result))
    show_findings(result.findings)
    say(f"written to {folder}: montage.png, result.json, lungs.nii.gz, heatmap.nii.gz")


def show_findings(findings: tuple["Finding", ...]) -> None:
    """One line for each finding."""
    for finding in findings:
        say(f"{finding.code}: {finding.message}")


@app.command()
def convert(
    scan: Annotated[Path, typer.Argument(help="Any scan that analyze reads.")],
    out: Annotated[Path, typer.Argument(help="OUT.nii.gz")],
    series: SeriesOption = None,
    allow_irregular: IrregularOption = False,
) -> None:
    """Write the volume exactly as read: HU, upright, with its geometry."""
    from covid19net.gate import check_hounsfield
    from covid19net.io import read_ct, write_volume

    if not out.name.endswith((".nii", ".nii.gz")):
        raise InputError(f"{out}: the name of the volume to write must end in .nii or .nii.gz")
    read = read_ct(scan, series=series, allow_irregular=allow_irregular)
    write_volume(read.volume, out)
    spacing = " x ".join(f"{s:.3f}" for s in read.volume.spacing)
    say(f"{out}: {' x '.join(map(str, read.volume.shape))} voxels of {spacing} mm (z, y, x)")
    show_findings(read.findings)
    try:
        show_findings(check_hounsfield(read.volume))
    except Covid19netError as doubt:  # written as read all the same
        say(f"doubt: analyze would refuse this: {doubt}")


@app.command()
def doctor(scan: Annotated[Path, typer.Argument(help="Any scan that analyze reads.")]) -> None:
    """Explain what was found, chosen, skipped and doubted, without running a network."""
    from covid19net.gate import check_hounsfield
    from covid19net.io import examine

    examination = examine(scan)
    for line in examination.lines():
        say(line)
    if examination.scan is None:
        raise examination.fault or InputError(f"{scan.name}: cannot be read")
    with naming(scan.name):
        show_findings(check_hounsfield(examination.scan.volume))


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the demonstration.")] = Path(
        "demo-output"
    ),
    seed: Annotated[int, typer.Option(help="Which phantom patient.")] = 19,
) -> None:
    """Make a phantom patient with COVID-19-like lesions, write it as DICOM, analyze it, say where to look."""
    from covid19net.io import read_ct, write_dicom_series
    from covid19net.phantom import demo_case
    from covid19net.pipeline import Clinical, load_models

    models = load_models(cache=cache_folder())
    with progress_bar("phantom") as progress:
        progress("making a synthetic patient", 0.0)
        volume = demo_case(seed).volume
        for earlier in (out / "dicom").glob("slice-*.dcm"):  # of a patient with more slices
            earlier.unlink()
        write_dicom_series(volume, out / "dicom")
    say(f"a synthetic patient (no real person) as {volume.shape[0]} DICOM slices: {out / 'dicom'}")
    analyze_one(partial(read_ct, out / "dicom"), out / "result", models, Clinical())
    say(f"look at {out / 'result' / 'montage.png'}")


@cohort_app.command("check")
def cohort_check(
    manifest: Annotated[Path, typer.Argument(help="CSV with one row a patient.")],
    needs: Annotated[list[str] | None, typer.Option(help="Column that every row must fill.")] = None,
) -> None:
    """Name every fault of a manifest by row and column, all at once."""
    from collections import Counter

    from covid19net.cohort import read_manifest

    patients = read_manifest(manifest, needs=needs or ["scan"])
    say(f"{len(patients)} patients, no fault")
    for column in ("set", "centre", "label", "egfr"):
        counts = Counter(str(p.values[column]) for p in patients if column in p.values)
        if counts:
            say(f"{column}: {', '.join(f'{name} {n}' for name, n in sorted(counts.items()))}")


@weights_app.command("list")
def weights_list(home: HomeOption = None) -> None:
    """The weight sets at hand, and those that can be installed."""
    from covid19net.weights import list_sets

    for found in list_sets(home_of(home)):
        say(f"{found.name}: {found.state}; {', '.join(found.tasks)}; licence {found.licence or 'unknown'}")
        say(f"    {found.note or found.origin}")


@weights_app.command("card")
def weights_card(name: Annotated[str, typer.Argument()], home: HomeOption = None) -> None:
    """Everything known about a weight set: data, licence, command, metrics, limits."""
    from dataclasses import asdict
    import json

    from covid19net.weights import find_set

    found = find_set(name, home_of(home))
    for weights in filter(None, (found.lungs, found.diagnosis, found.egfr)):
        say(json.dumps(asdict(weights.card), indent=2))


@weights_app.command("import")
def weights_import(
    files: Annotated[list[Path], typer.Argument(metavar="FILE.h5...")],
    name: Annotated[str, typer.Option(help="Name of the weight set to make or to add to.")],
    task: Annotated[
        str | None,
        typer.Option(help="lungs, diagnosis or egfr; the last two look alike and are taken for diagnosis."),
    ] = None,
    home: HomeOption = None,
) -> None:
    """Turn the authors' Keras files into a weight set of ours; no TensorFlow needed."""
    from covid19net.weights import import_keras, new_set_folder

    folder = new_set_folder(name, home_of(home))
    for file in files:
        made = import_keras(file, folder, task=task)
        say(f"{made.path}: {made.card.task} weights")


@weights_app.command("install")
def weights_install(
    name: Annotated[str, typer.Argument(help="wang2020")],
    accept_unlicensed: Annotated[
        bool,
        typer.Option("--accept-unlicensed", help="Download although the repository states no licence."),
    ] = False,
    address: Annotated[str | None, typer.Option(help="Another address of the released files.")] = None,
    home: HomeOption = None,
) -> None:
    """Download the released weights, check them, and import them as a weight set."""
    from covid19net.weights import install_wang2020
    from covid19net.weights.registry import PUBLISHED

    if name not in PUBLISHED:
        raise InputError(f"{name!r} cannot be installed; known: {', '.join(PUBLISHED)}")
    with progress_bar("download") as progress:
        found = install_wang2020(
            home_of(home),
            accept_unlicensed=accept_unlicensed,
            base_url=address,
            progress=lambda file, done, size: progress(file, done / size),
        )
    say(f"installed: use it with --weights {found.name}")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; every fault is one line on stderr and its exit code."""
    codes: list[int] = []
    try:
        with fault_of("", codes):
            app(arguments)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(codes[0] if codes else 0)


if __name__ == "__main__":
    main()
