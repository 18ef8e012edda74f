"""One training loop for every network: AdamW, one rise and fall of the learning rate, averaged weights.

What differs between recipes, namely network, samples, loss and judge, is an argument. A run that was cut off
goes on from its last checkpoint to the same weights it would have had: on a CPU to the last bit, on a GPU
within rounding (some of its kernels add in no fixed order). The batch of a step depends on seed and step.
Several processes share the batches of one run, see `covid19net.train.together`.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
import math
from pathlib import Path
import time
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from covid19net.errors import InputError
from covid19net.train.checkpoint import History, Run, begin, resume, store
from covid19net.train.journal import Journal, journal
from covid19net.train.schedule import Schedule, averaging, rate_at
from covid19net.train.supply import Batch, Supply, batches
from covid19net.train.together import average, on_first, rank, world

__all__ = ["HERE", "Batch", "History", "Schedule", "Site", "Supply", "averaging", "fit", "rate_at"]

GRADIENT_LIMIT = 5.0  # largest norm of a step's gradient; beyond it the gradient is scaled down

Loss = Callable[[Tensor, Tensor], Tensor]
Judge = Callable[[nn.Module], float]
S = TypeVar("S")


@dataclass(frozen=True)
class Site:
    """Where a run takes place and what it leaves there; none of it changes the weights.

    Attributes:
        device: a torch device, this process's own.
        workers: threads that draw samples ahead.
        checkpoint: file of the run's state. An existing one of the same schedule is continued.
        metrics: file of JSON lines: {step, loss, rate, seconds, samples_per_second} for each step and
            {step, score, best} for each judgement, where best is the best score so far. When a run goes on
            from a checkpoint, lines of later steps are cut off.
        tensorboard: folder of the same numbers as curves.
        identity: what the run starts from and learns from, for example a digest of both. A checkpoint of
            another identity is refused.
        progress: called after each step with the steps done, the steps of the schedule, the loss of the step,
            and the score if the step was judged.
    """

    device: str = "cpu"
    workers: int = 1
    checkpoint: Path | None = None
    metrics: Path | None = None
    tensorboard: Path | None = None
    identity: str = ""
    progress: Callable[[int, int, float, float | None], None] | None = None

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise InputError("samples need at least one thread to draw them")


HERE = Site()


def fit(
    network: nn.Module,
    supply: Supply[S],
    loss: Loss,
    schedule: Schedule,
    *,
    judge: Judge | None = None,
    site: Site = HERE,
) -> History:
    """Train the network in place and leave it in eval mode, with the averaged weights of the best judgement.

    Without a judge these are the averaged weights of the last step. In several processes, all of them call
    this with the same arguments but for the device; the first one alone judges and writes files. A loss that
    is a mean over samples then trains as in one process; any other is taken of each process's share.

    Args:
        network: with its starting weights, in the memory layout that suits it.
        supply: of samples.
        loss: of the network's output and the targets, one number.
        schedule: the numbers of the run.
        judge: a score of the network, the larger the better, for example the AUC of patients kept for tuning.
            It gets the network with averaged weights, in eval mode. The run stops when the score has not
            risen for some time.
        site: where the run takes place and what it leaves there.

    Returns:
        Losses and scores, those before an interruption included.

    Raises:
        InputError: the checkpoint is of another schedule or network, the loss or a score is not a finite
            number, or the processes cannot share a batch equally.
    """
    if schedule.batch % world():
        raise InputError(f"{world()} processes cannot share batches of {schedule.batch} equally")
    device, first = torch.device(site.device), rank() == 0
    run = begin(network, schedule, device)
    run.identity = site.identity
    resume(run, site.checkpoint, schedule, device)
    coming = batches(supply, schedule, run.step, device, site.workers)
    files = (site.metrics, site.tensorboard) if first else (None, None)
    with closing(coming), journal(*files, run.step) as notes:
        while not finished(run, schedule):
            started = time.perf_counter()
            advance(run, next(coming), loss, schedule)
            seconds = time.perf_counter() - started
            score = assess(run, judge, schedule, device)
            if first:
                record(run, schedule, site, notes, seconds, score)
    network.load_state_dict(run.best or run.averaged.state_dict())
    network.eval()
    return run.history


def finished(run: Run, schedule: Schedule) -> bool:
    """Whether all steps are done, or the score has not risen for long enough."""
    return run.step == schedule.steps or run.history.waiting >= schedule.patience


def due(run: Run, every: int, schedule: Schedule) -> bool:
    """Whether something done every so many steps, and after the last one, is to be done now."""
    return run.step % every == 0 or finished(run, schedule)


def advance(run: Run, batch: Batch, loss: Loss, schedule: Schedule) -> None:
    """Do one step.

    Raises:
        InputError: the loss is not a finite number.
    """
    x, y = batch
    for group in run.optimiser.param_groups:
        group["lr"] = rate_at(schedule, run.step)
    with _chance(schedule, run.step, x.device), _precision(schedule, x.device):
        output = run.trained(x)
    error = loss(output.float(), y)
    run.optimiser.zero_grad(set_to_none=True)
    error.backward()  # type: ignore[no-untyped-call]
    value = average(error, run.network.parameters())
    if not math.isfinite(value):
        raise InputError(f"training diverged at step {run.step}: lower the learning rate")
    nn.utils.clip_grad_norm_(run.network.parameters(), GRADIENT_LIMIT)
    run.optimiser.step()
    keep, state = averaging(schedule, run.step), run.network.state_dict()
    for name, mean in run.averaged.state_dict().items():
        if mean.is_floating_point():
            mean.lerp_(state[name], 1 - keep)
        else:
            mean.copy_(state[name])  # a count of batches
    run.history.losses.append(value)


def _precision(schedule: Schedule, device: torch.device) -> AbstractContextManager[object]:
    return torch.autocast(device.type, torch.bfloat16) if schedule.precision == "bf16" else nullcontext()


@contextmanager
def _chance(schedule: Schedule, step: int, device: torch.device) -> Iterator[None]:
    """Let chance inside the network, such as dropout, depend on seed, step and process alone."""
    seed = np.random.SeedSequence([schedule.seed, step, rank()]).generate_state(1)[0]
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int(seed))
        yield


def assess(run: Run, judge: Judge | None, schedule: Schedule, device: torch.device) -> float | None:
    """Judge the averaged weights where that is due, and keep them if they are the best so far.

    Returns:
        The score, or None where the step is not judged.

    Raises:
        InputError: the score is not a finite number.
    """
    if judge is None or not due(run, schedule.judge_every, schedule):
        return None
    score = float(on_first(lambda: judge(run.averaged.eval()), device))
    if not math.isfinite(score):
        raise InputError(f"the judge gave {score} after step {run.step}: a score must be a number")
    run.history.scores.append((run.step, score))
    if run.history.waiting == 0:
        run.best = {name: tensor.clone() for name, tensor in run.averaged.state_dict().items()}
    return score


def record(
    run: Run, schedule: Schedule, site: Site, notes: Journal, seconds: float, score: float | None
) -> None:
    """Leave at the site what there is to say after a step, the checkpoint last: it never runs ahead."""
    loss, rate = run.history.losses[-1], rate_at(schedule, run.step - 1)
    speed = schedule.batch / seconds
    notes.note(run.step, loss=loss, rate=rate, seconds=seconds, samples_per_second=speed)
    if score is not None and run.history.best is not None:
        notes.note(run.step, score=score, best=run.history.best[1])
    if site.progress is not None:
        site.progress(run.step, schedule.steps, loss, score)
    if site.checkpoint is not None and due(run, schedule.save_every, schedule):
        store(run, site.checkpoint, schedule)
