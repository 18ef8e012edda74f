"""A scan in the memory of a torch device, and the arithmetic around the networks done there.

What `preprocess`, `segment` and `explain` do with NumPy, which stay the reference: the same steps in the same
precision, so that results agree to rounding. The scan is copied once; only masks, maps and small numbers come
back. Each thread that analyzes scans has a stream of its own on the GPU, so that copies of one scan overlap
the arithmetic of another.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from threading import local
from typing import TYPE_CHECKING, Any

import numpy as np

from covid19net.engine.device import memory_told
from covid19net.engine.networks import DiagnosisNetwork, Evidence, LungNetwork
from covid19net.errors import NotChestCTError
from covid19net.gate import LUNG_AND_AIR, SATURATED, SHIFTED_TISSUE, SOFT_TISSUE, Values, sampled
from covid19net.lungs import LUNG_PROBABILITY
from covid19net.preprocess import (
    AIR,
    HIGHEST_PERCENTILE,
    IMAGE_SHAPE,
    LUNG_SHARE,
    SD_FLOOR,
    SLICE_SIZE,
    WALL_SIGMAS,
    lung_share,
)
from covid19net.resize import zoom_matrix
from covid19net.volume import Box, CTVolume, Overlay

if TYPE_CHECKING:
    import torch
    from torch import Tensor

DEVICES = ("cuda", "torch-cpu")  # Apple's GPUs have no float64, which means and deviations need
CHUNK = 64  # slices worked on at a time: 64 MB in float32 at 512 x 512

_OF_THREAD = local()


def _stream(device: "torch.device") -> Any:  # noqa: ANN401 - torch has no type for it without CUDA
    """The stream of this thread; None on the CPU."""
    import torch

    if device.type != "cuda":
        return None
    if not hasattr(_OF_THREAD, "stream"):
        _OF_THREAD.stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    return _OF_THREAD.stream


class ScanOnDevice:
    """A scan on a device. For the thread that made it.

    Args:
        volume: the scan.
        device: one of `DEVICES`.

    Raises:
        ResourceError: not enough memory; of every method.
    """

    def __init__(self, volume: CTVolume, device: str) -> None:
        import torch

        self._name, self._shape = device, volume.shape
        self._device = torch.device(device.removeprefix("torch-"))
        self._stream = _stream(self._device)
        self._chance: Tensor | None = None
        with self._working():
            self._hu = self._put(volume.hu)

    @contextmanager
    def _working(self) -> Iterator[None]:
        import torch

        stream = torch.cuda.stream(self._stream) if self._stream else nullcontext()
        with memory_told(f"analyzing a scan on {self._name}"), torch.inference_mode(), stream:
            yield

    def _put(self, array: np.ndarray) -> "Tensor":
        """Copy an array to the device, through memory the GPU can read by itself."""
        import torch

        kinds = {"int16": torch.int16, "uint8": torch.uint8}
        kind = kinds.get(array.dtype.name, torch.float32)
        staged = torch.empty(array.shape, dtype=kind, pin_memory=self._device.type == "cuda")
        np.copyto(staged.numpy(), array, casting="same_kind")
        return staged.to(self._device, non_blocking=True)

    def _get(self, tensor: "Tensor") -> np.ndarray:
        """Copy a tensor from the device; the memory goes back to a pool when the array is dropped."""
        import torch

        if self._stream is None:
            return np.asarray(tensor.numpy())
        staged = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        staged.copy_(tensor, non_blocking=True)
        self._stream.synchronize()
        return np.asarray(staged.numpy())

    def values(self) -> Values:
        """What `gate` asks of the values of a scan."""
        import torch

        with self._working():
            hu, sample = self._hu, self._hu[sampled(self._hu.shape)]

            def share(low: float, high: float) -> "Tensor":
                return ((sample > low) & (sample < high)).sum().double() / sample.numel()

            known = torch.stack(
                [
                    *(n.double() for n in torch.aminmax(hu)),
                    (hu >= SATURATED).sum(),
                    (sample < LUNG_AND_AIR).sum().double() / sample.numel(),
                    share(*SOFT_TISSUE),
                    share(*SHIFTED_TISSUE),
                ]
            )
            distinct = len(torch.unique(sample))
            low, high, saturated, air, soft, shifted = known.tolist()
        return Values(low, high, int(saturated), distinct, air, soft, shifted)

    def lung_probability(
        self, network: LungNetwork, indices: Sequence[int], progress: Callable[[int, int], None] | None = None
    ) -> np.ndarray:
        """As `segment.lung_probability`; the probability also stays on the device.

        Args:
            network: on the same device.
            indices: slices to run it on, rising, each with a neighbour on both sides.
            progress: called with (slices done, slices in all).

        Returns:
            float32 in [0, 1], (z, 256, 256).
        """
        import torch

        with self._working():
            needed = sorted({i + d for i in indices for d in (-1, 0, 1)})
            planes = torch.cat([self._planes(needed[i : i + CHUNK]) for i in range(0, len(needed), CHUNK)])
            middle = np.searchsorted(needed, indices)
            around = torch.tensor(middle[:, None] + [-1, 0, 1], device=self._device)
            found = network.on_device(planes[around], progress)
            self._chance = self._between(found, indices)
            return self._get(self._chance)

    def _planes(self, indices: Sequence[int]) -> "Tensor":
        """Some slices as `preprocess.slice_inputs` makes them, (n, 256, 256)."""
        rows, columns = (self._matrix(zoom_matrix(n, SLICE_SIZE)) for n in self._hu.shape[1:])
        hu = self._hu[list(indices)].float().clamp_min(AIR)
        mean = hu.mean((1, 2), dtype=_double(), keepdim=True)
        sd = (hu - mean).square_().mean((1, 2), keepdim=True).sqrt()
        return rows @ ((hu - mean.float()) / (sd + SD_FLOOR).float()) @ columns.T

    def _between(self, found: "Tensor", indices: Sequence[int]) -> "Tensor":
        """Probability on every slice, linear between those that were segmented; none on both end slices."""
        import torch

        places = np.asarray(indices)
        inner = np.arange(1, len(self._hu) - 1)
        low = np.clip(np.searchsorted(places, inner, "right") - 1, 0, max(len(places) - 2, 0))
        high = np.minimum(low + 1, len(places) - 1)
        gap = np.maximum(places[high] - places[low], 1)
        shares = ((inner - places[low]) / gap).astype(np.float32)
        share = torch.tensor(shares, device=self._device)[:, None, None]
        out = torch.zeros((len(self._hu), *found.shape[1:]), device=self._device)
        out[1:-1] = (1 - share) * found[low.tolist()] + share * found[high.tolist()]
        return out

    def _matrix(self, matrix: np.ndarray) -> "Tensor":
        import torch

        return torch.tensor(matrix, device=self._device)

    def lung_image(self, lungs: Overlay, box: Box) -> "Tensor":
        """As `preprocess.lung_image`: the standardized lung image, (48, 240, 360), on the device.

        Args:
            lungs: lung mask, (z, 256, 256), one slice for each CT slice.
            box: the lung box.

        Raises:
            NotChestCTError: the lung box holds one single value.
        """
        import torch

        rows, columns, grid = lung_share(lungs, box, self._shape)
        with self._working():
            sizes = [self._matrix(zoom_matrix(a, b)) for a, b in zip(box.shape, IMAGE_SHAPE, strict=True)]
            share = self._matrix(rows), self._matrix(columns)
            roi, mask = self._hu[box.slices], self._put(lungs.values[box.slices[0], *grid.slices[1:]])
            ceiling = _percentile(roi, HIGHEST_PERCENTILE)
            quiet = [
                _quiet(roi[z : z + CHUNK], mask[z : z + CHUNK], ceiling, share)
                for z in range(0, len(roi), CHUNK)
            ]
            floor, top = _walls(quiet)
            image = torch.zeros(IMAGE_SHAPE, device=self._device)
            ends = []
            for z, (hu, inside) in enumerate(quiet):
                calm = torch.where(inside, hu, torch.clamp(hu, floor, top))
                ends.append(torch.stack(torch.aminmax(calm)))
                part = sizes[1] @ calm @ sizes[2].T
                image += torch.tensordot(sizes[0][:, z * CHUNK : z * CHUNK + len(hu)], part, 1)
            lowest, highest = torch.stack(ends).T
            image = torch.clamp(image, lowest.min(), highest.max()).double()
            deviation = image.std(correction=0)
            if not deviation > 0:
                raise NotChestCTError("no lungs found: the lung box holds one single value")
            return ((image - image.mean()) / deviation).float()

    def evidence(self, network: DiagnosisNetwork, image: "Tensor") -> Evidence:
        """What a diagnosis network on the same device says of the image from `lung_image`."""
        with self._working():
            return network.on_device(image)

    def fetch(self, image: "Tensor") -> np.ndarray:
        """A copy of what lies on the device, for work elsewhere."""
        with self._working():
            return self._get(image)

    def lungs_in(self, sides: np.ndarray, where: tuple[slice, slice, slice], *to: np.ndarray) -> np.ndarray:
        """As `segment.lungs_on_ct`, for the part of the CT that holds lung.

        Args:
            sides: of that part of the mask, (z, y, x): 1 right lung, 2 left lung.
            where: that part of the mask.
            to: matrices that resize its rows and columns linearly to those of the CT.

        Returns:
            uint8, (z, rows, columns): 1 right lung, 2 left lung.
        """
        import torch

        assert self._chance is not None
        below = float(np.nextafter(np.float32(LUNG_PROBABILITY), np.float32(0)))
        with self._working():
            rows, columns = (self._matrix(matrix) for matrix in to)
            side, chance = self._put(sides), self._chance[where]
            out = torch.empty((len(side), len(rows), len(columns)), dtype=torch.uint8, device=self._device)
            for z in (slice(i, i + CHUNK) for i in range(0, len(side), CHUNK)):
                is_lung = side[z] > 0
                kept = torch.where(is_lung, chance[z].clamp_min(LUNG_PROBABILITY), chance[z].clamp_max(below))
                outline = rows @ kept @ columns.T >= LUNG_PROBABILITY
                toward_right = rows @ ((side[z] == 1).float() - (side[z] == 2).float()) @ columns.T
                side_of = 2 - (toward_right > 0).to(torch.uint8)
                out[z] = outline * side_of * is_lung.any(2).any(1)[:, None, None]
            return self._get(out)

    def heat(self, cam: np.ndarray, matrices: Sequence[np.ndarray], full: int) -> np.ndarray:
        """As `explain.heat_map`, for the lung box.

        Args:
            cam: from `explain.grad_cam`, not all zero.
            matrices: along (z, y, x), from the map to the voxels of the box.
            full: what the largest value becomes.

        Returns:
            uint8, the shape of the box.
        """
        import torch

        with self._working():
            along_z, along_y, along_x = (self._matrix(matrix) for matrix in matrices)
            heat = along_y @ (torch.tensordot(along_z, self._matrix(cam), 1) @ along_x.T)
            hottest = heat.max()
            scale = full / hottest if hottest > 0 else 0.0
            return self._get((heat * scale).round_().to(torch.uint8))


def to_device(volume: CTVolume, device: str) -> ScanOnDevice | None:
    """A scan on the device of its networks; None where the arithmetic around them is left to NumPy."""
    return ScanOnDevice(volume, device) if device in DEVICES else None


def _double() -> "torch.dtype":
    import torch

    return torch.float64


def _percentile(values: "Tensor", percent: float) -> "Tensor":
    """As `numpy.percentile`: linear between the two nearest ranks; float32, no axes."""
    ranked = values.flatten().sort().values
    place = percent / 100 * (len(ranked) - 1)
    low = int(place)
    ends = ranked[[low, min(low + 1, len(ranked) - 1)]].double()
    return (ends[0] + (ends[1] - ends[0]) * (place - low)).float()


def _quiet(
    hu: "Tensor", mask: "Tensor", ceiling: "Tensor", share: "tuple[Tensor, Tensor]"
) -> "tuple[Tensor, Tensor]":
    """HU under the ceiling, and where lung is, of some slices."""
    rows, columns = share
    return hu.float().clamp_max(ceiling), rows @ (mask > 0).float() @ columns.T > LUNG_SHARE


def _walls(quiet: "list[tuple[Tensor, Tensor]]") -> "tuple[Tensor, Tensor]":
    """Mean HU of the lungs -+ 4 sd."""
    import torch

    sums = []
    for hu, inside in quiet:
        values = hu.double() * inside
        sums.append(torch.stack([inside.sum(), values.sum(), values.square().sum()]))
    count, total, squares = torch.stack(sums).sum(0)
    mean = total / count
    sd = (squares / count - mean**2).clamp_min(0).sqrt()
    return (mean - WALL_SIGMAS * sd).float(), (mean + WALL_SIGMAS * sd).float()
