"""From named tensors to a network, one to one or not at all, and back."""

from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from covid19net.errors import WeightsError
from covid19net.weights.files import WeightFile, load_tensors
from covid19net.weights.reference import REFERENCE_TENSORS

if TYPE_CHECKING:
    from torch import nn

_COUNTER = "num_batches_tracked"  # torch's own, of no use in inference and not stored
_SHOWN = 5  # differences named in an error


def require_torch() -> ModuleType:
    """Import torch.

    Raises:
        WeightsError: it is not installed; says how to install it.
    """
    try:
        import torch
    except ImportError as error:
        raise WeightsError("this needs torch: pip install 'covid19net[torch]'") from error
    return torch


def build_network(network: str, options: Mapping[str, Any], *, empty: bool = False) -> "nn.Module":
    """Make the network a card speaks of, in eval mode.

    Args:
        network: "densenet-fpn" or "covid19net".
        options: of the card; "pyramid" and "segmentation" (channels) are heeded, the rest is for others.
        empty: make names and shapes only, without memory for the numbers; otherwise they are random.

    Raises:
        WeightsError: torch is not installed.
    """
    torch = require_torch()
    from covid19net.nets.covid19net import COVID19Net
    from covid19net.nets.densenet_fpn import DenseNetFPN

    widths = {k: options[k] for k in ("pyramid", "segmentation") if k in options}
    with torch.device("meta" if empty else "cpu"):
        built = COVID19Net() if network == "covid19net" else DenseNetFPN(**widths)
    return built.eval()


def tensor_shapes(network: "nn.Module") -> dict[str, tuple[int, ...]]:
    """Name -> shape of every tensor a weight file of this network holds."""
    state = network.state_dict()
    return {name: tuple(tensor.shape) for name, tensor in state.items() if not name.endswith(_COUNTER)}


def tensors_of(network: "nn.Module") -> dict[str, np.ndarray]:
    """Copy the network's tensors into arrays, as float32 and ready for `write_weights`."""
    state = network.state_dict()
    return {
        name: tensor.detach().cpu().float().numpy().copy()
        for name, tensor in state.items()
        if not name.endswith(_COUNTER)
    }


def randomised(tensors: Mapping[str, np.ndarray], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The same network with nothing learned: the numbers of every kernel shuffled, the rest left alone.

    For sanity checks of explanations (Adebayo 2018, NeurIPS 31:9505): what a map still shows then does not
    come from what the network learned. In the order of names: that of a file is another in every process.
    """
    return {
        name: rng.permutation(array.ravel()).reshape(array.shape) if array.ndim > 1 else array
        for name, array in sorted(tensors.items())
    }


def check_fit(
    wanted: Mapping[str, tuple[int, ...]], given: Mapping[str, tuple[int, ...]], source: str
) -> None:
    """Compare the names and shapes of a file with those of its network.

    Raises:
        WeightsError: a name is missing or too many, or a shape differs; names the first differences.
    """
    faults = [f"missing: {name}" for name in sorted(wanted.keys() - given.keys())]
    faults += [f"not expected: {name}" for name in sorted(given.keys() - wanted.keys())]
    for name in sorted(wanted.keys() & given.keys()):
        if tuple(wanted[name]) != tuple(given[name]):
            faults.append(f"{name}: the file has {tuple(given[name])}, the network {tuple(wanted[name])}")
    if faults:
        more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise WeightsError(
            f"{source}: the weights are of another network: {'; '.join(faults[:_SHOWN])}{more}"
        )


def network_tensors(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors of a weight file without those of its reference."""
    return {name: array for name, array in tensors.items() if name not in REFERENCE_TENSORS}


def load_exactly(network: "nn.Module", tensors: Mapping[str, np.ndarray], source: str) -> None:
    """Copy every tensor but those of a reference into the network; names and shapes must match one to one.

    Args:
        network: whose parameters and batch-norm statistics are overwritten.
        tensors: named as in `network.state_dict()`; float16 is widened to float32.
        source: what to call the tensors in an error, usually the path of their file.

    Raises:
        WeightsError: names or shapes differ; the network is unchanged then.
    """
    torch = require_torch()
    tensors = network_tensors(tensors)
    check_fit(tensor_shapes(network), {name: array.shape for name, array in tensors.items()}, source)
    state = {name: torch.from_numpy(np.array(array, np.float32)) for name, array in tensors.items()}
    network.load_state_dict(state, strict=False)  # only the counters are absent: all else was compared


def load_network(weights: WeightFile) -> "nn.Module":
    """Read a weight file into its network, in eval mode and float32 on the CPU.

    Raises:
        WeightsError: the file is damaged (see `load_tensors`) or of another network.
    """
    tensors = load_tensors(weights)
    network = build_network(weights.card.network, weights.card.options)
    load_exactly(network, tensors, str(weights.path))
    return network
