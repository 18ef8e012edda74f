"""Training COVID-19Net from a cohort: the auxiliary task first, then COVID-19 against other pneumonia.

Wang et al. 2020, "Two-step transfer learning": the network learns EGFR status from the lung image, is
transferred whole, and learns COVID-19. Nobody marks a lesion.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from covid19net.evaluate import auc
from covid19net.nets.covid19net import COVID19Net
from covid19net.train.fit import HERE, Site, fit
from covid19net.train.images import Sample, Shrink
from covid19net.train.recipes import Stage
from covid19net.train.supply import Batch, Supply
from covid19net.train.vary import Variation, draw_variation, vary
from covid19net.weights import load_exactly

MOMENTUM = 0.1  # of the batch norms' running statistics; Keras' 0.01 needs longer trainings than ours
KEPT = 4 << 30  # bytes of shrunken images held in memory; more are read from disk each time


@dataclass(frozen=True, eq=False)
class Drawn:
    """An image, the variation to carry out on it, and its class."""

    image: np.ndarray
    variation: Variation
    positive: bool


class Logit(nn.Module):
    """COVID-19Net without its features, the form the training loop wants."""

    def __init__(self, network: COVID19Net) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, z, y, x) -> (B,)."""
        logit: Tensor = self.network(x)[0]
        return logit


def start_network(start: Mapping[str, np.ndarray] | None, seed: int) -> COVID19Net:
    """A network before training.

    Args:
        start: tensors of a trained network, all of which are transferred; None starts from random numbers.
        seed: of the random numbers.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = COVID19Net()
    if start is not None:
        load_exactly(network, start, "the network to start from")
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.momentum = MOMENTUM
    # Less than half the time of torch's usual order in bfloat16 on a CPU, and the fast one on a GPU.
    network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    return network


def reader(samples: Sequence[Sample], shrink: Shrink) -> Callable[[int], np.ndarray]:
    """A function that gives the image of a sample by its number; small images are kept in memory."""
    first = samples[0].read(shrink)
    if first.nbytes * len(samples) > KEPT:
        return lambda i: samples[i].read(shrink)
    kept: dict[int, np.ndarray] = {0: first}

    def read(i: int) -> np.ndarray:
        if i not in kept:
            kept[i] = samples[i].read(shrink)
        return kept[i]

    return read


def collate(drawn: Sequence[Drawn], device: torch.device) -> Batch:
    """Images (n, 1, z, y, x) varied on the device, and classes (n,), both float32."""
    images = [vary(torch.from_numpy(d.image).to(device, non_blocking=True), d.variation) for d in drawn]
    x = torch.stack(images)[:, None].contiguous(memory_format=torch.channels_last_3d)
    return x, torch.tensor([float(d.positive) for d in drawn], device=device)


def supply(samples: Sequence[Sample], shrink: Shrink) -> Supply[Drawn]:
    """Samples of both classes in turn, each class equally often, whatever their numbers."""
    kinds = [[i for i, s in enumerate(samples) if s.positive == positive] for positive in (False, True)]
    read = reader(samples, shrink)

    def draw(rng: np.random.Generator, place: int) -> Drawn:
        i = int(rng.choice(kinds[place % 2]))
        return Drawn(read(i), draw_variation(rng), samples[i].positive)

    return Supply(draw, collate)


def logits(
    network: nn.Module, samples: Sequence[Sample], shrink: Shrink, precision: str = "f32"
) -> np.ndarray:
    """Logit of each sample, in evaluation mode, one image at a time, on the network's device.

    Args:
        network: from (1, 1, z, y, x) to one logit.
        samples: whose images are shown.
        shrink: see `Sample.read`.
        precision: "bf16" for a judgement, several times as fast on a CPU, or "f32".
    """
    device, training = next(network.parameters()).device, network.training
    network.eval()
    found = []
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        for sample in samples:
            x = torch.from_numpy(sample.read(shrink)).to(device).float()[None, None]
            found.append(network(x.contiguous(memory_format=torch.channels_last_3d)).float().item())
    network.train(training)
    return np.array(found)


def identity_of(network: nn.Module, training: Sequence[Sample], tuning: Sequence[Sample]) -> str:
    """Digest of the weights a stage starts from, and of every image, class and part of it."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    for part in (training, tuning):
        digest.update(repr([(sample.path.name, sample.positive) for sample in part]).encode())
    return digest.hexdigest()


def train_network(
    network: COVID19Net,
    training: Sequence[Sample],
    tuning: Sequence[Sample],
    stages: Sequence[Stage],
    work: Path,
    site: Site = HERE,
) -> dict[str, float]:
    """Train in place, stage after stage; a run that was cut off goes on from its last checkpoint.

    Args:
        network: from `start_network`.
        training: to learn from, of both classes.
        tuning: their AUC decides which weights are kept and when to stop.
        stages: one after the other.
        work: folder of checkpoints and metrics: STAGE.safetensors, STAGE.jsonl.
        site: device, threads, progress; a TensorBoard folder gets one folder for each stage.

    Returns:
        Stage -> best AUC on the tuning patients.
    """
    label = np.array([sample.positive for sample in tuning])
    best = {}
    for stage in stages:

        def judge(net: nn.Module, stage: Stage = stage) -> float:
            score: float = auc(label, logits(net, tuning, stage.shrink, stage.schedule.precision)).value
            return score

        here = replace(
            site,
            identity=identity_of(network, training, tuning),
            checkpoint=work / f"{stage.name}.safetensors",
            metrics=work / f"{stage.name}.jsonl",
            tensorboard=site.tensorboard and site.tensorboard / stage.name,
        )
        loss = functional.binary_cross_entropy_with_logits
        samples = supply(training, stage.shrink)
        history = fit(Logit(network), samples, loss, stage.schedule, judge=judge, site=here)
        assert history.best is not None  # the last step is judged
        best[stage.name] = round(history.best[1], 4)
    return best
