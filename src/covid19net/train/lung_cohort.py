"""Training the lung network from a manifest: masked scans of many patients, some slices of each on disk."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import nn

from covid19net.cohort import (
    DataSource,
    Patient,
    licence_of,
    made_from,
    read_manifest,
    read_sources,
    source_from,
)
from covid19net.errors import InputError, NotChestCTError, naming
from covid19net.io import read_ct
from covid19net.nets.densenet_fpn import DenseNetFPN
from covid19net.train.augment import standardized
from covid19net.train.fit import HERE, Schedule, Site
from covid19net.train.images import LEFT_OUT, content_hash, keep_array, read_mask, tell_left_out
from covid19net.train.lesions import LUNG
from covid19net.train.lung_data import IGNORE, Source, small_hu, small_mask, with_neighbours
from covid19net.train.lungs import start_network, store_lungs, train_lungs
from covid19net.train.outcome import source_limits
from covid19net.train.together import rank
from covid19net.weights import WeightFile, load_network

RECIPE = "lung-slices-1"  # of the preprocessing; another name makes every patient's slices anew
SLICES = 24  # of each patient, evenly from the feet to the head
TUNING = 0.2  # share of the patients whose Dice decides which weights are kept
FEWEST = 5  # patients
# Ours: the authors state nothing of their training. About as many steps as the bundled lung weights took
# (820 and 1600 steps of 8 slices).
FULL = Schedule(2400, 8, 8e-4, average=0.995, precision="bf16", judge_every=200, patience=5)

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Start:
    """What the lung network is before its first step; random numbers where nothing is given.

    Attributes:
        encoder: starting weights of the encoder, see `load_encoder`.
        lungs: a trained lung network.
    """

    encoder: Path | None = None
    lungs: WeightFile | None = None

    def network(self, seed: int) -> DenseNetFPN:
        """The network.

        Raises:
            InputError: both are given.
            WeightsError: weights that are damaged or of another network.
        """
        if self.lungs is None:
            return start_network(self.encoder, seed=seed)
        if self.encoder is not None:
            raise InputError("either an encoder or a lung network to start from, not both")
        network = load_network(self.lungs)
        assert isinstance(network, DenseNetFPN)
        return network

    def sources(self) -> list[DataSource]:
        """Of the data that taught it."""
        return [source_from(facts) for facts in self.lungs.card.sources] if self.lungs else []

    def words(self) -> str:
        """For the card."""
        if self.lungs is not None:
            card = self.lungs.card
            return f"lung network of {card.name}, SHA-256 {card.sha256[:12]}, licence {card.licence}"
        return "random numbers" if self.encoder is None else f"encoder {self.encoder.name}"


NOTHING = Start()


def slices_of(patient: Patient, cache: Path) -> Source:
    """Some slices of a patient with their masks, read from disk as they are drawn.

    Args:
        patient: a row with scan and lung mask (1 lung, 0 not, 255 unknown; other values count as lung).
        cache: folder of the slices, 10 MB a patient; made where it is absent.

    Raises:
        InputError: scan or mask cannot be read or do not fit.
    """
    scan, lungs = Path(str(patient.values["scan"])), Path(str(patient.values["lungs"]))
    parts = (RECIPE, content_hash(scan), content_hash(lungs))
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
    places = cache / f"{key}.hu.npy", cache / f"{key}.mask.npy"
    if not all(place.exists() for place in places):
        volume = read_ct(scan).volume
        mask = read_mask(lungs, volume)
        mask[(mask != 0) & (mask != IGNORE)] = LUNG
        chosen = np.unique(np.linspace(0, len(mask) - 1, SLICES).round().astype(int)).tolist()
        keep_array(places[0], with_neighbours(small_hu(volume), chosen))
        keep_array(places[1], small_mask(mask[chosen]))
    hu, small = (np.load(place, mmap_mode="r") for place in places)
    return Source(f"row {patient.row}", hu, small, 1.0)


def mean_dice(network: nn.Module, sources: Sequence[Source]) -> float:
    """Dice of each patient's known pixels, all slices together, averaged over the patients with lung."""
    device = next(network.parameters()).device
    found = []
    with torch.inference_mode():
        for source in sources:
            both = sizes = 0
            for hu, mask in zip(source.hu, source.mask, strict=True):
                x = torch.from_numpy(standardized(hu.astype(np.float32)))[None].to(device)
                seen = (network(x)[0, 0] > 0).cpu().numpy() & (mask != IGNORE)
                both += int((seen & (mask == LUNG)).sum())
                sizes += int(seen.sum() + (mask == LUNG).sum())
            if (source.mask == LUNG).any():
                found.append(2 * both / sizes)
    return float(np.mean(found))


def read_slices(
    patients: Sequence[Patient], cache: Path, *, leave_out: bool, progress: Progress | None
) -> tuple[dict[str, Source], list[dict[str, object]]]:
    """Slices of patients, by patient_id, and who is left out, and why.

    Raises:
        InputError, NotChestCTError: a scan or mask that cannot be used, named by its row, unless such are
            left out.
    """
    sources: dict[str, Source] = {}
    rows: list[dict[str, object]] = []
    for done, patient in enumerate(patients, start=1):
        try:
            with naming(f"row {patient.row}"):
                sources[patient.patient_id] = slices_of(patient, cache)
        except (InputError, NotChestCTError) as fault:
            if not leave_out:
                raise
            part = str(patient.values.get("set", ""))
            rows.append({"patient_id": patient.patient_id, "set": part, "reason": str(fault)})
        if progress:
            progress(done, len(patients))
    return sources, rows


def train_lungs_from(  # noqa: PLR0913 - each is an option of its own
    manifest: Path,
    out: Path,
    schedule: Schedule = FULL,
    *,
    start: Start = NOTHING,
    site: Site = HERE,
    leave_out: bool = False,
    progress: Progress | None = None,
    **card: str,
) -> WeightFile | None:
    """Train the lung network on the masked scans of a manifest and write a weight set.

    Args:
        manifest: CSV with columns scan and lungs; sets whose name begins with "validation" are scored once,
            at the end.
        out: folder of the weight set; checkpoints, metrics and slices go into out/work.
        schedule: the numbers of the run.
        start: what the network is before the first step.
        site: device, threads, progress of the steps.
        leave_out: leave out patients whose scan or mask cannot be used, named in out/left-out.csv; else the
            first of them is a fault.
        progress: of preparing the slices: patients done and in all.
        **card: name, licence, origin, training_command of the model card.

    Returns:
        The weights; None in all processes of a joint training but the first.

    Raises:
        InputError: faults in the manifest, too few patients, a scan that cannot be used.
    """
    rows = read_manifest(manifest, needs=["scan", "lungs"])
    known = read_sources(manifest, rows)
    _check_number(manifest, [p for p in rows if not is_kept_apart(p)])
    network = start.network(schedule.seed)
    found, left_out = read_slices(rows, out / "work" / "slices", leave_out=leave_out, progress=progress)
    if leave_out and not rank():
        tell_left_out(out / LEFT_OUT, left_out)
    patients = [p for p in rows if not is_kept_apart(p) and p.patient_id in found]
    _check_number(manifest, patients)
    patients.sort(key=lambda p: hashlib.sha256(f"{schedule.seed}:{p.patient_id}".encode()).digest())
    apart = [p for p in rows if is_kept_apart(p) and p.patient_id in found]
    count = max(1, round(TUNING * len(patients)))
    sources = [found[p.patient_id] for p in (*patients, *apart)]
    tuning, training, judged = sources[:count], sources[count : len(patients)], sources[len(patients) :]
    identity = hashlib.sha256("\n".join([start.words(), *(p.patient_id for p in patients)]).encode())
    site = replace(site, identity=identity.hexdigest())
    history = train_lungs(network, training, schedule, judge=lambda net: mean_dice(net, tuning), site=site)
    if rank() or history.best is None:
        return None
    synthetic = any(p.values.get("synthetic") is True for p in patients)
    kind = "synthetic patients (phantoms)" if synthetic else "patients"
    data = (
        f"{len(training)} {kind}, up to {SLICES} slices each; {count} more chose the weights; {manifest.name}"
    )
    metrics = {
        "dice_tuning": round(history.best[1], 4), "patients": count, "started from": start.words(),
        "validation": dice_by_set(network, apart, judged), "schedule": asdict(schedule),
    }  # fmt: skip
    if leave_out:
        metrics["patients left out, their scans being unusable"] = len(left_out)
    made = made_from(known, patients, apart, rows, start.sources())
    card["licence"] = licence_of(card["licence"], made)
    return store_lungs(
        network, out, **card, training_data=data, demonstration=synthetic, metrics=metrics,
        sources=[source.facts() for source in made], limits=" ".join(source_limits(made, "lungs")),
        intended_use="Finding the lungs for the diagnosis network. Research; not a medical device.",
    )  # fmt: skip


def _check_number(manifest: Path, patients: Sequence[Patient]) -> None:
    if len(patients) < FEWEST:
        raise InputError(f"{manifest.name}: {len(patients)} patients; at least {FEWEST} are needed")


def is_kept_apart(patient: Patient) -> bool:
    """Whether a patient only judges: those of sets whose name begins with "validation"."""
    return str(patient.values.get("set", "")).startswith("validation")


def dice_by_set(
    network: nn.Module, patients: Sequence[Patient], sources: Sequence[Source]
) -> dict[str, dict[str, float]]:
    """Number of patients and mean Dice of each set and collection, before the clean-up that analysis adds."""
    groups: dict[str, list[Source]] = {}
    for patient, source in zip(patients, sources, strict=True):
        names = (patient.values.get(column) for column in ("set", "collection"))
        groups.setdefault(", ".join(str(name) for name in names if name), []).append(source)
    return {
        name: {"patients": len(group), "dice": round(mean_dice(network, group), 4)}
        for name, group in groups.items()
    }
