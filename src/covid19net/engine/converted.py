"""The converted form of a network, which OpenVINO runs on the CPU: made with torch, once a weight file.

A weight file of the set is converted into OpenVINO IR (a graph in .xml, its numbers in .bin) beside it. An
index with their SHA-256 is written last, so that half a conversion, or a damaged one, is never used. What
ships with the package is compared with the table in its code instead.
"""

from collections.abc import Mapping
from dataclasses import dataclass
import hashlib
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
import warnings

from covid19net.engine.device import TORCH_EXTRA, has_torch, memory_told
from covid19net.engine.graph import import_openvino, prepare
from covid19net.errors import ResourceError, WeightsError
from covid19net.weights import WeightFile, load_network, registry
from covid19net.weights.files import write_atomically

if TYPE_CHECKING:
    from torch import nn

# Part of the file names: raised when the same weights are to be converted anew.
CONVERTER = {"lungs": 3, "diagnosis": 2, "egfr": 2}
SLICE_SHAPE = (1, 3, 256, 256)
IMAGE_SHAPE = (1, 1, 48, 240, 360)
MAPS = 152  # channels of the maps between backbone and head
HALVINGS = (3, 4, 4)  # of the image along (z, y, x) on the way to the maps, each rounded up


@dataclass(frozen=True)
class Part:
    """One converted graph: the text of its .xml and the numbers of its .bin."""

    graph: bytes
    numbers: bytes


@dataclass(frozen=True)
class Converted:
    """The converted parts of one weight file.

    Attributes:
        parts: name -> graph; "network" for lungs, "backbone" and "head" for the others.
        index: the file that names them, or None when no folder could be written and they are in memory only.
    """

    parts: Mapping[str, Part]
    index: Path | None


def _example_shapes(weights: WeightFile) -> dict[str, tuple[tuple[int, ...], tuple[int, ...]]]:
    """Part -> (shape it is traced with, shape it runs with).

    Tracing runs the network once. A smaller picture gives the same graph where sizes halve the same way, in a
    tenth of the time; the head's gradient depends on the size of its maps.
    """
    if weights.card.task == "lungs":
        return {"network": ((1, 3, 64, 64), SLICE_SHAPE)}
    maps = (1, MAPS, *maps_size(shrink_of(weights)))
    return {"backbone": ((1, 1, 16, 32, 48), IMAGE_SHAPE), "head": (maps, maps)}


def shrink_of(weights: WeightFile) -> tuple[int, int, int]:
    """Voxels of the lung image along (z, y, x) that are one voxel for the network; (1, 1, 1) for most."""
    z, y, x = weights.card.options.get("shrink", (1, 1, 1))
    return z, y, x


def maps_size(shrink: tuple[int, int, int]) -> tuple[int, int, int]:
    """Voxels (z, y, x) of the maps between backbone and head: (6, 15, 23) for a whole image."""
    z, y, x = (
        -(-(size // by) // 2**n) for size, by, n in zip(IMAGE_SHAPE[2:], shrink, HALVINGS, strict=True)
    )
    return z, y, x


def torch_parts(weights: WeightFile) -> "dict[str, nn.Module]":
    """Load a weight file into the modules that make its parts, in evaluation mode."""
    from covid19net.nets.covid19net import COVID19Net, Shrunken
    from covid19net.nets.gradient import HeadWithGradient

    network = load_network(weights)
    if isinstance(network, COVID19Net):
        shrink = shrink_of(weights)
        backbone = network.backbone if shrink == (1, 1, 1) else Shrunken(network.backbone, shrink)
        return {"backbone": backbone, "head": HeadWithGradient(network.head)}
    return {"network": network}


def _convert_part(module: "nn.Module", example: tuple[int, ...], shape: tuple[int, ...]) -> Part:
    openvino = import_openvino()
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
    import torch

    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the tracer warns that sizes become constants, which is intended
        traced = torch.jit.trace(module, torch.zeros(example), check_trace=False)  # type: ignore[no-untyped-call]
        frontend = FrontEndManager().load_by_framework("pytorch")
        decoder = TorchScriptPythonDecoder(traced)  # OpenVINO keeps no reference of its own
        model = frontend.convert(frontend.load(decoder))
    model.reshape(list(shape))
    prepare(model)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "part.xml"
        openvino.save_model(model, path, compress_to_fp16=False)
        return Part(path.read_bytes(), path.with_suffix(".bin").read_bytes())


def _index_path(weights: WeightFile, folder: Path) -> Path:
    card = weights.card
    return folder / f"{card.task}.{card.sha256[:12]}.ov{CONVERTER[card.task]}.json"


def _file_names(index: Path, part: str) -> tuple[str, str]:
    stem = index.name.removesuffix(".json")
    return f"{stem}.{part}.xml", f"{stem}.{part}.bin"


def _read(weights: WeightFile, folder: Path) -> Converted | None:
    """The converted form in a folder; None when it is absent, incomplete or damaged.

    Raises:
        WeightsError: that of the package itself is.
    """
    index = _index_path(weights, folder)
    shipped = folder == registry.BUNDLED_FOLDER
    try:
        expected = registry.BUNDLED_SHA256 if shipped else json.loads(index.read_bytes())
        parts = {}
        for part in _example_shapes(weights):
            files = {name: (folder / name).read_bytes() for name in _file_names(index, part)}
            if any(hashlib.sha256(data).hexdigest() != expected.get(name) for name, data in files.items()):
                raise ValueError(f"{part} has other bytes")
            parts[part] = Part(*files.values())
    except (OSError, ValueError, AttributeError) as error:  # absent, no JSON, or JSON that is no object
        if shipped:
            raise WeightsError(
                f"{index}: the converted form that ships with this version of covid19net is missing or "
                "damaged. Install the package again."
            ) from error
        return None
    return Converted(parts, index)


def find_converted(weights: WeightFile, cache: Path | None = None) -> Converted | None:
    """Look for the converted form beside the weight file, then in the cache folder.

    Args:
        weights: the weight file; it is not opened.
        cache: a second folder to look in.

    Returns:
        The parts, compared with their SHA-256; None when there is no complete and undamaged conversion.
    """
    folders = [weights.path.parent] + ([cache] if cache else [])
    return next((found for folder in folders if (found := _read(weights, folder))), None)


def _keep(converted: Converted, weights: WeightFile, folder: Path) -> Converted:
    index = _index_path(weights, folder)
    files: dict[str, bytes] = {}
    for name, part in converted.parts.items():
        files |= dict(zip(_file_names(index, name), (part.graph, part.numbers), strict=True))
    for file, data in files.items():
        write_atomically(folder / file, data)
    hashes = {file: hashlib.sha256(data).hexdigest() for file, data in files.items()}
    write_atomically(index, (json.dumps(hashes, indent=2) + "\n").encode())
    return Converted(converted.parts, index)


def convert(weights: WeightFile, cache: Path | None = None) -> Converted:
    """Convert a weight file for the CPU and keep the result. Needs torch, and takes a few seconds.

    The result is written beside the weight file; where that is not possible into the cache folder; where that
    is not possible either, or none is given, it is kept in memory only.

    Args:
        weights: the weight file.
        cache: folder to write into when the weight file's own cannot be written.

    Raises:
        WeightsError: the weight file is damaged, or torch is not installed.
        ResourceError: not enough memory.
    """
    if not has_torch():
        raise WeightsError(
            f"{weights.path}: not converted for the CPU yet, and converting needs torch: {TORCH_EXTRA}"
        )
    shapes = _example_shapes(weights)
    with memory_told(f"converting {weights.path.name}"):
        modules = torch_parts(weights)
        if weights.card.task == "lungs":
            modules["network"].economical = True  # type: ignore[assignment]
        parts = {name: _convert_part(modules[name], *shapes[name]) for name in shapes}
    converted = Converted(parts, None)
    for folder in [weights.path.parent] + ([cache] if cache else []):
        try:
            return _keep(converted, weights, folder)
        except (WeightsError, ResourceError):  # cannot be written, or the disk is full: the next one
            continue
    return converted
