"""Results as plain values, for results.json."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
import math
from pathlib import Path
from typing import Any

import numpy as np

from covid19net.study.sets import StudySet


def plain(value: object) -> Any:  # noqa: ANN401 - JSON
    """A result as what JSON knows: dataclasses and mappings objects, arrays lists, sets of patients ids.

    Numbers are rounded to nine digits. What is not finite cannot be a result and is refused.

    Raises:
        ValueError: a number that is not finite.
        TypeError: a value of a kind that is no result.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int | float | np.integer | np.floating | np.bool_):
        return _number(value)
    return _collection(value)


def _number(value: object) -> int | float | bool:
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    number = float(value)  # type: ignore[arg-type]  # a float of Python or numpy
    if not math.isfinite(number):
        raise ValueError(f"{number} is no result")
    return float(f"{number:.9g}")


def _collection(value: object) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, StudySet):
        return {"name": value.name, "patients": [patient.patient_id for patient in value.patients]}
    if isinstance(value, np.ndarray):
        return [plain(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if hasattr(value, "_asdict"):
        return plain(value._asdict())
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, Path | Enum):
        return str(value)
    raise TypeError(f"{type(value).__name__} is no result")
