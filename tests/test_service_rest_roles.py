"""Who may do what: every route against every role, on the caller's own job and on another's."""

import hashlib
from itertools import count

import httpx
import pytest

from covid19net.service.settings import Token
from tests.rest_service import SLICE, TOKENS, Service, bearer, make_service, result_files, serving

CALLERS = ("nobody", "stranger", "reader", "ward", "clinic", "boss")  # the job is ward's
ALL = (200,) * 6
# From the contract of the API: read sees every job, submit its own, admin may do everything.
EXPECTED = {
    ("GET", "/"): ALL,
    ("GET", "/health"): ALL,
    ("GET", "/ready"): ALL,
    ("GET", "/openapi.json"): ALL,
    ("GET", "/metrics"): (401, 401, 200, 403, 403, 200),
    ("GET", "/v1/service"): (401, 401, 200, 200, 200, 200),
    ("POST", "/v1/jobs"): (401, 401, 403, 202, 202, 202),
    ("GET", "/v1/jobs"): (401, 401, 200, 200, 200, 200),
    ("GET", "/v1/jobs/{job_id}"): (401, 401, 200, 200, 404, 200),
    ("GET", "/v1/jobs/{job_id}/result"): (401, 401, 200, 200, 404, 200),
    ("GET", "/v1/jobs/{job_id}/files"): (401, 401, 200, 200, 404, 200),
    ("GET", "/v1/jobs/{job_id}/files/{name:path}"): (401, 401, 200, 200, 404, 200),
    ("POST", "/v1/jobs/{job_id}/files/{name:path}"): (401, 401, 200, 200, 404, 200),
    ("GET", "/v1/tickets/{ticket}"): (404,) * 6,  # of one that was not issued
    ("POST", "/v1/jobs/{job_id}/cancel"): (401, 401, 403, 200, 404, 200),
    ("DELETE", "/v1/jobs/{job_id}"): (401, 401, 403, 403, 403, 204),
    ("POST", "/v1/pulls"): (401, 401, 403, 202, 202, 202),
    ("GET", "/v1/pulls"): (401, 401, 200, 200, 200, 200),
}
HEADERS = {
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
}
numbers = count()


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    return make_service(tmp_path_factory.mktemp("data"), pacs=True, queue_limit=10_000)


@pytest.fixture(scope="module")
def client(service):
    with serving(service) as client:
        yield client


def fresh_job(service: Service, path: str, method: str) -> str:
    """A job of ward, with a result where the route is about one."""
    job = service.submit("ward", SLICE + str(next(numbers)).encode())
    if "result" in path or "files" in path or method == "DELETE":
        for waiting in service.jobs.list(limit=10_000):
            if waiting.id != job:
                service.jobs.request_cancel(waiting.id)
        service.finish(job, result_files())
    return job


def ask(client: httpx.Client, method: str, path: str, headers: dict[str, str]):
    if path == "/v1/jobs" and method == "POST":
        unique = SLICE + str(next(numbers)).encode()
        return client.post(path, headers=headers, files=[("files", ("1.dcm", unique))])
    body = {"study": "1.2.3"} if path == "/v1/pulls" else None
    return client.request(method, path, headers=headers, json=body)


def check_headers(answer) -> None:
    """What every answer has."""
    for name, value in HEADERS.items():
        assert answer.headers.get_list(name) == [value], name
    policy = answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "'unsafe-eval'" not in policy
    assert "unsafe-inline" not in policy or policy.startswith("sandbox; default-src 'none'")


def test_no_route_is_left_out(service):
    own = [route for route in service.app.routes if route.path != "/assets"]  # files of the page, if built
    assert {(method, route.path) for route in own for method in route.methods - {"HEAD"}} == set(EXPECTED)


@pytest.mark.parametrize(("method", "path"), EXPECTED, ids=str)
def test_every_role_at_every_route(service, client, method, path):
    for caller, expected in zip(CALLERS, EXPECTED[method, path], strict=True):
        job = fresh_job(service, path, method) if "{" in path else ""
        address = path.replace("{job_id}", job).replace("{name:path}", "dicom/lungs.dcm")
        headers = {"nobody": {}, "stranger": {"Authorization": "Bearer secret-of-nobody"}}.get(caller)
        answer = ask(client, method, address, bearer(caller) if headers is None else headers)
        assert answer.status_code == expected, (caller, answer.text)
        check_headers(answer)
        if expected >= 400:
            assert set(answer.json()) == {"error"}
            assert answer.json()["error"].keys() == {"code", "message"}
        if expected == 401:
            assert answer.headers["www-authenticate"] == "Bearer"
        if job and expected >= 400:
            assert service.jobs.get(job).state in ("queued", "done")


@pytest.mark.parametrize(("method", "path"), [each for each in EXPECTED if "{job_id}" in each[1]], ids=str)
@pytest.mark.parametrize("job", ["0" * 32, "x", "%2e%2e", "A" * 32, "0" * 5000])
def test_a_job_that_is_not_there(client, method, path, job):
    address = path.replace("{job_id}", job).replace("{name:path}", "result.json")
    answer = client.request(method, address, headers=bearer("boss"))
    assert answer.status_code in (404, 405)
    check_headers(answer)
    assert client.request(method, address).status_code == 401


def test_submitters_list_their_own_jobs_only(service, client):
    job = fresh_job(service, "", "")
    listed = {
        name: [each["id"] for each in client.get("/v1/jobs?limit=200", headers=bearer(name)).json()["jobs"]]
        for name in ("reader", "ward", "clinic", "boss")
    }
    assert job in listed["reader"]
    assert job in listed["boss"]
    assert listed["ward"][0] == job
    assert job not in listed["clinic"]


def test_who_may_see_another_s_job_may_still_not_cancel_it(tmp_path):
    both = Token("both", hashlib.sha256(b"a secret of both").hexdigest(), frozenset({"read", "submit"}))
    service = make_service(tmp_path / "data", tokens=(*TOKENS, both))
    job = service.submit("ward")
    with serving(service) as client:
        client.headers["Authorization"] = "Bearer a secret of both"
        assert client.get(f"/v1/jobs/{job}").status_code == 200
        assert client.post(f"/v1/jobs/{job}/cancel").status_code == 403
        assert service.jobs.get(job).state == "queued"


def test_without_tokens_everybody_on_the_loopback_is_admin(tmp_path):
    service = make_service(tmp_path / "data", tokens=())
    with serving(service) as client:
        assert client.get("/v1/service").json()["roles"] == ["admin", "read", "submit"]
        job = ask(client, "POST", "/v1/jobs", {}).json()["job"]["id"]
        assert client.post(f"/v1/jobs/{job}/cancel").status_code == 200
        assert client.delete(f"/v1/jobs/{job}").status_code == 204


@pytest.mark.parametrize(
    "given",
    [
        "Bearer",
        "Basic c2VjcmV0",
        "bearer",
        "Bearer \xff\xfe",
        "Bearer " + "x" * 4000,
        TOKENS[3].secret_sha256,
    ],
)
def test_what_is_no_token(client, given):
    answer = client.get("/v1/jobs", headers={"Authorization": given.encode("latin-1")})
    assert answer.status_code == 401


@pytest.mark.parametrize(
    "path", ["/v1", "/v1/jobs/", "/docs", "/redoc", "/assets/app.js", "/./x", "/v1/nothing"]
)
def test_what_is_not_there(client, path):
    assert client.get(path).status_code in (401, 404)
    answer = client.get(path, headers=bearer("boss"))
    assert answer.status_code == 404
    check_headers(answer)
    assert answer.json()["error"]["code"] == "not-found"


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_methods_that_are_not_there(client, method):
    answer = client.request(method, "/v1/jobs", headers=bearer("boss"))
    assert answer.status_code == 405
    check_headers(answer)


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("localhost", None, 200),
        ("127.0.0.1:8090", None, 200),
        ("[::1]:8090", None, 200),
        ("LOCALHOST", None, 200),
        ("evil.example", None, 421),  # a page whose name was pointed at this machine
        ("localhost.evil.example", None, 421),
        ("", None, 421),
        ("[::1", None, 421),
        ("localhost@evil.example", None, 421),
        ("localhost:8090", "http://localhost:8090", 200),
        ("localhost:8090", "http://localhost:3000", 403),  # another program on this machine
        ("localhost:8090", "https://evil.example", 403),
        ("localhost:8090", "null", 403),
        ("localhost:8090", "file://", 403),
        ("localhost:8090", "http://localhost:8090.evil.example", 403),
    ],
)
def test_hosts_and_origins(client, host, origin, status):
    headers = {"Host": host} | ({"Origin": origin} if origin else {})
    answer = client.get("/health", headers=headers)
    assert answer.status_code == status
    check_headers(answer)
    assert "access-control-allow-origin" not in answer.headers


def test_a_proxy_s_name_may_have_another_port(tmp_path):
    service = make_service(tmp_path / "data", allowed_hosts=("ct.hospital.example", "127.0.0.1"))
    origin = {"Origin": "https://ct.hospital.example:8443"}
    with serving(service) as client:
        assert client.get("/health", headers=origin).status_code == 200
        assert client.get("/health", headers=origin | {"Host": "ct.hospital.example"}).status_code == 200
        assert client.get("/health", headers=origin | {"Host": "localhost"}).status_code == 421
