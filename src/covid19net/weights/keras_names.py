"""The authors' Keras layer names beside the module names of our networks.

COVID-19Net has the authors' own names; the lung network those of `FPN('densenet121')` in segmentation_models
1.0.1, whose encoder is Keras' own DenseNet121. An array is called LAYER/LEAF here, e.g. "conv1/bn/gamma",
without the ":0" of TensorFlow.
"""

from collections.abc import Mapping

import numpy as np

from covid19net.errors import WeightsError

_ENCODER_LAYERS = (6, 12, 24, 16)  # dense layers in blocks 1 to 4 of DenseNet121
_COVID_UNITS = (2, 3, 4)  # dense units in blocks 1 to 3 of COVID-19Net
_HEAD_UNITS = 2
_LEAVES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def covid19net_layers() -> dict[str, str]:
    """Keras layer -> module of `COVID19Net`."""
    layers = {
        "block0_conv1": "backbone.stem_conv1",
        "block0_bn1": "backbone.stem_bn",
        "block0_conv2": "backbone.stem_conv2",
        "block13_trans_bn": "backbone.transition1.bn",
        "block13_trans_conv": "backbone.transition1.conv",
        "block23_trans_bn": "backbone.transition2.bn",
        "block23_trans_conv": "backbone.transition2.conv",
        "block_final_bn": "backbone.bn",
        "EGFR_block_12_trans_bn": "head.transition.bn",
        "EGFR_block_12_trans_conv": "head.transition.conv",
        "EGFR_global_pred": "head.predict",  # so called in the diagnosis network as well
    }
    units = {f"EGFR_block_11_{i}": f"head.block.{i}" for i in range(_HEAD_UNITS)}
    for block, count in enumerate(_COVID_UNITS, 1):
        units |= {f"block_{block}1_{i}": f"backbone.block{block}.{i}" for i in range(count)}
    for unit, module in units.items():
        layers |= {
            f"{unit}_0_bn": f"{module}.bn1",
            f"{unit}_1_conv": f"{module}.conv1",
            f"{unit}_1_bn": f"{module}.bn2",
            f"{unit}_2_conv": f"{module}.conv2",
        }
    return layers


def encoder_layers() -> dict[str, str]:
    """Keras layer -> module of `DenseNet121`."""
    layers = {"conv1/conv": "conv0", "conv1/bn": "norm0", "bn": "norm5"}
    for block, count in enumerate(_ENCODER_LAYERS, 1):
        for i in range(1, count + 1):
            theirs, ours = f"conv{block + 1}_block{i}", f"denseblock{block}.denselayer{i}"
            layers |= {
                f"{theirs}_0_bn": f"{ours}.norm1",
                f"{theirs}_1_conv": f"{ours}.conv1",
                f"{theirs}_1_bn": f"{ours}.norm2",
                f"{theirs}_2_conv": f"{ours}.conv2",
            }
        if block < len(_ENCODER_LAYERS):
            layers[f"pool{block + 1}_bn"] = f"transition{block}.norm"
            layers[f"pool{block + 1}_conv"] = f"transition{block}.conv"
    return layers


def densenet_fpn_layers() -> dict[str, str]:
    """Keras layer -> module of `DenseNetFPN`."""
    layers = {theirs: f"encoder.{ours}" for theirs, ours in encoder_layers().items()}
    layers |= {
        "fpn_stage_p5_pre_conv": "top",
        "final_stage_conv": "merge.conv",
        "final_stage_bn": "merge.bn",
        "head_conv": "predict",
    }
    for level in (2, 3, 4, 5):
        layers[f"fpn_stage_p{level}_conv"] = f"lateral.p{level}"
        for i, letter in enumerate("ab"):
            for part in ("conv", "bn"):
                layers[f"segm_stage{level}{letter}_{part}"] = f"branch.p{level}.{i}.{part}"
    return layers


def keras_arrays(shapes: Mapping[str, tuple[int, ...]], layers: Mapping[str, str]) -> dict[str, str]:
    """Name every array a Keras file of a network must hold.

    Args:
        shapes: name -> shape of the network's tensors, as `tensor_shapes` gives them.
        layers: Keras layer -> module of that network.

    Returns:
        Keras name -> tensor name, one for each tensor.
    """
    theirs = {module: layer for layer, module in layers.items()}
    arrays = {}
    for name, shape in shapes.items():
        module, _, leaf = name.rpartition(".")
        normalizes = f"{module}.running_var" in shapes
        if leaf == "weight":
            kind = "gamma" if len(shape) == 1 else "kernel"
        elif leaf == "bias":
            kind = "beta" if normalizes else "bias"
        else:
            kind = {"running_mean": "moving_mean", "running_var": "moving_variance"}[leaf]
        arrays[f"{theirs[module]}/{kind}"] = name
    return arrays


def keras_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape in Keras of a tensor in torch: (out, in, z, y, x) is stored as (z, y, x, in, out)."""
    return shape if len(shape) == 1 else (*shape[2:], shape[1], shape[0])


def torch_order(array: np.ndarray) -> np.ndarray:
    """Turn a Keras kernel (z, y, x, in, out), or (in, out), into torch's (out, in, z, y, x), or (out, in)."""
    return array if array.ndim == 1 else np.moveaxis(array, (-1, -2), (0, 1))


def encoder_from_keras_names(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Rename the tensors of a DenseNet121 from Keras' names to those of `DenseNet121.state_dict()`.

    Args:
        tensors: Keras name without ":0" -> array, kernels already in torch's order (out, in, y, x).

    Returns:
        name -> float32 array, for `load_exactly(network.encoder, ...)`.

    Raises:
        WeightsError: a name that Keras' DenseNet121 does not have.
    """
    layers = encoder_layers()
    renamed = {}
    for name, array in tensors.items():
        layer, _, leaf = name.rpartition("/")
        if layer not in layers or leaf not in _LEAVES:
            raise WeightsError(f"{name!r} is no tensor of Keras' DenseNet121")
        renamed[f"{layers[layer]}.{_LEAVES[leaf]}"] = np.asarray(array, np.float32)
    return renamed
