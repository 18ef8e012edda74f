"""Covariates no Cox model can use: the same for everybody, or told already by earlier columns."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from covid19net.errors import InputError
from covid19net.prognosis.outcome import Outcome

CONSTANT = 1e-12  # smaller sd, relative to the mean, is rounding
COLLINEAR = 1e-4  # share of its sd that earlier columns must leave unexplained: an inflated variance of 1e8
TAKES_PART = 1e-3  # smaller coefficients, relative to the largest, are rounding


@dataclass(frozen=True)
class Dropped:
    """A covariate that was not used.

    Attributes:
        name: of the covariate.
        reason: in words.
        of: earlier covariates of which it is a linear combination; empty for another reason.
    """

    name: str
    reason: str
    of: tuple[str, ...] = ()


def checked_covariates(outcome: Outcome, covariates: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Covariates as float64, axes (patient, covariate).

    Raises:
        InputError: not one row a patient, not one name a column, a name twice, or values that are no finite
            numbers (the columns are named).
    """
    covariates = np.asarray(covariates)
    if covariates.ndim != 2 or covariates.shape != (outcome.size, len(names)):
        raise InputError(
            f"{outcome.size} patients and {len(names)} names need as many covariates, got {covariates.shape}"
        )
    if len(set(names)) < len(names):
        raise InputError("two covariates have one name")
    if covariates.dtype.kind not in "bfiu":
        raise InputError(f"covariates must be numbers, got {covariates.dtype}")
    covariates = covariates.astype(np.float64)
    faulty = [name for name, good in zip(names, np.isfinite(covariates).all(0), strict=True) if not good]
    if faulty:
        raise InputError(f"covariates with NaN or infinite values: {', '.join(faulty)}")
    return covariates


def usable(covariates: np.ndarray, names: Sequence[str]) -> tuple[list[int], tuple[Dropped, ...]]:
    """Columns with which a model can be fitted; of collinear ones the earlier stay.

    By Gram and Schmidt on standardized columns, in table order: a column of which earlier ones leave less
    than `COLLINEAR` of the sd unexplained is dropped. A pivoting decomposition finds the same rank, but
    keeps the largest columns instead of the earliest.

    As many columns as patients explain any other column, which says nothing about it: from there on only a
    column that equals a single earlier one is dropped, and no model can hold all that are left.

    Args:
        covariates: (patient, covariate), finite.
        names: of the columns.

    Returns:
        Indices of the usable columns, rising, and what was dropped and why.
    """
    kept: list[int] = []
    dropped = []
    scale, mean = covariates.std(0), covariates.mean(0)
    varies = scale > CONSTANT * np.maximum(1, np.abs(mean))
    standard = (covariates - mean) / np.where(varies, scale, 1) / np.sqrt(len(covariates))
    basis = np.empty((len(covariates), 0))
    for column, name in enumerate(names):
        if not varies[column]:
            dropped.append(Dropped(name, "the same for every patient"))
            continue
        rest = standard[:, column]
        for _ in range(2):  # the second time takes out the rounding of the first
            rest = rest - basis @ (basis.T @ rest)
        size = float(np.linalg.norm(rest))
        if basis.shape[1] >= len(covariates) - 1:
            alike = standard[:, kept].T @ standard[:, column]
            twin = names[kept[int(np.abs(alike).argmax())]]
            if np.abs(alike).max() > 1 - COLLINEAR**2:
                dropped.append(Dropped(name, f"collinear with {twin}", (twin,)))
            else:
                kept.append(column)
            continue
        if size < COLLINEAR:
            share = np.abs(np.linalg.lstsq(standard[:, kept], standard[:, column], rcond=None)[0])
            of = tuple(
                names[i] for i, part in zip(kept, share, strict=True) if part > TAKES_PART * share.max()
            )
            dropped.append(Dropped(name, f"collinear with {', '.join(of)}", of))
            continue
        kept.append(column)
        basis = np.column_stack([basis, rest / size])
    return kept, tuple(dropped)
