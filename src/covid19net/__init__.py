"""From a chest CT to a COVID-19 probability, a map of suspicious lung areas, and the evidence for them."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Public name -> the module that defines it. Found when first asked for: importing the package is quick
# and imports neither torch nor any image library.
_HOMES = {
    "CTVolume": "volume",
    "Finding": "volume",
    "Overlay": "volume",
    "Scan": "volume",
    "read_ct": "io",
    "load_models": "models",
    "analyze": "pipeline",
    "CaseResult": "pipeline",
    "Covid19netError": "errors",
    "InputError": "errors",
    "NotChestCTError": "errors",
    "WeightsError": "errors",
    "ResourceError": "errors",
}

__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name not in _HOMES:
        raise AttributeError(f"module 'covid19net' has no attribute {name!r}")
    return getattr(import_module(f"covid19net.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
