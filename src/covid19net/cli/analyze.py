"""Commands on single scans: analyze, convert, doctor, demo."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from covid19net.cli.terminal import (
    DeviceOption,
    EverySliceOption,
    EvidenceOption,
    HomeOption,
    IrregularOption,
    PdfOption,
    PrognosisOption,
    SeriesOption,
    WeightsOption,
    cache_folder,
    fault_of,
    home_of,
    is_full,
    progress_bar,
    say,
    show_findings,
    without_names,
)
from covid19net.errors import Covid19netError, InputError, naming
from covid19net.output import Output

if TYPE_CHECKING:
    from covid19net.models import Models
    from covid19net.pipeline import CaseResult
    from covid19net.volume import Scan


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
    prognosis: PrognosisOption = "bundled",
    every_slice: EverySliceOption = False,
    evidence: EvidenceOption = "full",
    series: SeriesOption = None,
    allow_irregular: IrregularOption = False,
    dicom: Annotated[
        bool, typer.Option("--dicom", help="DICOM results too, in OUT/dicom, for the study of the scan.")
    ] = False,
    deflate: Annotated[
        bool,
        typer.Option(
            "--deflate", help="With --dicom: the heat map a fiftieth of its size; not every PACS takes it."
        ),
    ] = False,
    home: HomeOption = None,
    pdf: PdfOption = False,
    identify: Annotated[
        bool, typer.Option("--identify", help="Name the patient in the report, from the DICOM headers.")
    ] = False,
    keep_scan: Annotated[
        bool, typer.Option("--keep-scan", help="Write the CT too, as ct.nii.gz on the grid of mask and map.")
    ] = False,
    dicom_if_possible: Annotated[
        bool, typer.Option("--dicom-if-possible", help="As --dicom; no fault where a scan cannot have them.")
    ] = False,
    progress_file: Annotated[Path | None, typer.Option(hidden=True)] = None,
    nameless: Annotated[bool, typer.Option("--nameless", hidden=True)] = False,
) -> None:
    """Probability, lung masks, map of suspicious areas and a report for each scan.

    One scan: the files go into OUT. Several: into OUT/001, OUT/002 and so on, in the order given.
    """
    from covid19net.models import load_models
    from covid19net.prognosis.model import Clinical
    from covid19net.prognosis.model_file import find_model
    from covid19net.report.pdf import check_pdf

    if pdf:
        check_pdf()  # before any work
    clinical = Clinical(age, sex.upper() if sex else None, comorbidity)
    if len(scans) > 1 and clinical != Clinical():
        raise InputError("--age, --sex and --comorbidity are one patient's: give one scan with them")
    full = is_full(evidence)
    if deflate and not dicom:
        raise InputError("--deflate is of the DICOM results: give --dicom with it")
    prognostic = find_model(prognosis)
    models = load_models(weights, device=device, home=home_of(home), cache=cache_folder())
    from covid19net.io import read_ct  # what reads is loaded while the networks get ready

    output = Output(
        pdf=pdf, dicom=dicom, dicom_if_possible=dicom_if_possible, identify=identify, scan=keep_scan,
        progress=progress_file, deflate=deflate,
    )  # fmt: skip
    codes: list[int] = []
    for number, scan in enumerate(scans, start=1):
        folder = out if len(scans) == 1 else out / f"{number:03d}"
        reading = {"series": series, "allow_irregular": allow_irregular}
        reader = partial(read_ct, scan, series=series, allow_irregular=allow_irregular)
        unnamed: AbstractContextManager[None] = without_names(scan) if nameless else nullcontext()
        with fault_of(f"scan {number} of {len(scans)}: ", codes), unnamed, naming(scan.name):
            options: dict[str, Any] = {"clinical": clinical, "prognostic": prognostic}
            options |= {"every_slice": every_slice, "full_evidence": full}
            analyze_one(reader, folder, models, options=options, reading=reading, output=output)
    if codes:
        raise typer.Exit(codes[0])


def analyze_one(
    read: Callable[[], "Scan"],
    folder: Path,
    models: "Models",
    *,
    options: Mapping[str, Any] | None = None,
    reading: Mapping[str, object] | None = None,
    output: Output = Output(),  # noqa: B008 - frozen
) -> None:
    """Read, analyze, write, and say the result of one scan.

    Args:
        read: gives the scan.
        folder: for the files.
        models: networks.
        options: of the pipeline's `analyze`; "clinical" is what is known of the patient.
        reading: options the scan is read with, for the record.
        output: what is written beside the files of every case.
    """
    from time import perf_counter

    from covid19net.pipeline import analyze as analyze_scan

    with progress_bar("covid19net", output.progress) as progress:
        progress("reading", 0.0)
        start = perf_counter()
        scan = read()
        seconds = perf_counter() - start
        output.check(scan)
        result = analyze_scan(scan, models, progress=progress, **(options or {}))
        result.seconds["reading"] = round(seconds, 3)
        result.provenance["reading"] = dict(reading or {})
        progress("writing", 0.0)
        output.write(result, folder)
    show(result, folder)


def lung_volumes(result: "CaseResult") -> str:
    """Both lungs, or their sum where the file does not say which side is which."""
    right, left = (ml / 1000 for ml in result.lung_millilitres)
    sides = f"right {right:.2f} l, left {left:.2f} l" if result.sides_known else f"{right + left:.2f} l"
    return f"lung volume: {sides}"


def show(result: "CaseResult", folder: Path) -> None:
    """The result in a few lines."""
    from covid19net.report.case import written
    from covid19net.report.discharge import summary

    say(
        f"COVID-19 probability {result.probability:.3f}: {result.decision.call} "
        f"at threshold {result.decision.threshold:g}"
    )
    say(lung_volumes(result))
    if result.map_evidence:
        say(result.map_evidence.summary())
    if result.prognosis:
        say(summary(result.prognosis))
    show_findings(result.findings)
    say(f"written to {folder}: {', '.join(written(folder))}")


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


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the demonstration.")] = Path(
        "demo-output"
    ),
    seed: Annotated[int, typer.Option(help="Which phantom patient.")] = 34,
) -> None:
    """Make a phantom patient with COVID-19-like lesions, write it as DICOM, analyze it, say where to look."""
    from covid19net.io import read_ct, write_dicom_series
    from covid19net.models import load_models
    from covid19net.phantom import demo_case
    from covid19net.prognosis.model import Clinical
    from covid19net.prognosis.model_file import BUNDLED, find_model

    models = load_models(cache=cache_folder())
    with progress_bar("phantom") as progress:
        progress("making a synthetic patient", 0.0)
        case = demo_case(seed)
        volume, patient = case.volume, case.patient
        for earlier in (out / "dicom").glob("slice-*.dcm"):  # of a patient with more slices
            earlier.unlink()
        write_dicom_series(volume, out / "dicom")
    say(f"a synthetic patient (no real person) as {volume.shape[0]} DICOM slices: {out / 'dicom'}")
    clinical = Clinical(patient.age, patient.sex, comorbidity=False)
    options = {"clinical": clinical, "prognostic": find_model(BUNDLED)}
    analyze_one(partial(read_ct, out / "dicom"), out / "result", models, options=options)
    say(f"look at {out / 'result' / 'report.html'}")
