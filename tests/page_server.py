"""A stand-in for the service that speaks its REST interface from folders of results, to try the page on."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
import json
from pathlib import Path
import threading
import time
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route
import uvicorn

from covid19net.service.rest.security import PAGE_POLICY, REPORT_POLICY

PAGE = Path(__file__).parents[1] / "src" / "covid19net" / "service" / "page"
TIME = "2026-11-26T08:{:02d}:00Z"
JSON = dict[str, Any]


@dataclass
class FakeService:
    """Jobs by id, newest last, and the folders of those that are done.

    Attributes:
        secret: the token asked for; None asks for none.
        refuse: answers to uploads that are still to be refused, as status and message.
        taken: what was uploaded, as label and file names.
        patients: what was told of them with an upload.
        asked: method and path of every request, and whether it had the token.
        pulls: what was asked for from the PACS.
        tickets: requests for them; each opens its file.
    """

    secret: str | None = None
    roles: tuple[str, ...] = ("read", "submit", "admin")
    jobs: dict[str, JSON] = field(default_factory=dict)
    folders: dict[str, Path] = field(default_factory=dict)
    refuse: list[tuple[int, str]] = field(default_factory=list)
    taken: list[tuple[str | None, list[str]]] = field(default_factory=list)
    patients: list[dict[str, object]] = field(default_factory=list)
    asked: list[tuple[str, str, bool]] = field(default_factory=list)
    pulls: list[JSON] = field(default_factory=list)
    tickets: list[Request] = field(default_factory=list)

    def add(self, state: str, folder: Path | None = None, **more: Any) -> str:
        """Put a job on the list; done when it has the folder of a case."""
        number = len(self.jobs) + 1
        job = sha256(str(number).encode()).hexdigest()[:32]
        times = {"submitted": TIME.format(number % 60)}
        if state in ("done", "failed"):
            times |= {"started": TIME.format(number % 60), "finished": f"2026-11-26T08:{number % 60:02d}:19Z"}
        basic = {"id": job, "state": state, "source": "rest", "owner": "local", "label": None, "attempts": 1}
        self.jobs[job] = basic | times | ({"summary": summary(folder)} if folder else {}) | more
        if folder:
            self.folders[job] = folder
        return job


def summary(folder: Path) -> JSON:
    record = json.loads((folder / "result.json").read_text())
    return {
        "score": record["probability"],
        "threshold": record["decision"]["threshold"],
        "positive": record["decision"]["call"] == "positive",
        "demonstration": any("demonstration" in finding["code"] for finding in record["findings"]),
        "warnings": len(record["findings"]),
        "seconds": sum(record["seconds"].values()),
    }


def fault(status: int, code: str, message: str) -> JSONResponse:
    headers = {"Retry-After": "30"} if status == 429 else {}
    return JSONResponse({"error": {"code": code, "message": message}}, status, headers)


class Routes:
    """The routes, each for one service."""

    def __init__(self, service: FakeService) -> None:
        self.service = service

    def told(self, job: str) -> JSON:
        found = self.service.jobs[job]
        waiting = [key for key, other in self.service.jobs.items() if other["state"] == "queued"]
        place = waiting.index(job) if job in waiting else None
        return {"position": place, "followed_by": None, "files": job in self.service.folders} | found

    async def about(self, _: Request) -> Response:
        use = "Research software, not a medical device. Not for diagnosis or treatment."
        limits = {"megabytes": 64, "files": 500, "queue": 200}
        return JSONResponse(
            {"version": "0.1.0", "weights": "bundled", "demonstration": True, "intended_use": use}
            | {"roles": list(self.service.roles), "limits": limits, "pulls": True}
        )

    async def submit(self, request: Request) -> Response:
        async with request.form() as form:
            label = form.get("label")
            names = [part.filename or "" for part in form.getlist("files") if not isinstance(part, str)]
        if self.service.refuse:
            status, message = self.service.refuse.pop(0)
            return fault(status, "refused", message)
        about = {name: form.get(name) for name in ("age", "sex", "comorbidity") if form.get(name)}
        if about:
            self.service.patients.append(about)
        self.service.taken.append((label if isinstance(label, str) else None, names))
        job = self.service.add("queued", label=label)
        return JSONResponse({"job": self.told(job), "created": True}, 202, {"Location": f"/v1/jobs/{job}"})

    async def listed(self, request: Request) -> Response:
        limit = int(request.query_params.get("limit", "50"))
        newest = list(reversed(self.service.jobs))
        before = request.query_params.get("before")
        newest = newest[newest.index(before) + 1 :] if before else newest
        more = newest[limit - 1] if len(newest) > limit else None
        return JSONResponse({"jobs": [self.told(job) for job in newest[:limit]], "next": more})

    async def pulls(self, _: Request) -> Response:
        return JSONResponse({"pulls": self.service.pulls})

    async def issue(self, request: Request) -> Response:
        self.service.tickets.append(request)
        return JSONResponse({"address": f"/v1/tickets/{len(self.service.tickets) - 1}"})

    async def use(self, request: Request) -> Response:
        return await self.file(self.service.tickets[int(request.path_params["ticket"])])

    async def one(self, request: Request) -> Response:
        job = request.path_params["job"]
        if job not in self.service.jobs:
            return fault(404, "not-found", "no such job")
        if request.method == "DELETE":
            del self.service.jobs[job]
            return Response(status_code=204)
        return JSONResponse(self.told(job))

    async def cancel(self, request: Request) -> Response:
        job = request.path_params["job"]
        self.service.jobs[job]["state"] = "cancelled"
        return JSONResponse(self.told(job), 202)

    async def result(self, request: Request) -> Response:
        return FileResponse(self.service.folders[request.path_params["job"]] / "result.json")

    async def files(self, request: Request) -> Response:
        folder = self.service.folders[request.path_params["job"]]
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        return JSONResponse(
            [
                {
                    "name": path.relative_to(folder).as_posix(),
                    "bytes": path.stat().st_size,
                    "type": "application/octet-stream",
                }
                for path in paths
            ]
        )

    async def file(self, request: Request) -> Response:
        path = self.service.folders[request.path_params["job"]] / request.path_params["name"]
        headers = {"Content-Security-Policy": REPORT_POLICY} if path.suffix == ".html" else {}
        kind = None if path.suffix in (".html", ".pdf", ".png", ".json") else "application/octet-stream"
        return FileResponse(path, headers=headers, media_type=kind)

    async def page(self, _: Request) -> Response:
        return FileResponse(PAGE / "index.html")

    async def asset(self, request: Request) -> Response:
        return FileResponse(PAGE / "assets" / request.path_params["name"])

    def all(self) -> list[Route]:
        one = "/v1/jobs/{job}"
        return [
            Route("/", self.page),
            Route("/assets/{name}", self.asset),
            Route("/v1/service", self.about),
            Route("/v1/jobs", self.submit, methods=["POST"]),
            Route("/v1/jobs", self.listed),
            Route(one, self.one, methods=["GET", "DELETE"]),
            Route(f"{one}/cancel", self.cancel, methods=["POST"]),
            Route(f"{one}/result", self.result),
            Route(f"{one}/files", self.files),
            Route(one + "/files/{name:path}", self.issue, methods=["POST"]),
            Route(one + "/files/{name:path}", self.file),
            Route("/v1/pulls", self.pulls),
            Route("/v1/tickets/{ticket}", self.use),
        ]


def application(service: FakeService) -> Starlette:
    app = Starlette(routes=Routes(service).all())

    async def guarded(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        sent = dict(scope["headers"]).get(b"authorization", b"").decode()
        known = service.secret is None or sent == f"Bearer {service.secret}"
        service.asked.append((scope["method"], scope["path"], bool(sent)))

        async def answer(message: Any) -> None:
            if message["type"] == "http.response.start":
                names = {name.lower() for name, _ in message["headers"]}
                more = {b"content-security-policy": PAGE_POLICY.encode(), b"cache-control": b"no-store"}
                message["headers"] += [(k, v) for k, v in more.items() if k not in names] + [
                    (b"x-content-type-options", b"nosniff"),
                    (b"referrer-policy", b"no-referrer"),
                ]
            await send(message)

        open_to_all = scope["path"].startswith("/v1/tickets/") or not scope["path"].startswith("/v1/")
        if not known and not open_to_all:
            await fault(401, "no-token", "a valid token is needed")(scope, receive, answer)
        else:
            await app(scope, receive, answer)

    return guarded  # type: ignore[return-value]


@contextmanager
def serving(service: FakeService, port: int = 0) -> Iterator[str]:
    """Serve on the loopback; gives the address."""
    config = uvicorn.Config(application(service), port=port, log_level="error", lifespan="off", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)
