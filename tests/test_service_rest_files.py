"""Jobs and their result files through the API, and its description."""

from http.client import HTTPConnection
import json
import os
import shutil
from time import monotonic

import pytest

from covid19net.service.job import State
from covid19net.service.logs import LOGGER
from covid19net.weights.registry import BUNDLED_FOLDER
from tests.rest_service import bearer, lines_of, make_service, result_files, serving
from tests.test_service_rest_roles import EXPECTED, check_headers


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    return make_service(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def client(service):
    with serving(service) as client:
        client.headers.update(bearer("boss"))
        yield client


@pytest.fixture(scope="module", autouse=True)  # before any test leaves a job in the queue
def done(service):
    job = service.submit(content=b"done")
    service.finish(job, result_files())
    folder = service.settings.data / "results" / job
    (folder.parent / "beside.txt").write_text("not yours")
    (folder / "link.txt").symlink_to("../../service.sqlite")
    (folder / "up").symlink_to("..")
    os.mkfifo(folder / "pipe")
    return f"/v1/jobs/{job}"


def test_files_of_a_result(client, done):
    assert client.get(f"{done}/result").json() == json.loads(result_files()["result.json"])
    listed = client.get(f"{done}/files").json()
    types = {"ct.nii.gz": "application/gzip", "dicom/lungs.dcm": "application/dicom"}
    types |= {"report.html": "text/html; charset=utf-8", "result.json": "application/json"}
    assert listed == [
        {"name": name, "bytes": len(content), "type": types[name]}
        for name, content in sorted(result_files().items())
    ]
    for name, content in result_files().items():
        answer = client.get(f"{done}/files/{name}")
        assert answer.content == content
        assert answer.headers["content-type"] == types[name]
        assert answer.headers["content-length"] == str(len(content))
        shown = name in ("report.html", "result.json")
        assert answer.headers["content-disposition"].startswith("inline" if shown else "attachment")
    assert client.get(done).json()["files"]
    assert client.get(done).json()["summary"] == {"score": 0.83}


def test_the_report_runs_nothing_and_fetches_nothing(client, done):
    policy = client.get(f"{done}/files/report.html").headers["content-security-policy"]
    assert (
        policy
        == "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"
    )


@pytest.mark.parametrize(
    "name",
    [
        "nothing.json",
        "",
        "dicom",
        "dicom/",
        "/result.json",
        "./result.json",
        "dicom/../result.json",
        "../beside.txt",
        "%2e%2e/beside.txt",
        "..%2fbeside.txt",
        "%2e%2e%2fbeside.txt",
        "dicom/..%2f..%2fbeside.txt",
        "..%5cbeside.txt",
        "link.txt",
        "up/beside.txt",
        "pipe",
        "result.json%00",
        "%2fetc%2fpasswd",
        "//etc/passwd",
        "a" * 5000,
        "%ff%fe",
    ],
)
def test_nothing_but_files_of_the_list_is_given(client, done, name):
    # By the standard library: httpx puts such paths right before it sends them.
    connection = HTTPConnection(client.base_url.host, client.base_url.port, timeout=10)
    connection.request("GET", f"{done}/files/{name}", headers=bearer("boss"))
    answer = connection.getresponse()
    assert answer.status == 404
    assert set(json.loads(answer.read())) == {"error"}
    connection.close()


def test_a_job_without_result(service, client):
    job = f"/v1/jobs/{service.submit(content=b'waits')}"
    for path in ("/result", "/files", "/files/result.json"):
        assert client.get(job + path).status_code == 404
    assert client.get(job).json()["files"] is False


def test_a_job_on_its_way(service, client):
    for waiting in service.jobs.list(State.QUEUED):
        service.jobs.request_cancel(waiting.id)
    first, second = (service.submit(content=bytes([i])) for i in range(2))
    assert client.get(f"/v1/jobs/{second}").json()["position"] == 1
    service.jobs.claim()
    service.worker.stages[first] = {"stage": "lungs", "fraction": 0.4}
    told = client.get(f"/v1/jobs/{first}").json()
    assert told["state"] == "running"
    assert told["progress"] == {"stage": "lungs", "fraction": 0.4}
    assert told["position"] is None
    assert told["started"].endswith("Z")
    assert client.delete(f"/v1/jobs/{first}").status_code == 409
    assert client.post(f"/v1/jobs/{first}/cancel").status_code == 200
    assert service.jobs.cancel_requested(first)
    assert client.post(f"/v1/jobs/{second}/cancel").json()["state"] == "cancelled"
    assert client.post(f"/v1/jobs/{second}/cancel").status_code == 409
    service.jobs.finish(first, State.FAILED, reason="no chest CT", exit_code=3)
    told = client.get(f"/v1/jobs/{first}").json()
    assert (told["state"], told["reason"], told["exit_code"]) == ("failed", "no chest CT", 3)


def test_deleting_leaves_nothing(service, client):
    job = service.submit(content=b"to delete")
    service.finish(job, result_files())
    assert client.delete(f"/v1/jobs/{job}").status_code == 204
    assert client.get(f"/v1/jobs/{job}").status_code == 404
    assert not [path for path in service.settings.data.rglob("*") if job in str(path)]


def test_pages_of_the_list(service, client):
    ids = [service.submit(content=b"page" + bytes([i])) for i in range(7)]
    found: list[str] = []
    before = ""
    while True:
        page = client.get(f"/v1/jobs?state=queued&limit=3{before}").json()
        found += [job["id"] for job in page["jobs"]]
        if page["next"] is None:
            break
        before = f"&before={page['next']}"
    assert found[:7] == ids[::-1]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("query", ["state=no", "limit=0", "limit=201", "limit=x", "before=x", "before=../x"])
def test_queries_that_are_no_good(client, query):
    answer = client.get(f"/v1/jobs?{query}")
    assert answer.status_code == 422
    assert query.split("=")[0] in answer.json()["error"]["message"]
    check_headers(answer)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"study": "1.2/../3"},
        {"study": "1." * 40},
        {"study": "1.2", "more": 1},
        [],
        "x",
        {"study": "1.2\n"},
    ],
)
def test_pulls_that_are_no_good(client, body):
    assert client.post("/v1/pulls", json=body).status_code == 422


def test_pulls(client, tmp_path):
    assert client.post("/v1/pulls", json={"study": "1.2.3"}).status_code == 409  # no PACS here
    service = make_service(tmp_path / "data", pacs=True)
    with serving(service) as other:
        wanted = {"study": "1.2.3", "series": "1.2.3.4"}
        answer = other.post("/v1/pulls", json=wanted, headers=bearer("ward"))
        assert answer.status_code == 202
        pull = service.pulls.claim()
        assert (pull.id, pull.study, pull.series, pull.owner) == (
            *(answer.json()["id"], "1.2.3", "1.2.3.4", "ward"),
        )
        service.pulls.end(pull.id, [], "pacs.example: has no such study")
        for caller, seen in (("ward", 1), ("reader", 1), ("clinic", 0)):
            listed = other.get("/v1/pulls", headers=bearer(caller)).json()["pulls"]
            assert len(listed) == seen
        assert (listed or other.get("/v1/pulls", headers=bearer("ward")).json()["pulls"])[0].items() >= {
            "state": "failed",
            "reason": "pacs.example: has no such study",
            "jobs": [],
        }.items()
        limited = [other.post("/v1/pulls", json=wanted, headers=bearer("ward")) for _ in range(201)]
    assert [each.status_code for each in limited] == [202] * 200 + [429]  # what waits is bounded
    assert "Retry-After" in limited[-1].headers


def test_a_ticket_opens_one_file_once_and_for_a_minute(tmp_path, monkeypatch):
    service = make_service(tmp_path / "data")
    job = service.submit("ward")
    service.finish(job, result_files())
    with serving(service) as client:
        at = f"/v1/jobs/{job}/files/report.html"
        address = client.post(at, headers=bearer("ward")).json()["address"]
        answer = client.get(address)
        assert (answer.status_code, answer.content) == (200, result_files()["report.html"])
        assert answer.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
        check_headers(answer)
        assert client.get(address).status_code == 404
        assert client.get("/v1/tickets/").status_code == 404
        assert client.post(at, headers=bearer("clinic")).status_code == 404
        late = client.post(at, headers=bearer("ward")).json()["address"]
        monkeypatch.setattr("covid19net.service.rest.tickets.monotonic", lambda: monotonic() + 61)
        assert client.get(late).status_code == 404


def test_an_installed_weight_set_is_known_for_what_it_is(tmp_path):
    """The bundled networks under another name; their card says that they are a demonstration."""
    home = tmp_path / "weights"
    shutil.copytree(BUNDLED_FOLDER, home / "hospital")
    with serving(make_service(tmp_path / "data", tokens=(), weights="hospital", home=home)) as client:
        told = client.get("/v1/service").json()
    assert (told["weights"], told["demonstration"]) == ("hospital", True)


def test_a_fault_of_the_service_is_answered_and_tells_nothing(service, client, monkeypatch):
    def broken(*_: object) -> None:
        raise RuntimeError("GARFIELD at /secret/path")

    monkeypatch.setattr(service.jobs, "get", broken)
    with lines_of(LOGGER) as lines:
        answer = client.get("/v1/jobs/" + "0" * 32)
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internal"
    check_headers(answer)
    told = "\n".join(lines)
    assert "fault fault=RuntimeError place=broken:" in told
    assert "GARFIELD" not in told + answer.text
    assert "secret" not in told + answer.text


def test_readiness(service, client, monkeypatch):
    assert client.get("/ready").json() == {"ready": True, "reasons": []}
    service.worker.alive = False
    monkeypatch.setattr("covid19net.service.rest.app.free_bytes", lambda _: 499_000_000)
    answer = client.get("/ready")
    service.worker.alive = True
    assert answer.status_code == 503
    assert answer.json() == {"ready": False, "reasons": ["disk", "worker"]}


def test_the_description_covers_every_route_with_words_roles_and_examples(client):
    document = client.get("/openapi.json").json()
    described = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert described == {
        (method, path.replace(":path", "")) for method, path in EXPECTED if path not in ("/", "/openapi.json")
    }
    for path, item in document["paths"].items():
        for operation in item.values():
            assert len(operation["description"]) > 30, path
            assert operation["summary"]
            if path not in ("/health", "/ready", "/v1/tickets/{ticket}"):
                assert {"401", "403"} <= set(operation["responses"]), path
                assert operation["security"] == [{"HTTPBearer": []}], path
            for parameter in operation.get("parameters", []):
                assert parameter["description"], (path, parameter["name"])
    assert document["info"]["version"]
    upload = document["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]
    assert set(upload) == {
        "multipart/form-data",
        "application/zip",
        "application/gzip",
        "application/octet-stream",
    }
    assert {"202", "200", "413", "429", "507"} <= set(document["paths"]["/v1/jobs"]["post"]["responses"])


def test_the_description_matches_what_is_answered(client, done):
    """Each field of an answer is described, and each described field is there."""
    document = client.get("/openapi.json").json()
    for path, name in ((done, "JobAnswer"), ("/v1/service", "ServiceAnswer"), ("/v1/jobs", "JobList")):
        assert set(client.get(path).json()) == set(document["components"]["schemas"][name]["properties"])


def test_without_the_page_its_place_says_how_to_build_it(client, monkeypatch, tmp_path):
    monkeypatch.setattr("covid19net.service.rest.app.PAGE", tmp_path)
    answer = client.get("/")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert "npm" in answer.text


def test_the_page(tmp_path, monkeypatch):
    page = tmp_path / "page"
    (page / "assets").mkdir(parents=True)
    (page / "index.html").write_text("<!DOCTYPE html><title>work list</title>")
    (page / "assets" / "index-1.js").write_text("1")
    (page / "secret.txt").write_text("not served")
    monkeypatch.setattr("covid19net.service.rest.app.PAGE", page)
    with serving(make_service(tmp_path / "data")) as client:
        for path, kind in (("/", "text/html"), ("/assets/index-1.js", "text/javascript")):
            answer = client.get(path)
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith(kind)
            check_headers(answer)
            assert "script-src 'self';" in answer.headers["content-security-policy"]
        for path in (
            "/assets/nothing.js",
            "/assets/",
            "/assets/..%2fsecret.txt",
            "/assets/%2e%2e/secret.txt",
        ):
            answer = client.get(path)
            assert answer.status_code in (401, 404)
            check_headers(answer)
