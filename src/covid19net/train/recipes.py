"""The numbers of training COVID-19Net, in one place.

Wang et al. 2020 state neither optimiser, learning rate, epochs, batch, loss nor augmentation, and their
released code holds no training. Everything here is ours:

- AdamW, a rise and half a cosine, averaged weights: robust without tuning for each data set.
- Cross-entropy on batches with as many positive as negative patients: 79 % of the paper's training set have
  COVID-19.
- "full" trains on whole images, for a GPU. "cpu" trains on shrunken images first, where a step costs a
  thirty-second of a whole one, then on halved and on whole ones: "coarse" and "fine" are its two parts.
  "quick" is a short "coarse": for teaching and tests, minutes on two cores.
- Stops when the AUC on the tuning patients has not risen for `patience` judgements; the best weights stay.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
import json
from pathlib import Path
import re
from typing import Any

from covid19net.errors import InputError
from covid19net.preprocess import IMAGE_SHAPE, WHOLE
from covid19net.train.images import Shrink
from covid19net.train.schedule import Schedule


@dataclass(frozen=True)
class Stage:
    """One part of a training.

    Attributes:
        name: of its checkpoint and metrics.
        shrink: voxels along (z, y, x) that become one, see `Sample.read`.
        schedule: the numbers of the run.
    """

    name: str
    shrink: Shrink
    schedule: Schedule

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", self.name):
            raise InputError(f"stage {self.name!r}: a name is letters, digits, _ and -")
        if self.schedule.batch % 2:
            raise InputError(f"stage {self.name}: a batch holds both classes equally often: an even number")
        if len(self.shrink) != 3 or any(
            type(s) is not int or s < 1 or n % s for n, s in zip(IMAGE_SHAPE, self.shrink, strict=True)
        ):
            raise InputError(f"stage {self.name}: shrink {self.shrink} must divide {IMAGE_SHAPE}")


COARSE = Stage(
    "coarse", (2, 4, 4), Schedule(800, 8, 2e-3, average=0.98, precision="bf16", judge_every=100, patience=4)
)
HALVED = Stage(
    "halved", (2, 2, 2),
    Schedule(120, 8, 8e-4, average=0.96, precision="bf16", save_every=20, judge_every=40, patience=3),
)  # fmt: skip
SHORT = Stage(
    "whole", WHOLE, Schedule(60, 4, 4e-4, average=0.94, precision="bf16", save_every=10, judge_every=60)
)
LONG = Stage(
    "whole", WHOLE,
    Schedule(4000, 16, 1e-3, average=0.998, precision="bf16", save_every=200, judge_every=200, patience=6),
)  # fmt: skip
QUICK = Stage("coarse", COARSE.shrink, Schedule(240, 8, 2e-3, average=0.96, precision="bf16", judge_every=40))
RECIPES: Mapping[str, tuple[Stage, ...]] = {
    "full": (LONG,),
    "cpu": (COARSE, HALVED, SHORT),
    "coarse": (COARSE,),
    "fine": (HALVED, SHORT),
    "quick": (QUICK,),
}


def find_recipe(name: str) -> tuple[Stage, ...]:
    """A recipe by name, or read from a JSON file as `recipe_text` writes it.

    Raises:
        InputError: neither, or faults in the file.
    """
    if name in RECIPES:
        return RECIPES[name]
    path = Path(name)
    if not path.is_file():
        raise InputError(f"recipe {name!r}: not one of {', '.join(RECIPES)}, and no such file")
    try:
        rows: Sequence[Mapping[str, Any]] = json.loads(path.read_text())
        stages = tuple(Stage(row["name"], tuple(row["shrink"]), Schedule(**row["schedule"])) for row in rows)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path.name}: not a recipe: {error}") from error
    if not stages or len({stage.name for stage in stages}) < len(stages):
        raise InputError(f"{path.name}: a recipe needs at least one stage, each with a name of its own")
    return stages


def recipe_text(stages: Sequence[Stage]) -> str:
    """A recipe as JSON, to be changed and used instead."""
    return json.dumps([asdict(stage) for stage in stages], indent=2)
