"""Download and import the networks the authors published, which do not ship with this package.

Their repository states no licence, so whoever wants them must say so, and gets them from the authors' own
repository. Every byte is compared with the size and SHA-256 in the registry before it is looked at.
"""

from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from pathlib import Path
import shutil
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

from covid19net.errors import InputError, WeightsError
from covid19net.weights.files import sha256_of, what_it_is, write_error
from covid19net.weights.keras_h5 import h5py_module, import_keras
from covid19net.weights.networks import require_torch
from covid19net.weights.registry import (
    WANG2020,
    PublishedFile,
    PublishedSet,
    WeightSet,
    find_set,
    weight_files,
)

Progress = Callable[[str, int, int], None]  # file name, bytes so far, bytes in all

_TIMEOUT = 30.0  # seconds without a byte
_CHUNK = 1 << 18


def install_wang2020(
    home: Path,
    *,
    accept_unlicensed: bool = False,
    base_url: str | None = None,
    progress: Progress | None = None,
    published: PublishedSet = WANG2020,
) -> WeightSet:
    """Download the authors' networks, import them, and put them into `home` as a set.

    An interrupted download is resumed by calling again. The set appears under its name only when all of it is
    there. A set already installed from the same files is returned as it is.

    Args:
        home: folder that holds the installed sets.
        accept_unlicensed: True says: I know that the repository states no licence.
        base_url: where to find the files instead, e.g. a mirror; the paths of the registry are added to it.
        progress: called with file name, bytes so far, bytes in all.
        published: the set to install.

    Raises:
        InputError: `accept_unlicensed` is not True, or the address is not http or https.
        WeightsError: no connection, the server refuses, or what came is not the published file.
        ResourceError: the disk is full.
    """
    if not accept_unlicensed:
        raise InputError(
            f"{published.name}: {published.origin} states no licence, so nobody but its "
            "authors may allow you to use these weights; accept that with --accept-unlicensed to install them"
        )
    base_url = base_url or published.base_url
    if not base_url.startswith(("https://", "http://")):  # urlopen would also read file://
        raise InputError(f"{base_url}: the address must begin with https:// or http://")
    h5py_module()  # before 128 MB are fetched for nothing
    require_torch()
    target = home / published.name
    if not _is_installed(target, published):
        downloads = home / f".{published.name}.download"
        try:
            downloads.mkdir(parents=True, exist_ok=True)
            for file in published.files:
                _fetch(file, f"{base_url.rstrip('/')}/{quote(file.path)}", downloads, progress)
            _import(published, downloads, target)
            shutil.rmtree(downloads)
        except OSError as error:
            raise write_error(target, error) from error
    return find_set(target, home)


def _is_installed(target: Path, published: PublishedSet) -> bool:
    """Whether the set stands under its name, made from exactly the published files."""
    try:
        found = weight_files(target)
    except WeightsError:
        return False
    sources = {task: (weights.card.converted_from or {}).get("sha256") for task, weights in found.items()}
    if sources != {file.task: file.sha256 for file in published.files}:
        return False
    return all(w.path.is_file() and sha256_of(w.path) == w.card.sha256 for w in found.values())


def _fetch(file: PublishedFile, url: str, folder: Path, progress: Progress | None) -> None:
    """Download one file into the folder, going on where an earlier try stopped."""
    done = folder / Path(file.path).name
    part = done.with_name(f"{done.name}.part")
    if done.is_file() and sha256_of(done) == file.sha256:
        return
    have = part.stat().st_size if part.is_file() else 0
    if have > file.size:  # not a part of this file
        have = 0
    if have < file.size:
        response, start = _open(url, have)
        with response:
            have = _receive(response, part, start, file, progress)
    if have < file.size:
        raise WeightsError(f"{url}: the download stopped at {have} of {file.size} bytes; run again to go on")
    if have > file.size or sha256_of(part) != file.sha256:
        part.unlink()
        raise WeightsError(
            f"{url}: what came is damaged; expected SHA-256 {file.sha256}; run again to start over"
        )
    part.replace(done)


def _open(url: str, have: int) -> tuple[HTTPResponse, int]:
    """Ask for a file from byte `have` on; returns the answer and the byte it really begins with."""
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        response: HTTPResponse = urlopen(Request(url, headers=headers), timeout=_TIMEOUT)
    except HTTPError as error:
        error.close()
        if have and error.code == 416:  # the server does not have that range: begin again
            return _open(url, 0)
        raise WeightsError(f"{url}: the server answers {error.code} {error.reason}") from error
    except (URLError, HTTPException, OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise WeightsError(f"{url}: cannot be reached: {reason}") from error
    resumed = response.status == 206 and response.headers.get("Content-Range", "").startswith(
        f"bytes {have}-"
    )
    return response, have if resumed else 0


def _receive(
    response: HTTPResponse, part: Path, start: int, file: PublishedFile, progress: Progress | None
) -> int:
    """Write what comes behind the first `start` bytes; returns how many bytes there are then."""
    chunk = _read(response)
    if chunk and not start and (reason := what_it_is(chunk)):
        raise WeightsError(
            f"{response.url}: what came {reason}; expected {file.size} bytes with SHA-256 {file.sha256}"
        )
    have = start
    with part.open("ab" if start else "wb") as out:
        while chunk and have <= file.size:  # never more than one chunk too many
            out.write(chunk)
            have += len(chunk)
            if progress:
                progress(Path(file.path).name, have, file.size)
            chunk = _read(response)
    return have


def _read(response: HTTPResponse) -> bytes:
    """The next bytes; none at the end, and none when the connection breaks."""
    try:
        return response.read1(_CHUNK)
    except (HTTPException, OSError):
        return b""


def _import(published: PublishedSet, downloads: Path, target: Path) -> None:
    """Convert the downloaded files and put the set under its name, replacing a damaged or older one."""
    from covid19net.io.files import sync_folder

    fresh = downloads / "set"
    shutil.rmtree(fresh, ignore_errors=True)
    for file in published.files:
        import_keras(
            downloads / Path(file.path).name,
            fresh,
            task=file.task,
            name=published.name,
            licence=published.licence,
            origin=published.origin,
            training_data=file.training_data,
            metrics=file.metrics,
        )
    if target.exists():
        shutil.rmtree(target)
    fresh.rename(target)
    sync_folder(target.parent)
