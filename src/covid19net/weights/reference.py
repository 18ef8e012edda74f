"""What the training images of a diagnosis network looked like to it, and how far a scan lies from them.

The measure is the Mahalanobis distance between DL features. A weight file may hold mean and covariance of the
features as two tensors beside the network; its card then holds the distance up to which a scan is like the
training images, as the option "distance_limit". All three, or none.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from covid19net.errors import InputError, WeightsError

FEATURES = 64  # length of the DL feature (Wang et al. 2020)
MEAN, COVARIANCE = "reference.mean", "reference.covariance"
REFERENCE_TENSORS = frozenset({MEAN, COVARIANCE})  # of a weight file, and no part of its network
LIMIT_OPTION = "distance_limit"
LIMIT_PERCENTILE = 99.0  # of the held-out distances: one image in a hundred of the same kind is flagged
FEWEST_IMAGES = 2
# Share of the largest variance below which a variance is rounding: float32 over a matrix of 64 rows.
ROUNDING = FEATURES**0.5 * float(np.finfo(np.float32).eps)


@dataclass(frozen=True, eq=False)
class Reference:
    """The training images as the diagnosis network sees them.

    Attributes:
        mean: of the DL features, (64,) float32.
        covariance: of the DL features, (64, 64) float32, symmetric and positive definite.
        limit: Mahalanobis distance beyond which a scan is unlike the training images, > 0, without a unit.
    """

    mean: np.ndarray
    covariance: np.ndarray
    limit: float

    def tensors(self) -> dict[str, np.ndarray]:
        """Both arrays under their names in a weight file; `limit` is the option "distance_limit"."""
        return {MEAN: self.mean, COVARIANCE: self.covariance}


def shrunk_covariance(features: np.ndarray) -> np.ndarray:
    """Covariance drawn towards a multiple of the identity, so that few images still give a usable one.

    The closed form of Ledoit & Wolf 2004 (J Multivariate Anal 88:365, section 3.2) about the sample's own
    mean, with 1/n. Their norm is the Frobenius norm over the root of the dimension; that factor cancels.

    Args:
        features: (n images, p features).

    Returns:
        (p, p) float64.
    """
    count, width = features.shape
    centred = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    sample = centred.T @ centred / count
    target = np.eye(width) * (np.trace(sample) / width)
    spread = ((sample - target) ** 2).sum()  # d^2
    fourth = (centred**2).sum(axis=1) ** 2  # |x x'|^2 of each image
    noise = (fourth.mean() - (sample**2).sum()) / count  # b^2
    share = min(noise, spread) / spread if spread > 0 else 0.0
    shrunk: np.ndarray = share * target + (1 - share) * sample
    return shrunk


def fit_reference(features: np.ndarray, held_out: np.ndarray) -> Reference:
    """Describe the training images, and set the limit by images the description has not seen.

    With little more images than the 64 features, or fewer, the description follows its own images: their
    distances are much smaller than those of new images of the same kind, and a limit set by them would flag
    many of these. So the limit is the 99th percentile of the distances of held-out images; of fewer than 100
    it is the largest.

    Args:
        features: DL features of the training images, (n, 64), n >= 2.
        held_out: DL features of other images of the same population, (m, 64), m >= 2.

    Returns:
        Mean and covariance rounded to float32, as they are stored, and the limit that belongs to them.

    Raises:
        InputError: another shape, fewer than two images, values that are not finite, or images too few or too
            much alike for a covariance.
    """
    _check_images(features, "training images")
    _check_images(held_out, "held-out images")
    mean = features.mean(axis=0, dtype=np.float64).astype(np.float32)
    covariance = shrunk_covariance(features).astype(np.float32)
    if not _usable(covariance):
        raise InputError("the training images are too few or too much alike to measure distances by")
    distances = _distances(held_out, Reference(mean, covariance, np.inf))
    limit = float(np.percentile(distances, LIMIT_PERCENTILE, method="higher"))
    if limit == 0:
        raise InputError("the held-out images all have the mean features of the training images")
    return Reference(mean, covariance, limit)


def feature_distance(features: np.ndarray, reference: Reference) -> float:
    """Mahalanobis distance of one image from the training images.

    Args:
        features: the DL feature, (64,).
        reference: from `fit_reference` or a weight file.

    Returns:
        The distance, >= 0, without a unit; 1 is one standard deviation in whichever direction.

    Raises:
        InputError: another shape, or values that are not finite.
    """
    _check_finite(features, (FEATURES,), "a DL feature")
    return float(_distances(features[None], reference)[0])


def reference_of(
    tensors: Mapping[str, np.ndarray], options: Mapping[str, Any], source: str
) -> Reference | None:
    """The reference among the tensors and card options of a weight file; None where it holds none.

    Args:
        tensors: all of the file, finite.
        options: of its card, checked.
        source: what to call the file in an error.

    Raises:
        WeightsError: a part without the others, another shape, or a covariance that is none.
    """
    shapes = {MEAN: (FEATURES,), COVARIANCE: (FEATURES, FEATURES)}
    there = {name: name in tensors for name in shapes} | {LIMIT_OPTION: LIMIT_OPTION in options}
    if not any(there.values()):
        return None
    if not all(there.values()):
        absent = " and ".join(name for name, held in there.items() if not held)
        held = " and ".join(name for name, held in there.items() if held)
        raise WeightsError(f"{source}: holds {held} without {absent}: all three belong together")
    for name, shape in shapes.items():
        if tensors[name].shape != shape:
            raise WeightsError(f"{source}: {name} must have shape {shape}, has {tensors[name].shape}")
    mean, covariance = (tensors[name].astype(np.float32) for name in shapes)
    if not _usable(covariance):
        raise WeightsError(f"{source}: {COVARIANCE} is not symmetric and positive definite")
    return Reference(mean, covariance, options[LIMIT_OPTION])


def _distances(features: np.ndarray, reference: Reference) -> np.ndarray:
    """Mahalanobis distance of each row, float64."""
    away = features.astype(np.float64) - reference.mean
    # Through the triangular factor: the square root of a sum of squares, which rounding cannot make negative.
    factor = np.linalg.cholesky(reference.covariance.astype(np.float64))
    found: np.ndarray = np.linalg.norm(np.linalg.solve(factor, away.T), axis=0)
    return found


def _usable(covariance: np.ndarray) -> bool:
    """Whether a matrix is symmetric and its least variance is more than rounding."""
    variances = np.linalg.eigvalsh(covariance.astype(np.float64))  # rising
    return np.allclose(covariance, covariance.T) and bool(variances[0] > ROUNDING * variances[-1])


def _check_images(features: np.ndarray, what: str) -> None:
    if len(features) < FEWEST_IMAGES:
        raise InputError(f"a reference needs at least {FEWEST_IMAGES} {what}, got {len(features)}")
    _check_finite(features, (len(features), FEATURES), f"the DL features of the {what}")


def _check_finite(array: np.ndarray, shape: tuple[int, ...], what: str) -> None:
    if array.shape != shape:
        raise InputError(f"{what} must have shape {shape}, got {array.shape}")
    if not np.isfinite(array).all():
        raise InputError(f"{what} holds values that are not finite numbers")
