"""Which device a network runs on, and faults of memory told in one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
import platform
import re

from covid19net.errors import InputError, ResourceError

DEVICES = ("cpu", "cuda", "mps", "torch-cpu")
TORCH_EXTRA = "pip install 'covid19net[torch]'"

# Where the drivers of a GPU that torch calls "cuda" show up: NVIDIA, NVIDIA under WSL 2, AMD.
_DRIVERS = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd", "C:/Windows/System32/nvcuda.dll")
_NO_MEMORY = re.compile(
    r"out of memory|not enough memory|bad_?alloc|can(no|')t allocate|failed to allocate", re.I
)


def has_torch() -> bool:
    """Say whether torch is installed, without importing it."""
    return find_spec("torch") is not None


def _may_have_gpu() -> bool:
    """Cheap signs of a GPU, because importing torch to ask it takes longer than a small scan on the CPU."""
    apple = platform.system() == "Darwin" and platform.machine() == "arm64"
    return apple or any(Path(driver).exists() for driver in _DRIVERS)


def _gpus() -> tuple[str, ...]:
    """The GPUs torch can use, best first. Imports torch."""
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available() and _mps_pools()}
    return tuple(name for name, usable in there.items() if usable)


def _mps_pools() -> bool:
    """Whether Apple's part of torch has the 3-D pooling COVID-19Net needs; older releases lack it."""
    import torch

    try:
        torch.nn.functional.max_pool3d(torch.zeros(1, 1, 2, 2, 2, device="mps"), 2)
    except (NotImplementedError, RuntimeError):
        return False
    return True


def choose_device(wanted: str = "auto") -> str:
    """Decide where the networks run.

    Args:
        wanted: "auto" takes a GPU where there is one and torch is installed, otherwise the CPU; "cpu" is
            OpenVINO; "cuda" (NVIDIA, AMD) and "mps" (Apple) are torch on a GPU; "torch-cpu" is torch on the
            CPU, for comparison.

    Returns:
        "cpu", "cuda", "mps" or "torch-cpu".

    Raises:
        InputError: an unknown name, a device that is not there, or torch is needed and not installed.
    """
    if wanted == "auto":
        gpus = _gpus() if has_torch() and _may_have_gpu() else ()
        return (*gpus, "cpu")[0]
    if wanted not in DEVICES:
        raise InputError(f"unknown device {wanted!r}: choose auto, {', '.join(DEVICES)}")
    if wanted == "cpu":
        return wanted
    if not has_torch():
        raise InputError(f"device {wanted!r} needs torch, which is not installed: {TORCH_EXTRA}")
    there = ("cpu", "torch-cpu", *_gpus())
    if wanted not in there:
        raise InputError(
            f"device {wanted!r} is not there or torch cannot use it; there are: {', '.join(there)}"
        )
    return wanted


@contextmanager
def memory_told(doing: str) -> Iterator[None]:
    """Turn a lack of memory, in whatever form a library reports it, into one clear line.

    Args:
        doing: what needs the memory, e.g. "finding the lungs on cuda".

    Raises:
        ResourceError: memory ran out.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)):
            raise ResourceError(
                f"not enough memory for {doing}; free some, or choose another device"
            ) from error
        raise
