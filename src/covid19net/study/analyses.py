"""Score and features of every patient of a study, computed once and kept under a key of what decides them."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
import hashlib
import json
from pathlib import Path

import numpy as np

from covid19net.cohort import Patient
from covid19net.density import lung_density
from covid19net.diagnose import probability_of
from covid19net.errors import Covid19netError, InputError
from covid19net.features import Analysis
from covid19net.gate import check_hounsfield, check_lungs
from covid19net.io.files import write_fault, write_whole
from covid19net.models import Models
from covid19net.preprocess import lung_image
from covid19net.train.images import image_key, scan_and_lungs
from covid19net.weights.reference import feature_distance

RECIPE = "study-analysis-1"  # of what is computed for a scan; another name computes every scan anew
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Failure:
    """A patient whose scan gave no result.

    Attributes:
        patient_id: of the manifest.
        row: of the manifest.
        reason: one line.
    """

    patient_id: str
    row: int
    reason: str


def analyze_cohort(
    patients: Sequence[Patient],
    models: Models,
    folder: Path,
    *,
    workers: int = 1,
    progress: Progress | None = None,
) -> tuple[dict[str, Analysis], tuple[Failure, ...]]:
    """Analyze whoever has not been analyzed yet; a scan that cannot be used is a failure, not a stop.

    The lungs are those of the manifest's masks where it has them. A result is kept under a key of the scan's
    content, the mask or lung network, and the diagnosis network: nothing stale is ever found again.

    Args:
        patients: rows with a scan.
        models: both networks.
        folder: of the results, one JSON file for each scan.
        workers: threads that read scans and cut out lungs while the network runs.
        progress: called with patients done and in all.

    Returns:
        patient_id -> analysis, and who failed; together everybody.

    Raises:
        InputError: the folder cannot be written, or nobody could be analyzed.
        ResourceError: the disk is full.
    """
    found: dict[str, Analysis] = {}
    failures = []
    jobs = _ahead(patients, models, folder, max(1, workers))
    for done, (patient, job) in enumerate(jobs, start=1):
        try:
            found[patient.patient_id] = _finished(job.result(), models, folder)
        except Covid19netError as fault:
            if fault.exit_code not in (2, 3) or isinstance(fault, _StoreError):
                raise
            failures.append(Failure(patient.patient_id, patient.row, str(fault)))
        if progress:
            progress(done, len(patients))
    if not found:
        first = failures[0]
        raise InputError(f"none of {len(patients)} scans could be analyzed; row {first.row}: {first.reason}")
    return found, tuple(failures)


class _StoreError(InputError):
    """A result that cannot be written: no fault of the scan."""


@dataclass(frozen=True, eq=False)
class _Prepared:
    """A scan on its way: an analysis kept from before, or what the network needs."""

    key: str
    kept: Analysis | None = None
    image: np.ndarray | None = None
    density: Mapping[str, float] = field(default_factory=dict)
    findings: tuple[str, ...] = ()


def _ahead(
    patients: Sequence[Patient], models: Models, folder: Path, workers: int
) -> Iterator[tuple[Patient, "Future[_Prepared]"]]:
    """Patients with their preparation, a few of them under way at a time."""
    pool, waiting = ThreadPoolExecutor(workers), deque[tuple[Patient, "Future[_Prepared]"]]()
    try:
        for patient in patients:
            waiting.append((patient, pool.submit(_prepare, patient, models, folder)))
            if len(waiting) > workers:
                yield waiting.popleft()
        yield from waiting
    finally:
        pool.shutdown(cancel_futures=True)


def _prepare(patient: Patient, models: Models, folder: Path) -> _Prepared:
    key = analysis_key(patient, models)
    kept = _kept(folder / f"{key}.json")
    if kept is not None:
        return _Prepared(key, kept)
    volume, lungs = scan_and_lungs(patient, models)
    findings = check_hounsfield(volume)
    if "lungs" not in patient.values:
        findings += check_lungs(lungs, volume)
    codes = tuple(finding.code for finding in findings)
    image = lung_image(volume, lungs).values
    return _Prepared(key, None, image, lung_density(volume, lungs).values(), codes)


def analysis_key(patient: Patient, models: Models) -> str:
    """Key of a patient's analysis: contents of scan and mask, and the networks that see them."""
    lungs = models.weights.lungs.card.sha256
    try:
        image = image_key(patient, lungs)
    except OSError as error:
        raise InputError(f"the scan cannot be read: {(error.strerror or str(error)).lower()}") from error
    parts = (RECIPE, image, models.weights.diagnosis.card.sha256)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _finished(prepared: _Prepared, models: Models, folder: Path) -> Analysis:
    if prepared.kept is not None:
        return prepared.kept
    assert prepared.image is not None
    evidence = models.diagnosis(prepared.image)
    reference = models.reference
    distance = None if reference is None else float(feature_distance(evidence.features, reference))
    analysis = Analysis(
        probability_of(evidence.logit),
        np.array([float(f"{value:.7g}") for value in evidence.features.tolist()]),
        distance,
        prepared.density,
        prepared.findings,
        models.weights.diagnosis.card.sha256,
    )
    _keep(analysis, folder / f"{prepared.key}.json")
    return analysis


def _keep(analysis: Analysis, path: Path) -> None:
    record = {
        "recipe": RECIPE,
        "probability": analysis.probability,
        "features": analysis.features.tolist(),
        "distance": analysis.distance,
        "density": dict(analysis.density),
        "findings": list(analysis.findings),
        "weights": analysis.weights,
    }
    text = json.dumps(record, allow_nan=False) + "\n"

    def write(part: Path) -> None:
        part.write_text(text)

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, write)
    except OSError as error:
        fault = write_fault(path, error)
        raise _StoreError(str(fault)) if isinstance(fault, InputError) else fault from error
    except InputError as fault:
        raise _StoreError(str(fault)) from fault


def _kept(path: Path) -> Analysis | None:
    """An analysis from before; None where there is none or it cannot be read."""
    try:
        record = json.loads(path.read_text())
        features = np.array(record["features"], np.float64)
        if record["recipe"] != RECIPE or features.shape != (64,):
            return None
        return Analysis(
            float(record["probability"]),
            features,
            record["distance"],
            dict(record["density"]),
            tuple(record["findings"]),
            str(record["weights"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
