"""Weight files on disk: safetensors only, checked before they are parsed, written whole or not at all.

Formats that can run code when opened (pickle, and what is built on it: .pt, .pth, .npz with objects) are
never opened, under whatever name they come.
"""

from collections.abc import Mapping
from dataclasses import dataclass
import errno
import hashlib
import os
from pathlib import Path
import re
import secrets

import numpy as np

from covid19net.errors import ResourceError, WeightsError
from covid19net.weights.cards import TASKS, Card, card_text, make_card
from covid19net.weights.reference import Reference, reference_of

LARGEST_FILE = 256 << 20  # bytes; the published lung network is 40 MB
_CHUNK = 1 << 20
_WEB_PAGE = re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype|html|head|\?xml)", re.IGNORECASE)
_CAN_RUN_CODE = re.compile(rb"PK\x03\x04|\x80[\x01-\x05]")  # a zip archive; a pickle from protocol 2 on
_HDF5 = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True)
class WeightFile:
    """A weight file and its model card."""

    path: Path
    card: Card


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, as 64 lower-case hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def what_it_is(head: bytes) -> str | None:
    """Say in words what a file is that is no weight file, from its first bytes; None when it could be one."""
    if not head:
        return "is empty"
    if _WEB_PAGE.match(head):
        return "is a web page, not weights: a proxy or login page was saved in its place"
    if head.startswith(b"version https://git-lfs"):
        return "is a Git-LFS pointer, not the weights themselves: fetch it with git lfs pull"
    # A safetensors header of e.g. 640 bytes begins like a pickle, but its ninth byte opens a JSON object.
    if _CAN_RUN_CODE.match(head) and head[8:9] != b"{":
        return "is a pickle or PyTorch archive, which can run code when opened: only safetensors are read"
    return None


def read_checked(path: Path, *, sha256: str, size: int) -> bytes:
    """Return the bytes of a file after comparing them with the expected size and SHA-256.

    Raises:
        WeightsError: missing, of another size or content; names the file and the expected SHA-256.
    """
    expected = f"expected {size} bytes with SHA-256 {sha256}"
    if size > LARGEST_FILE:
        raise WeightsError(f"{path}: a weight file of {size} bytes is too large, at most {LARGEST_FILE}")
    try:
        if not path.is_file():  # a pipe or a device would never end
            raise WeightsError(f"{path}: the weight file is missing; {expected}")
        with path.open("rb") as file:
            data = file.read(size + 1)
            found = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise WeightsError(f"{path}: cannot read the weight file: {error.strerror}") from error
    if hashlib.sha256(data).hexdigest() == sha256:
        return data
    reason = what_it_is(data[:256])
    if data.startswith(_HDF5):
        reason = "is an HDF5 file, not safetensors: import it first"
    if reason is None and found < size:
        reason = f"is cut: only {found} bytes"
    elif reason is None:
        reason = "has other bytes than its model card says" if found == size else f"has {found} bytes"
    raise WeightsError(f"{path}: {reason}; {expected}")


def load_tensors(weights: WeightFile) -> dict[str, np.ndarray]:
    """Read the tensors of a weight file.

    Returns:
        name -> array, float32 or float16 as stored, in PyTorch's axis order.

    Raises:
        WeightsError: the file is missing, does not match size and SHA-256 of its card, is not safetensors, or
            holds other than finite float32 or float16 numbers, or only a part of a reference.
    """
    return _read(weights)[0]


def load_reference(weights: WeightFile) -> Reference | None:
    """Read the reference of a weight file; None where it holds none.

    Raises:
        WeightsError: as `load_tensors`.
    """
    return _read(weights)[1]


def _read(weights: WeightFile) -> tuple[dict[str, np.ndarray], Reference | None]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    data = read_checked(weights.path, sha256=weights.card.sha256, size=weights.card.size)
    expected = f"expected SHA-256 {weights.card.sha256}"
    if reason := what_it_is(data[:256]):
        raise WeightsError(f"{weights.path}: {reason}; {expected}")
    try:
        tensors: dict[str, np.ndarray] = load(data)
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise WeightsError(f"{weights.path}: not a safetensors file: {error}; {expected}") from error
    _check_numbers(tensors, str(weights.path))
    return tensors, reference_of(tensors, weights.card.options, str(weights.path))


def _check_numbers(tensors: Mapping[str, np.ndarray], source: str) -> None:
    if not tensors:
        raise WeightsError(f"{source}: holds no tensors")
    for name, array in tensors.items():
        if array.dtype not in (np.float32, np.float16):
            raise WeightsError(f"{source}: {name} is {array.dtype}, expected float32 or float16")
        if not np.isfinite(array).all():
            raise WeightsError(f"{source}: {name} holds values that are not finite numbers")
        if name.endswith("running_var") and (array < 0).any():
            raise WeightsError(f"{source}: {name} holds negative variances")


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that its name only ever stands for the whole content, even if the machine stops midway.

    Raises:
        ResourceError: the disk is full.
        WeightsError: the folder cannot be written.
    """
    from covid19net.io.files import sync_folder  # only those who write need it

    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise write_error(path, error) from error


def write_error(path: Path, error: OSError) -> ResourceError | WeightsError:
    """The error to raise when `path` could not be written: a full disk is a matter of resources."""
    kind = ResourceError if error.errno in (errno.ENOSPC, errno.EDQUOT) else WeightsError
    return kind(f"{path}: cannot write: {error.strerror or error}")


def write_weights(folder: Path, task: str, tensors: Mapping[str, np.ndarray], **fields: object) -> WeightFile:
    """Write TASK.safetensors and its model card TASK.json into a folder.

    Both files are written under temporary names and renamed. A stop between the two renames leaves a pair
    that does not match, which is refused when read.

    Args:
        folder: of the set; made where it does not exist.
        task: "lungs", "diagnosis" or "egfr".
        tensors: name -> float32 or float16 array, named as in the network's state_dict; those of a reference
            (`Reference.tensors`) may be added when the options hold its "distance_limit".
        **fields: the other fields of `Card`; task, network, sha256 and size are filled in.

    Raises:
        WeightsError: the tensors or the fields are not valid, or the folder cannot be written.
        ResourceError: the disk is full.
    """
    from safetensors.numpy import save

    path = folder / f"{task}.safetensors"
    _check_numbers(tensors, str(path))
    data: bytes = save({name: np.ascontiguousarray(array) for name, array in tensors.items()})
    filled = {"task": task, "network": TASKS.get(task, ""), "size": len(data)}
    card = make_card(fields | filled | {"sha256": hashlib.sha256(data).hexdigest()}, str(path))
    reference_of(tensors, card.options, str(path))
    text = card_text(card)  # before anything is written: metrics may hold what JSON cannot
    write_atomically(path, data)
    write_atomically(folder / f"{task}.json", text.encode())
    return WeightFile(path, card)
