"""One chest CT to one result: lungs, lung image, score, suspicious areas."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from platform import python_version
from time import perf_counter

import numpy as np

from covid19net import __version__
from covid19net.diagnose import Decision, Distance, check_distance, decide, probability_of
from covid19net.engine import Evidence, ScanOnDevice, describe, to_device
from covid19net.errors import WeightsError
from covid19net.explain import MapEvidence, check_map, grad_cam, heat_map, map_evidence, stability
from covid19net.gate import check_hounsfield, check_lungs
from covid19net.models import Models
from covid19net.preprocess import AIR, lung_box, lung_image
from covid19net.prognosis.model import Clinical, Prognosis, PrognosticModel, missing, predict
from covid19net.prognosis.model_file import model_sha256
from covid19net.quantify import Quantification, quantify
from covid19net.segment import Lungs, find_lungs, lung_probability, lungs_on_ct
from covid19net.stream import one_blas_thread, side_by_side
from covid19net.volume import Box, CTVolume, Finding, Overlay, Scan, upright
from covid19net.weights import Card
from covid19net.weights.reference import Reference, feature_distance

LIBRARIES = ("numpy", "scipy", "pydicom", "imagecodecs", "SimpleITK")  # that numbers of a result depend on
Progress = Callable[[str, float], None]


@dataclass(frozen=True, eq=False)
class CaseResult:
    """The result for one scan.

    Attributes:
        probability: of COVID-19 against other pneumonia, in [0, 1].
        decision: at the threshold of the weights.
        features: the 64-dimensional DL feature, float32, may be negative.
        lungs: on the CT's grid, uint8: 1 right lung, 2 left lung; 1 for both where the sides are not known.
        sides_known: whether the file says which side of the patient is which.
        lung_millilitres: (right, left) of `lungs`; of no use one by one where the sides are not known.
        quantification: volume and density of the lungs, by side and third; no output of a network.
        heatmap: on the CT's grid, uint8, percent of its own largest value.
        map_evidence: what speaks for the map and against it; None for an empty one.
        box: the part of the CT the diagnosis network saw, in voxels.
        findings: what a reader must know, in the order found.
        scan: the scan itself.
        clinical: as given.
        provenance: versions, weights, engine, options.
        seconds: for each stage.
        feature_distance: of `features` from the training images; None where the weights know nothing of them.
        prognosis: risk of a long stay and probability of discharge by day; None without a prognostic model or
            where something it needs is missing.
        prognosis_missing: what it needed and did not have, in words.
    """

    probability: float
    decision: Decision
    features: np.ndarray
    lungs: Overlay
    sides_known: bool
    lung_millilitres: tuple[float, float]
    quantification: Quantification
    heatmap: Overlay
    map_evidence: MapEvidence | None
    box: Box
    findings: tuple[Finding, ...]
    scan: Scan
    clinical: Clinical
    provenance: dict[str, object]
    seconds: dict[str, float] = field(default_factory=dict)
    feature_distance: Distance | None = None
    prognosis: Prognosis | None = None
    prognosis_missing: tuple[str, ...] = ()


@contextmanager
def _timed(seconds: dict[str, float], stage: str, progress: Progress | None) -> Iterator[None]:
    if progress:
        progress(stage, 0.0)
    start = perf_counter()
    yield
    seconds[stage] = round(perf_counter() - start, 3)
    if progress:
        progress(stage, 1.0)


def _card_of(card: Card) -> dict[str, object]:
    keys = (
        "name", "task", "network", "sha256", "licence", "origin", "training_data", "demonstration", "sources",
    )  # fmt: skip
    return {key: getattr(card, key) for key in keys}


@lru_cache(maxsize=1)
def _versions() -> dict[str, str]:
    """Of Python and of the libraries; one that this installation does without is left out."""
    found = {"python": python_version()}
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _provenance(models: Models, options: dict[str, object]) -> dict[str, object]:
    weights = models.weights
    return {
        "package": "covid19net",
        "version": __version__,
        "versions": dict(_versions()),
        "weights": {
            "set": weights.name,
            "lungs": _card_of(weights.lungs.card),
            "diagnosis": _card_of(weights.diagnosis.card),
        },
        "engine": describe(models.lungs, models.diagnosis),
        "options": options | {"device": models.device},
    }


def segment(
    volume: CTVolume,
    models: Models,
    *,
    every_slice: bool = False,
    progress: Progress | None = None,
    there: ScanOnDevice | None = None,
) -> tuple[Lungs, Overlay]:
    """Lung mask and lung probability of a scan, cleaned up as the weights ask for.

    Args:
        volume: the scan.
        models: from `load_models`.
        every_slice: as for `analyze`.
        progress: as for `analyze`.
        there: the scan on a device that is to do the work around the network.

    Returns:
        The lungs, and the network's probability on its own grid.
    """

    def step(done: int, count: int) -> None:
        if progress:
            progress("lungs", done / count)

    probability = lung_probability(volume, models.lungs, every_slice=every_slice, progress=step, there=there)
    clean = bool(models.weights.lungs.card.options.get("clean_up", True))
    return find_lungs(probability, clean=clean), probability


def _distance(features: np.ndarray, reference: Reference | None) -> Distance | None:
    if reference is None:
        return None
    return Distance(feature_distance(features, reference), reference.limit)


def _provenance_of(prognostic: PrognosticModel | None) -> dict[str, object]:
    if prognostic is None:
        return {}
    about = prognostic.about
    keys = ("name", "diagnosis_sha256", "licence", "origin", "demonstration")
    return {"prognosis": {key: getattr(about, key) for key in keys} | {"sha256": model_sha256(prognostic)}}


def _lacking(prognostic: PrognosticModel | None, clinical: Clinical, models: Models) -> tuple[str, ...]:
    if prognostic is None:
        return ()
    if prognostic.about.end_point != "discharge":
        raise WeightsError(f"a case shows the prognosis of discharge, not of {prognostic.about.end_point}")
    return missing(prognostic, clinical, models.weights.diagnosis.card.sha256)


def _prognosis_findings(
    prognosis: Prognosis | None, lacking: tuple[str, ...], decision: Decision
) -> tuple[Finding, ...]:
    """What a reader of the prognosis must know, or why there is none."""
    if lacking:
        return (Finding("prognosis-missing", f"no prognosis: it needs {', '.join(lacking)}"),)
    if prognosis is None:
        return ()
    findings = [Finding("prognosis-range", warning) for warning in prognosis.warnings]
    if prognosis.about.demonstration:
        message = "the prognostic model was made from synthetic patients: it says nothing about a patient"
        findings.append(Finding("prognosis-demonstration", message))
    if decision.call != "positive":
        message = f"the scan is {decision.call}: the prognosis holds for patients with COVID-19 only"
        findings.append(Finding("prognosis-not-covid", message))
    return tuple(findings)


def _bare_scan(volume: CTVolume) -> Scan:
    """A volume that did not come through `read_ct`, as that would leave it: upright, without padding."""
    if volume.hu.min() >= AIR:
        return Scan(upright(volume))
    padding = Finding("padding", f"values below {AIR} HU were set to {AIR} HU (air)")
    return Scan(upright(CTVolume(np.maximum(volume.hu, AIR), volume.affine)), findings=(padding,))


def _ready(
    volume: CTVolume, lungs: Overlay, box: Box, models: Models, there: ScanOnDevice | None
) -> tuple[Callable[[], Evidence], Callable[[], np.ndarray]]:
    """Make the lung image, where the networks run; what is returned scores it, and gives it."""
    if there:
        image = there.lung_image(lungs, box)
        return lambda: there.evidence(models.diagnosis, image), lambda: there.fetch(image)
    values = lung_image(volume, lungs, box).values
    return lambda: models.diagnosis(values), lambda: values


@one_blas_thread()
def analyze(  # noqa: PLR0913 - each is an option of its own
    scan: Scan | CTVolume,
    models: Models,
    *,
    every_slice: bool = False,
    full_evidence: bool = True,
    clinical: Clinical | None = None,
    prognostic: PrognosticModel | None = None,
    progress: Progress | None = None,
) -> CaseResult:
    """Find the lungs, cut them out, quieten the rest, diagnose, show what argued for it, and look ahead.

    Args:
        scan: from `read_ct`, or a bare volume in HU.
        models: from `load_models`.
        every_slice: segment every slice, as published, instead of slices up to 5 mm apart.
        full_evidence: check also whether the heat map is stable; False saves two runs of the network.
        clinical: what is known of the patient; kept with the result.
        prognostic: model of discharge, from `find_model`; without it there is no prognosis.
        progress: called with (stage, share done).

    Raises:
        NotChestCTError: not a chest CT in HU, or no usable lungs.
        WeightsError: a prognostic model of another end point than discharge.
    """
    clinical = clinical or Clinical()
    lacking = _lacking(prognostic, clinical, models)
    scan = scan if isinstance(scan, Scan) else _bare_scan(scan)
    volume, findings, seconds = scan.volume, scan.findings, dict[str, float]()
    sides_known = all(finding.code != "orientation-unknown" for finding in findings)
    with _timed(seconds, "check", progress):
        there = to_device(volume, models.device)
        findings += check_hounsfield(volume, there.values() if there else None)
    with _timed(seconds, "lungs", progress):
        lungs, chance = segment(volume, models, every_slice=every_slice, progress=progress, there=there)
        findings += check_lungs(lungs.mask, volume, sides_known=sides_known)
    with _timed(seconds, "lung-image", progress):
        box = lung_box(lungs.mask, volume.shape)
        diagnosis, image = _ready(volume, lungs.mask, box, models, there)
    with _timed(seconds, "diagnosis", progress):
        evidence = diagnosis()
    cam, stable = grad_cam(evidence), None
    if full_evidence and cam.any():
        with _timed(seconds, "stability", progress):  # before there are maps, which need memory
            stable = stability(image(), models.diagnosis, evidence)
    with _timed(seconds, "maps", progress):
        heat = heat_map(cam, box, volume, evidence.shrink, there)
        on_ct = lungs_on_ct(lungs, chance, volume, there)
        if not sides_known:
            np.minimum(on_ct.values, 1, out=on_ct.values)
        quantification, shown = side_by_side(
            lambda: quantify(volume, on_ct, sides_known=sides_known),
            lambda: map_evidence(heat, on_ct, volume, box, sides_known=sides_known),
        )
        shown = shown and replace(shown, stability=stable)
    findings += check_map(shown)
    if not cam.any():
        findings += (Finding("empty-heatmap", "no place of the scan argues for COVID-19: the map is empty"),)
    distance = _distance(evidence.features, models.reference)
    findings += check_distance(distance) + models.weights.findings
    probability = probability_of(evidence.logit)
    threshold = float(models.weights.diagnosis.card.options.get("threshold", 0.5))
    decision = decide(probability, threshold, findings)
    prognosis = predict(prognostic, evidence.features, clinical) if prognostic and not lacking else None
    findings += _prognosis_findings(prognosis, lacking, decision)
    return CaseResult(
        probability=probability,
        decision=decision,
        features=evidence.features,
        lungs=on_ct,
        sides_known=sides_known,
        lung_millilitres=quantification.sides(lungs.millilitres),
        quantification=quantification,
        heatmap=heat,
        map_evidence=shown,
        box=box,
        findings=findings,
        scan=scan,
        clinical=clinical,
        provenance=_provenance(models, {"every_slice": every_slice, "full_evidence": full_evidence})
        | _provenance_of(prognostic),
        seconds=seconds,
        feature_distance=distance,
        prognosis=prognosis,
        prognosis_missing=lacking,
    )
