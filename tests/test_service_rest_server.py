"""Slow, silent, malformed and too many connections: raw sockets against the real server, short clocks."""

from contextlib import contextmanager
from dataclasses import replace
import re
import socket
import time

import httpx
import psutil
import pytest

from covid19net.errors import ResourceError
from covid19net.service.logs import LOGGER
from covid19net.service.rest import gateway, server
from tests.rest_service import bearer, lines_of, make_service, running

SOON = 5.0  # seconds in which what should happen at once has surely happened


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    return make_service(tmp_path_factory.mktemp("data"), upload_limit_mb=50)


@pytest.fixture(scope="module")
def address(service):
    with running(service) as address:
        yield address


@pytest.fixture
def _short_clocks(monkeypatch):
    monkeypatch.setattr(server, "HEADER_SECONDS", 0.4)
    monkeypatch.setattr(server, "LINGER_SECONDS", 0.2)
    monkeypatch.setattr(gateway, "SILENCE_SECONDS", 0.4)
    monkeypatch.setattr(gateway, "GRACE_SECONDS", 0.6)


@contextmanager
def connected(address: str):
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=SOON) as connection:
        yield connection


def rest_of(connection: socket.socket) -> bytes:
    """Everything until the other side closes."""
    received = b""
    while True:
        try:
            more = connection.recv(65536)
        except ConnectionResetError:
            return received
        if not more:
            return received
        received += more


def trickle(connection: socket.socket, text: bytes, seconds: float = 0.1) -> float:
    """Send a byte at a time until the connection is closed; gives the time that took."""
    start = time.monotonic()
    connection.settimeout(seconds)
    for byte in text:
        try:
            connection.send(bytes([byte]))
            if connection.recv(1, socket.MSG_PEEK) == b"":
                break
        except TimeoutError:
            continue
        except OSError:
            break
        else:
            break  # an answer has come
    else:
        pytest.fail("never closed")
    connection.settimeout(SOON)
    return time.monotonic() - start


HEAD = b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/zip\r\n"
HEAD += f"Authorization: {bearer('ward')['Authorization']}\r\n".encode()


@pytest.mark.usefixtures("_short_clocks")
def test_a_head_that_trickles_in(address):
    with connected(address) as connection:
        assert trickle(connection, b"GET /health HTTP/1.1\r\nX: " + b"x" * 200) < 3
        assert rest_of(connection) == b""


@pytest.mark.usefixtures("_short_clocks")
def test_a_connection_without_a_word(address):
    with connected(address) as connection:
        assert rest_of(connection) == b""


@pytest.mark.usefixtures("_short_clocks")
@pytest.mark.parametrize("after", [b"G", b"\r\n", b"GET / HTTP/1.1\r\n"])
def test_a_second_head_that_does_not_end(address, after):
    with connected(address) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        time.sleep(0.2)
        connection.sendall(after)
        start = time.monotonic()
        assert rest_of(connection).startswith(b"HTTP/1.1 200")
        assert time.monotonic() - start < 3


@pytest.mark.usefixtures("_short_clocks")
@pytest.mark.parametrize(
    "framing", [b"Content-Length: 100000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n186a0\r\n"]
)
def test_a_body_that_trickles_in_and_one_that_stops(service, address, framing):
    for text, seconds in ((b"x" * 100, 0.1), (b"xx", 2.0)):
        with connected(address) as connection:
            connection.sendall(HEAD + framing)
            assert trickle(connection, text, seconds) < 3
            answer = rest_of(connection)
            assert answer.startswith(b"HTTP/1.1 408")
            assert b"slow-body" in answer
    assert list((service.settings.data / "incoming").iterdir()) == []


@pytest.mark.usefixtures("_short_clocks")
@pytest.mark.parametrize(
    "request_line", [b"GET /health", b"GET /v1/jobs", b"POST /v1/pulls", b"GET /nothing"]
)
def test_a_body_where_none_belongs(address, request_line):
    with connected(address) as connection:
        head = request_line + b" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n\r\n"
        connection.sendall(head)
        for _ in range(60):
            try:
                connection.sendall(b"x")
            except OSError:
                break
            time.sleep(0.05)
        else:
            pytest.fail("never closed")


def test_a_body_too_large_is_refused_before_it_comes(address):
    for length in (b"99999999", b"9" * 30):
        with connected(address) as connection:
            connection.sendall(HEAD + b"Content-Length: " + length + b"\r\n\r\n")
            start = time.monotonic()
            assert connection.recv(65536).startswith((b"HTTP/1.1 413", b"HTTP/1.1 400"))
            assert time.monotonic() - start < 1
    too_much = httpx.post(f"{address}/v1/pulls", content=bytes(100_000), headers=bearer("ward"))
    assert too_much.status_code == 413


def test_a_client_that_waits_to_be_asked_is_told_at_once(address):
    with connected(address) as connection:
        connection.sendall(HEAD + b"Content-Length: 99999999\r\nExpect: 100-continue\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 413")


def test_a_client_that_leaves_in_the_middle_leaves_nothing(service, address):
    with lines_of(LOGGER) as lines, connected(address) as connection:
        connection.sendall(HEAD + b"Content-Length: 1000000\r\n\r\n" + bytes(70_000))
        until(lambda: any((service.settings.data / "incoming").iterdir()))
        connection.close()
        until(lambda: not any((service.settings.data / "incoming").iterdir()))
        until(lambda: "code=499" in "".join(lines))
    assert "fault" not in "".join(lines)


def until(true) -> None:
    end = time.monotonic() + SOON
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",  # no host
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),  # TLS
        b"\x01\x00\x00\x00\x00\xcd\x00\x01\x00\x00ANY-SCP\r\n\r\n" + bytes(100),  # an A-ASSOCIATE request
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100_000,
        b"GET /" + b"x" * 100_000,
        b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n",
    ],
)
def test_what_is_no_http(address, sent):
    with connected(address) as connection:
        connection.sendall(sent)
        answer = rest_of(connection)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert re.match(rb"HTTP/1.1 (400|501) ", head)
    assert b"X-Content-Type-Options: nosniff" in head
    assert b"Content-Security-Policy: default-src 'none'" in head
    assert b'"error"' in body
    assert httpx.get(f"{address}/health").status_code == 200


def test_a_chunk_that_is_malformed(service, address):
    with connected(address) as connection:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\nzz\r\n")
        assert rest_of(connection).startswith(b"HTTP/1.1 400")
    until(lambda: not any((service.settings.data / "incoming").iterdir()))
    assert httpx.get(f"{address}/health").status_code == 200


def test_other_protocols_are_not_spoken(address):
    headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    assert httpx.get(f"{address}/health", headers=headers | {"Sec-WebSocket-Key": "eA=="}).status_code == 200


def test_too_many_connections_close_the_one_that_waited_longest(address, monkeypatch):
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 20)
    idle = []
    try:
        for _ in range(40):
            idle.append(
                socket.create_connection(tuple(address.removeprefix("http://").split(":")), timeout=SOON)
            )
        assert rest_of(idle[0]) == b""
        assert httpx.get(f"{address}/health").status_code == 200
    finally:
        for connection in idle:
            connection.close()


def test_too_many_requests_under_way_are_told(address, monkeypatch):
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 3)
    busy = []
    try:
        for _ in range(3):
            connection = socket.create_connection(
                tuple(address.removeprefix("http://").split(":")), timeout=SOON
            )
            connection.sendall(HEAD + b"Content-Length: 100000\r\n\r\nx")
            busy.append(connection)
        time.sleep(0.2)
        with connected(address) as connection:
            answer = rest_of(connection)
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"Retry-After: 5" in answer
    finally:
        for connection in busy:
            connection.close()


def test_a_client_that_does_not_take_its_answer(service, address, monkeypatch):
    monkeypatch.setattr(server, "STALL_SECONDS", 0.4)
    job = service.submit(content=b"large")
    service.finish(job, {"ct.nii.gz": bytes(40_000_000)})
    with connected(address) as connection:
        lines = f"GET /v1/jobs/{job}/files/ct.nii.gz HTTP/1.1\r\nHost: localhost\r\n"
        connection.sendall(f"{lines}Authorization: {bearer('ward')['Authorization']}\r\n\r\n".encode())
        time.sleep(1.5)
        assert len(rest_of(connection)) < 40_000_000
    with serving_on(address) as client:
        whole = client.get(f"/v1/jobs/{job}/files/ct.nii.gz", headers=bearer("ward"))
    assert len(whole.content) == 40_000_000


@contextmanager
def serving_on(address: str):
    with httpx.Client(base_url=address, timeout=30) as client:
        yield client


def test_an_upload_is_not_held_in_memory(address):
    process = psutil.Process()
    before = process.memory_info().rss

    def blocks():
        for i in range(720):
            yield bytes([i % 251]) * (1 << 16)

    with serving_on(address) as client:
        headers = bearer("ward") | {"Content-Type": "application/octet-stream"}
        assert client.post("/v1/jobs", content=blocks(), headers=headers).status_code == 202
    assert process.memory_info().rss - before < 30e6  # of 47 MB; client and server are one process here


def test_stopping_ends_though_clients_hang_on(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "DRAIN_SECONDS", 1)
    service = make_service(tmp_path / "data")
    with running(service) as address:
        hanging = socket.create_connection(tuple(address.removeprefix("http://").split(":")), timeout=SOON)
        hanging.sendall(HEAD + b"Content-Length: 100000\r\n\r\nx")
        until(lambda: any((service.settings.data / "incoming").iterdir()))
        start = time.monotonic()
    assert time.monotonic() - start < 8
    hanging.close()
    assert list((service.settings.data / "incoming").iterdir()) == []


def test_a_taken_port_is_said(service, address):
    port = int(address.rpartition(":")[2])
    with pytest.raises(ResourceError, match=f"127.0.0.1:{port}: cannot be listened on"):
        server.HttpServer(service.app, replace(service.settings, port=port)).run()
