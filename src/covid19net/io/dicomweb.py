"""A PACS by DICOMweb: what series a study has, one of them fetched into a folder, results stored in it.

Searching and storing are dicomweb-client's; instances are fetched as the bytes that the server sends, written
as they come, so that no data set is parsed, inflated or held in memory here.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from email.message import Message
import os
from pathlib import Path
import re
import secrets
from shutil import rmtree
from time import monotonic
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol
from urllib.parse import urlsplit
from warnings import catch_warnings

from covid19net.errors import Covid19netError, InputError, ResourceError
from covid19net.io.files import write_fault
from covid19net.io.multipart import parts_of

if TYPE_CHECKING:
    from dicomweb_client import DICOMwebClient

CONNECTING, SILENT = 10.0, 60.0  # seconds
MOST_SERIES = 500  # of one study
CHUNK = 1 << 18  # bytes
ANY_SYNTAX = 'multipart/related; type="application/dicom"; transfer-syntax=*'  # as stored, PS3.18 8.7.3.5.2
REFUSED = {401: "wants other credentials", 403: "wants other credentials", 404: "does not have it"}


@dataclass(frozen=True)
class Server:
    """A DICOMweb server and how to speak to it.

    Attributes:
        url: up to the part before /studies.
        headers: sent with every request, such as {"Authorization": "Bearer ..."}.
        certificates: file of the authorities to trust for https; None for the usual ones.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    certificates: Path | None = None

    @classmethod
    def known_by(cls, url: str, authorization: str) -> "Server":
        """A server that wants the header Authorization; an empty one is not sent."""
        return cls(url, {"Authorization": authorization} if authorization else {})

    @property
    def name(self) -> str:
        """How faults call it: its host."""
        return urlsplit(self.url).hostname or "DICOMweb server"


@dataclass(frozen=True)
class Limits:
    """The most that is taken from a server: instances, bytes in all, seconds in all."""

    instances: int = 5000
    size: int = 2 << 30
    seconds: float = 1800.0


@dataclass(frozen=True)
class RemoteSeries:
    """A series of a study, as the server lists it.

    Attributes:
        uid: its Series Instance UID.
        modality: such as "CT"; empty when not told.
        instances: how many; None when not told.
    """

    uid: str
    modality: str
    instances: int | None


class Writable(Protocol):
    """What takes bytes."""

    def write(self, data: bytes, /) -> object:
        """Write bytes."""
        ...


def find_series(server: Server, study: str) -> list[RemoteSeries]:
    """The series of a study, in the server's order.

    Args:
        server: where to ask.
        study: Study Instance UID.

    Raises:
        InputError: no UID, the server cannot be reached or refuses, an answer that is none, or no such study.
    """
    _check_uid("study", study)
    with _speaking(server, Limits(size=64 << 20, seconds=120)) as (client, _):
        fields = ["Modality", "NumberOfSeriesRelatedInstances"]
        rows = client.search_for_series(study, fields=fields, limit=MOST_SERIES)
        found = [_series(row) for row in rows]
    if not found:
        raise InputError(f"{server.name}: has no such study")
    return found


def fetch_series(
    server: Server, study: str, series: str, folder: str | Path, limits: Limits | None = None
) -> list[Path]:
    """Fetch a CT series into a folder of its own, whole or not at all.

    Args:
        server: where to ask.
        study: Study Instance UID.
        series: Series Instance UID.
        folder: is made, must not exist; its files are named by a counter, in the order of arrival.
        limits: the most to take.

    Returns:
        The files.

    Raises:
        InputError: as `find_series`; no such series, no CT, instances that did not come; it exists.
        ResourceError: more than the limits allow, or the disk is full.
    """
    folder = Path(folder)
    if folder.exists():
        raise InputError(f"{folder}: exists already")
    unfinished = folder.with_name(f".unfinished-{secrets.token_hex(4)}")
    names: list[str] = []

    @contextmanager
    def open_next() -> Iterator[BinaryIO]:
        names.append(f"{len(names) + 1:06d}.dcm")
        with (unfinished / names[-1]).open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())

    try:
        unfinished.mkdir(parents=True)
        fetch_instances(server, study, series, open_next, limits)
        unfinished.rename(folder)
    except OSError as error:
        raise write_fault(folder, error) from error
    finally:
        rmtree(unfinished, ignore_errors=True)
    return [folder / name for name in names]


def fetch_instances(
    server: Server,
    study: str,
    series: str,
    open_next: Callable[[], AbstractContextManager[Writable]],
    limits: Limits | None = None,
) -> int:
    """Fetch the instances of a CT series, each into a file of its own.

    Args:
        server: where to ask.
        study: Study Instance UID.
        series: Series Instance UID.
        open_next: gives the file of the next instance, as a context manager.
        limits: the most to take.

    Returns:
        How many came.

    Raises:
        InputError, ResourceError: as `fetch_series`.
        OSError: a file cannot be written.
    """
    limits = limits or Limits()
    _check_uid("series", series)
    listed = next((each for each in find_series(server, study) if each.uid == series), None)
    if listed is None:
        raise InputError(f"{server.name}: the study has no such series")
    if listed.modality not in ("CT", ""):
        raise InputError(f"{server.name}: the series is no CT")
    if (listed.instances or 0) > limits.instances:
        raise ResourceError(f"{server.name}: {listed.instances} instances, more than {limits.instances}")
    count = 0
    url = f"{server.url.rstrip('/')}/studies/{study}/series/{series}"
    with _speaking(server, limits) as (_, session), _asked(session, url) as response:
        for part in parts_of(response.iter_content(CHUNK), _boundary(response), server.name):
            count += 1
            if count > limits.instances:
                raise ResourceError(f"{server.name}: more than {limits.instances} instances")
            _write(part, open_next)
    if not count or count < (listed.instances or 0):
        raise InputError(
            f"{server.name}: {count} of {listed.instances or 'its'} instances came; fetch it again"
        )
    return count


def store_files(server: Server, files: Sequence[Path]) -> None:
    """Store DICOM files in a server (STOW-RS), one request each; what it has already stays as it is.

    Args:
        server: where to.
        files: whole DICOM files, of our own making.

    Raises:
        InputError: the server cannot be reached or refuses one.
    """
    from pydicom import dcmread

    for file in files:
        dataset = dcmread(file)
        with _speaking(server, Limits(size=1 << 20, seconds=600)) as (client, _):
            answer = client.store_instances([dataset])
            if answer.get("FailedSOPSequence"):
                raise InputError(f"{server.name}: did not store an object")


def _check_uid(what: str, uid: str) -> None:
    if not re.fullmatch(r"[0-9.]{1,64}", uid):
        raise InputError(f"{what}: not a DICOM UID (digits and dots, at most 64)")


def _series(row: Any) -> RemoteSeries:  # noqa: ANN401
    """A row of the answer to a search, in the JSON of PS3.18 annex F."""

    def first(tag: str) -> str:
        values = row.get(tag, {}).get("Value") or [""]
        return str(values[0])

    count = first("00201209")
    return RemoteSeries(first("0020000E"), first("00080060"), int(count) if count.isdigit() else None)


class _DiskError(Exception):
    """A fault of our own disk, not of the server; both are OSErrors."""


def _write(part: Iterator[bytes], open_next: Callable[[], AbstractContextManager[Writable]]) -> None:
    try:
        with open_next() as file:
            for piece in part:
                file.write(piece)
    except OSError as error:
        if type(error).__module__.startswith(("requests", "urllib3")):
            raise
        raise _DiskError from error


@contextmanager
def _speaking(server: Server, limits: Limits) -> Iterator[tuple["DICOMwebClient", Any]]:
    """A client and its session (of requests), whose every fault inside the `with` block becomes one line."""
    from dicomweb_client import DICOMwebClient
    from dicomweb_client.session_utils import create_session

    session = create_session()
    # no ~/.netrc, which would replace the given header, and nowhere else than where we were told to go
    session.trust_env, session.max_redirects = False, 0
    if server.certificates:
        session.verify = str(server.certificates)
    try:
        with catch_warnings(action="ignore"):  # on answers that stray from the standard
            client = DICOMwebClient(
                server.url,
                session,
                headers=dict(server.headers),
                callback=_meter(server, limits),
                timeout=(CONNECTING, SILENT),
            )
            client.set_http_retry_params(retry=False)
            yield client, session
    except Covid19netError:
        raise
    except _DiskError as error:
        raise (error.__cause__ or error) from None
    except Exception as error:  # a strange answer makes the client raise almost anything
        raise InputError(f"{server.name}: {_reason(error)}") from error
    finally:
        session.close()


def _meter(server: Server, limits: Limits) -> Callable[..., None]:
    """Counts the bytes and the time of every answer, before anybody reads it."""
    ends = monotonic() + limits.seconds
    taken = 0

    def watch(response: Any, *_: object, **__: object) -> None:  # noqa: ANN401
        stream = response.raw.stream

        def counted(*arguments: object, **named: object) -> Iterator[bytes]:
            nonlocal taken
            for piece in stream(*arguments, **named):
                taken += len(piece)
                if taken > limits.size:
                    raise ResourceError(f"{server.name}: sends more than {limits.size >> 20} MB")
                if monotonic() > ends:
                    raise ResourceError(f"{server.name}: takes more than {limits.seconds:.0f} s")
                yield piece

        response.raw.stream = counted

    return watch


def _reason(error: Exception) -> str:
    """What went wrong with a server, without the address asked for, which names the study."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    name = type(error).__name__
    if status and status >= 400:
        return f"{REFUSED.get(status, 'refused the request')} (HTTP {status})"
    if name == "TooManyRedirects":
        return "points to another address; give that one"
    if name == "SSLError":
        return "its certificate is not trusted"
    if "Timeout" in name or "Connection" in name or name in ("ProtocolError", "ChunkedEncodingError"):
        return "cannot be reached, or the connection broke"
    return "not a DICOMweb address, or an answer that is no DICOMweb"


@contextmanager
def _asked(session: Any, url: str) -> Iterator[Any]:  # noqa: ANN401
    """The answer to the request for a series (WADO-RS), not read; dicomweb-client would parse all of it."""
    headers, timeout = {"Accept": ANY_SYNTAX}, (CONNECTING, SILENT)
    with session.get(url, headers=headers, stream=True, timeout=timeout) as response:
        response.raise_for_status()
        yield response


def _boundary(response: Any) -> bytes:  # noqa: ANN401
    """What separates the parts of an answer."""
    kind = Message()
    kind["Content-Type"] = response.headers.get("Content-Type", "")
    boundary = kind.get_boundary()
    if kind.get_content_type() != "multipart/related" or not boundary:
        raise ValueError("not multipart/related")
    return boundary.encode("latin-1")
