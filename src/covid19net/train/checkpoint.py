"""The state of a training run, and the one file that keeps all of it."""

import copy
from dataclasses import asdict, dataclass, field
import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
import torch
from torch import Tensor, nn

from covid19net.errors import InputError
from covid19net.io.files import sync_file
from covid19net.train.schedule import Schedule
from covid19net.train.together import joined, on_first

Tensors = dict[str, Tensor]


@dataclass
class History:
    """What a run has seen so far.

    Attributes:
        losses: of each step.
        scores: of each judgement: the number of steps done by then, and the score; larger is better.
    """

    losses: list[float] = field(default_factory=list)
    scores: list[tuple[int, float]] = field(default_factory=list)

    @property
    def best(self) -> tuple[int, float] | None:
        """Steps and score of the best judgement, the first among equals; None before the first."""
        return max(self.scores, key=lambda scored: scored[1], default=None)

    @property
    def waiting(self) -> int:
        """Number of judgements after the best one."""
        return len(self.scores) - 1 - self.scores.index(self.best) if self.best else 0


@dataclass(eq=False)
class Run:
    """A training run between two steps.

    Attributes:
        network: as trained so far.
        trained: the same parameters in the structure that takes the steps, see `together.joined`.
        averaged: a copy of the network that holds the running mean of its state; in eval mode.
        optimiser: with its moments.
        history: losses and scores of what was done.
        best: the averaged state of the best judgement; empty before the first.
        identity: what the run starts from and learns from; see `Site`.
    """

    network: nn.Module
    trained: nn.Module
    averaged: nn.Module
    optimiser: torch.optim.AdamW
    history: History
    best: Tensors
    identity: str = ""

    @property
    def step(self) -> int:
        """Number of steps done."""
        return len(self.history.losses)


def begin(network: nn.Module, schedule: Schedule, device: torch.device) -> Run:
    """A run before its first step."""
    network = network.to(device).train()
    kernels = [p for p in network.parameters() if p.requires_grad and p.ndim > 1]
    others = [p for p in network.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [
        {"params": kernels, "weight_decay": schedule.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    fused = True if device.type == "cuda" else None
    optimiser = torch.optim.AdamW(groups, lr=schedule.learning_rate, fused=fused)
    averaged = copy.deepcopy(network).eval().requires_grad_(False)
    return Run(network, joined(network, device), averaged, optimiser, History(), {})


def resume(run: Run, path: Path | None, schedule: Schedule, device: torch.device) -> None:
    """Bring a run to the state of its checkpoint where there is one, and all processes to that of the first.

    Only the first process reads the file, so that all go on from the same one, on whatever machine they are.

    Raises:
        InputError: the checkpoint was made with other numbers, is damaged, or does not fit the network.
    """

    def found() -> tuple[dict[str, str], Tensors]:
        if path is None or not path.exists():
            return _facts(run, schedule), _state(run)
        return _read(path, schedule, run.identity)

    facts, tensors = on_first(found, device)
    try:
        _put(run, tensors)
    except (RuntimeError, KeyError) as error:
        name = path.name if path is not None else "the first process"
        raise InputError(f"{name} holds a run of another network") from error
    run.history.losses[:] = json.loads(facts["losses"])
    run.history.scores[:] = [(step, score) for step, score in json.loads(facts["scores"])]


def store(run: Run, path: Path, schedule: Schedule) -> None:
    """Write a checkpoint; a file of that name is replaced only once the new one is whole and on the disk."""
    fresh = path.with_name(path.name + ".part")
    save_file(_state(run), fresh, metadata=_facts(run, schedule))
    sync_file(fresh)  # shared storage may lose what a dying machine has not sent
    fresh.replace(path)


def _facts(run: Run, schedule: Schedule) -> dict[str, str]:
    facts = {
        "schedule": asdict(schedule), "identity": run.identity, "losses": run.history.losses,
        "scores": run.history.scores,
    }  # fmt: skip
    return {name: json.dumps(fact) for name, fact in facts.items()}


def _state(run: Run) -> Tensors:
    """Every tensor of a run under one flat name; the names of its moments are parameter positions."""
    tensors = {f"network.{k}": v for k, v in run.network.state_dict().items()}
    tensors |= {f"averaged.{k}": v for k, v in run.averaged.state_dict().items()}
    tensors |= {f"best.{k}": v for k, v in run.best.items()}
    for i, moments in run.optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{i}.{k}": v for k, v in moments.items()}
    return {k: v.detach().cpu().contiguous() for k, v in tensors.items()}


def _read(path: Path, schedule: Schedule, identity: str) -> tuple[dict[str, str], Tensors]:
    try:
        with safe_open(path, "pt") as file:
            facts = file.metadata() or {}
            tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise InputError(f"{path.name} is no checkpoint: remove it to start anew") from error
    if json.loads(facts.get("schedule", "null")) != asdict(schedule):
        raise InputError(
            f"{path.name} holds a run with another schedule: remove it, or train with its numbers"
        )
    if json.loads(facts.get("identity", "null")) != identity:
        raise InputError(
            f"{path.name} holds a run of other patients or other starting weights: remove it, or use another "
            "folder"
        )
    return facts, tensors


def _put(run: Run, tensors: Tensors) -> None:
    """The opposite of `_state`."""
    parts: dict[str, Tensors] = {"network": {}, "averaged": {}, "best": {}, "optimiser": {}}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = tensor
    run.network.load_state_dict(parts["network"])
    run.averaged.load_state_dict(parts["averaged"])
    # As in an uninterrupted run, what belongs to a weight has the memory layout of the weight.
    here = run.averaged.state_dict()
    run.best = {name: torch.empty_like(here[name]).copy_(tensor) for name, tensor in parts["best"].items()}
    parameters = [p for group in run.optimiser.param_groups for p in group["params"]]
    state = run.optimiser.state_dict()
    for name, tensor in parts["optimiser"].items():
        i, _, moment = name.partition(".")
        like = parameters[int(i)]
        kept = torch.empty_like(like).copy_(tensor) if tensor.shape == like.shape else tensor
        state["state"].setdefault(int(i), {})[moment] = kept
    run.optimiser.load_state_dict(state)
