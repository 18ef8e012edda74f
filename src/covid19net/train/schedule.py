"""The numbers of a training run, and what follows from them at each step."""

from dataclasses import dataclass
import math
from typing import Literal

from covid19net.errors import InputError


@dataclass(frozen=True)
class Schedule:
    """The numbers of a training run; they are stored in its checkpoints and beside its weights.

    Attributes:
        steps: number of batches.
        batch: samples in a batch, those of all processes together.
        learning_rate: highest rate, reached at the end of the rise.
        rise: share of the steps over which the rate rises from zero; it then falls along a half cosine.
        weight_decay: of AdamW; on kernels only, not on biases and batch norms.
        average: share of the running mean of the weights kept at each step.
        precision: "bf16" computes convolutions in bfloat16 (autocast); weights stay float32.
        save_every: steps between checkpoints.
        seed: of batches and of chance inside the network; weights are initialised by the caller.
        judge_every: steps between two judgements, where there is a judge; the last step is judged too.
        patience: judgements in a row without a better score after which the run stops.
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
    judge_every: int = 100
    patience: int = 10

    def __post_init__(self) -> None:
        counts = (self.steps, self.batch, self.save_every, self.judge_every, self.patience, self.seed)
        if any(type(count) is not int for count in counts) or self.seed < 0:
            raise InputError(
                "steps, batch, intervals, patience and seed of a run are whole numbers, 0 or more"
            )
        if self.precision not in ("f32", "bf16"):
            raise InputError(f"precision {self.precision!r} is neither f32 nor bf16")
        if min(self.steps, self.batch, self.save_every, self.judge_every, self.patience) < 1:
            raise InputError(
                "a training run needs at least one step, one sample a batch, one step a checkpoint, "
                "one step a judgement, and patience for one"
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
