"""Maps at other stages of the network than the end of dense block 3, and a finer one. Needs torch.

Early stages see finely and understand little; late stages the reverse. The finer map takes the place from one
and the meaning from the other.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from covid19net.engine.converted import shrink_of, torch_parts
from covid19net.engine.device import memory_told
from covid19net.errors import InputError, WeightsError
from covid19net.explain.grad_cam import BLOCK3, Grid, heat_in_box, weighted_maps
from covid19net.weights import WeightFile

if TYPE_CHECKING:
    from torch import Tensor, nn

# From the strides and paddings of the network, as for dense block 3: along y and x the stem puts voxel i on
# 2i + 1, and each pooling of two doubles the stride and moves the first centre by half a voxel of its input.
GRIDS = {
    "stem": Grid((1, 2, 2), (0, 1, 1)),
    "block1": Grid((1, 2, 2), (0, 1, 1)),
    "block2": Grid((2, 4, 4), (0.5, 2, 2)),
    "block3-unpooled": Grid((4, 8, 8), (1.5, 4, 4)),
    "block3": BLOCK3,
    "block4": BLOCK3,
}


@dataclass(frozen=True, eq=False)
class Stage:
    """What a stage of the network makes of one lung image.

    Attributes:
        maps: (channel, z, y, x).
        gradient: of the logit with respect to them.
        grid: where their voxels lie in the lung image.
        shrink: voxels of the lung image along (z, y, x) that are one voxel for the network.
    """

    maps: np.ndarray
    gradient: np.ndarray
    grid: Grid
    shrink: tuple[int, int, int] = (1, 1, 1)

    def grad_cam(self) -> np.ndarray:
        """Grad-CAM at this stage, float32, >= 0, (z, y, x) of its maps."""
        return weighted_maps(self.maps, self.gradient)

    def layer_cam(self) -> np.ndarray:
        """LayerCAM at this stage (Jiang 2021, IEEE Trans Image Process 30:5875), likewise.

        Each place is weighted by its own gradient where that is positive, which suits early stages: there one
        channel argues for the score in one place and against it in another.
        """
        return np.asarray(np.maximum((np.maximum(self.gradient, 0) * self.maps).sum(axis=0), 0))


def modules_of(backbone: "nn.Module", head: "nn.Module | None" = None) -> dict[str, "nn.Module"]:
    """The module at whose output each stage ends; without a head, those of the backbone."""
    inner: nn.Module = getattr(backbone, "backbone", backbone)  # of one that sees a shrunken image
    ends = {"stem": "stem_conv2", "block1": "block1", "block2": "block2", "block3-unpooled": "block3"}
    found = {name: inner.get_submodule(end) for name, end in ends.items()}
    found["block3"] = inner  # pooled, normalized, cut at zero: the head's input
    if head is not None:
        found["block4"] = head.get_submodule("block")
    return found


def look_inside(
    backbone: "nn.Module",
    head: "nn.Module",
    image: np.ndarray,
    stages: tuple[str, ...] = ("block3",),
    shrink: tuple[int, int, int] = (1, 1, 1),
) -> dict[str, Stage]:
    """Run a network and keep what its stages make of an image, with gradients by automatic differentiation.

    Args:
        backbone: of a network, in evaluation mode.
        head: the rest of it.
        image: a lung image, (z, y, x); smaller ones work too.
        stages: names from `GRIDS`.
        shrink: as in `Stage`.

    Raises:
        InputError: a stage that is none.
        ResourceError: not enough memory.
    """
    import torch

    if unknown := set(stages) - GRIDS.keys():
        raise InputError(f"no stage {', '.join(sorted(unknown))}: choose from {', '.join(GRIDS)}")
    kept: dict[str, Tensor] = {}
    modules = modules_of(backbone, head)

    def keeper(name: str) -> "Callable[[nn.Module, object, Tensor], None]":
        def keep(_module: "nn.Module", _given: object, made: "Tensor") -> None:
            kept[name] = made

        return keep

    hooks = [modules[name].register_forward_hook(keeper(name)) for name in stages]
    try:
        with memory_told("drawing maps at stages of the network"), torch.enable_grad():
            # What the gradient is taken to must itself be part of a graph, whatever the weights are set to.
            x = torch.from_numpy(np.ascontiguousarray(image, np.float32))[None, None].requires_grad_()
            logit = head(backbone(x))[0]
            gradients = torch.autograd.grad(logit.sum(), [kept[name] for name in stages])
    finally:
        for hook in hooks:
            hook.remove()
    return {
        name: Stage(kept[name][0].detach().numpy(), gradient[0].numpy(), GRIDS[name], shrink)
        for name, gradient in zip(stages, gradients, strict=True)
    }


def stages_of(weights: WeightFile, image: np.ndarray, stages: tuple[str, ...]) -> dict[str, Stage]:
    """`look_inside` for the network of a weight file.

    Raises:
        WeightsError: a damaged file, weights of another task, or torch is not installed.
        InputError: a stage that is none.
        ResourceError: not enough memory.
    """
    backbone, head = parts_of(weights)
    return look_inside(backbone, head, image, stages, shrink_of(weights))


def parts_of(weights: WeightFile) -> tuple["nn.Module", "nn.Module"]:
    """Backbone and head of a diagnosis network, in evaluation mode and float32 on the CPU.

    Raises:
        WeightsError: as `stages_of`.
    """
    if weights.card.task == "lungs":
        raise WeightsError(f"{weights.path}: weights for 'lungs' have no heat map")
    parts = torch_parts(weights)
    head = parts["head"].get_submodule("head")
    for module in (parts["backbone"], head):
        module.eval().requires_grad_(requires_grad=False)
    return parts["backbone"], head


def finer(stages: Mapping[str, Stage], shape: tuple[int, int, int]) -> np.ndarray:
    """The finer map: warm where Grad-CAM at the end of block 3 and LayerCAM at that of block 2 both are.

    Their geometric mean, each over its own largest value. What it gains and where it goes wrong:
    docs/explanation/explanations.md.

    Args:
        stages: "block3" and "block2" of one image.
        shape: voxels of the lung box, (z, y, x).

    Returns:
        float32, in [0, 1], of that shape; zero where one of the two maps is empty.
    """
    product = np.ones(shape, np.float32)
    for name, cam in (("block3", stages["block3"].grad_cam()), ("block2", stages["block2"].layer_cam())):
        heat = heat_in_box(cam, shape, stages[name].shrink, stages[name].grid)
        product *= heat / heat.max() if heat.max() > 0 else 0
    return np.sqrt(product)
