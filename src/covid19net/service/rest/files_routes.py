"""Routes of results: what files there are, and each of them."""

from collections.abc import Mapping
import os
from pathlib import Path
import stat
from typing import Annotated, BinaryIO

from anyio.to_thread import run_sync
from fastapi import APIRouter
from fastapi import Path as PathParameter
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from covid19net.service.disk import RESULTS
from covid19net.service.rest.answers import refusals
from covid19net.service.rest.models import ResultFile
from covid19net.service.rest.parts import GivenParts, Parts
from covid19net.service.rest.refusals import Refusal
from covid19net.service.rest.security import REPORT_POLICY, Caller
from covid19net.service.rest.seen import JobId, Watcher, visible

RECORD = "result.json"
BLOCK = 256 << 10  # bytes read at a time
OTHER_TYPE = "application/octet-stream"
TYPES = {
    ".json": "application/json",
    ".html": "text/html; charset=utf-8",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".csv": "text/csv; charset=utf-8",
    ".gz": "application/gzip",
    ".dcm": "application/dicom",
}
SHOWN = ("application/json", "text/html", "application/pdf", "image/png")  # by a browser; all else is saved


class FileAnswer(Response):
    """An answer that sends an open file block by block, and closes it whatever happens."""

    def __init__(self, file: BinaryIO, headers: Mapping[str, str], media_type: str) -> None:
        super().__init__(headers=headers, media_type=media_type)
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        del scope, receive
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            while block := await run_sync(self._file.read, BLOCK):
                await send({"type": "http.response.body", "body": block, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            self._file.close()


router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["results"])


@router.get(
    "/result",
    response_class=Response,
    responses=refusals(404)
    | {
        200: {
            "description": "The content of result.json",
            "content": {"application/json": {"example": {"probability": 0.83}}},
        }
    },
)
def result(job_id: JobId, parts: GivenParts, caller: Watcher) -> FileAnswer:
    """The whole result: probability, decision, findings, measures and provenance.

    Any role; with submit alone, of own jobs only.
    """
    return _send(_folder(job_id, caller, parts), RECORD)


@router.get("/files", responses=refusals(404))
def list_files(job_id: JobId, parts: GivenParts, caller: Watcher) -> list[ResultFile]:
    """List the files of a result: report, pictures, masks, heat map, DICOM objects.

    Any role; with submit alone, of own jobs only.
    """
    folder = _folder(job_id, caller, parts)
    return [
        ResultFile(name=name, bytes=size, type=type_of(name)) for name, size in sorted(_files(folder).items())
    ]


@router.get(
    "/files/{name:path}",
    response_class=Response,
    responses=refusals(404)
    | {
        200: {
            "description": "The file",
            "content": {OTHER_TYPE: {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
def get_file(
    job_id: JobId,
    name: Annotated[str, PathParameter(description="A name of the list", examples=["report.html"])],
    parts: GivenParts,
    caller: Watcher,
) -> FileAnswer:
    """Fetch one file of a result, under the name it has in the list.

    Any role; with submit alone, of own jobs only.
    """
    return _send(_folder(job_id, caller, parts), name)


def _folder(job_id: str, caller: Caller, parts: Parts) -> Path:
    """The result of a job that the caller may see.

    Raises:
        Refusal: 404 where there is none.
    """
    folder = parts.settings.data / RESULTS / visible(job_id, caller, parts).id
    if not folder.is_dir():
        raise Refusal(404, "no-result", "this job has no result")
    return folder


def _files(folder: Path) -> dict[str, int]:
    """Sizes of the regular files of a result, in bytes, by their names with '/' below the folder."""
    found = {}
    for place, _, names in os.walk(folder):  # which does not go into folders that are links
        for name in names:
            path = Path(place, name)
            status = path.lstat()
            if stat.S_ISREG(status.st_mode):
                found[path.relative_to(folder).as_posix()] = status.st_size
    return found


def _send(folder: Path, name: str) -> FileAnswer:
    """A file of a result. A name is only ever looked up in the list of what is there, never followed.

    Raises:
        Refusal: 404 for a name that is not in the list.
    """
    if name not in _files(folder):
        raise Refusal(404, "no-file", "the result has no such file")
    try:
        file = os.fdopen(os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW), "rb")
    except OSError:  # deleted since
        raise Refusal(404, "no-file", "the result has no such file") from None
    kind = type_of(name)
    shown = kind.split(";")[0] in SHOWN
    headers = {
        "Content-Length": str(os.fstat(file.fileno()).st_size),
        "Content-Disposition": f'{"inline" if shown else "attachment"}; filename="{Path(name).name}"',
    }
    if kind.startswith("text/html"):
        headers["Content-Security-Policy"] = REPORT_POLICY
    return FileAnswer(file, headers, kind)


def type_of(name: str) -> str:
    """Media type of a result file, from our own short list."""
    return TYPES.get(Path(name).suffix, OTHER_TYPE)
