"""A prognostic model on disk: JSON with its provenance and card, checked whole when read.

Its identity is the SHA-256 of its text. The file that ships with the package is trusted because of the
SHA-256 in this module, not because of anything it says itself.
"""

from dataclasses import MISSING, asdict, fields
import hashlib
import json
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from covid19net.errors import InputError, WeightsError
from covid19net.prognosis.curve import Baseline, Cause
from covid19net.prognosis.model import UNITS, About, PrognosticModel

MODEL_FORMAT = 1
LARGEST_MODEL = 4 << 20  # bytes; a thousand steps of ten covariates are a quarter of a megabyte
BUNDLED, NO_MODEL = "bundled", "none"
BUNDLED_PATH = Path(__file__).parent / "bundled" / "discharge.json"
BUNDLED_SHA256: str | None = "66ef4bfd9d9339cf5c996f953a82d02cfcf6ddd10b92c246c8e21d481e01ce19"
_ARRAYS = ("coefficients", "covariance", "lowest", "highest")
_STEPS = ("day", "hazard", "variance", "drift", "centre")
_TYPES: dict[str, type] = {"demonstration": bool, "provenance": dict, "metrics": dict}


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number")


def read_model(path: Path) -> PrognosticModel:
    """Read a prognostic model.

    Raises:
        WeightsError: the file is missing, too long, not JSON, or not a prognostic model.
    """
    return _parsed(_read(path), path)


def _read(path: Path) -> bytes:
    try:
        if not path.is_file():  # a pipe or a device would never end
            raise FileNotFoundError("it is missing")
        with path.open("rb") as file:
            data = file.read(LARGEST_MODEL + 1)
    except OSError as error:
        raise WeightsError(f"{path}: cannot read the prognostic model: {error.strerror or error}") from error
    if len(data) > LARGEST_MODEL:
        raise WeightsError(f"{path}: longer than {LARGEST_MODEL} bytes, no prognostic model")
    return data


def _parsed(data: bytes, path: Path) -> PrognosticModel:
    try:
        values = json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise WeightsError(f"{path}: the prognostic model is not JSON: {error}") from error
    if not isinstance(values, dict) or values.pop("format", None) != MODEL_FORMAT:
        raise WeightsError(f"{path}: not a prognostic model of format {MODEL_FORMAT}")
    try:
        return _model(values)
    except (ValueError, OverflowError) as error:  # InputError is a ValueError
        raise WeightsError(f"{path}: not a valid prognostic model: {error}") from error


def _exactly(values: object, names: set[str], what: str) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise InputError(f"{what} must be an object")
    lacking, unknown = sorted(names - values.keys()), sorted(values.keys() - names)
    if lacking or unknown:
        faults = [f"{name!r} is missing" for name in lacking] + [f"{name!r} is unknown" for name in unknown]
        raise InputError(f"{what}: {', '.join(faults)}")
    return values


def _model(values: dict[str, Any]) -> PrognosticModel:
    names = {f.name for f in fields(PrognosticModel)} | {"units"}
    _exactly(values, names, "the model")
    covariates = values["covariates"]
    if not isinstance(covariates, list) or not all(isinstance(name, str) for name in covariates):
        raise InputError("'covariates' must be a list of names")
    if values["units"] != [UNITS.get(name) for name in covariates]:
        raise InputError("'units' are not those of the covariates")
    competing = values["competing"]
    if competing is not None:
        parts = _exactly(competing, {"coefficients", "baseline"}, "'competing'")
        competing = Cause(_baseline(parts["baseline"]), _numbers(parts["coefficients"], "coefficients"))
    return PrognosticModel(
        about=_about(values["about"]),
        covariates=tuple(covariates),
        baseline=_baseline(values["baseline"]),
        cut=_number(values["cut"], "cut"),
        competing=competing,
        **{name: _numbers(values[name], name) for name in _ARRAYS},
    )


def _about(values: object) -> About:
    if not isinstance(values, dict):
        raise InputError("'about' must be an object")
    known = {f.name: f for f in fields(About)}
    needed = {n for n, f in known.items() if f.default is MISSING and f.default_factory is MISSING}
    _exactly(values, needed | (values.keys() & known.keys()), "'about'")
    for name, value in values.items():
        if type(value) is not _TYPES.get(name, str):
            raise InputError(f"'about': {name!r} must be of type {_TYPES.get(name, str).__name__}")
    return About(**values)


def _baseline(values: object) -> Baseline:
    parts = _exactly(values, {*_STEPS, "horizon"}, "a baseline")
    arrays = {name: _numbers(parts[name], name) for name in _STEPS}
    return Baseline(**arrays, horizon=_number(parts["horizon"], "horizon"))


def _number(value: object, name: str) -> float:
    if type(value) not in (int, float):
        raise InputError(f"{name!r} must be a number")
    return float(value)  # type: ignore[arg-type]  # checked just above


def _numbers(values: object, name: str) -> np.ndarray:
    """A list of numbers, or of equally long lists of numbers."""
    if not isinstance(values, list):
        raise InputError(f"{name!r} must be a list of numbers")
    if values and all(isinstance(row, list) for row in values):
        rows = [_numbers(row, name) for row in values]
        if len({row.shape for row in rows}) != 1:
            raise InputError(f"{name!r} has rows of different lengths")
        return np.array(rows)
    return np.array([_number(value, name) for value in values])


def model_text(model: PrognosticModel) -> str:
    """The model as JSON text, ready to be written; the same model gives the same text.

    Raises:
        InputError: its provenance or metrics hold what JSON cannot.
    """

    def plain(found: Baseline) -> dict[str, Any]:
        return {name: getattr(found, name).tolist() for name in _STEPS} | {"horizon": found.horizon}

    competing = model.competing and {
        "coefficients": model.competing.coefficients.tolist(),
        "baseline": plain(model.competing.baseline),
    }
    values = {
        "format": MODEL_FORMAT,
        "about": asdict(model.about),
        "covariates": list(model.covariates),
        "units": [UNITS[name] for name in model.covariates],
        "cut": model.cut,
        **{name: getattr(model, name).tolist() for name in _ARRAYS},
        "baseline": plain(model.baseline),
        "competing": competing,
    }
    try:
        return json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    except (ValueError, TypeError) as error:
        raise InputError(f"the prognostic model cannot be written as JSON: {error}") from error


def model_sha256(model: PrognosticModel) -> str:
    """SHA-256 of the model's text, as `sha256sum` gives it for a file that `write_model` wrote."""
    return hashlib.sha256(model_text(model).encode()).hexdigest()


def write_model(path: Path, model: PrognosticModel) -> Path:
    """Write a model, whole or not at all.

    Raises:
        InputError: the file cannot be written.
        ResourceError: the disk is full.
    """
    from covid19net.io.files import write_whole  # only who writes needs what reads scans

    data = model_text(model).encode()

    def write(part: Path) -> None:
        part.write_bytes(data)

    write_whole(path, write)
    return path


def find_model(name: str | Path) -> PrognosticModel | None:
    """Find a prognostic model.

    Args:
        name: "bundled", "none", or a file.

    Returns:
        None for "none", and for "bundled" where this version ships no model.

    Raises:
        WeightsError: missing, damaged, or not the file that ships with the package.
    """
    if name == NO_MODEL:
        return None
    if name != BUNDLED:
        return read_model(Path(name))
    if BUNDLED_SHA256 is None:
        return None
    data = _read(BUNDLED_PATH)
    if hashlib.sha256(data).hexdigest() != BUNDLED_SHA256:
        raise WeightsError(
            f"{BUNDLED_PATH}: not the file that ships with this version of covid19net; "
            f"expected SHA-256 {BUNDLED_SHA256}. Install the package again."
        )
    return _parsed(data, BUNDLED_PATH)
