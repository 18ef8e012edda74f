"""The recipe of the lung network: masked slices of several sources, disease painted in, DenseNet-FPN."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file
import torch
from torch import Tensor
from torch.nn import functional

from covid19net.errors import WeightsError
from covid19net.nets.densenet_fpn import DenseNetFPN
from covid19net.train.augment import Stack, apply_view, draw_view, standardized
from covid19net.train.fit import HERE, Batch, History, Judge, Schedule, Site, Supply, fit
from covid19net.train.lesions import LUNG, draw_lesions, paint_gas, paint_lesion
from covid19net.train.lung_data import IGNORE, Source
from covid19net.weights import WeightFile, tensors_of, write_weights

FEW = 0.04  # share of the picture; below it a slice counts as belly, lung base or neck, and may get gas


def draw_stack(source: Source, rng: np.random.Generator) -> Stack:
    """One slice of a source as a scanner might have shown it, diseased or not."""
    i = rng.integers(len(source.mask))
    stack = Stack(source.hu[i].astype(np.float32), source.mask[i])
    if rng.random() < source.gas and (stack.mask == LUNG).mean() < FEW:
        stack = paint_gas(stack, rng)
    if rng.random() < source.disease:
        for lesion in draw_lesions(rng):
            stack = paint_lesion(stack, lesion)
    return apply_view(stack, draw_view(rng, single=source.single))


def supply_of(sources: Sequence[Source]) -> Supply[Stack]:
    """How slices are drawn: inputs (n, 3, y, x), masks (n, 1, y, x) of 0, 1, 255, both float32."""
    shares = np.array([s.share for s in sources], np.float64)
    shares /= shares.sum()

    def draw(rng: np.random.Generator, _: int) -> Stack:
        return draw_stack(sources[rng.choice(len(sources), p=shares)], rng)

    def collate(stacks: Sequence[Stack], device: torch.device) -> Batch:
        x = torch.from_numpy(np.stack([standardized(s.hu) for s in stacks])).to(device)
        y = torch.from_numpy(np.stack([s.mask[None] for s in stacks])).to(device)
        return x.contiguous(memory_format=torch.channels_last), y.float()

    return Supply(draw, collate)


def lung_loss(logit: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy plus one minus Dice of the whole batch, over the known pixels.

    Dice runs over the batch, not over each slice: a slice without lung then has no Dice of its own.

    Args:
        logit: (n, 1, y, x).
        target: 0, 1, or 255 for unknown, same shape.
    """
    known = (target != IGNORE).float()
    truth = target * known
    entropy = functional.binary_cross_entropy_with_logits(logit, truth, weight=known, reduction="sum")
    found = torch.sigmoid(logit) * known
    dice = (2 * (found * truth).sum() + 1) / (found.sum() + truth.sum() + 1)
    return entropy / known.sum().clamp(min=1) + 1 - dice


def encoder_name(keras: str) -> str:
    """The name in `DenseNetFPN` of a tensor of Keras' DenseNet121, e.g. conv2_block1_1_conv/kernel.

    Raises:
        WeightsError: no such tensor.
    """
    layer, _, kind = keras.rpartition("/")
    leaf = {"kernel": "weight", "gamma": "weight", "beta": "bias"}.get(
        kind, {"moving_mean": "running_mean", "moving_variance": "running_var"}.get(kind)
    )
    whole = {"conv1/conv": "conv0", "conv1/bn": "norm0", "bn": "norm5"}
    if layer in whole:
        module = whole[layer]
    elif layer.startswith("pool"):
        pool, _, part = layer.partition("_")
        module = f"transition{int(pool[4:]) - 1}.{'norm' if part == 'bn' else part}"
    else:
        module = _dense_layer_name(layer)
    if leaf is None:
        raise WeightsError(f"{keras} is no tensor of a DenseNet121 encoder")
    return f"encoder.{module}.{leaf}"


def _dense_layer_name(layer: str) -> str:
    parts = layer.split("_", 2)
    last = {"0_bn": "norm1", "1_conv": "conv1", "1_bn": "norm2", "2_conv": "conv2"}.get(parts[-1])
    if len(parts) != 3 or last is None or not parts[0][4:].isdigit() or not parts[1][5:].isdigit():
        raise WeightsError(f"{layer} is no layer of a DenseNet121 encoder")
    return f"denseblock{int(parts[0][4:]) - 1}.denselayer{parts[1][5:]}.{last}"


def load_encoder(network: DenseNetFPN, path: Path) -> None:
    """Start the encoder from a safetensors file in Keras' names with kernels in torch's order.

    Raises:
        WeightsError: names or shapes do not match the encoder one to one.
    """
    given = {encoder_name(k): torch.from_numpy(v.astype(np.float32)) for k, v in load_file(path).items()}
    wanted = {
        k: v
        for k, v in network.state_dict().items()
        if k.startswith("encoder.") and not k.endswith("num_batches_tracked")
    }
    wrong = [
        k
        for k in given.keys() | wanted.keys()
        if k not in given or k not in wanted or given[k].shape != wanted[k].shape
    ]
    if wrong:
        raise WeightsError(
            f"{path.name} does not fit the encoder: {len(wrong)} tensors differ, e.g. {min(wrong)}"
        )
    network.load_state_dict(given, strict=False)


def start_network(encoder: Path | None, *, width: tuple[int, int] = (64, 64), seed: int = 0) -> DenseNetFPN:
    """A lung network before training.

    Args:
        encoder: starting weights of the encoder (see `load_encoder`); None starts from random numbers.
        width: channels of the pyramid and of its branches.
        seed: of the random numbers.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = DenseNetFPN(*width)
    if encoder is not None:
        load_encoder(network, encoder)
    return network


def train_lungs(
    network: DenseNetFPN,
    sources: Sequence[Source],
    schedule: Schedule,
    *,
    judge: Judge | None = None,
    site: Site = HERE,
) -> History:
    """Train a lung network in place; may be called again with other sources or a lower rate.

    Args:
        network: from `start_network`, or trained before.
        sources: where slices come from.
        schedule: the numbers of the run.
        judge: see `fit`.
        site: device, threads, and where the state and the record of the run are kept.

    Returns:
        The loss of each step.
    """
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a fifth faster on a CPU
    return fit(network, supply_of(sources), lung_loss, schedule, judge=judge, site=site)


def store_lungs(network: DenseNetFPN, folder: Path, **card: object) -> WeightFile:
    """Write a trained lung network into a weight set, in half precision.

    Args:
        network: from `train_lungs`.
        folder: of the set.
        **card: fields of the model card, see `weights.Card`; the widths and the clean-up are filled in.
    """
    tensors = {name: tensor.astype(np.float16) for name, tensor in tensors_of(network).items()}
    widths = {"pyramid": network.top.out_channels, "segmentation": network.merge.conv.out_channels}
    return write_weights(folder, "lungs", tensors, **card, options=widths | {"clean_up": True})
