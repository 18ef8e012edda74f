"""What was asked for from the PACS, without one: kept over restarts, bounded, and told as it ended."""

import json
from pathlib import Path
import sqlite3

import pytest

from covid19net.errors import InputError
from covid19net.service.dicom.pull import Puller
from covid19net.service.dicom.pulls import MOST_WAITING, Pulls
from covid19net.service.disk import DATABASE, prepare
from covid19net.service.intake import Intake
from covid19net.service.job import QueueFull
from covid19net.service.jobs import Jobs
from covid19net.service.settings import Settings
from tests.dicom_node import until


@pytest.fixture
def data(tmp_path: Path) -> Path:
    prepare(tmp_path / "data")
    return tmp_path / "data"


def puller(data: Path) -> Puller:
    settings = Settings(data, pacs="http://127.0.0.1:9/dicom-web")
    return Puller(settings, Intake(settings, Jobs(data / DATABASE)))


def test_what_waited_or_ran_is_taken_up_after_a_restart_and_what_ended_is_not(data: Path):
    pulls = Pulls(data / DATABASE)
    first, second, third = (pulls.ask(f"1.2.{number}", None, "desk") for number in range(3))
    assert pulls.claim().id == first
    pulls.end(first, ["a" * 32])
    assert pulls.claim().id == second
    again = Pulls(data / DATABASE)  # as after a kill
    assert [again.claim().study, again.claim().study, again.claim()] == ["1.2.1", "1.2.2", None]
    assert [(each["id"], each["state"], each["jobs"]) for each in again.recent(None)] == [
        (third, "running", []),
        (second, "running", []),
        (first, "done", ["a" * 32]),
    ]


def test_no_uid_is_kept_of_what_has_ended_and_no_owner_sees_another_s(data: Path):
    pulls = Pulls(data / DATABASE)
    pulls.ask("1.2.4711.1", "1.2.4711.2", "desk")
    pulls.end(pulls.claim().id, [], "pacs: has no such study")
    assert "4711" not in json.dumps(list(sqlite3.connect(data / DATABASE).iterdump()))
    assert pulls.recent("ward") == ()
    assert pulls.recent("desk")[0]["reason"] == "pacs: has no such study"


def test_what_waits_and_what_is_remembered_is_bounded(data: Path):
    pulls = Pulls(data / DATABASE)
    for _ in range(MOST_WAITING):
        pulls.ask("1.2.3", None, "desk")
    with pytest.raises(QueueFull):
        pulls.ask("1.2.3", None, "desk")
    for _ in range(5):
        pulls.end(pulls.claim().id, [])
        pulls.ask("1.2.3", None, "desk")
    while wanted := pulls.claim():
        pulls.end(wanted.id, [])
    rows = sqlite3.connect(data / DATABASE).execute("SELECT count(*) FROM pulls").fetchone()
    assert rows == (200,)


def test_a_failure_is_told_and_the_next_is_tried(data: Path, monkeypatch: pytest.MonkeyPatch):
    ours = puller(data)
    faults = [InputError("pacs: has no\nsuch study"), sqlite3.OperationalError("database is locked")] * 2

    def pull(*_: object):
        yield "b" * 32
        raise faults.pop(0)

    monkeypatch.setattr(ours, "pull", pull)
    for _ in range(4):
        ours.begin("1.2.3", None, "desk")
    ours.start()
    until(lambda: {each["state"] for each in ours.recent("desk")} == {"failed"})
    ours.stop()
    assert {each["reason"] for each in ours.recent("desk")} == {
        "pacs: has no such study",
        "unexpected fault (OperationalError)",
    }
    assert {tuple(each["jobs"]) for each in ours.recent("desk")} == {("b" * 32,)}


def test_a_pull_that_the_end_of_the_service_cuts_off_begins_anew(data: Path, monkeypatch: pytest.MonkeyPatch):
    ours = puller(data)

    def pull(*_: object):
        ours.stop()
        raise sqlite3.ProgrammingError("Cannot operate on a closed database.")

    monkeypatch.setattr(ours, "pull", pull)
    ours.begin("1.2.3", None, "desk")
    ours._work()
    assert puller(data).recent("desk")[0]["state"] == "waiting"
