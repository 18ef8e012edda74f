"""Where batches come from: samples drawn one by one, ahead of their step, whatever the number of threads."""

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from covid19net.train.schedule import Schedule
from covid19net.train.together import rank, world

AHEAD = 2  # batches that wait or are being drawn while the network works on another

Batch = tuple[Tensor, Tensor]
S = TypeVar("S")


@dataclass(frozen=True)
class Supply(Generic[S]):
    """How samples are drawn and put together; both parts run in threads beside the training.

    Attributes:
        draw: makes one sample on the CPU from a generator, its only chance, and from its place in the batch,
            counted from 0 over all processes. Balance of classes follows from the place (even, odd).
        collate: moves samples to a device, varies them there by the numbers they carry, and returns inputs
            and targets. It has no chance of its own.
    """

    draw: Callable[[np.random.Generator, int], S]
    collate: Callable[[Sequence[S], torch.device], Batch]


def sample_generator(schedule: Schedule, step: int, place: int) -> np.random.Generator:
    """The only chance of a sample: it depends on the seed, the step and the place in the batch alone."""
    return np.random.default_rng([schedule.seed, step, place])


def batches(
    supply: Supply[S], schedule: Schedule, start: int, device: torch.device, workers: int
) -> Generator[Batch]:
    """The batches from step `start` (counted from 0) on, this process's share of each.

    Args:
        supply: how samples are made.
        schedule: with the seed, the size of a batch and the number of steps.
        start: the first step.
        device: where batches go.
        workers: number of threads.
    """
    own = range(rank(), schedule.batch, world())
    pool = ThreadPoolExecutor(workers)

    def make(samples: Sequence[Future[S]]) -> Batch:
        return supply.collate([sample.result() for sample in samples], device)

    def order(step: int) -> Future[Batch]:
        # Threads take orders in turn: whoever puts a batch together waits only for samples already begun.
        samples = [pool.submit(supply.draw, sample_generator(schedule, step, i), i) for i in own]
        return pool.submit(make, samples)

    coming: deque[Future[Batch]] = deque()
    try:
        for step in range(start, schedule.steps):
            coming.append(order(step))
            if len(coming) > AHEAD:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
