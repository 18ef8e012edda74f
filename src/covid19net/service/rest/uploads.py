"""Uploads, written to the disk as they come in: nothing is kept in memory or spooled, nothing is inflated."""

from collections.abc import Callable, Mapping
from functools import partial
import logging
from typing import NamedTuple, Protocol, TypeVar

import anyio
from anyio.to_thread import run_sync
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from covid19net.errors import InputError
from covid19net.io.files import DEEPEST_FOLDER
from covid19net.prognosis.model import Clinical
from covid19net.service.intake import LONGEST_LABEL, SUFFIXES, Intake, Staged, Writer
from covid19net.service.job import UNKNOWN, Job
from covid19net.service.rest.refusals import Refusal

T = TypeVar("T")

RAW_TYPES = ("application/zip", "application/gzip", "application/octet-stream")
LONGEST_NAME = 1024  # characters of a file name with its folders; it is looked at and never kept
PLAIN_ENCODINGS = (b"binary", b"7bit", b"8bit")  # of a part, which is then its bytes as they are
HEAD = 4  # bytes by which zip and gzip are told apart
TEXTS = (b"label", b"age", b"sex", b"comorbidity")  # parts that are one line of text
ANSWERS = {"yes": True, "true": True, "no": False, "false": False}
WRITERS = 4  # threads that write uploads, so that other requests always find one

_writers = anyio.CapacityLimiter(WRITERS)
logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # its lines hold bytes of the upload


class Told(NamedTuple):
    """What a submission says beside its files."""

    label: str | None = None
    clinical: Clinical = UNKNOWN


class Reader(Protocol):
    """Takes the bytes of a body, in pieces of any length."""

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""

    def finish(self) -> Told:
        """Say that the body has ended; returns what it said beside the files."""


async def take_in(
    request: Request, intake: Intake, *, owner: str, key: str | None = None
) -> tuple[Job, bool]:
    """Write the body of a request to the disk and make a job of it.

    Returns:
        The job, and whether it is new.

    Raises:
        Refusal: a body that is malformed, of a type that is not taken, too slow, or too large.
        InputError: too many files or bytes.
        ResourceError: no room on the disk or in the queue.
    """
    open_reader = reader_for(request.headers.get("content-type", ""))
    staging = intake.stage()
    staged = await _on_writer(staging.__enter__)
    try:
        reader = open_reader(staged)
        async for chunk in request.stream():
            if chunk:
                await _on_writer(partial(reader.feed, chunk))
        label, clinical = await _on_writer(reader.finish)
        commit = partial(staged.commit, source="rest", owner=owner, label=label, key=key, clinical=clinical)
        return await _on_writer(commit)
    finally:
        with anyio.CancelScope(shield=True):  # also when the client has gone
            await _on_writer(partial(staging.__exit__, None, None, None))


async def _on_writer(work: Callable[[], T]) -> T:
    return await run_sync(work, limiter=_writers)


def reader_for(content_type: str) -> Callable[[Staged], Reader]:
    """What reads a body of this type.

    Raises:
        Refusal: 415 for other types; 400 for a multipart body without a boundary.
    """
    kind, options = parse_options_header(content_type)
    if kind == b"multipart/form-data":
        boundary = options.get(b"boundary", b"")
        if not 0 < len(boundary) <= 70:  # RFC 2046, 5.1.1
            raise Refusal(400, "bad-multipart", "the multipart body has no proper boundary")
        return partial(FormReader, boundary)
    if kind.decode("latin-1") in RAW_TYPES:
        return RawReader
    raise Refusal(415, "unknown-type", f"send multipart/form-data, or {', '.join(RAW_TYPES)}")


class RawReader:
    """A body that is one file: a zip archive, a gzipped NIfTI file, or a DICOM file."""

    def __init__(self, staged: Staged) -> None:
        self._staged = staged
        self._head = b""
        self._out: Writer | None = None

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes; the file is opened when its kind can be told."""
        if self._out is None:
            self._head += chunk
            if len(self._head) < HEAD:
                return
            self._out = self._staged.write(_suffix_of_content(self._head))
            chunk = self._head
        self._out.write(chunk)

    def finish(self) -> Told:
        """Close the file.

        Raises:
            Refusal: 400 for an empty body.
        """
        if not self._head:
            raise Refusal(400, "empty", "the body is empty")
        if self._out is None:  # less than tells a kind; the analysis will say so
            self._out = self._staged.write()
            self._out.write(self._head)
        self._out.close()
        return Told()


def _suffix_of_content(head: bytes) -> str:
    if head.startswith(b"PK"):
        return ".zip"
    return ".nii.gz" if head.startswith(b"\x1f\x8b") else ""


class FormReader:
    """A multipart body: any number of parts `files`, and at most one part of each name in `TEXTS`."""

    def __init__(self, boundary: bytes, staged: Staged) -> None:
        self._staged = staged
        self._out: Writer | None = None
        self._texts: dict[bytes, bytearray] = {}
        self._text: bytearray | None = None
        self._files = 0
        self._ended = False
        self._field, self._value = bytearray(), bytearray()
        self._headers: dict[bytes, bytes] = {}
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": lambda data, start, end: self._field.extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
                "on_header_end": self._end_header,
                "on_headers_finished": self._open,
                "on_part_data": self._write,
                "on_part_end": self._close,
                "on_end": self._end,
            },
        )

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes.

        Raises:
            Refusal: 400 for what is no multipart body.
        """
        try:
            self._parser.write(chunk)
        except FormParserError:
            raise Refusal(400, "bad-multipart", "the multipart body is malformed") from None

    def finish(self) -> Told:
        """Label, and what is known of the patient.

        Raises:
            Refusal: 400 for a body that is cut, or without files; 422 for a text that cannot be.
        """
        if not self._ended:
            raise Refusal(400, "bad-multipart", "the multipart body ends before its last boundary")
        if not self._files:
            raise Refusal(400, "empty", "the multipart body has no part 'files' with a file name")
        texts = {name.decode(): bytes(text) for name, text in self._texts.items()}
        return Told(label_of(texts.pop("label", b"")), clinical_of(texts))

    def _begin(self) -> None:
        self._headers = {}

    def _end_header(self) -> None:
        self._headers[bytes(self._field).lower()] = bytes(self._value)
        self._field.clear()
        self._value.clear()

    def _open(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        name, file_name = options.get(b"name"), options.get(b"filename")
        if self._headers.get(b"content-transfer-encoding", b"binary").lower() not in PLAIN_ENCODINGS:
            raise Refusal(400, "bad-multipart", "parts are taken as they are, without a transfer encoding")
        if name == b"files" and file_name is not None:
            _check_name(file_name)
            self._files += 1
            self._out = self._staged.write(_suffix_of_name(file_name))
        elif name in TEXTS and file_name is None and name not in self._texts:
            self._text = self._texts[name] = bytearray()
        else:
            names = ", ".join(text.decode() for text in TEXTS)
            told = f"parts are files, with file names, and at most one each of {names}"
            raise Refusal(400, "bad-multipart", told)

    def _write(self, data: bytes, start: int, end: int) -> None:
        if self._out is not None:
            self._out.write(data[start:end])
        elif self._text is not None:
            self._text.extend(data[start:end])
            if len(self._text) > 4 * LONGEST_LABEL:  # UTF-8 has up to 4 bytes a character
                raise _bad_label()

    def _close(self) -> None:
        out, self._out, self._text = self._out, None, None
        if out is not None:
            out.close()

    def _end(self) -> None:
        self._ended = True


def label_of(text: bytes) -> str | None:
    """A label as it is kept: one line of printable characters, None when empty.

    Raises:
        Refusal: 422 for anything else.
    """
    try:
        label = text.decode().strip()
    except UnicodeDecodeError:
        raise _bad_label() from None
    if len(label) > LONGEST_LABEL or not label.isprintable():
        raise _bad_label()
    return label or None


def clinical_of(texts: Mapping[str, bytes]) -> Clinical:
    """What is known of the patient; an empty part says nothing.

    Args:
        texts: of "age" (years), "sex" (F or M) and "comorbidity" (yes or no).

    Raises:
        Refusal: 422 for what is none of these.
    """
    try:
        given = {name: text.decode("ascii").strip() for name, text in texts.items() if text.strip()}
        comorbidity = given.get("comorbidity")
        return Clinical(
            float(given["age"]) if "age" in given else None,
            given["sex"].upper() if "sex" in given else None,
            None if comorbidity is None else ANSWERS[comorbidity.lower()],
        )
    except (ValueError, KeyError, InputError):
        told = "age is a number of years up to 120, sex F or M, comorbidity yes or no"
        raise Refusal(422, "bad-clinical", told) from None


def _bad_label() -> Refusal:
    return Refusal(422, "bad-label", f"a label is one line of at most {LONGEST_LABEL} printable characters")


def _check_name(name: bytes) -> None:
    depth = name.count(b"/") + name.count(b"\\")
    if len(name) > LONGEST_NAME or depth > DEEPEST_FOLDER:
        raise Refusal(
            *(400, "bad-name"),
            f"a file name is longer than {LONGEST_NAME} or nested deeper than {DEEPEST_FOLDER}",
        )


def _suffix_of_name(name: bytes) -> str:
    lower = name.decode("latin-1").lower()
    return max((suffix for suffix in SUFFIXES if lower.endswith(suffix)), key=len, default="")
