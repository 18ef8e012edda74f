"""The recipe of the demonstration diagnosis network: COVID-19 or other pneumonia, on synthetic scans only.

The network is trained on shrunken images first, where a step costs a thirty-second, then on halved and on
whole ones. What comes out shows how the system works; it says nothing about people.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from covid19net import __version__
from covid19net.errors import InputError
from covid19net.nets.covid19net import COVID19Net
from covid19net.train.fit import Batch, Schedule, Site, Supply, fit
from covid19net.train.phantom_cases import OTHERS, WHOLE, Case, make_cases
from covid19net.weights import WeightFile, tensors_of, write_weights

VALIDATION = 4  # one case in so many, the last ones, is kept for validation
CALIBRATION = 60  # training cases, at most, that set the threshold
SETTLING = 24  # training cases, at most, for the final batch-norm statistics


@dataclass(frozen=True)
class Stage:
    """One part of the training.

    Attributes:
        name: of its checkpoint.
        shrink: see `Case.read`.
        schedule: the numbers of the run.
    """

    name: str
    shrink: tuple[int, int, int]
    schedule: Schedule


# As much as one core does in half an hour; most is learned at the first size, from about 300 steps on.
STAGES = (
    Stage("coarse", (2, 4, 4), Schedule(500, learning_rate=2e-3, precision="bf16", save_every=50, seed=1)),
    Stage("halved", (2, 2, 2), Schedule(120, learning_rate=8e-4, precision="bf16", save_every=20, seed=2)),
    Stage("whole", WHOLE, Schedule(60, 4, 4e-4, average=0.95, precision="bf16", save_every=10, seed=3)),
)
COMMAND = (
    "python -c 'from pathlib import Path; from covid19net.train.diagnosis import train_diagnosis; "
    'train_diagnosis(Path("weights"), Path("work"), cases={cases}, seed={seed})\''
)
CARD = {  # what does not depend on the run
    "licence": "Apache-2.0",
    "origin": "Made with this software from synthetic scans",
    "demonstration": True,
    "intended_use": "Showing and testing the software. Never for a decision about a person.",
    "limits": "A demonstration. Trained and measured on synthetic scans alone: its probability, threshold "
    "and heat map say nothing about a real person. Its accuracy on patients was not measured and cannot be "
    "guessed from these numbers. Healthy lungs were not among the training cases.",
}


def vary(image: Tensor, rng: np.random.Generator) -> Tensor:
    """A chance variation of an image: mirrored, moved, stretched, louder or quieter, noisier.

    Args:
        image: (z, y, x), standardized.
        rng: the only source of chance.
    """
    if rng.random() < 0.5:
        image = image.flip(2)
    if rng.random() < 0.5:  # else it keeps its grain: interpolation smooths
        place = np.diag([*np.exp(rng.normal(0, 0.06, 3)), 1])[:3]
        place[:, 3] = rng.normal(0, 0.04, 3)
        grid = functional.affine_grid(
            torch.from_numpy(place.astype(np.float32))[None], [1, 1, *image.shape], align_corners=False
        )
        moved = functional.grid_sample(image[None, None], grid, padding_mode="border", align_corners=False)
        image = moved[0, 0]
    image = image * float(np.exp(rng.normal(0, 0.1))) + float(rng.normal(0, 0.1))
    if rng.random() < 0.5:
        noise = rng.standard_normal(tuple(image.shape), np.float32)
        image = image + float(rng.uniform(0, 0.3)) * torch.from_numpy(noise)
    return image


def supply_of(cases: Sequence[Case], shrink: tuple[int, int, int] = WHOLE) -> Supply[tuple[Tensor, float]]:
    """How images are drawn, and batches of them: (n, 1, z, y, x) and labels (n,), both float32.

    Args:
        cases: of both kinds, which take turns in a batch.
        shrink: see `Case.read`; shrunken images are kept in memory (1 MB each at most), whole ones are not.

    Raises:
        InputError: one kind is missing.
    """
    kinds = [[i for i, c in enumerate(cases) if c.label == label] for label in (0, 1)]
    if not all(kinds):
        raise InputError("training needs cases with COVID-19 and cases with another pneumonia")
    kept = [case.read(shrink).astype(np.float16) for case in cases] if shrink != WHOLE else None

    def draw(rng: np.random.Generator, place: int) -> tuple[Tensor, float]:
        i = int(rng.choice(kinds[place % 2]))
        image = kept[i].astype(np.float32) if kept else cases[i].read()
        return vary(torch.from_numpy(image), rng), cases[i].label

    def collate(samples: Sequence[tuple[Tensor, float]], device: torch.device) -> Batch:
        x = torch.stack([image for image, _ in samples])[:, None].to(device)
        y = torch.tensor([label for _, label in samples], device=device)
        return x.contiguous(memory_format=torch.channels_last_3d), y

    return Supply(draw, collate)


class Logit(nn.Module):
    """COVID-19Net without its features, the form the training loop wants."""

    def __init__(self, network: COVID19Net) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, z, y, x) -> (B,)."""
        logit: Tensor = self.network(x)[0]
        return logit


def probabilities(network: COVID19Net, cases: Sequence[Case]) -> np.ndarray:
    """Probability of COVID-19 of each case, from its whole image in float32."""
    found = []
    with torch.inference_mode():
        for case in cases:
            x = torch.from_numpy(case.read())[None, None].contiguous(memory_format=torch.channels_last_3d)
            found.append(torch.sigmoid(network.eval()(x)[0]).item())
    return np.array(found)


def best_threshold(probability: np.ndarray, label: np.ndarray) -> float:
    """The threshold of the largest sensitivity plus specificity (Youden 1950), halfway between two cases.

    Args:
        probability: of each case.
        label: 1 or 0 of each case.
    """
    steps = np.unique(probability)
    middles = (steps[1:] + steps[:-1]) / 2 if len(steps) > 1 else steps
    gains = [(probability > t)[label == 1].mean() - (probability > t)[label == 0].mean() for t in middles]
    best = np.flatnonzero(np.isclose(gains, max(gains)))
    return float(middles[best[len(best) // 2]])  # the middle of equals


def measure(probability: np.ndarray, label: np.ndarray, threshold: float) -> dict[str, float]:
    """AUC (Mann-Whitney, ties count half), sensitivity, specificity and the number of cases."""
    ill, other = probability[label == 1], probability[label == 0]
    wins = (ill[:, None] > other).mean() + 0.5 * (ill[:, None] == other).mean()
    return {
        "cases": len(label),
        "auc": round(float(wins), 4),
        "sensitivity": round(float((ill > threshold).mean()), 4),
        "specificity": round(float((other <= threshold).mean()), 4),
    }


def train_network(cases: Sequence[Case], stages: Sequence[Stage], work: Path) -> COVID19Net:
    """Train in stages, from small images to whole ones.

    Args:
        cases: to train on.
        stages: one after the other; the seed of the first initialises the network.
        work: folder of the checkpoints; a run that was cut off goes on from there.

    Returns:
        The network with averaged weights, in eval mode.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stages[0].schedule.seed)
        network = COVID19Net()
    # Less than half the time of torch's usual order in bfloat16 on a CPU.
    network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    loss = functional.binary_cross_entropy_with_logits
    for stage in stages:
        supply = supply_of(cases, stage.shrink)
        site = Site(checkpoint=work / f"{stage.name}.safetensors")
        fit(Logit(network), supply, loss, stage.schedule, site=site)
    settle(network, cases[:SETTLING], stages[-1].schedule.batch)
    return network.eval()


def settle(network: COVID19Net, cases: Sequence[Case], batch: int) -> None:
    """Measure the batch-norm statistics anew on whole images: a short training keeps those of small ones.

    Args:
        network: changed in place.
        cases: of both kinds.
        batch: images at a time.
    """
    images = (
        torch.from_numpy(np.stack([case.read() for case in cases[i : i + batch]]))[:, None]
        for i in range(0, len(cases), batch)
    )
    torch.optim.swa_utils.update_bn(images, Logit(network))


def train_diagnosis(
    out: Path,
    work: Path,
    *,
    cases: int = 360,
    seed: int = 20200401,
    stages: Sequence[Stage] = STAGES,
) -> WeightFile:
    """Make demonstration weights from nothing: draw patients, train, measure, write weights and card.

    Args:
        out: folder of the weight set.
        work: folder for the synthetic patients (8 MB each) and checkpoints; a run that was cut off goes on.
        cases: synthetic patients; the last quarter is for validation alone.
        seed: of the patients.
        stages: see `train_network`.
    """
    drawn = make_cases(work / "cases", cases, seed)
    training, validation = drawn[: -(cases // VALIDATION)], drawn[-(cases // VALIDATION) :]
    network = train_network(training, stages, work)
    known = training[:CALIBRATION]
    probability, label = probabilities(network, known), np.array([c.label for c in known])
    threshold = best_threshold(probability, label)
    metrics = {
        "training": measure(probability, label, threshold),
        "validation": measure(
            probabilities(network, validation), np.array([c.label for c in validation]), threshold
        ),
        "stages": [asdict(stage) for stage in stages],
    }
    return write_weights(
        out,
        "diagnosis",
        tensors_of(network),
        name=out.name,
        training_data=f"{len(training)} synthetic patients (covid19net.phantom {__version__}, seed {seed}), "
        f"half with COVID-19, the others with {', '.join(OTHERS)} pneumonia as {list(OTHERS.values())}",
        options={"threshold": round(threshold, 4)},
        training_command=COMMAND.format(cases=cases, seed=seed),
        metrics=metrics,
        **CARD,
    )
