"""The authors' Keras .h5 files -> weight files of this package, without Keras.

Both kinds of file are read: a whole model (`model.save`: the weights are in the group `model_weights`, beside
the optimiser's state, which is left out) and weights alone (`model.save_weights`). The format is Keras 2's:
attribute `layer_names` lists the layers, and `weight_names` of a layer's group lists its arrays.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from covid19net.errors import WeightsError
from covid19net.weights.cards import TASKS
from covid19net.weights.files import WeightFile, sha256_of, what_it_is, write_weights
from covid19net.weights.keras_names import (
    covid19net_layers,
    densenet_fpn_layers,
    keras_arrays,
    keras_shape,
    torch_order,
)
from covid19net.weights.networks import build_network, check_fit, tensor_shapes

# A layer that only this network has, and what the network does when no task is given.
_MARKS = {"block0_conv1": "covid19net", "conv1/conv": "densenet-fpn"}
_USUAL_TASK = {"covid19net": "diagnosis", "densenet-fpn": "lungs"}
_LAYERS = {"covid19net": covid19net_layers, "densenet-fpn": densenet_fpn_layers}
# Layers whose number of filters is the width of the lung network's decoder.
_WIDTHS = {"pyramid": "fpn_stage_p5_pre_conv/kernel", "segmentation": "segm_stage2a_conv/kernel"}
_PUBLISHED_THRESHOLD = 0.8  # of the authors' test script; a larger probability is called positive


@dataclass(frozen=True)
class KerasNetwork:
    """What a Keras file holds.

    Attributes:
        network: "densenet-fpn" or "covid19net".
        options: "pyramid" and "segmentation" for densenet-fpn.
        tensors: name -> float32 array, named and ordered as in the network's state_dict.
    """

    network: str
    options: dict[str, Any]
    tensors: dict[str, np.ndarray]


def h5py_module() -> ModuleType:
    """Import h5py.

    Raises:
        WeightsError: it is not installed; says how to install it.
    """
    try:
        import h5py
    except ImportError as error:
        raise WeightsError("Keras files need h5py: pip install 'covid19net[keras]'") from error
    return h5py  # type: ignore[no-any-return]


def _names(attributes: Mapping[str, Any], key: str) -> Iterator[str]:
    """Names listed in an attribute; Keras splits a list too long for one over key0, key1, ..."""
    keys: Iterator[str] = iter([key]) if key in attributes else (f"{key}{i}" for i in count())
    for part in keys:
        if part not in attributes:
            return
        for name in np.ravel(attributes[part]):
            yield name.decode() if isinstance(name, bytes) else str(name)


def _inside(group: Any, path: str) -> Any:  # noqa: ANN401  # h5py carries no types
    """The member of a group at a path, without ever following a link, which may lead to another file."""
    h5py = h5py_module()
    for name in filter(None, path.split("/")):
        if not isinstance(group, h5py.Group):
            raise KeyError(path)
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise KeyError(path)
        group = group[name]
    return group


def _arrays(file: Any) -> dict[str, Any]:  # noqa: ANN401
    """LAYER/LEAF -> dataset, for every array of the network; no data is read yet."""
    root = _inside(file, "model_weights") if "model_weights" in file else file
    found = {}
    for layer in _names(root.attrs, "layer_names"):
        group = _inside(root, layer)
        for name in _names(group.attrs, "weight_names"):
            dataset = _inside(group, name)
            if not hasattr(dataset, "dtype") or dataset.external or dataset.is_virtual:
                raise KeyError(f"{layer}/{name} keeps its numbers elsewhere")
            key = f"{layer}/{name.rpartition('/')[2].partition(':')[0]}"
            if key in found:
                raise ValueError(f"{key} is stored twice")
            if dataset.dtype.kind != "f":
                raise ValueError(f"{key} is {dataset.dtype}, not floating point")
            found[key] = dataset
    return found


def _recognize(arrays: Mapping[str, Any], source: str) -> tuple[str, dict[str, Any]]:
    """The network a file belongs to, and how it was built."""
    layers = {name.rpartition("/")[0] for name in arrays}
    network = next((network for mark, network in _MARKS.items() if mark in layers), None)
    if network is None:
        seen = ", ".join(sorted(layers)[:3]) or "none"
        raise WeightsError(f"{source}: neither COVID-19Net nor DenseNet121-FPN; its first layers: {seen}")
    if network == "covid19net":
        return network, {}
    # A missing layer gives width 1 here, and is reported by name when the whole list is compared.
    return network, {k: int(arrays[v].shape[-1]) if v in arrays else 1 for k, v in _WIDTHS.items()}


def _convert(file: Any, source: str) -> KerasNetwork:  # noqa: ANN401
    arrays = _arrays(file)
    network, options = _recognize(arrays, source)
    shapes = tensor_shapes(build_network(network, options, empty=True))
    ours = keras_arrays(shapes, _LAYERS[network]())
    wanted = {theirs: keras_shape(shapes[name]) for theirs, name in ours.items()}
    check_fit(wanted, {name: array.shape for name, array in arrays.items()}, source)
    tensors = {name: torch_order(arrays[theirs][()].astype(np.float32)) for theirs, name in ours.items()}
    return KerasNetwork(network, options, tensors)


def read_keras(path: Path) -> KerasNetwork:
    """Read one of the authors' networks from a Keras .h5 file, whole or not at all.

    Args:
        path: a file written by `model.save` or `model.save_weights` of Keras 2.

    Raises:
        WeightsError: h5py or torch is not installed; the file is missing or damaged; or an array is missing,
            too many or of another shape than in either network.
    """
    h5py = h5py_module()
    if not path.is_file():
        raise WeightsError(f"{path}: no such file")
    try:
        with path.open("rb") as stream:
            head = stream.read(256)
        if reason := what_it_is(head):
            raise WeightsError(f"{path}: {reason}")
        with h5py.File(path, "r") as file:
            return _convert(file, str(path))
    except WeightsError:
        raise
    except (OSError, KeyError, ValueError, RuntimeError, TypeError) as error:
        reason = (str(error).splitlines() or ["unreadable"])[0]
        raise WeightsError(f"{path}: damaged, or not a Keras .h5 file: {reason}") from error


def import_keras(path: Path, folder: Path, *, task: str | None = None, **fields: object) -> WeightFile:
    """Convert one of the authors' Keras files into a weight file with its model card.

    Args:
        path: the Keras file, see `read_keras`.
        folder: of the set to write into.
        task: "lungs", "diagnosis" or "egfr"; without it, what the network is usually for. The networks of
            diagnosis and egfr are the same, so a file cannot tell which it is.
        **fields: of the model card, in place of the cautious defaults ("unknown", "none stated").

    Returns:
        The weight file; `converted_from` in its card names the original.

    Raises:
        WeightsError: see `read_keras` and `write_weights`; the file's network does not do the task; or the
            set has weights for it already.
        ResourceError: the disk is full.
    """
    found = read_keras(path)
    task = task or _USUAL_TASK[found.network]
    if TASKS.get(task) != found.network:
        raise WeightsError(
            f"{path}: holds the network {found.network!r}, which does not do the task {task!r}"
        )
    if (folder / f"{task}.safetensors").exists():  # diagnosis and egfr files look alike
        raise WeightsError(f"{path}: {folder} already holds weights for {task!r}; name another task or set")
    options: dict[str, Any] = dict(found.options)
    if task == "lungs":
        options["clean_up"] = False  # as published
    elif task == "diagnosis":
        options["threshold"] = _PUBLISHED_THRESHOLD
    defaults: dict[str, object] = {
        "name": folder.name,
        "licence": "none stated",
        "origin": "unknown",
        "training_data": "unknown",
        "intended_use": "research; not a medical device",
        "options": options,
        "converted_from": {"file": path.name, "sha256": sha256_of(path), "format": "Keras 2 HDF5"},
    }
    return write_weights(folder, task, found.tensors, **(defaults | fields))
