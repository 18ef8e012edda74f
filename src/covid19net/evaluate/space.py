"""The feature space seen from its longest side: principal components, as in Figure 6e of the paper."""

from dataclasses import dataclass

import numpy as np

from covid19net.errors import InputError


@dataclass(frozen=True, eq=False)
class Components:
    """Patients in the plane (or line, or space) in which their features differ most.

    Attributes:
        points: place of every patient, (patient, component), in the unit of the features.
        shares: of the total variance that lies along each component, falling, (component,).
        axes: direction of each component, of length 1, (component, feature). Its largest entry by size is
            positive: the sign of a principal component means nothing, but it should not change by itself.
        mean: of the features, (feature,).
    """

    points: np.ndarray
    shares: np.ndarray
    axes: np.ndarray
    mean: np.ndarray

    def place(self, features: np.ndarray) -> np.ndarray:
        """Where other patients lie, (patient, component), from their features, (patient, feature)."""
        placed: np.ndarray = (np.asarray(features, np.float64) - self.mean) @ self.axes.T
        return placed


def principal_components(features: np.ndarray, components: int = 2) -> Components:
    """Principal component analysis of a sample, by the singular value decomposition (Pearson 1901).

    Features are centred and not scaled: those of one layer of a network share a scale.

    Args:
        features: one row a patient, (patient, feature).
        components: wanted, at most as many as patients or features.

    Raises:
        InputError: not a table, too few patients or features, values that are not finite, or all rows alike.
    """
    table = np.asarray(features, np.float64)
    if table.ndim != 2 or not 1 <= components <= min(table.shape):
        raise InputError(
            f"features of shape {table.shape}: {components} components need as many patients and features"
        )
    if not np.isfinite(table).all():
        raise InputError(f"{(~np.isfinite(table)).sum()} of {table.size} features are NaN or infinite")
    mean = table.mean(axis=0)
    centred = table - mean
    if not np.ptp(table, axis=0).any():
        raise InputError(f"the features of all {len(table)} patients are the same: they span no space")
    _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    largest = np.abs(axes).argmax(axis=1)
    axes = (axes * np.where(axes[np.arange(len(axes)), largest] < 0, -1.0, 1.0)[:, None])[:components]
    return Components(centred @ axes.T, (sizes**2 / (sizes**2).sum())[:components], axes, mean)
