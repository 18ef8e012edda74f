"""Write the two kinds of Keras 2 .h5 file with h5py, group by group as Keras lays them out."""

from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np


def write_keras(path: Path, arrays: Mapping[str, np.ndarray], *, whole: bool) -> None:
    """Write LAYER/LEAF -> array, as `model.save` (with optimiser state) or as `model.save_weights` does."""
    layers: dict[str, list[str]] = {"input_1": []}  # a layer without arrays, as every network has
    for name in arrays:
        layers.setdefault(name.rpartition("/")[0], []).append(name)
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights") if whole else file
        root.attrs["layer_names"] = [layer.encode() for layer in layers]
        root.attrs["backend"] = b"tensorflow"
        root.attrs["keras_version"] = b"2.2.4"
        for layer, names in layers.items():
            group = root.create_group(layer)
            group.attrs["weight_names"] = [f"{name}:0".encode() for name in names]
            for name in names:
                group[f"{name}:0"] = arrays[name]
        if whole:
            file.attrs["model_config"] = b"{}"
            state = file.create_group("optimizer_weights")
            state.attrs["weight_names"] = [b"Adam/iterations:0", b"Adam/m:0"]
            state["Adam/iterations:0"] = np.int64(1)
            state["Adam/m:0"] = np.zeros(7, np.float32)
