"""What a training leaves: a weight set with its card, the scores of every patient, the measured numbers.

All scores come from the engine that analysis uses, in float32, from the weights as they are written.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from covid19net.cohort import DataSource, cautions, learned_from, licence_of, strata_of
from covid19net.diagnose import probability_of
from covid19net.engine import open_diagnosis
from covid19net.errors import InputError
from covid19net.evaluate import Estimate, performance, performance_by, youden_threshold
from covid19net.preprocess import WHOLE
from covid19net.train.images import Sample, Shrink
from covid19net.weights import WeightFile, write_weights
from covid19net.weights.reference import LIMIT_OPTION, fit_reference

REFERENCE_IMAGES = 200  # training images, at most, whose features become the reference
CERTAIN = (1e-6, 1 - 1e-6)  # a threshold lies within: networks can be surer than that of a few patients

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Scored:
    """What a network says of some patients.

    Attributes:
        samples: the patients.
        probability: of the class to be found, (n,).
        features: DL features, (n, 64).
    """

    samples: Sequence[Sample]
    probability: np.ndarray
    features: np.ndarray

    @property
    def label(self) -> np.ndarray:
        """Class of each patient, bool, (n,)."""
        return np.array([sample.positive for sample in self.samples], bool)


@dataclass(frozen=True)
class About:
    """What the card says that no training knows.

    Attributes:
        task: "diagnosis" or "egfr".
        name: of the set.
        licence: of the weights.
        origin: who made them.
        training_data: what they have seen.
        training_command: that made them.
        demonstration: whether the patients are synthetic.
        shrink: at which the network was trained last.
        facts: further entries of the card's metrics.
        sources: of the patients, with their roles; see `cohort.made_from`.
    """

    task: str
    name: str
    licence: str
    origin: str
    training_data: str
    training_command: str
    demonstration: bool
    shrink: Shrink = WHOLE
    facts: Mapping[str, Any] = field(default_factory=dict)
    sources: tuple[DataSource, ...] = ()


@dataclass(frozen=True, eq=False)
class Patients:
    """Samples of a training, by their part in it."""

    training: Sequence[Sample]
    tuning: Sequence[Sample]
    validation: Mapping[str, Sequence[Sample]] = field(default_factory=dict)


def score(weights: WeightFile, samples: Sequence[Sample], device: str, progress: Progress | None) -> Scored:
    """Run a weight file on whole lung images, as analysis does."""
    network = open_diagnosis(weights, device)
    found = []
    for done, sample in enumerate(samples):
        if progress:
            progress(done, len(samples))
        found.append(network(sample.read().astype(np.float32)))
    probability = np.array([probability_of(evidence.logit) for evidence in found])
    return Scored(samples, probability, np.stack([evidence.features for evidence in found]))


def plain(estimate: Estimate) -> dict[str, float]:
    """An estimate for a card."""
    return {"value": round(estimate.value, 4), "low": round(estimate.low, 4), "high": round(estimate.high, 4)}


def measured(scored: Scored, threshold: float) -> dict[str, Any]:
    """Counts, AUC with its interval, and what the threshold does, for one set and in its strata."""
    label, probability = scored.label, scored.probability
    facts: dict[str, Any] = {"positive": int(label.sum()), "negative": int((~label).sum())}
    if label.all() or not label.any():
        share = (probability > threshold).mean()
        return facts | {"called positive": round(float(share), 4)}
    whole = performance(label, probability, threshold)
    facts |= {
        "auc": plain(whole.auc),
        "sensitivity": plain(whole.point.sensitivity),
        "specificity": plain(whole.point.specificity),
    }
    if whole.calibration is not None:
        fit = whole.calibration
        facts |= {
            "brier": plain(fit.brier),
            "calibration in the large": plain(fit.in_the_large),
            "calibration slope": plain(fit.slope) if fit.slope else None,
            "expected calibration error": round(fit.expected_error, 4),
        }
    found = strata_of([sample.patient for sample in scored.samples])
    several = {name: values for name, values in found.items() if len(set(values)) > 1}
    for part in performance_by(label, probability, threshold, several):
        if part.performance is not None:
            facts.setdefault(f"auc by {part.covariate}", {})[part.value] = plain(part.performance.auc)
    return facts


def leave(
    tensors: dict[str, np.ndarray],
    patients: Patients,
    about: About,
    out: Path,
    *,
    device: str = "cpu",
    progress: Progress | None = None,
) -> tuple[WeightFile, dict[str, Scored]]:
    """Score every patient, choose the threshold on the tuning patients, and write weights and card.

    Args:
        tensors: of the trained network.
        patients: of the training.
        about: for the card.
        out: folder of the weight set.
        device: as for `open_diagnosis`.
        progress: called with images done and in all, for each set.

    Returns:
        The weight file, and the scores: "tuning" and each validation set.
    """
    options: dict[str, Any] = {} if about.shrink == WHOLE else {"shrink": list(about.shrink)}
    written = {
        "name": about.name, "licence": licence_of(about.licence, about.sources), "origin": about.origin,
        "sources": [source.facts() for source in about.sources],
        "training_data": about.training_data, "training_command": about.training_command,
        "demonstration": about.demonstration, "intended_use": intended_use(about), "limits": limits(about),
    }  # fmt: skip
    with TemporaryDirectory() as scratch:
        bare = write_weights(Path(scratch), about.task, tensors, **written, options=options)
        seen = score(bare, spread(patients.training, REFERENCE_IMAGES), device, progress)
        sets = {"tuning": patients.tuning, **patients.validation}
        scores = {name: score(bare, samples, device, progress) for name, samples in sets.items()}
    tuning = scores["tuning"]
    chosen = float(f"{youden_threshold(tuning.label, tuning.probability):.4g}")
    threshold = float(np.clip(chosen, *CERTAIN))
    reference = fit_reference(seen.features, tuning.features)
    options |= {"threshold": threshold, LIMIT_OPTION: reference.limit}
    metrics = {name: measured(found, threshold) for name, found in scores.items()}
    final = write_weights(
        out,
        about.task,
        tensors | reference.tensors(),
        **written,
        options=options,
        metrics=metrics | dict(about.facts),
    )
    return final, scores


def spread(samples: Sequence[Sample], count: int) -> Sequence[Sample]:
    """At most so many samples, evenly from the whole list."""
    if len(samples) <= count:
        return samples
    return [samples[i] for i in np.linspace(0, len(samples) - 1, count).round().astype(int)]


def intended_use(about: About) -> str:
    """What the weights are for."""
    if about.demonstration:
        return "Showing and testing the software. Never for a decision about a person."
    return "Research. Not a medical device; not validated for use in care."


def limits(about: About) -> str:
    """What the numbers of the card do not say, and what binds users of its data."""
    return " ".join([_limits(about), *source_limits(about.sources, about.task)])


def source_limits(sources: Sequence[DataSource], task: str) -> list[str]:
    """What binds the user of weights that were made from sources, a sentence each.

    Args:
        sources: with their roles; what was only measured on binds nobody.
        task: of the weights.
    """
    made = learned_from(sources)
    return [f"{line[0].upper()}{line[1:]}." for line in cautions(made, [task])]


def _limits(about: About) -> str:
    if about.demonstration:
        return (
            "A demonstration. Trained and measured on synthetic scans alone: its probability, threshold and "
            "heat map say nothing about a real person. Its accuracy on patients cannot be guessed from these "
            "numbers. Healthy lungs were not among the training cases."
        )
    return "Measured on the sets named here alone; other scanners, diseases and populations may differ."


def scores_table(scores: dict[str, Scored]) -> list[dict[str, Any]]:
    """One row a patient: id, set, class, type, scanner, probability."""
    rows = []
    for name, scored in scores.items():
        for sample, probability in zip(scored.samples, scored.probability, strict=True):
            values = sample.patient.values
            rows.append({
                "patient_id": sample.patient.patient_id, "set": name, "positive": int(sample.positive),
                "type": values.get("type", ""), "thickness": values.get("thickness", ""),
                "kernel": values.get("kernel", ""), "probability": f"{probability:.9g}",
            })  # fmt: skip
    if not rows:
        raise InputError("no patient was scored")
    return rows
