"""How dense the lungs are: plain statistics of their HU, apart from any network."""

from dataclasses import asdict, dataclass, fields

import numpy as np

from covid19net.errors import NotChestCTError
from covid19net.volume import CTVolume, Overlay

PERCENTILES = (5, 50, 95)
WELL_AERATED = (-950, -700)  # HU; Colombi 2020, Radiology 296:E86
POORLY_AERATED = (-500, -100)  # HU; Lanza 2020, Eur Radiol 30:6770
NOT_AERATED = (-100, 100)  # HU; likewise


@dataclass(frozen=True)
class Density:
    """Statistics of the HU inside both lungs.

    Attributes:
        lung_ml: volume of both lungs, ml.
        mean_hu: mean, HU.
        sd_hu: standard deviation, HU.
        p05_hu: 5th percentile, HU.
        p50_hu: median, HU.
        p95_hu: 95th percentile, HU.
        well_aerated: share of the lungs from -950 to below -700 HU, in [0, 1].
        poorly_aerated: share from -500 to below -100 HU, in [0, 1].
        not_aerated: share from -100 to below 100 HU, in [0, 1].
    """

    lung_ml: float
    mean_hu: float
    sd_hu: float
    p05_hu: float
    p50_hu: float
    p95_hu: float
    well_aerated: float
    poorly_aerated: float
    not_aerated: float

    def values(self) -> dict[str, float]:
        """Name -> value, rounded to what the numbers can bear."""
        return {name: float(f"{value:.6g}") for name, value in asdict(self).items()}


NAMES = tuple(field.name for field in fields(Density))


def lung_density(volume: CTVolume, lungs: Overlay) -> Density:
    """Statistics of the HU where the mask says lung, taken on the mask's own grid.

    Args:
        volume: the scan, HU.
        lungs: mask, one slice for each CT slice, its corner pixels on those of the CT; not 0 is lung.

    Raises:
        NotChestCTError: the mask is empty.
    """
    rows, columns = (
        np.linspace(0, n - 1, m).round().astype(int)
        for n, m in zip(volume.shape[1:], lungs.values.shape[1:], strict=True)
    )
    inside = [
        volume.hu[z][np.ix_(rows, columns)][plane > 0] for z, plane in enumerate(lungs.values) if plane.any()
    ]
    if not inside:
        raise NotChestCTError("no lungs found: no voxel of the scan is lung")
    hu = np.concatenate(inside).astype(np.float32)
    low, middle, high = np.percentile(hu, PERCENTILES)
    return Density(
        lung_ml=hu.size * float(np.prod(lungs.spacing)) / 1000,
        mean_hu=float(hu.mean(dtype=np.float64)),
        sd_hu=float(hu.std(dtype=np.float64)),
        p05_hu=float(low),
        p50_hu=float(middle),
        p95_hu=float(high),
        well_aerated=_share(hu, WELL_AERATED),
        poorly_aerated=_share(hu, POORLY_AERATED),
        not_aerated=_share(hu, NOT_AERATED),
    )


def _share(hu: np.ndarray, window: tuple[int, int]) -> float:
    return float(((hu >= window[0]) & (hu < window[1])).mean())
