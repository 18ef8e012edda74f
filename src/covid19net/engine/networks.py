"""The two networks as functions of arrays: lungs of slices, evidence of a lung image."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from covid19net.engine.converted import (
    IMAGE_SHAPE,
    SLICE_SHAPE,
    Converted,
    convert,
    find_converted,
    shrink_of,
    torch_parts,
)
from covid19net.engine.device import choose_device
from covid19net.engine.runners import OpenVINORunner, Precision, Runner, TorchRunner
from covid19net.errors import InputError
from covid19net.weights import WeightFile
from covid19net.weights.files import read_checked

if TYPE_CHECKING:
    from torch import Tensor

SLICES_TOGETHER = {"cuda": 96}  # at most, 3 GB; on other devices of torch
FEW_SLICES = 8


def _checked(array: np.ndarray, shape: Sequence[int], what: str) -> np.ndarray:
    """The array as contiguous float32; raise unless it has this shape and every value is a number."""
    if array.shape != tuple(shape):
        raise InputError(f"{what} must have shape {tuple(shape)}, got {array.shape}")
    array = np.ascontiguousarray(array, np.float32)
    if not np.isfinite(array).all():
        raise InputError(f"{what} holds values that are not numbers")
    return array


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the diagnosis network says of one lung image, always computed in float32.

    Attributes:
        logit: log-odds of COVID-19 against other pneumonia.
        features: the 64-dimensional DL feature, (64,); may be negative.
        maps: output of dense block 3, (152, 6, 15, 23), axes (channel, z, y, x); >= 0. Smaller where the
            network sees a shrunken image.
        gradient: of the logit with respect to the maps, same shape.
        shrink: voxels of the lung image along (z, y, x) that are one voxel for the network.
    """

    logit: float
    features: np.ndarray
    maps: np.ndarray
    gradient: np.ndarray
    shrink: tuple[int, int, int] = (1, 1, 1)


class LungNetwork:
    """Lung probability of axial slices. From `open_lungs`; may be used by several threads at once."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def stream(self, slices: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Segment slices one after the other; only a few are in memory at a time.

        Args:
            slices: each (3, 256, 256): the slice between its two neighbours, z-scored.

        Yields:
            For each slice the probability of lung, (256, 256) float32 in [0, 1].

        Raises:
            InputError: another shape, or values that are not numbers.
            ResourceError: not enough memory.
        """
        for (logits,) in self._runner.stream(self._batches(slices)):
            yield from 0.5 + 0.5 * np.tanh(0.5 * logits[:, 0])  # the logistic function, without overflow

    def _batches(self, slices: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        checked = (_checked(array, SLICE_SHAPE[1:], "a slice with its neighbours") for array in slices)
        while batch := list(islice(checked, self._runner.batch)):
            yield np.stack(batch)

    def __call__(self, slices: np.ndarray, progress: Callable[[int, int], None] | None = None) -> np.ndarray:
        """Segment a stack of slices.

        Args:
            slices: (n, 3, 256, 256), as for `stream`.
            progress: called with (slices done, slices in all).

        Returns:
            Probability of lung, (n, 256, 256) float32 in [0, 1].
        """
        found = np.empty((len(slices), *SLICE_SHAPE[2:]), np.float32)
        for i, plane in enumerate(self.stream(slices)):
            found[i] = plane
            if progress:
                progress(i + 1, len(slices))
        return found

    def on_device(self, slices: "Tensor", progress: Callable[[int, int], None] | None = None) -> "Tensor":
        """Segment a stack of slices that is on the network's device already, and leave the result there.

        Args:
            slices: float32, (n, 3, 256, 256), as for `stream`; n > 0.
            progress: called with (slices done, slices in all).

        Returns:
            Probability of lung, (n, 256, 256) float32 in [0, 1].
        """
        import torch

        runner, found, done = _on_torch(self._runner), [], 0
        for batch in slices.tensor_split(-(-len(slices) // runner.batch)):  # of one size, or nearly
            (logits,) = runner.tensors(batch)
            found.append(logits[:, 0].sigmoid())
            done += len(batch)
            if progress:
                progress(done, len(slices))
        return torch.cat(found)

    def describe(self) -> dict[str, object]:
        """Engine, version, device, precision and threads."""
        return self._runner.describe()


def _on_torch(runner: Runner) -> TorchRunner:
    if not isinstance(runner, TorchRunner):
        raise InputError("this network does not run on a device of torch")
    return runner


class DiagnosisNetwork:
    """Evidence of a lung image. From `open_diagnosis`; may be used by several threads at once."""

    def __init__(self, backbone: Runner, head: Runner, shrink: tuple[int, int, int] = (1, 1, 1)) -> None:
        self._backbone = backbone
        self._head = head
        self._shrink = shrink

    def __call__(self, image: np.ndarray) -> Evidence:
        """Score one image.

        Args:
            image: the standardized lung image, (48, 240, 360), axes (z, y, x).

        Raises:
            InputError: another shape, or values that are not numbers.
            ResourceError: not enough memory.
        """
        batch = _checked(image, IMAGE_SHAPE[2:], "a lung image")[None, None]
        ((maps,),) = self._backbone.stream([batch])
        ((logit, features, gradient),) = self._head.stream([maps])
        return Evidence(float(logit[0]), features[0], maps[0], gradient[0], self._shrink)

    def on_device(self, image: "Tensor") -> Evidence:
        """Score one image, float32 (48, 240, 360), that is on the network's device already."""
        (maps,) = _on_torch(self._backbone).tensors(image[None, None])
        logit, *others = _on_torch(self._head).tensors(maps)
        features, seen, gradient = (tensor[0].cpu().numpy() for tensor in (others[0], maps, others[1]))
        return Evidence(float(logit[0]), features, seen, gradient, self._shrink)

    def describe(self) -> dict[str, object]:
        """Engine, version, device, precision and threads."""
        return self._backbone.describe()


def _converted(weights: WeightFile, cache: Path | None) -> Converted:
    """The converted form of a weight file that is as its card says."""
    read_checked(weights.path, sha256=weights.card.sha256, size=weights.card.size)
    return find_converted(weights, cache) or convert(weights, cache)


def open_lungs(
    weights: WeightFile,
    device: str = "auto",
    *,
    precision: Precision | None = None,
    threads: int | None = None,
    streams: int | None = None,
    cache: Path | None = None,
) -> LungNetwork:
    """Open the lung network. Returns at once on the CPU: the network is made ready in the background.

    Args:
        weights: of task "lungs".
        device: as for `choose_device`.
        precision: "bf16" where the device has it, which changes masks by less than a voxel's width, or "f32".
            None: "f32" on "torch-cpu", which is there for comparison, otherwise "bf16".
        threads: CPU threads; None: every core.
        streams: slices worked on at once on the CPU; None: as many as threads.
        cache: where to keep the converted form when the folder of the weights cannot be written.

    Raises:
        WeightsError: the file is damaged, or must be converted and torch is not installed.
        InputError: the device is not there, or the weights are of another task.
        ResourceError: not enough memory.
    """
    if weights.card.task != "lungs":
        raise InputError(f"{weights.path}: weights for {weights.card.task!r} cannot find lungs")
    device = choose_device(device)
    precision = precision or ("f32" if device == "torch-cpu" else "bf16")
    if device == "cpu":
        part = _converted(weights, cache).parts["network"]
        return LungNetwork(OpenVINORunner(part, precision=precision, threads=threads, streams=streams))
    module = torch_parts(weights)["network"]
    batch = SLICES_TOGETHER.get(device, FEW_SLICES)
    return LungNetwork(TorchRunner(module, device, precision=precision, batch=batch, channels_last=True))


def open_diagnosis(
    weights: WeightFile, device: str = "auto", *, threads: int | None = None, cache: Path | None = None
) -> DiagnosisNetwork:
    """Open the diagnosis network, which always computes in float32. Returns at once on the CPU.

    Args:
        weights: of task "diagnosis" or "egfr".
        device: as for `choose_device`.
        threads: CPU threads; None: every core.
        cache: where to keep the converted form when the folder of the weights cannot be written.

    Raises:
        WeightsError: the file is damaged, or must be converted and torch is not installed.
        InputError: the device is not there, or the weights are of another task.
        ResourceError: not enough memory.
    """
    if weights.card.task == "lungs":
        raise InputError(f"{weights.path}: weights for 'lungs' cannot score a lung image")
    device = choose_device(device)
    runners: list[Runner] = []
    if device == "cpu":
        parts = _converted(weights, cache).parts
        runners += (
            OpenVINORunner(parts[name], precision="f32", threads=threads, streams=1)
            for name in ("backbone", "head")
        )
    else:
        modules = torch_parts(weights)
        runners += (
            TorchRunner(modules[name], device, precision="f32", channels_last=True)
            for name in ("backbone", "head")
        )
    backbone, head = runners
    return DiagnosisNetwork(backbone, head, shrink_of(weights))


def describe(lungs: LungNetwork, diagnosis: DiagnosisNetwork) -> dict[str, object]:
    """How both networks are run: engine, version, device, precision and threads of each."""
    return {"lungs": lungs.describe(), "diagnosis": diagnosis.describe()}
