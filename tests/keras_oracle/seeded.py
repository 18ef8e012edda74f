"""Weights and inputs from a seed, the same in every environment; needs numpy only.

numpy keeps the stream of `RandomState` the same for ever, which it does not promise for newer generators.
"""

from collections.abc import Mapping
from pathlib import Path
import zlib

import numpy as np

REFERENCE = Path(__file__).parents[1] / "reference"

# Input shapes without batch: COVID-19Net (z, y, x); the lung network (y, x, channel).
INPUTS = {
    "covid19net": {"odd": (17, 50, 61), "even": (16, 48, 72), "full": (48, 240, 360)},
    "densenet_fpn": {"narrow": (32, 96, 3), "square": (64, 64, 3), "full": (256, 256, 3)},
}
SMALL = {"covid19net": ("odd", "even"), "densenet_fpn": ("narrow", "square")}


def layout(network: str) -> dict[str, tuple[int, ...]]:
    """LAYER/LEAF -> shape of every array in the authors' file, in Keras' axis order."""
    shapes = {}
    for line in (REFERENCE / f"keras_layout_{network}.tsv").read_text().splitlines():
        layer, weight, shape = line.split("\t")
        leaf = weight.removeprefix(f"{layer}/").removesuffix(":0")
        shapes[f"{layer}/{leaf}"] = tuple(int(n) for n in shape.split("x"))
    return shapes


def array(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """One array, float32, that depends on its name alone; batch norms are far from the identity."""
    draw = np.random.RandomState(zlib.crc32(name.encode()))
    leaf = name.rpartition("/")[2]
    if leaf == "kernel":
        values = draw.standard_normal(shape) * np.sqrt(2 / np.prod(shape[:-1]))
    elif leaf == "gamma":
        values = draw.uniform(0.5, 1.5, shape)
    elif leaf == "moving_variance":
        values = draw.uniform(0.4, 2.5, shape)
    else:
        values = draw.standard_normal(shape) * 0.3
    return values.astype(np.float32)


def arrays(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """LAYER/LEAF -> array, for a whole network."""
    return {name: array(name, shape) for name, shape in shapes.items()}


def image(network: str, size: str) -> np.ndarray:
    """A float32 input without batch axis, mean 0 and standard deviation 1, smooth enough for structure."""
    shape = INPUTS[network][size]
    draw = np.random.RandomState(zlib.crc32(f"{network} {size}".encode()))
    values = draw.standard_normal(shape)
    for axis in range(2 if network == "densenet_fpn" else 3):
        values = values + np.roll(values, 1, axis)
    return ((values - values.mean()) / values.std()).astype(np.float32)
