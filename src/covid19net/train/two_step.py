"""From a manifest to a weight set: the auxiliary task, and the diagnosis that starts from it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
import json
from pathlib import Path
from typing import Any, Literal

import numpy as np

from covid19net.cohort import (
    COLUMNS,
    DataSource,
    Patient,
    made_from,
    read_manifest,
    read_sources,
    source_from,
    write_table,
)
from covid19net.errors import InputError, WeightsError
from covid19net.models import Models
from covid19net.train.classes import POSITIVE, Split, is_positive, split_patients
from covid19net.train.classify import start_network, train_network
from covid19net.train.fit import HERE, Site
from covid19net.train.images import LEFT_OUT, Images, Sample, prepare, tell_left_out
from covid19net.train.outcome import About, Patients, leave, scores_table
from covid19net.train.recipes import Stage
from covid19net.train.together import rank, wait_for_all, world
from covid19net.weights import WeightFile, load_tensors, tensors_of
from covid19net.weights.networks import network_tensors
from covid19net.weights.registry import weight_files

TaskName = Literal["auxiliary", "diagnosis"]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Task:
    """What is learned: the task of the weights, the column of the manifest, and the set to learn from."""

    weights: str
    column: str
    training_set: str


TASKS: Mapping[TaskName, Task] = {
    "auxiliary": Task("egfr", "egfr", "auxiliary"),
    "diagnosis": Task("diagnosis", "label", "training"),
}


@dataclass(frozen=True)
class Plan:
    """One training, as asked for.

    Attributes:
        task: what is learned.
        stages: the recipe.
        start: weight set whose network is transferred; None starts from random numbers.
        seed: of the starting weights and of the choice of tuning patients.
        name: of the weight set.
        licence: of the weights.
        origin: who trains.
        command: that was given, for the card.
        leave_out: whether patients whose scan cannot be used are left out; else the first of them is a fault.
    """

    task: Task
    stages: tuple[Stage, ...]
    start: Path | None = None
    seed: int = 0
    name: str = "trained"
    licence: str = "none stated"
    origin: str = "not stated"
    command: str = ""
    leave_out: bool = False


@dataclass(frozen=True)
class Workplace:
    """Where a training keeps things.

    Attributes:
        out: folder of the weight set; gets scores.csv too.
        work: folder of checkpoints and metrics.
        cache: folder of lung images.
    """

    out: Path
    work: Path
    cache: Path


def starting_weights(folder: Path) -> WeightFile:
    """The network to transfer, from a weight set: the auxiliary task's, else the diagnosis'.

    Raises:
        WeightsError: no such set, or it holds neither.
    """
    found = weight_files(folder)
    weights = found.get("egfr") or found.get("diagnosis")
    if weights is None:
        raise WeightsError(f"{folder}: holds no COVID-19Net to start from")
    return weights


def starting_tensors(folder: Path) -> tuple[dict[str, np.ndarray], str]:
    """Tensors of the network to transfer.

    Returns:
        The tensors, and what they are, for the card.

    Raises:
        WeightsError: see `starting_weights`, or they are damaged.
    """
    weights = starting_weights(folder)
    return network_tensors(
        load_tensors(weights)
    ), f"{weights.card.name}, task {weights.card.task}, SHA-256 {weights.card.sha256[:12]}"


def learnable(column: str) -> str:
    """The column in lower case, as manifests are read.

    Raises:
        InputError: it holds neither two words nor yes and no.
    """
    column = column.lower()
    if column in COLUMNS and column not in POSITIVE and COLUMNS[column] is not COLUMNS["comorbidity"]:
        raise InputError(f"column {column} has no two classes to learn")
    return column


def read_cohort(manifest: Path, plan: Plan, models: Models | None) -> tuple[list[Patient], Split]:
    """Read a manifest and divide it.

    Args:
        manifest: CSV.
        plan: of the training.
        models: to find lungs; without them every row needs a mask.

    Raises:
        InputError: faults of the table, all at once, or too few patients.
    """
    needs = ["scan"] if models else ["scan", "lungs"]
    patients = read_manifest(manifest, needs=needs, may=[plan.task.column])
    if not any(plan.task.column in p.values for p in patients):
        raise InputError(f"{manifest.name}: column {plan.task.column} is missing or empty in every row")
    return patients, split_patients(patients, plan.task.column, plan.task.training_set, seed=plan.seed)


def samples_of(split: Split, column: str, images: Mapping[str, Path]) -> Patients:
    """Every patient of a split with class and lung image, given by patient_id.

    Raises:
        InputError: one scan under two names.
    """

    def samples(patients: Sequence[Patient]) -> list[Sample]:
        return [Sample(images[p.patient_id], is_positive(p, column), p) for p in patients]

    found = Patients(
        samples(split.training),
        samples(split.tuning),
        {name: samples(group) for name, group in split.validation.items()},
    )
    _refuse_twins([*found.training, *found.tuning, *(s for part in found.validation.values() for s in part)])
    return found


def images_of(
    patients: Sequence[Patient],
    place: Workplace,
    models: Models | None,
    site: Site,
    progress: Progress | None,
    *,
    leave_out: bool,
) -> Images:
    """The lung images of patients; in a joint training each process makes its share of them."""

    def step(done: int, count: int) -> None:
        if progress:
            progress("images", done, count)

    make = partial(prepare, cache=place.cache, models=models, workers=site.workers, leave_out=leave_out)
    if world() > 1:  # then all find the same ones
        make(patients[rank() :: world()])
        wait_for_all()
    return make(patients, progress=step)


def without_unusable(
    split: Split, column: str, unusable: Mapping[str, str]
) -> tuple[Split, list[dict[str, object]]]:
    """A split without the patients whose scan gives no lung image, and who they are.

    Args:
        split: of a manifest.
        column: that is learned.
        unusable: patient_id -> why there is no image.

    Raises:
        InputError: too few of a class are left to learn from or to tune with.
    """

    def kept(group: Sequence[Patient]) -> tuple[Patient, ...]:
        return tuple(p for p in group if p.patient_id not in unusable)

    validation = {name: kept(group) for name, group in split.validation.items()}
    left = Split(
        kept(split.training), kept(split.tuning), {name: group for name, group in validation.items() if group}
    )
    for name, group in (("learn from", left.training), ("tune with", left.tuning)):
        if unusable and len({is_positive(p, column) for p in group}) < 2:
            first = next(iter(unusable.values()))
            raise InputError(f"no scan of one class can be used to {name}; the first that cannot: {first}")
    rows: list[dict[str, object]] = [
        {"patient_id": p.patient_id, "set": name, "reason": unusable[p.patient_id]}
        for name, group in everybody(split).items() for p in group if p.patient_id in unusable
    ]  # fmt: skip
    return left, rows


def everybody(split: Split) -> dict[str, tuple[Patient, ...]]:
    """The patients of each part of a split."""
    return {"training": split.training, "tuning": split.tuning, **split.validation}


def _refuse_twins(samples: Sequence[Sample]) -> None:
    """Refuse scans of equal content under two rows: one patient on two sides, whatever the names."""
    rows: dict[Path, list[int]] = {}
    for sample in samples:
        rows.setdefault(sample.path, []).append(sample.patient.row)
    twins = [" and ".join(map(str, sorted(found))) for found in rows.values() if len(found) > 1]
    if twins:
        raise InputError(f"column scan: the same scan under two names in rows {'; '.join(twins)}")


def train_task(
    manifest: Path,
    plan: Plan,
    place: Workplace,
    *,
    models: Models | None = None,
    site: Site = HERE,
    progress: Progress | None = None,
) -> WeightFile | None:
    """Train COVID-19Net for one task and write a weight set ready for analysis.

    Args:
        manifest: CSV, see `covid19net.cohort`.
        plan: what is trained and how.
        place: where to.
        models: to find the lungs of patients without a mask.
        site: device, threads, TensorBoard, progress of the steps.
        progress: of everything else: called with what is done, and how many of how many.

    Returns:
        The weights; None in all processes of a joint training but the first.

    Raises:
        InputError: faults in the manifest, or too few patients.
        WeightsError: the weights to start from.
    """
    patients, split = read_cohort(manifest, plan, models)
    needed = [patient for group in everybody(split).values() for patient in group]
    images = images_of(needed, place, models, site, progress, leave_out=plan.leave_out)
    left_out: list[dict[str, object]] = []
    if plan.leave_out:
        split, left_out = without_unusable(split, plan.task.column, images.unusable)
        if not rank():
            tell_left_out(place.out / LEFT_OUT, left_out)
    sources = read_sources(manifest, patients)
    tensors, origin = starting_tensors(plan.start) if plan.start else (None, "random numbers")
    samples = samples_of(split, plan.task.column, images.paths)
    place.work.mkdir(parents=True, exist_ok=True)
    network = start_network(tensors, plan.seed)
    best = train_network(network, samples.training, samples.tuning, plan.stages, place.work, site)
    if rank():
        return None
    facts: dict[str, Any] = {
        "best AUC on tuning patients": best,
        "started from": origin,
        "recipe": recipe_facts(plan.stages),
    }
    if plan.leave_out:
        facts["patients left out, their scans being unusable"] = len(left_out)
    about = replace(
        describe(manifest, patients, split, plan, sources), shrink=plan.stages[-1].shrink, facts=facts
    )

    def step(done: int, count: int) -> None:
        if progress:
            progress("scoring", done, count)

    weights, scores = leave(
        tensors_of(network), samples, about, place.out, device=site.device.split(":")[0], progress=step
    )
    write_table(place.out / "scores.csv", scores_table(scores))
    return weights


def recipe_facts(stages: Sequence[Stage]) -> list[dict[str, Any]]:
    """The recipe for the card."""
    facts: list[dict[str, Any]] = json.loads(json.dumps([asdict(stage) for stage in stages]))
    return facts


def describe(
    manifest: Path,
    patients: Sequence[Patient],
    split: Split,
    plan: Plan,
    sources: Sequence[DataSource] = (),
) -> About:
    """What the card says of a training, and of that of the weights it started from."""
    column = plan.task.column

    def counts(group: Sequence[Patient]) -> str:
        positive = sum(is_positive(p, column) for p in group)
        return f"{positive} positive, {len(group) - positive} negative"

    synthetic = any(p.values.get("synthetic") is True for p in patients)
    kind = "synthetic patients (phantoms)" if synthetic else "patients"
    centres = sorted({str(p.values["centre"]) for p in split.training if "centre" in p.values})
    where = f" of {', '.join(centres)}" if centres else ""
    data = (
        f"{len(split.training)} {kind}{where} (column {column}: {counts(split.training)}); "
        f"{len(split.tuning)} more ({counts(split.tuning)}) chose weights and threshold; "
        f"manifest {manifest.name}"
    )
    inherited: list[DataSource] = []
    if plan.start:
        start = starting_weights(plan.start).card
        data += (
            f"; the weights it started from, {start.name} (licence {start.licence}): {start.training_data}"
        )
        inherited = [source_from(facts) for facts in start.sources]
    learned = [*split.training, *split.tuning]
    measured = [patient for group in split.validation.values() for patient in group]
    made = made_from(sources, learned, measured, patients, inherited)
    return About(
        plan.task.weights, plan.name, plan.licence, plan.origin, data, plan.command, synthetic, sources=made
    )


def with_column(task: Task, column: str | None, training_set: str | None) -> Task:
    """A task with another column or set."""
    chosen = learnable(column) if column else task.column
    return replace(task, column=chosen, training_set=training_set or task.training_set)
