"""OpenVINO itself, and what its graph of a traced network needs before it is kept."""

import sys
from threading import Lock
from types import ModuleType
from typing import Any

import numpy as np

LARGE = 1000  # numbers; constants with more are kept in half precision where that is exact

_IMPORT = Lock()


def import_openvino() -> ModuleType:
    """Import OpenVINO without its converter package, which reports every import over the network.

    That package is not needed: the converter itself lives elsewhere in OpenVINO.
    """
    with _IMPORT:
        name = "openvino.tools.ovc"
        if "openvino" in sys.modules or name in sys.modules:
            import openvino
        else:
            sys.modules[name] = None  # type: ignore[assignment]  # makes importing it fail, which OpenVINO allows for
            try:
                import openvino
            finally:
                del sys.modules[name]
    module: ModuleType = openvino
    return module


def prepare(model: Any) -> None:  # noqa: ANN401 - OpenVINO has no types
    """Make a graph right, small, and quick to get ready; it computes the same but for rounding."""
    import_openvino()
    from openvino.passes import ConstantFolding, Manager

    folding = Manager()
    folding.register_pass(ConstantFolding())
    folding.run_passes(model)
    _replace_transposed(model)
    _replace_norms(model)
    _halve(model)


def _replace_transposed(model: Any) -> None:  # noqa: ANN401
    """Write each transposed convolution of stride 1 as a convolution with mirrored weights; the same numbers.

    OpenVINO's CPU plugin (2026.4) packs weights that a convolution and a transposed convolution share only
    once, in the order of the first, when they have as many channels in as out: the second is then wrong. The
    head's gradient shares its weights with the head.
    """
    from openvino import opset13 as ops
    from openvino.utils import replace_node

    for node in model.get_ops():
        if node.get_type_name() != "ConvolutionBackpropData" or set(node.get_attributes()["strides"]) != {1}:
            continue  # one of another stride shares its weights with nothing
        kernel = node.input_value(1).get_node().data  # (in, out, z, y, x)
        mirrored = np.ascontiguousarray(np.flip(kernel.swapaxes(0, 1), (2, 3, 4)))
        pads = [
            size - 1 - pad
            for size, pad in zip(kernel.shape[2:], node.get_attributes()["pads_begin"], strict=True)
        ]
        ones = [1] * len(pads)
        convolution = ops.convolution(node.input_value(0), ops.constant(mirrored), ones, pads, pads, ones)
        replace_node(node, convolution)


def _replace_norms(model: Any) -> None:  # noqa: ANN401
    """Write each batch normalisation as one product and one sum for each channel.

    OpenVINO does so too, each time it gets a network ready; done here that takes a fifth less time.
    """
    from openvino import opset13 as ops
    from openvino.utils import replace_node

    for node in model.get_ops():
        if node.get_type_name() != "BatchNormInference":
            continue
        weight, bias, mean, variance = (node.input_value(i).get_node().data for i in range(1, 5))
        scale = weight / np.sqrt(variance + np.float32(node.get_attributes()["epsilon"]))
        axes = (1, -1, *[1] * (len(node.get_output_partial_shape(0)) - 2))
        product = ops.multiply(node.input_value(0), ops.constant(scale.reshape(axes)))
        replace_node(node, ops.add(product, ops.constant((bias - mean * scale).reshape(axes))))


def _halve(model: Any) -> None:  # noqa: ANN401
    """Keep large constants in half precision where nothing is lost, as in the weight files they are from."""
    openvino = import_openvino()
    from openvino import opset13 as ops
    from openvino.utils import replace_node

    for node in model.get_ops():
        is_float = node.get_type_name() == "Constant" and node.get_element_type() == openvino.Type.f32
        if not is_float or node.data.size <= LARGE:
            continue
        with np.errstate(over="ignore"):
            half = node.data.astype(np.float16)
        if np.array_equal(half, node.data):
            replace_node(node, ops.convert(ops.constant(half), "f32"))
