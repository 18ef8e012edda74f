"""What can go wrong, each with the exit code of the command line."""


class Covid19netError(Exception):
    """A fault with one clear line: the file or value, the reason, and what to do where that is known."""

    exit_code = 2


class InputError(Covid19netError, ValueError):
    """A scan, table or argument that cannot be used as it is (exit code 2)."""


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
