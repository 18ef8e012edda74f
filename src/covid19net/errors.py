"""What can go wrong, each with the exit code of the command line."""

from collections.abc import Iterator
from contextlib import contextmanager


class Covid19netError(Exception):
    """A fault with one clear line: the file or value, the reason, and what to do where that is known."""

    exit_code = 2


class InputError(Covid19netError, ValueError):
    """A scan, table or argument that cannot be used as it is (exit code 2)."""


class EmptySampleError(InputError):
    """A sample in which nobody is left (exit code 2)."""


class VolumeError(InputError):
    """Slices or an array that do not make a regular CT volume (exit code 2)."""


class NotChestCTError(Covid19netError, ValueError):
    """A readable image that is not a chest CT in Hounsfield units, or holds no usable lungs (exit code 3)."""

    exit_code = 3


class WeightsError(Covid19netError, ValueError):
    """A weight file that is missing, damaged or of another network (exit code 4)."""

    exit_code = 4


class ResourceError(Covid19netError, RuntimeError):
    """Too little memory, disk or time for the work asked for (exit code 5)."""

    exit_code = 5


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Put the name of a scan before a fault that does not hold it yet."""
    try:
        yield
    except Covid19netError as error:
        if name in str(error):
            raise
        raise type(error)(f"{name}: {error}") from error


def fault_from(error: Exception) -> Covid19netError:
    """An error as one that people can be told; a fault of ours becomes a line that says so."""
    if isinstance(error, Covid19netError):
        return error
    if isinstance(error, MemoryError):
        return ResourceError("not enough memory")
    return Covid19netError(
        f"unexpected fault ({type(error).__name__}); please report it with what `python -X dev -m "
        "covid19net.cli` shows"
    )
