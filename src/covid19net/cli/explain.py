"""Commands that look into the diagnosis network: maps, their sanity, filters, feature space."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from covid19net.cli.terminal import (
    DeviceOption,
    HomeOption,
    IrregularOption,
    SeriesOption,
    WeightsOption,
    cache_folder,
    home_of,
    progress_bar,
    say,
    show_findings,
)
from covid19net.errors import InputError, naming

if TYPE_CHECKING:
    from covid19net.models import Models
    from covid19net.preprocess import LungImage
    from covid19net.volume import CTVolume, Finding, Overlay

explain_app = typer.Typer(
    no_args_is_help=True, help="Look into the diagnosis network. All but 'place' need torch."
)

MARK = "demonstration weights: nothing about a patient"  # above a figure made with them
ScanArgument = Annotated[Path, typer.Argument(help="Any scan that analyze reads.")]
OutOption = Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")]


def _seen(
    scan: Path, models: "Models", *, series: str | None, irregular: bool
) -> tuple["CTVolume", "LungImage", "Overlay", "tuple[Finding, ...]"]:
    """The volume of a scan, what the network sees of it, its lungs, and what a reader must know, told."""
    from covid19net.gate import check_hounsfield, check_lungs
    from covid19net.io import read_ct
    from covid19net.pipeline import segment
    from covid19net.preprocess import lung_box, lung_image
    from covid19net.segment import lungs_on_ct

    with naming(scan.name), progress_bar("finding the lungs") as progress:
        read = read_ct(scan, series=series, allow_irregular=irregular)
        volume, findings = read.volume, read.findings + check_hounsfield(read.volume)
        sides_known = all(finding.code != "orientation-unknown" for finding in findings)
        lungs, chance = segment(volume, models, progress=progress)
        findings += check_lungs(lungs.mask, volume, sides_known=sides_known) + models.weights.findings
        image = lung_image(volume, lungs.mask, lung_box(lungs.mask, volume.shape))
        on_ct = lungs_on_ct(lungs, chance, volume)
    show_findings(findings)
    return volume, image, on_ct, findings


def _mark(findings: "tuple[Finding, ...]") -> str:
    """What stands above a figure made with demonstration weights."""
    return MARK if any(finding.code == "weights-demonstration" for finding in findings) else ""


def _write_json(record: dict[str, Any], path: Path) -> None:
    import json

    from covid19net.io.files import write_fault

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n")
    except OSError as error:
        raise write_fault(path, error) from error


@explain_app.command("maps")
def maps(  # noqa: PLR0913 - each argument is an option of the command
    scan: ScanArgument,
    out: OutOption,
    stage: Annotated[
        list[str] | None,
        typer.Option(help="stem, block1, block2, block3-unpooled, block3 or block4; may be repeated."),
    ] = None,
    weights: WeightsOption = "bundled",
    series: SeriesOption = None,
    allow_irregular: IrregularOption = False,
    home: HomeOption = None,
) -> None:
    """Grad-CAM at stages of the network, and a finer map, on the CT's own grid; one picture of them all."""
    from covid19net.explain import heat_in_box
    from covid19net.explain.grad_cam import placed
    from covid19net.explain.stages import GRIDS, finer, stages_of
    from covid19net.io import write_volume
    from covid19net.models import load_models
    from covid19net.report.figure_explain import stages_figure
    from covid19net.report.figures import save_figure

    wanted = tuple(dict.fromkeys(stage or ("block3",)))
    if unknown := set(wanted) - GRIDS.keys():
        raise InputError(f"no stage {', '.join(sorted(unknown))}: choose from {', '.join(GRIDS)}")
    models = load_models(weights, home=home_of(home), cache=cache_folder())
    volume, image, _, findings = _seen(scan, models, series=series, irregular=allow_irregular)
    names = tuple(dict.fromkeys((*wanted, "block2", "block3")))
    inside = stages_of(models.weights.diagnosis, image.values, names)
    heats = {
        name: heat_in_box(inside[name].grad_cam(), image.box.shape, inside[name].shrink, inside[name].grid)
        for name in wanted
    }
    heats["finer"] = finer(inside, image.box.shape)
    found = {name: placed(heat, image.box, volume) for name, heat in heats.items()}
    figure = stages_figure(found, volume, image.box, _mark(findings))
    save_figure(figure, out, "maps")
    for name, overlay in found.items():
        write_volume(overlay, out / f"heatmap-{name}.nii.gz")
    files = ", ".join(f"heatmap-{name}.nii.gz" for name in found)
    say(f"written to {out}: maps.png (.pdf, .svg), {files}")


@explain_app.command("sanity")
def sanity(  # noqa: PLR0913 - each argument is an option of the command
    scan: ScanArgument,
    out: OutOption,
    weights: WeightsOption = "bundled",
    device: DeviceOption = "auto",
    series: SeriesOption = None,
    allow_irregular: IrregularOption = False,
    home: HomeOption = None,
) -> None:
    """Randomise the weights, and take away what the map shows: tests the map of a scan can fail. Minutes."""
    from covid19net.explain.sanity import examine
    from covid19net.models import load_models
    from covid19net.report.figure_explain import sanity_figure
    from covid19net.report.figures import save_figure

    models = load_models(weights, device=device, home=home_of(home), cache=cache_folder())
    _, image, lungs, findings = _seen(scan, models, series=series, irregular=allow_irregular)
    with progress_bar("sanity") as progress:
        found = examine(
            image.values,
            lungs.values[image.box.slices],
            models.diagnosis,
            models.weights.diagnosis,
            progress=progress,
        )
    told = [{"code": finding.code, "message": finding.message} for finding in findings]
    _write_json(found.record() | {"findings": told}, out / "sanity.json")
    save_figure(sanity_figure(found.randomised, found.curves, _mark(findings)), out, "sanity")
    for line in found.lines():
        say(line)
    say(f"written to {out}: sanity.json, sanity.png (.pdf, .svg)")


@explain_app.command("filters")
def filters(
    out: OutOption,
    count: Annotated[int, typer.Option(min=1, max=12, help="Filters at each of the four depths.")] = 4,
    seed: Annotated[int, typer.Option(help="Of the choice of filters and of the noise.")] = 0,
    weights: WeightsOption = "bundled",
    home: HomeOption = None,
) -> None:
    """Patterns that single filters answer to, at four depths, three cuts of each. Takes minutes."""
    from covid19net.explain.filters import DEPTHS, channels_of, maximise
    from covid19net.explain.stages import parts_of
    from covid19net.report.figure_explain import filters_figure
    from covid19net.report.figures import save_figure
    from covid19net.weights import find_set

    backbone, _ = parts_of(find_set(weights, home_of(home)).diagnosis)
    record = {}
    for depth in DEPTHS:
        with progress_bar("filters") as progress:

            def told(share: float, depth: str = depth) -> None:
                progress(depth, share)

            channels = channels_of(backbone, depth, count, seed)
            found = maximise(backbone, depth, channels, seed=seed, progress=told)
        save_figure(filters_figure(found), out, f"filters-{depth}")
        record[depth] = [
            {"filter": p.channel, "noise": round(p.before, 4), "pattern": round(p.after, 4)} for p in found
        ]
    _write_json({"seed": seed, "activation": record}, out / "filters.json")
    say(f"written to {out}: filters.json and a figure for each of {', '.join(DEPTHS)}")


@explain_app.command("place")
def place_patient(
    result: Annotated[Path, typer.Argument(metavar="RESULT.json", help="result.json of a scan.")],
    features: Annotated[Path, typer.Option(help="features.csv of a study, of the same weights.")],
    out: OutOption,
    manifest: Annotated[
        Path | None, typer.Option(help="Table with the patients' labels, to colour them by.")
    ] = None,
) -> None:
    """Place a patient among a reference cohort by the 64 DL features; name the nearest cases."""
    from covid19net.explain.place import place
    from covid19net.features import read_features
    from covid19net.report.case import read_record
    from covid19net.report.figure_space import pca_figure
    from covid19net.report.figures import save_figure

    own, sha256, demonstration = read_record(result)
    cohort = read_features(features)
    found = place(own, cohort, weights=sha256)
    labels = _labels(manifest)
    classes = [labels.get(name) or "cohort" for name in cohort]
    mark = MARK if demonstration else ""
    save_figure(pca_figure(found.space, classes, mark, new=own), out, "place")
    nearest = [
        {
            "patient_id": name,
            "distance": round(distance, 4),
            "probability": cohort[name].probability,
            "label": labels.get(name),
        }
        for name, distance in found.nearest
    ]
    record = {
        "explained_variance": [round(float(share), 4) for share in found.space.shares],
        "point": [round(float(value), 4) for value in found.point],
        "nearest": nearest,
        "usual_distance": round(found.usual, 4),
        "demonstration": demonstration,
    }
    _write_json(record, out / "place.json")
    for case in nearest:
        label = f", {case['label']}" if case["label"] else ""
        say(f"{case['patient_id']}: distance {case['distance']:.3g}, score {case['probability']:.3f}{label}")
    far = "farther than usual: no case of the cohort is like this one" if found.alone else "usual here"
    say(f"nearest to nearest in the cohort: {found.usual:.3g} ({far})")
    if mark:
        say(mark)
    say(f"written to {out}: place.json, place.png (.pdf, .svg)")


def _labels(manifest: Path | None) -> dict[str, str]:
    from covid19net.cohort import read_manifest

    if manifest is None:
        return {}
    rows = read_manifest(manifest)
    return {p.patient_id: str(p.values["label"]) for p in rows if p.values.get("label") is not None}
