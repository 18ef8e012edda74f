"""Uploads: what is taken, what is refused and how soon, and that nothing of a refused one stays."""

import gzip
import io
import json
import logging
import random
import threading
import zipfile

import httpx
import pytest

from covid19net.service.job import State
from covid19net.service.logs import LOGGER
from covid19net.service.rest import jobs_routes
from tests.rest_service import SLICE, bearer, lines_of, make_service, running, serving

NAME = "GARFIELD^JON"
LIMIT = 3  # MB of a submission, here
FILES = 20


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    return make_service(
        tmp_path_factory.mktemp("d"), upload_limit_mb=LIMIT, upload_files=FILES, queue_limit=5
    )


@pytest.fixture(scope="module")
def client(service):
    with serving(service) as client:
        client.headers.update(bearer("ward"))
        yield client


@pytest.fixture(autouse=True)
def _nothing_is_left_half_done(service):
    yield
    for job in service.jobs.list(State.QUEUED):
        service.jobs.request_cancel(job.id)
    assert list((service.settings.data / "incoming").iterdir()) == []


def inputs_of(service, answer) -> dict[str, bytes]:
    folder = service.settings.data / "inputs" / answer.json()["job"]["id"]
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def form(*parts: bytes, boundary: bytes = b"edge") -> dict[str, object]:
    """A multipart request by hand."""
    body = (
        b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts) + b"--" + boundary + b"--\r\n"
    )
    return {
        "content": body,
        "headers": {"Content-Type": f"multipart/form-data; boundary={boundary.decode()}"},
    }


def part(headers: bytes, content: bytes = SLICE) -> bytes:
    return b"Content-Disposition: form-data; " + headers + b"\r\n\r\n" + content


A_FILE = part(b'name="files"; filename="a"')


def test_files_are_kept_under_names_of_our_own(service, client):
    files = [("files", (f"{NAME}/series/{i}.dcm", SLICE + bytes([i]))) for i in range(12)]
    answer = client.post("/v1/jobs", files=files, data={"label": "case 17"})
    assert answer.status_code == 202
    job = answer.json()["job"]
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert job["label"] == "case 17"
    assert job["state"] == "queued"
    assert job["owner"] == "ward"
    assert inputs_of(service, answer) == {f"{i + 1:06d}": SLICE + bytes([i]) for i in range(12)}
    assert client.get(answer.headers["location"]).json() == job


@pytest.mark.parametrize(
    ("kind", "content", "name"),
    [
        ("application/zip", b"PK\x03\x04" + bytes(50), "upload.zip"),
        ("application/octet-stream", b"PK\x03\x04" + bytes(51), "upload.zip"),
        ("application/gzip", b"\x1f\x8b" + bytes(50), "upload.nii.gz"),
        ("application/octet-stream", SLICE, "000001"),
        ("application/octet-stream; x=y", b"ab", "000001"),
    ],
)
def test_one_file_as_the_body(service, client, kind, content, name):
    answer = client.post("/v1/jobs", content=content, headers={"Content-Type": kind})
    assert inputs_of(service, answer) == {name: content}


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("Scan.NII.GZ", "upload.nii.gz"),
        ("x.zip", "upload.zip"),
        ("a.nrrd", "upload.nrrd"),
        ("../../../etc/passwd", "000001"),
        ("a.nii.gz/../x.sh", "000001"),
        ("x\x00.zip.exe", "000001"),
    ],
)
def test_of_a_name_only_a_known_ending_is_used(service, client, sent, kept):
    unique = SLICE + sent.encode()
    answer = client.post("/v1/jobs", files=[("files", (sent, unique))])
    assert inputs_of(service, answer) == {kept: unique}


def test_a_body_in_pieces_of_one_byte(service, client):
    content = SLICE + b"one by one"
    request = form(part(b'name="files"; filename="a"', content), part(b'name="label"', "Überlauf".encode()))
    pieces = [request["content"][i : i + 1] for i in range(len(request["content"]))]
    answer = client.post("/v1/jobs", content=iter(pieces), headers=request["headers"])
    assert answer.status_code == 202
    assert answer.json()["job"]["label"] == "Überlauf"
    assert inputs_of(service, answer) == {"000001": content}


def test_what_is_known_of_the_patient_is_kept_and_makes_another_job_of_the_same_scan(client):
    files = [("files", ("a.dcm", b"the same slice"))]
    answers = [
        client.post("/v1/jobs", files=files, data=data).json()
        for data in (
            {},
            {"age": "61", "sex": "f", "comorbidity": "no"},
            {"age": " 61.0 ", "sex": "F", "comorbidity": "false"},
            {"age": "", "sex": "", "comorbidity": ""},
        )
    ]
    assert [answer["created"] for answer in answers] == [True, True, False, False]
    assert [answer["job"]["clinical"] for answer in answers[:2]] == [
        {},
        {"age": 61, "sex": "F", "comorbidity": False},
    ]


def test_content_that_looks_like_a_boundary(service, client):
    content = b"\r\n--edg\r\n--edge\x00\r\n-" + bytes(100)
    answer = client.post(
        "/v1/jobs", **form(part(b'name="files"; filename="a"', content.replace(b"edge", b"edgf")))
    )
    assert inputs_of(service, answer) == {"000001": content.replace(b"edge", b"edgf")}


@pytest.mark.parametrize(
    ("status", "code", "request_"),
    [
        (400, "bad-multipart", form() | {"content": form(A_FILE)["content"][:-8]}),
        (400, "bad-multipart", {"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}),
        (400, "bad-multipart", form(A_FILE, boundary=b"e" * 71)),
        (400, "bad-multipart", form() | {"content": b"not a form"}),
        (400, "bad-multipart", form() | {"content": b""}),
        (400, "bad-multipart", form(part(b'name="other"'))),
        (400, "bad-multipart", form(part(b'name="files"'))),
        (400, "bad-multipart", form(part(b'name="label"', b"a"), part(b'name="label"', b"b"))),
        (400, "bad-multipart", form(b"Content-Transfer-Encoding: base64\r\n" + A_FILE)),
        (400, "bad-multipart", form(b"X: " + b"x" * 5000 + b"\r\n" + A_FILE)),
        (400, "bad-multipart", form(b"X: y\r\n" * 50 + A_FILE)),
        (400, "empty", form(part(b'name="label"', b"a"))),
        (400, "bad-multipart", form(A_FILE, part(b'name="age"', b"1"), part(b'name="age"', b"1"))),
        (422, "bad-clinical", form(A_FILE, part(b'name="age"', b"121"))),
        (422, "bad-clinical", form(A_FILE, part(b'name="age"', b"nan"))),
        (422, "bad-clinical", form(A_FILE, part(b'name="age"', "٦١".encode()))),
        (422, "bad-clinical", form(A_FILE, part(b'name="sex"', b"X"))),
        (422, "bad-clinical", form(A_FILE, part(b'name="comorbidity"', b"maybe"))),
        (400, "bad-name", form(part(b'name="files"; filename="' + b"a/" * 65 + b'x"'))),
        (400, "bad-name", form(part(b'name="files"; filename="' + b"a" * 1100 + b'"'))),
        (422, "bad-label", form(A_FILE, part(b'name="label"', b"a\nb"))),
        (422, "bad-label", form(A_FILE, part(b'name="label"', b"\xff"))),
        (422, "bad-label", form(A_FILE, part(b'name="label"', b"a" * 65))),
        (422, "bad-label", form(A_FILE, part(b'name="label"', b"a" * 100_000))),
        (
            413,
            "too-large",
            form(*[part(b'name="files"; filename="a"', bytes([i])) for i in range(FILES + 1)]),
        ),
        (413, "too-large", form(part(b'name="files"; filename="a"', bytes(LIMIT * 10**6 + 1)))),
        (413, "too-large", {"content": bytes(9 << 20), "headers": {"Content-Type": "application/zip"}}),
        (400, "empty", {"content": b"", "headers": {"Content-Type": "application/zip"}}),
        (415, "unknown-type", {"content": b"{}", "headers": {"Content-Type": "application/json"}}),
        (415, "unknown-type", {"content": b"x"}),
        (
            *(415, "packed-body"),
            {
                "content": gzip.compress(SLICE),
                "headers": {"Content-Encoding": "gzip", "Content-Type": "application/zip"},
            },
        ),
        (400, "bad-key", form(A_FILE) | {"headers": {"Idempotency-Key": "x" * 201}}),
    ],
)
def test_what_is_refused(service, client, status, code, request_):
    before = service.jobs.counts()
    answer = client.post("/v1/jobs", **request_)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert service.jobs.counts() == before
    assert client.get("/health").status_code == 200


def test_more_than_the_limit_in_pieces_without_a_length(client):
    answer = client.post(
        "/v1/jobs", content=(bytes(1 << 16) for _ in range(200)), headers={"Content-Type": "application/zip"}
    )
    assert answer.status_code == 413


def test_an_archive_is_never_opened(service, client):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(50_000_000))  # 1000 to 1
    answer = client.post("/v1/jobs", content=packed.getvalue(), headers={"Content-Type": "application/zip"})
    assert answer.status_code == 202
    assert inputs_of(service, answer) == {"upload.zip": packed.getvalue()}


def test_the_same_bytes_ten_times_are_one_job(client):
    answers = [
        client.post("/v1/jobs", **form(part(b'name="files"; filename="a"', b"same"))) for _ in range(10)
    ]
    assert [answer.status_code for answer in answers] == [202] + [200] * 9
    assert len({answer.json()["job"]["id"] for answer in answers}) == 1
    assert [answer.json()["created"] for answer in answers] == [True] + [False] * 9


def test_the_same_bytes_of_another_owner_are_another_job(client):
    request = form(part(b'name="files"; filename="a"', b"shared"))
    mine = client.post("/v1/jobs", **request).json()["job"]["id"]
    request["headers"] |= bearer("clinic")
    answer = client.post("/v1/jobs", **request)
    assert answer.status_code == 202
    assert answer.json()["job"]["id"] != mine


def test_one_key_ten_times_is_one_job_and_for_other_bytes_a_fault(client):
    request = form(part(b'name="files"; filename="a"', b"keyed"))
    request["headers"] |= {"Idempotency-Key": "ris-4711"}
    ids = {client.post("/v1/jobs", **request).json()["job"]["id"] for _ in range(10)}
    assert len(ids) == 1
    other = form(part(b'name="files"; filename="a"', b"other"))
    other["headers"] |= {"Idempotency-Key": "ris-4711"}
    answer = client.post("/v1/jobs", **other)
    assert answer.status_code == 422


def test_the_same_at_once_from_many_is_one_job(service):
    answers: list[int] = []
    ids: set[str] = set()
    other = make_service(service.settings.data.parent / "d2", upload_limit_mb=LIMIT, upload_files=FILES)

    def send(address: str) -> None:
        answer = httpx.post(
            f"{address}/v1/jobs", **form(A_FILE) | {"headers": form()["headers"] | bearer("ward")}
        )
        answers.append(answer.status_code)
        ids.add(answer.json()["job"]["id"])

    with running(other) as address:
        threads = [threading.Thread(target=send, args=[address]) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(answers) == [200] * 11 + [202]
    assert len(ids) == 1


def test_beyond_the_queue(service, client):
    requests = [form(part(b'name="files"; filename="a"', b"queue" + bytes([i]))) for i in range(8)]
    answers = [client.post("/v1/jobs", **request) for request in requests]
    assert [answer.status_code for answer in answers] == [202] * 5 + [429] * 3
    assert answers[-1].json()["error"]["code"] == "queue-full"
    assert 0 < int(answers[-1].headers["retry-after"]) <= 3600
    requests[7]["headers"] |= {"Idempotency-Key": "new"}  # whether it is known is seen at the end only
    assert client.post("/v1/jobs", **requests[7]).status_code == 429
    assert len(list((service.settings.data / "inputs").iterdir())) == len(service.jobs.list(limit=1000))
    service.jobs.request_cancel(answers[0].json()["job"]["id"])
    assert client.post("/v1/jobs", **requests[6]).status_code == 202


def test_a_disk_with_too_little_room_for_a_result(client, monkeypatch):
    request = form(part(b'name="files"; filename="a"', b"room"))
    monkeypatch.setattr(jobs_routes, "free_bytes", lambda _: jobs_routes.ROOM_BYTES + 10)
    answer = client.post("/v1/jobs", **request)
    assert answer.status_code == 507
    assert answer.json()["error"]["code"] == "disk-full"
    assert "retry-after" in answer.headers
    monkeypatch.undo()
    assert client.post("/v1/jobs", **request).status_code == 202


def test_a_disk_that_fills_while_an_upload_is_written(service, client, monkeypatch):
    from covid19net.service import intake

    def full(*_):
        with intake.telling_full():
            raise OSError(28, "No space left on device")

    request = form(part(b'name="files"; filename="a"', b"fills"))
    monkeypatch.setattr(intake.Writer, "write", full)
    answer = client.post("/v1/jobs", **request)
    assert answer.status_code == 507
    assert list((service.settings.data / "incoming").iterdir()) == []
    monkeypatch.undo()
    assert client.post("/v1/jobs", **request).status_code == 202


def test_a_service_that_stops_takes_no_more(service, client):
    service.worker.draining = True
    answer = client.post("/v1/jobs", **form(A_FILE))
    ready = client.get("/ready")
    service.worker.draining = False
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert ready.status_code == 503
    assert ready.json() == {"ready": False, "reasons": ["draining"]}


def test_names_reach_neither_logs_nor_metrics_nor_answers(service, client, caplog):
    caplog.set_level(logging.DEBUG)
    with lines_of(LOGGER) as lines:
        files = [("files", (f"{NAME}/{NAME}.dcm", SLICE + NAME.encode()))]
        answer = client.post("/v1/jobs", files=files, data={"label": f"label {NAME}"})
        job = answer.json()["job"]["id"]
        client.get(f"/v1/jobs/{job}/files/{NAME}")
        told_back = [
            client.get(f"/v1/jobs?before={NAME}&state={NAME}"),
            client.get(f"/{NAME}", headers={"User-Agent": NAME, "Referer": f"http://localhost/{NAME}"}),
            client.post("/v1/jobs", **form(part(f'name="{NAME}"'.encode()))),
            client.post("/v1/jobs", content=NAME, headers={"Content-Type": NAME}),
            client.post("/v1/pulls", json={"study": NAME}),
        ]
    assert all(answer.status_code >= 400 for answer in told_back)
    lines += [
        f"{each.name} {each.getMessage()}" for each in caplog.records if "http" not in each.name
    ]  # httpx and httpcore are the client's
    told = "\n".join(lines)
    assert f"job={job}" in told
    assert "route=/v1/jobs/{job_id}/files/{name:path}" in told
    metrics = client.get("/metrics", headers=bearer("reader")).text
    assert 'route="/v1/jobs"' in metrics
    kept = json.dumps([str(path) for path in service.settings.data.rglob("*")])
    for text in (told, metrics, kept, *(answer.text for answer in told_back)):
        assert "GARFIELD" not in text
        assert f"label {NAME}" not in text


def test_mutated_requests_are_answered_and_leave_nothing(service, client):
    """3,000 such, run once by hand: 202 or 200 where the form was still whole, else 4xx, none above 0.4 s."""
    draw = random.Random(7)
    whole = form(
        A_FILE, part(b'name="label"', b"a"), part(b'name="files"; filename="b/c.zip"', b"PK" + bytes(99))
    )
    pieces = [
        b"\r\n--edge\r\n",
        b"--edge--",
        b"\r\n\r\n",
        b'; filename="',
        b"\x00",
        b"\r",
        b"filename*=UTF-8''%ff",
    ]
    for number in range(50):
        body = bytearray(whole["content"])
        for _ in range(draw.choice([1, 1, 3, 10])):
            at = draw.randrange(len(body))
            length = draw.choice([0, 1, draw.randrange(20)])
            body[at : at + length] = draw.choice(
                [b"", draw.randbytes(draw.randrange(9)), draw.choice(pieces)]
            )
        answer = client.post("/v1/jobs", content=bytes(body), headers=whole["headers"])
        assert answer.status_code in (200, 202, 400, 413, 422), (number, answer.text)
        if answer.status_code == 202:
            service.jobs.request_cancel(answer.json()["job"]["id"])
    assert client.get("/health").status_code == 200
