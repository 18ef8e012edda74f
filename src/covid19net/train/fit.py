"""One training loop for every network: AdamW, one rise and fall of the learning rate, averaged weights.

What differs between recipes, namely network, batches and loss, is an argument. A run that was cut off goes on
from its last checkpoint to the same weights it would have had: the batch of a step depends on the seed and
the step alone.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
import json
import logging
import math
from pathlib import Path
from typing import Literal

import numpy as np
from safetensors import safe_open
from safetensors.torch import save_file
import torch
from torch import Tensor, nn

from covid19net.errors import InputError

LOG = logging.getLogger(__name__)
GRADIENT_LIMIT = 5.0  # largest norm of a step's gradient; beyond it the gradient is scaled down

Batch = tuple[Tensor, Tensor]
Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Schedule:
    """The numbers of a training run; they are stored in its checkpoints and beside its weights.

    Attributes:
        steps: number of batches.
        batch: samples in a batch.
        learning_rate: highest rate, reached at the end of the rise.
        rise: share of the steps over which the rate rises from zero; it then falls along a half cosine.
        weight_decay: of AdamW; on kernels only, not on biases and batch norms.
        average: share of the running mean of the weights kept at each step.
        precision: "bf16" computes convolutions in bfloat16 (autocast); weights stay float32.
        save_every: steps between checkpoints.
        seed: of batches and of nothing else; weights are initialised by the caller.
    """

    steps: int
    batch: int = 8
    learning_rate: float = 8e-4
    rise: float = 0.1
    weight_decay: float = 0.02
    average: float = 0.99
    precision: Literal["f32", "bf16"] = "f32"
    save_every: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 1 or self.save_every < 1:
            raise InputError(
                "a training run needs at least one step, one sample a batch, one step a checkpoint"
            )
        if not (0 <= self.rise < 1 and 0 <= self.average < 1 and self.learning_rate > 0):
            raise InputError("rise and average lie in [0, 1), the learning rate above 0")


def rate_at(schedule: Schedule, step: int) -> float:
    """Learning rate of a step (counted from 0): a linear rise, then half a cosine down to nearly zero."""
    rise = schedule.rise * schedule.steps
    if step < rise:
        return schedule.learning_rate * (step + 1) / (rise + 1)
    fall = (step - rise) / max(schedule.steps - rise, 1)
    return schedule.learning_rate * 0.5 * (1 + math.cos(math.pi * fall))


def averaging(schedule: Schedule, step: int) -> float:
    """Share of the running mean kept at a step; small at first, so that the start is soon forgotten."""
    return min(schedule.average, (1 + step) / (10 + step))


@dataclass(eq=False)
class Run:
    """A training run between two steps.

    Attributes:
        network: as trained so far.
        optimiser: with its moments.
        average: running mean of every floating tensor of the network's state.
        losses: of the steps done.
    """

    network: nn.Module
    optimiser: torch.optim.AdamW
    average: Tensors
    losses: list[float]

    @property
    def step(self) -> int:
        """Number of steps done."""
        return len(self.losses)


def fit(
    network: nn.Module,
    draw: Callable[[np.random.Generator, int], Batch],
    loss: Callable[[Tensor, Tensor], Tensor],
    schedule: Schedule,
    *,
    checkpoint: Path | None = None,
    device: str = "cpu",
) -> list[float]:
    """Train the network in place and leave it with the averaged weights, in eval mode.

    Args:
        network: with its starting weights.
        draw: makes a batch (inputs, targets) of the given size from a generator, its only chance.
        loss: of the network's output and the targets, one number.
        schedule: the numbers of the run.
        checkpoint: where to keep the state of the run. An existing file of the same schedule is continued.
        device: a torch device.

    Returns:
        The loss of each step, those before an interruption included.

    Raises:
        InputError: the checkpoint is of another schedule or network, or the loss is no longer a number.
    """
    run = begin(network.to(device), schedule)
    if checkpoint is not None and checkpoint.exists():
        restore(run, checkpoint, schedule)
    network.train()

    def draw_at(step: int) -> Batch:
        return draw(np.random.default_rng([schedule.seed, step]), schedule.batch)

    for batch in _ahead(draw_at, range(run.step, schedule.steps)):
        run.losses.append(advance(run, batch, loss, schedule))
        if run.step % 20 == 0:
            LOG.info("step %d of %d: loss %.4f", run.step, schedule.steps, np.mean(run.losses[-20:]))
        if checkpoint is not None and (run.step % schedule.save_every == 0 or run.step == schedule.steps):
            store(run, checkpoint, schedule)
    network.load_state_dict(run.average, strict=False)
    network.eval()
    return run.losses


def _ahead(draw_at: Callable[[int], Batch], steps: range) -> Iterator[Batch]:
    """The batches of the steps; the next one is drawn while the caller works on this one."""
    with ThreadPoolExecutor(1) as pool:
        coming: Future[Batch] | None = None
        for step in steps:
            following = pool.submit(draw_at, step)
            if coming is not None:
                yield coming.result()
            coming = following
        if coming is not None:
            yield coming.result()


def begin(network: nn.Module, schedule: Schedule) -> Run:
    """A run before its first step."""
    kernels = [p for p in network.parameters() if p.requires_grad and p.ndim > 1]
    others = [p for p in network.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [
        {"params": kernels, "weight_decay": schedule.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    average = {k: v.detach().clone() for k, v in network.state_dict().items() if v.is_floating_point()}
    return Run(network, torch.optim.AdamW(groups, lr=schedule.learning_rate), average, [])


def advance(run: Run, batch: Batch, loss: Callable[[Tensor, Tensor], Tensor], schedule: Schedule) -> float:
    """Do one step and return its loss.

    Raises:
        InputError: the loss is not a finite number.
    """
    device = next(run.network.parameters()).device
    x, y = (t.to(device) for t in batch)
    for group in run.optimiser.param_groups:
        group["lr"] = rate_at(schedule, run.step)
    with _precision(schedule, device):
        output = run.network(x)
    error = loss(output.float(), y)
    if not torch.isfinite(error):
        raise InputError(f"training diverged at step {run.step}: lower the learning rate")
    run.optimiser.zero_grad(set_to_none=True)
    error.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(run.network.parameters(), GRADIENT_LIMIT)
    run.optimiser.step()
    keep = averaging(schedule, run.step)
    state = run.network.state_dict()
    for name, mean in run.average.items():
        mean.lerp_(state[name], 1 - keep)
    return error.item()


def _precision(schedule: Schedule, device: torch.device) -> AbstractContextManager[object]:
    return torch.autocast(device.type, torch.bfloat16) if schedule.precision == "bf16" else nullcontext()


def _state(run: Run) -> Tensors:
    """Every tensor of a run under one flat name; the names of its moments are parameter positions."""
    tensors = {f"network.{k}": v for k, v in run.network.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in run.average.items()}
    for i, moments in run.optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{i}.{k}": v for k, v in moments.items()}
    return {k: v.detach().cpu().contiguous() for k, v in tensors.items()}


def store(run: Run, path: Path, schedule: Schedule) -> None:
    """Write a checkpoint; a file of that name is replaced only once the new one is whole."""
    fresh = path.with_name(path.name + ".part")
    facts = {"schedule": json.dumps(asdict(schedule)), "losses": json.dumps(run.losses)}
    save_file(_state(run), fresh, metadata=facts)
    fresh.replace(path)


def restore(run: Run, path: Path, schedule: Schedule) -> None:
    """Bring a run to the state of a checkpoint.

    Raises:
        InputError: the checkpoint was made with other numbers, or does not fit the network.
    """
    with safe_open(path, "pt") as file:
        facts, tensors = file.metadata() or {}, {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
    if json.loads(facts.get("schedule", "null")) != asdict(schedule):
        raise InputError(
            f"{path.name} holds a run with another schedule: remove it, or train with its numbers"
        )
    parts: dict[str, Tensors] = {"network": {}, "average": {}, "optimiser": {}}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = tensor
    try:
        run.network.load_state_dict(parts["network"])
    except RuntimeError as error:
        raise InputError(f"{path.name} holds a run of another network") from error
    for name, mean in run.average.items():
        mean.copy_(parts["average"][name])
    state = run.optimiser.state_dict()
    for name, tensor in parts["optimiser"].items():
        i, _, moment = name.partition(".")
        state["state"].setdefault(int(i), {})[moment] = tensor
    run.optimiser.load_state_dict(state)
    run.losses[:] = json.loads(facts["losses"])
