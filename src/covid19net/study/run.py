"""One manifest to the whole paper, from scans or stored features to the report on disk."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
import hashlib
import json
from pathlib import Path
import shutil
import tempfile

from covid19net.cohort import cautions, licence_of, read_manifest, read_sources
from covid19net.errors import InputError
from covid19net.features import read_features, write_features
from covid19net.io.files import write_fault
from covid19net.prognosis.model import About
from covid19net.prognosis.model_file import write_model
from covid19net.study.analyses import Failure, analyze_cohort
from covid19net.study.diagnosis import study_diagnosis
from covid19net.study.judged import Followed
from covid19net.study.methods import procedure_words, versions
from covid19net.study.prognosis import EndPointStudy, study_end_point
from covid19net.study.provenance import band_warnings, model_sources, provenance_record, sentence
from covid19net.study.record import plain
from covid19net.study.results import Material, Results, Source
from covid19net.study.sets import Options, StudySet, study_sets

DISCHARGE = "discharge"
UNKNOWN_WEIGHTS = "0" * 64
PAGE, RECORD = "report.html", "results.json"
OWN = (RECORD, "tables", "figures", "features.csv", "prognosis.json", PAGE)  # as they are put in place
SCHEMA = "covid19net-study/1.0"
SCRATCH = ".writing-"
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Report:
    """What a study left.

    Attributes:
        page: the report.
        lines: the main results, for the console.
    """

    page: Path
    lines: tuple[str, ...]


def run_study(source: Source, out: Path, options: Options, *, progress: Progress | None = None) -> Report:
    """Analyze what is missing, compute everything, write everything.

    Args:
        source: manifest, and scans or stored features.
        out: folder; a study that is there already is replaced as a whole, its analyses are used again.
        options: how.
        progress: called with (stage, share done).

    Raises:
        Covid19netError: faults of manifest or features, nothing that can be analyzed or computed, or a
            folder that cannot be written or holds files of the same names that no study wrote.
    """
    from covid19net.study.report import compose  # loads the drawing library

    tell = progress or (lambda _stage, _share: None)
    check_place(out)
    material = gather(source, out, options, tell)
    results = compute(source, material, options, tell)
    with _folder(out) as scratch:
        tell("report", 0.0)
        write_features(material.patients, material.found, scratch / "features.csv")
        model = next((s.model for s in results.prognoses if s.end_point == DISCHARGE), None)
        if model is not None and material.weights_sha256:
            write_model(scratch / "prognosis.json", model)
        _write_record(results, scratch / RECORD)
        lines = compose(results, scratch)
    return Report(out / PAGE, lines)


def gather(source: Source, out: Path, options: Options, tell: Progress) -> Material:
    """Read the manifest, and analyze its scans or read the stored analyses."""
    if source.features is not None:
        patients = read_manifest(source.manifest, needs=["patient_id"], scans=False)
        stored = read_features(source.features)
        found = {p.patient_id: stored[p.patient_id] for p in patients if p.patient_id in stored}
        lacking = [p for p in patients if p.patient_id not in stored]
        name = source.features.name
        if not found:
            raise InputError(f"{name}: holds none of the {len(patients)} patients of {source.manifest.name}")
        failures = tuple(Failure(p.patient_id, p.row, f"not in {name}") for p in lacking)
        digests = {"manifest": _digest(source.manifest), "features": _digest(source.features)}
        sources = read_sources(source.manifest, patients)
        return Material(patients, found, failures, sha256=digests, sources=sources)
    from covid19net.models import load_models

    patients = read_manifest(source.manifest, needs=["scan"])
    digests = {"manifest": _digest(source.manifest)}  # now: who edits it while scans are read changes nothing
    sources = read_sources(source.manifest, patients)
    models = load_models(source.weights, device=source.device, home=source.home, cache=source.cache)
    found, failures = analyze_cohort(
        patients,
        models,
        out / "analyses",
        workers=options.workers,
        progress=lambda done, count: tell("scans", done / count),
    )
    return Material(patients, found, failures, models.weights.diagnosis.card, digests, sources)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def compute(source: Source, material: Material, options: Options, tell: Progress) -> Results:
    """Every number of the study.

    Raises:
        InputError: features of different weights, nobody to learn from, or nothing that can be studied.
    """
    _ = material.weights_sha256  # asked for now: features of two networks cost a line, not hours
    sets = study_sets(material.patients, material.found, options.training)
    tell("diagnosis", 0.0)
    threshold = material.card.options.get("threshold") if material.card else None
    diagnosis = study_diagnosis(sets, options, threshold)
    absent = [diagnosis] if isinstance(diagnosis, str) else []
    prognoses = []
    for end_point in (DISCHARGE, *options.end_points):
        tell(f"prognosis, {end_point}", 0.0)

        def about(training: Followed, end_point: str = end_point) -> About:
            return _about(material, source, options, (end_point, training))

        found = _end_point(sets, end_point, options, about, tell)
        if isinstance(found, str):
            absent.append(found)
        else:
            prognoses.append(found)
    judged = None if isinstance(diagnosis, str) else diagnosis
    if judged is None and not prognoses:
        raise InputError(f"nothing can be studied: {'; '.join(absent)}")
    return Results(source, options, material, sets, judged, tuple(prognoses), tuple(absent))


def _end_point(
    sets: Mapping[str, StudySet],
    end_point: str,
    options: Options,
    about: Callable[[Followed], About],
    tell: Progress,
) -> EndPointStudy | str:
    stage = f"prognosis, {end_point}: bootstrap of the selection"
    return study_end_point(
        sets,
        end_point,
        options,
        about,
        draws=options.draws if end_point == DISCHARGE else 0,
        progress=lambda done, count: tell(stage, done / count),
    )


def _about(material: Material, source: Source, options: Options, made: tuple[str, Followed]) -> About:
    """The card of a prognostic model; without a date, so that the same data give the same file."""
    end_point, training = made
    demonstration = material.demonstration
    use = "Showing and testing the software. Never for a decision about a person."
    limits = "Made from synthetic patients: risk, group and curve say nothing about a real person."
    if not demonstration:
        use = "Research. Not a medical device; not validated for use in care."
        limits = "Made from the patients named here; other hospitals discharge at other times: recalibrate."
    kind = "synthetic patients" if demonstration else "patients"
    sources = model_sources(material, training.part.patients)
    binding = [*cautions(sources), *band_warnings(training.part.patients, options.age_band)]
    return About(
        name=f"{end_point} of {source.manifest.stem}",
        end_point=end_point,
        diagnosis_sha256=material.weights_sha256 or UNKNOWN_WEIGHTS,
        licence="Apache-2.0" if demonstration else licence_of("none stated", sources),
        origin=f"covid19net study of {source.manifest.name}",
        intended_use=use,
        limits=" ".join([limits, *map(sentence, binding)]),
        demonstration=demonstration,
        provenance={
            "training_data": f"{training.outcome.size} {kind} of the set {training.name!r}",
            "patients": training.outcome.size,
            "events": int(training.outcome.event.sum()),
            "procedure": procedure_words(options),
            "seed": options.seed,
            "command": source.command,
            "versions": versions(),
            "notes": list(training.notes),
            "sources": [source.facts() for source in sources],
        },
    )


def check_place(out: Path) -> None:
    """Refuse a folder in which a study would replace what no study wrote; before hours of work, not after.

    Raises:
        InputError: it holds tables, figures or files of a study's names without a study's record, is a file,
            or cannot be written.
        ResourceError: the disk is full.
    """
    try:
        taken = [name for name in OWN if (out / name).exists()]
        if taken and not _is_record(out / RECORD):
            raise InputError(
                f"{out}: holds {', '.join(taken)}, which a study would replace, but no study wrote them; "
                "choose another folder"
            )
        there = next(place for place in (out, *out.absolute().parents) if place.exists())
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        raise write_fault(out, error) from error


def _is_record(path: Path) -> bool:
    """Whether a file is the record of a study; its first line is enough."""
    try:
        with path.open(encoding="utf-8") as lines:
            return f'"schema": "{SCHEMA.partition("/")[0]}/' in lines.read(200)
    except (OSError, UnicodeDecodeError):
        return False


@contextmanager
def _folder(out: Path) -> Iterator[Path]:
    """A scratch folder beside the final files; what was written there takes their place when all is done."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        for left in out.glob(f"{SCRATCH}*"):  # by a study that was killed
            shutil.rmtree(left, ignore_errors=True)
        scratch = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=out))
    except OSError as error:
        raise write_fault(out, error) from error
    try:
        yield scratch
        (out / PAGE).unlink(missing_ok=True)  # no report ever stands beside another study's tables
        for name in OWN:
            _replace(scratch / name, out / name)
    except OSError as error:
        raise write_fault(out, error) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _replace(made: Path, place: Path) -> None:
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)
    if made.exists():
        made.replace(place)


def _write_record(results: Results, path: Path) -> None:
    record = {
        "schema": SCHEMA,
        "command": results.source.command,
        "versions": versions(),
        "options": plain(results.options),
        "demonstration": results.material.demonstration,
        "weights": results.material.weights_sha256 or None,
        "inputs_sha256": dict(results.material.sha256),
        "failures": plain(results.material.failures),
        **provenance_record(results),
        "absent": list(results.absent),
        "diagnosis": plain(results.diagnosis),
        "prognoses": plain([replace(found, model=None) for found in results.prognoses]),
    }
    path.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n", encoding="utf-8")
