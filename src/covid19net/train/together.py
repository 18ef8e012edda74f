"""Several processes that train one network: each takes its share of every batch, all take the same step.

Without a process group everything here does nothing and costs nothing, so that the training loop reads the
same for one process and for many.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
import copy
from datetime import timedelta
import itertools
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

from covid19net.errors import InputError

WAIT = timedelta(hours=2)  # how long a process waits for the others; the first may judge for long

T = TypeVar("T")


def local_device(device: str, place: int = 0) -> str:
    """The torch device of one process of a machine.

    Args:
        device: "auto" (CUDA where there is one), "cpu" or "cuda".
        place: of the process among those of its machine, from 0: it takes the GPU of that number.

    Raises:
        InputError: another name, or no CUDA device.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise InputError(f"device {device!r}: training runs on auto, cpu or cuda")
    cuda = torch.cuda.is_available()
    if device == "cuda" and not cuda:
        raise InputError("device cuda: torch finds no CUDA device")
    return f"cuda:{place}" if cuda and device != "cpu" else "cpu"


@contextmanager
def together(rank: int, world: int, address: str, *, device: str = "cpu", attempt: int = 0) -> Iterator[None]:
    """Join the processes of a run for as long as the context lasts; a single process joins nobody.

    Args:
        rank: of this process, 0 to world - 1.
        world: number of processes.
        address: where they meet: "tcp://host:port", or "file:///path" of a file that does not exist yet.
        device: this process's own torch device; its kind decides between NCCL and Gloo.
        attempt: how often the processes were started again. torchrun may keep the place where they meet, and
            with it the addresses of those that are no more.

    Raises:
        InputError: the rank is not below the number of processes.
    """
    if not 0 <= rank < world:
        raise InputError(f"rank {rank} is not among {world} processes")
    if world == 1:
        yield
        return
    cuda = torch.device(device).type == "cuda"
    if cuda:
        torch.cuda.set_device(device)
    meet: Any = distributed.rendezvous  # type: ignore[attr-defined]
    store, *_ = next(meet(address, rank, world, timeout=WAIT))
    distributed.init_process_group(
        "nccl" if cuda else "gloo",
        store=distributed.PrefixStore(f"attempt-{attempt}", store),  # type: ignore[attr-defined]
        rank=rank,
        world_size=world,
        timeout=WAIT,
    )
    try:
        yield
    finally:
        distributed.destroy_process_group()


def world() -> int:
    """Number of processes; 1 where none were joined."""
    joined = distributed.is_available() and distributed.is_initialized()
    return distributed.get_world_size() if joined else 1


def rank() -> int:
    """Of this process; 0 where none were joined."""
    return distributed.get_rank() if world() > 1 else 0


def wait_for_all() -> None:
    """Go on when every process has come here."""
    if world() > 1:
        distributed.barrier()


def on_first(work: Callable[[], T], device: torch.device) -> T:
    """Do something in the first process alone; all get what comes of it, an error included.

    Args:
        work: called in the first process only.
        device: of this process; NCCL sends from and to it.
    """
    if world() == 1:
        return work()
    outcome: list[Any] = [None, None]
    if rank() == 0:
        try:
            outcome[0] = work()
        except Exception as error:
            outcome[1] = error
    distributed.broadcast_object_list(outcome, src=0, device=device)
    if outcome[1] is not None:
        raise outcome[1]
    value: T = outcome[0]
    return value


def average(loss: Tensor, parameters: Iterable[nn.Parameter]) -> float:
    """Replace the gradients by their mean over all processes, and return the mean of their losses."""
    if world() == 1:
        return loss.item()
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([loss.detach().reshape(1), *(g.flatten() for g in gradients)])  # one message for all
    distributed.all_reduce(flat)
    flat /= world()
    parts = torch.split(flat, [1, *(g.numel() for g in gradients)])
    for gradient, part in zip(gradients, parts[1:], strict=True):
        gradient.copy_(part.view(gradient.shape))
    return parts[0].item()


def joined(network: nn.Module, device: torch.device) -> nn.Module:
    """The network as it is trained: its batch norms measure the batch of all processes, not their own part.

    Args:
        network: stays as it is.
        device: of the network.

    Returns:
        A second structure around the same parameters and buffers, or the network itself in a single process.
    """
    if world() == 1:
        return network
    shared = {id(t): t for t in itertools.chain(network.parameters(), network.buffers())}
    twin = copy.deepcopy(network, shared)
    if device.type == "cuda":
        gathered: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(twin)  # type: ignore[no-untyped-call]
        return gathered
    return _convert(twin)


def _convert(module: nn.Module) -> nn.Module:
    if isinstance(module, _BatchNorm):
        return JoinedNorm(module)
    for name, child in module.named_children():
        setattr(module, name, _convert(child))
    return module


class JoinedNorm(nn.Module):
    """Batch normalization over the batch of all processes; torch's own does it on GPUs only.

    Every process is taken to hold equally many samples of equal size. It is for training: it always measures.
    """

    def __init__(self, norm: _BatchNorm) -> None:
        super().__init__()
        if not (norm.affine and norm.track_running_stats and norm.momentum is not None):
            raise InputError("several processes need batch norms with weights, statistics and a momentum")
        self.norm = norm
        self.momentum = norm.momentum

    def forward(self, x: Tensor) -> Tensor:
        """Normalize (B, C, ...) by channel, in float32 at least, and let the statistics of use follow."""
        norm, wide = self.norm, x.to(torch.promote_types(x.dtype, torch.float32))
        axes, column = [0, *range(2, x.ndim)], (-1, *[1] * (x.ndim - 2))
        mean = _mean(wide.mean(axes))
        centred = wide - mean.view(column)
        variance = _mean(centred.square().mean(axes))  # not from squares of x: they lose digits
        count = world() * wide.numel() // len(mean)
        with torch.no_grad():
            norm.num_batches_tracked.add_(1)  # type: ignore[union-attr]  # checked above
            norm.running_mean.lerp_(mean, self.momentum)  # type: ignore[union-attr]
            norm.running_var.lerp_(variance * count / (count - 1), self.momentum)  # type: ignore[union-attr]
        scale = norm.weight * torch.rsqrt(variance + norm.eps)
        return (centred * scale.view(column) + norm.bias.view(column)).to(x.dtype)


class _Sum(torch.autograd.Function):
    """Sum over all processes; the gradient of every process's sum reaches every summand."""

    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:  # noqa: ANN401  # torch's context
        total = x.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:  # noqa: ANN401
        return _Sum.forward(_, gradient)


def _mean(x: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(x)  # type: ignore[no-untyped-call]
    return total / world()
