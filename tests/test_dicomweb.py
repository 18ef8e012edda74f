"""Series from a PACS: Debian's Orthanc as it is, and servers that misbehave."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
import json
from pathlib import Path
import threading

import numpy as np
import pydicom
import pytest

from covid19net.errors import InputError, ResourceError
from covid19net.io import write_dicom_series
from covid19net.io.dicomweb import Limits, Server, fetch_series, find_series, store_files
from covid19net.io.multipart import parts_of
from covid19net.volume import CTVolume
from tests.pacs import Pacs, orthanc

STUDY, SERIES, SCOUT = "1.2.826.7.1", "1.2.826.7.2", "1.2.826.7.3"


@pytest.fixture(scope="module")
def slices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    hu = np.random.default_rng(1).integers(-1000, 400, (5, 16, 16)).astype(np.int16)
    volume = CTVolume(hu, np.diag([5.0, 2.0, 2.0, 1.0])[[2, 1, 0, 3]])
    folder = tmp_path_factory.mktemp("slices")
    headers = {"StudyInstanceUID": STUDY, "SeriesInstanceUID": SERIES, "PatientName": "Doe^Jane"}
    write_dicom_series(volume, folder, headers)
    return folder


@pytest.fixture(scope="module")
def pacs(slices: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pacs]:
    with orthanc(tmp_path_factory.mktemp("pacs")) as running:
        running.add(slices)
        yield running


def test_a_series_comes_as_it_was_stored(pacs: Pacs, slices: Path, tmp_path: Path):
    assert [(s.uid, s.modality, s.instances) for s in find_series(Server(pacs.url), STUDY)] == [
        (SERIES, "CT", 5)
    ]
    files = fetch_series(Server(pacs.url), STUDY, SERIES, tmp_path / "series")
    assert [f.name for f in files] == [f"{n:06d}.dcm" for n in range(1, 6)]
    sent, got = (
        {d.SOPInstanceUID: d for d in map(pydicom.dcmread, folder)}
        for folder in (sorted(slices.iterdir()), files)
    )
    assert sent == got
    assert not list(tmp_path.glob(".unfinished*"))


def test_what_orthanc_lacks_is_named_in_one_line(pacs: Pacs, tmp_path: Path):
    server = Server(pacs.url)
    for study, series, words in [
        ("1.2.3", SERIES, "no such study"),
        (STUDY, "1.2.3", "no such series"),
        ("../../../etc", SERIES, "not a DICOM UID"),
        (STUDY, "1/../2", "not a DICOM UID"),
    ]:
        with pytest.raises(InputError, match=words):
            fetch_series(server, study, series, tmp_path / "series")
    with pytest.raises(ResourceError, match="5 instances, more than 4"):
        fetch_series(server, STUDY, SERIES, tmp_path / "series", Limits(instances=4))
    with pytest.raises(InputError, match=r"127\.0\.0\.1: does not have it \(HTTP 404\)"):
        find_series(Server(f"{pacs.url}/nothing"), STUDY)
    assert not list(tmp_path.iterdir())


def test_results_are_stored_once(pacs: Pacs, slices: Path, tmp_path: Path):
    first = pydicom.dcmread(sorted(slices.iterdir())[0])
    first.SeriesInstanceUID, first.SOPInstanceUID = "1.2.826.7.9", "1.2.826.7.10"
    first.file_meta.MediaStorageSOPInstanceUID = first.SOPInstanceUID
    first.save_as(tmp_path / "result.dcm")
    for _ in range(2):
        store_files(Server(pacs.url), [tmp_path / "result.dcm"])
    found = {s.uid: s.instances for s in find_series(Server(pacs.url), STUDY)}
    assert found == {SERIES: 5, "1.2.826.7.9": 1}


def listing(count: int = 2, modality: str = "CT") -> bytes:
    row = {
        "0020000E": {"vr": "UI", "Value": [SERIES]},
        "00080060": {"vr": "CS", "Value": [modality]},
        "00201209": {"vr": "IS", "Value": [count]},
    }
    return json.dumps([row]).encode()


def body(*parts: bytes, end: bytes = b"--") -> bytes:
    heads = b"".join(b"\r\n--xyz\r\nContent-Type: application/dicom\r\n\r\n" + part for part in parts)
    return heads + b"\r\n--xyz" + end


Answer = tuple[int, dict[str, str], bytes]
MULTIPART = {"Content-Type": 'multipart/related; type="application/dicom"; boundary="xyz"'}


@contextmanager
def served(answer: Callable[[str, dict[str, str]], Answer]) -> Iterator[str]:
    """A server that answers every GET with what a function says."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, content = answer(self.path, dict(self.headers))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if "Content-Length" not in headers:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/dicom-web"
        finally:
            server.shutdown()
            thread.join()


def of_series(content: bytes, headers: dict[str, str] = MULTIPART, listed: bytes | None = None):
    """A study with one series, whose instances are answered as given."""

    def answer(path: str, _: dict[str, str]) -> Answer:
        if path.endswith(f"/series/{SERIES}"):
            return 200, headers, content
        return 200, {"Content-Type": "application/dicom+json"}, listed or listing()

    return answer


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (of_series(body(b"one", b"two", end=b"")), "the connection broke before everything had come"),
        (of_series(body(b"one")), "1 of 2 instances came"),
        (of_series(body(), listed=listing(0)), "0 of its instances came"),
        (of_series(b"<html>", {"Content-Type": "text/html"}), "no DICOMweb"),
        (of_series(body(b"one", b"two"), {**MULTIPART, "Content-Length": "999"}), "the connection broke"),
        (of_series(b"\r\n--xyz" + b"h" * 300_000), "the answer is damaged"),
        (of_series(b"", listed=listing(modality="MR")), "the series is no CT"),
        (of_series(b"", listed=b"<html>"), "no DICOMweb"),
        (of_series(b"", listed=b'["a", 7]'), "no DICOMweb"),
        (lambda *_: (401, {}, b""), r"wants other credentials \(HTTP 401\)"),
        (lambda *_: (500, {}, b""), r"refused the request \(HTTP 500\)"),
        (lambda *_: (302, {"Location": "http://169.254.169.254/"}, b""), "points to another address"),
    ],
)
def test_a_bad_answer_is_one_line_and_leaves_nothing(
    answer: Callable[..., Answer], words: str, tmp_path: Path
):
    with served(answer) as url, pytest.raises(InputError, match=words) as told:
        fetch_series(Server(url), STUDY, SERIES, tmp_path / "series")
    assert STUDY not in str(told.value)
    assert "\n" not in str(told.value)
    assert not list(tmp_path.iterdir())


def test_nobody_there():
    with pytest.raises(InputError, match=r"127\.0\.0\.1: cannot be reached"):
        find_series(Server("http://127.0.0.1:9/dicom-web"), STUDY)


def test_more_than_allowed_is_cut_off(tmp_path: Path):
    """A listing that understates, and a body without end."""
    with (
        served(of_series(body(*[b"x"] * 9))) as url,
        pytest.raises(ResourceError, match="more than 3 instances"),
    ):
        fetch_series(Server(url), STUDY, SERIES, tmp_path / "series", Limits(instances=3))
    with (
        served(of_series(body(bytes(3 << 20)))) as url,
        pytest.raises(ResourceError, match="sends more than 1 MB"),
    ):
        fetch_series(Server(url), STUDY, SERIES, tmp_path / "series", Limits(size=1 << 20))
    assert not list(tmp_path.iterdir())


def test_the_given_header_is_sent_and_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "netrc").write_text("default login other password other\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))  # requests would send that instead
    seen = []

    def answer(_: str, headers: dict[str, str]) -> Answer:
        seen.append(headers["Authorization"])
        return 200, {"Content-Type": "application/dicom+json"}, listing()

    with served(answer) as url:
        server = Server(url, {"Authorization": "Bearer secret"})
        find_series(server, STUDY)
    assert seen == ["Bearer secret"]
    assert "secret" not in repr(server)


def test_parts_are_the_same_however_they_arrive():
    """Bytes of RFC 2046 by hand; a part that holds what looks like a boundary but is none."""
    parts = [b"\r\n--xy", b"", b"a\r\n\r\nb" * 9]
    whole = b"preamble" + body(*parts) + b"\r\nepilogue"
    for size in (1, 2, 3, 7, 50, 1000):
        chunks = [whole[at : at + size] for at in range(0, len(whole), size)]
        assert [b"".join(part) for part in parts_of(chunks, b"xyz", "server")] == parts
