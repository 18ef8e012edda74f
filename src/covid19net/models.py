"""Both networks of a weight set. On the CPU they get ready in threads of their own: open them first."""

from dataclasses import dataclass, replace
from pathlib import Path

from covid19net.engine import DiagnosisNetwork, LungNetwork, choose_device, open_diagnosis, open_lungs
from covid19net.weights import WeightSet, find_set, lung_weights
from covid19net.weights.files import load_reference
from covid19net.weights.reference import Reference


@dataclass(frozen=True, eq=False)
class Models:
    """Both networks, ready to run, and the weights they came from.

    Attributes:
        lungs: finds the lungs.
        diagnosis: scores the lung image.
        weights: where both came from.
        device: where they run, as from `choose_device`.
        reference: what the diagnosis weights know of their training images; None where that is nothing.
    """

    lungs: LungNetwork
    diagnosis: DiagnosisNetwork
    weights: WeightSet
    device: str
    reference: Reference | None = None


def load_models(
    weights: str | Path = "bundled",
    *,
    lungs: str | Path | None = None,
    device: str = "auto",
    home: Path | None = None,
    cache: Path | None = None,
    threads: int | None = None,
) -> Models:
    """Open both networks of a weight set.

    Args:
        weights: "bundled", the name of an installed set, or a folder.
        lungs: another set, whose lung network is used instead.
        device: "auto", "cpu", "cuda", "mps" or "torch-cpu".
        home: folder of installed sets.
        cache: where to keep the converted form of weights whose own folder cannot be written.
        threads: of the CPU, for the networks; None: every core. They change no result.

    Raises:
        WeightsError: no such set, or a damaged file.
        InputError: the device is not there.
    """
    found = find_set(weights, home)
    if lungs is not None:
        found = replace(found, lungs=lung_weights(lungs, home))
    chosen = choose_device(device)
    lung_network = open_lungs(found.lungs, chosen, threads=threads, cache=cache)
    diagnosis = open_diagnosis(found.diagnosis, chosen, threads=threads, cache=cache)
    return Models(lung_network, diagnosis, found, chosen, load_reference(found.diagnosis))
