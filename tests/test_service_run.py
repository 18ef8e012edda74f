"""The service as a process: started, killed, ended, started again."""

from hashlib import sha256
from pathlib import Path
import random
import re
import socket
import subprocess
import sys
import time

import httpx
import pynetdicom
import pytest

from benchmarks.service.started import Started, sha256_of, started
from covid19net.cli import main
from covid19net.errors import InputError
from covid19net.service.run import listening, only_one


def run_cli(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "covid19net.cli", "serve", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_settings_are_shown_without_starting_anything(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("COVID19NET_SERVE_QUEUE_LIMIT", "7")
    with pytest.raises(SystemExit) as end:
        main(["serve", "--data", str(tmp_path / "data"), "--port", "9999", "--show-settings"])
    shown = capsys.readouterr().out.splitlines()
    assert end.value.code == 0
    assert {"port = 9999", "queue_limit = 7", 'host = "127.0.0.1"', "# dicom_port is not set"} <= set(shown)
    assert not (tmp_path / "data").exists()


def test_weights_that_are_not_there_are_exit_4_before_anything_starts(capsys, tmp_path):
    with pytest.raises(SystemExit) as end:
        main(["serve", "--data", str(tmp_path / "data"), "--weights", "nobodys"])
    assert end.value.code == 4
    assert "nobodys" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [([], "data is missing"), (["--data", "x", "--host", "0.0.0.0"], "needs tokens")],
)
def test_what_cannot_be_served_is_exit_2_and_one_line(capsys, arguments, said):
    with pytest.raises(SystemExit) as end:
        main(["serve", *arguments])
    err = capsys.readouterr().err
    assert end.value.code == 2
    assert err.count("\n") == 1
    assert said in err


def test_a_folder_has_one_service_and_an_address_one_owner(tmp_path):
    with only_one(tmp_path / "data"):
        with pytest.raises(InputError, match="another service"), only_one(tmp_path / "data"):
            pass
        done = run_cli("--data", tmp_path / "data", "--port", 0)
        assert done.returncode == 2
        assert "another service" in done.stderr
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match="cannot be listened on"), listening("127.0.0.1", port):
            pass


@pytest.fixture
def service(tmp_path):
    with started(tmp_path / "data", workers=2) as service:
        yield service


def test_a_scan_sent_by_http_is_done_and_the_folder_is_ours_alone(service):
    answer = service.send(b"plain 1")
    assert answer.status_code == 202
    (job,) = service.wait(answer.json()["job"]["id"])
    assert job["state"] == "done"
    result = service.api.get(f"/v1/jobs/{job['id']}/result").json()
    assert result["sha256"] == sha256(b"plain 1").hexdigest()
    assert all(path.stat().st_mode & 0o77 == 0 for path in [service.data, *service.data.glob("*/*")])
    assert all(path.stat().st_mode & 0o77 == 0 for path in service.data.glob("service.sqlite*"))


def test_sigterm_queues_the_running_job_again_and_leaves_nothing_unfinished(service):
    ids = [service.send(b"sleep 60 %d" % number).json()["job"]["id"] for number in range(3)]
    while [service.job(each)["state"] for each in ids] != ["running", "running", "queued"]:
        time.sleep(0.02)
    assert service.terminate() < 30
    assert service.process.returncode == 0
    assert "Traceback" not in service.log
    assert service.names("running") == service.names("incoming") == service.names("results") == []
    assert not list(service.data.glob("**/.*"))
    service.start()
    while service.job(ids[0])["state"] != "running":
        time.sleep(0.02)
    assert service.job(ids[0])["attempts"] == 1  # the one before was not its fault
    assert [service.job(each)["state"] for each in ids] == ["running", "running", "queued"]


def test_sigterm_without_work_ends_at_once_and_refuses_connections(service):
    port = service.api.base_url.port
    assert service.terminate() < 10
    assert service.process.returncode == 0
    events = [line.split(" ")[1] for line in service.log.splitlines()]
    assert "draining" in events
    assert events[-1] == "ended"
    assert "Traceback" not in service.log
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/health")


def test_the_dicom_side_starts_and_ends_with_the_service(tmp_path):
    settings = {"dicom_port": 0, "pacs": "http://127.0.0.1:9/dicom-web", "ae_title": "OURS"}
    with started(tmp_path / "data", **settings) as service:
        (port,) = re.findall(r" listening port=(\d+)", service.log)
        caller = pynetdicom.AE("CT1")
        caller.add_requested_context("1.2.840.10008.1.1")  # Verification (PS3.4 A.4)
        association = caller.associate("127.0.0.1", int(port), ae_title="OURS")
        assert association.send_c_echo().Status == 0
        association.release()
        assert service.api.get("/v1/service").json()["pulls"] is True
        assert service.terminate() < 15
        assert service.process.returncode == 0


def test_kill_9_while_scans_are_sent_loses_none_that_was_accepted(tmp_path):
    rng = random.Random(3)
    service = Started(tmp_path / "data", workers=2)
    accepted: dict[str, bytes] = {}
    number = 0
    for _ in range(3):
        end = time.monotonic() + rng.uniform(0.1, 0.8)
        while time.monotonic() < end:
            content = b"plain %d" % number
            accepted[service.send(content).json()["job"]["id"]] = content
            number += 1
        service.kill()
        service.start()
    jobs = service.wait(*accepted)
    assert {job["state"] for job in jobs} == {"done"}
    assert sorted(accepted) == service.names("results") == service.names("inputs")
    for job_id, content in accepted.items():
        assert sha256_of(service, job_id) == sha256(content).hexdigest()
    finished = [line for line in service.log.splitlines() if " finished " in line and "state=done" in line]
    assert len(finished) <= len(accepted)
    assert service.names("running") == service.names("incoming") == []
    service.kill()


@pytest.mark.parametrize(
    ("script", "arguments", "said"),
    [
        ("kill.py", ["--kills", 1], "| 1 |"),
        (
            "recovery.py",
            ["--queued", 1, "--running", 1, "--seconds", 0.2, "--patience", 0.5],
            "| the same | ",
        ),
        ("many_jobs.py", ["--posted", 4, "--queue", 1, "--seconds", 0.3, "--soak", 1], "429"),
    ],
)
def test_the_benchmarks_run(script, arguments, said):
    place = Path(__file__).parents[1] / "benchmarks" / "service" / script
    command = [sys.executable, str(place), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
