"""What comes in: on the disk first, accepted then, and never half."""

import contextlib
from hashlib import sha256
import os
from pathlib import Path
import shutil

import pytest

from covid19net.errors import InputError
from covid19net.service import disk
from covid19net.service.intake import DiskFull, Intake, TooLarge
from covid19net.service.jobs import Jobs, QueueFull, State
from covid19net.service.settings import load_settings


class Desk:
    """An intake over a data folder."""

    def __init__(self, data: Path, **more) -> None:
        self.settings = load_settings(None, {}, data=data, **more)
        disk.prepare(data)
        self.jobs = Jobs(data / disk.DATABASE)
        self.intake = Intake(self.settings, self.jobs)

    def send(self, *contents: bytes, suffix: str = "", **more):
        with self.intake.stage() as staged:
            for content in contents:
                with staged.write(suffix) as file:
                    file.write(content)
            return staged.commit(source="rest", owner="ris", **more)

    def names(self, part: str) -> list[str]:
        return sorted(p.name for p in (self.settings.data / part).iterdir())


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path / "data", queue_limit=3, upload_limit_mb=1, upload_files=3)
    yield desk
    desk.jobs.close()


def test_what_was_sent_lies_under_the_jobs_id_with_names_of_our_own(desk):
    job, new = desk.send(b"one", b"two", label="bed 4")
    assert new
    folder = desk.settings.data / "inputs" / job.id
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == {"000001": b"one", "000002": b"two"}
    assert (job.label, job.state, len(job.id)) == ("bed 4", State.QUEUED, 32)
    assert desk.names("incoming") == []
    archive, _ = desk.send(b"PK", suffix=".zip")
    assert desk.names(f"inputs/{archive.id}") == ["upload.zip"]


def test_nobody_else_may_look(desk):
    job, _ = desk.send(b"one")
    for folder in (desk.settings.data, desk.settings.data / "inputs", desk.settings.data / "inputs" / job.id):
        assert folder.stat().st_mode & 0o777 == 0o700


def test_the_same_files_in_any_order_are_one_job(desk):
    job, _ = desk.send(b"one", b"two")
    assert desk.send(b"two", b"one") == (job, False)
    assert desk.send(b"one", b"two", key="k") == (job, False)
    assert desk.names("inputs") == [job.id]
    assert desk.names("incoming") == []
    other, new = desk.send(b"one", b"twO")
    assert new
    assert other.content != job.content


def test_other_networks_of_the_same_name_make_another_job(desk):
    job, _ = desk.send(b"one")
    desk.intake = Intake(desk.settings, desk.jobs, ["ab" * 32, "cd" * 32])
    assert desk.send(b"one")[1]
    assert desk.send(b"one")[0].content != job.content


def test_options_and_weights_are_part_of_what_is_asked(desk, tmp_path):
    job, _ = desk.send(b"one")
    for more in ({"weights": "other"}, {"identify": True}):
        again = Desk(tmp_path / "data", **more)
        assert again.send(b"one")[0].content != job.content
        again.jobs.close()


def test_a_failed_job_finds_its_files_again_though_they_had_expired(desk):
    job, _ = desk.send(b"one")
    desk.jobs.claim()
    desk.jobs.finish(job.id, State.FAILED)
    shutil.rmtree(desk.settings.data / "inputs" / job.id)
    again, new = desk.send(b"one")
    assert (again.id, new, again.state) == (job.id, False, State.QUEUED)
    assert desk.names(f"inputs/{job.id}") == ["000001"]


def test_what_is_refused_leaves_nothing(desk):
    with pytest.raises(TooLarge, match="1 MB"):
        desk.send(b"x" * 600_000, b"x" * 600_000)
    with pytest.raises(TooLarge, match="3 files"):
        desk.send(b"1", b"2", b"3", b"4")
    with pytest.raises(InputError, match="no file"):
        desk.send()
    with pytest.raises(InputError, match="ends in"):
        desk.send(b"x", suffix=".exe")
    for label in ("", "x" * 65, "two\nlines"):
        with pytest.raises(InputError, match="label"):
            desk.send(b"x", label=label)
    with desk.intake.stage() as staged:
        staged.write().write(b"never closed")
        with pytest.raises(InputError, match="to its end"):
            staged.commit(source="rest", owner="ris")
    for number in range(3):
        desk.send(str(number).encode())
    with pytest.raises(QueueFull):
        desk.send(b"one too many")
    assert len(desk.names("inputs")) == 3
    assert desk.names("incoming") == []


def test_a_received_file_is_taken_in_by_a_second_name(desk):
    arrived = desk.settings.data / "arriving" / "a"
    arrived.write_bytes(b"slice")
    with desk.intake.stage() as staged:
        staged.link(arrived)
        job, _ = staged.commit(source="dicom", owner="CT1")
    assert arrived.read_bytes() == b"slice"  # until whoever received it says so
    assert (desk.settings.data / "inputs" / job.id / "000001").samefile(arrived)
    assert desk.send(b"slice")[0].content == job.content


def test_recovery_removes_what_was_not_accepted_and_ends_what_lost_its_files(desk):
    kept, _ = desk.send(b"kept")
    lost, _ = desk.send(b"lost")
    data = desk.settings.data
    shutil.rmtree(data / "inputs" / lost.id)
    for part in ("inputs", "results", "incoming", "running"):
        (data / part / ("a" * 32)).mkdir()
        (data / part / ("a" * 32) / "file").write_bytes(b"x")
    desk.jobs.close()
    again = Desk(data)
    again.intake.recover()
    assert again.names("inputs") == [kept.id]
    assert again.names("results") == again.names("incoming") == again.names("running") == []
    assert again.jobs.get(lost.id).state is State.FAILED
    assert again.jobs.get(kept.id).state is State.QUEUED
    again.jobs.close()


@pytest.mark.parametrize("end", range(7))
def test_a_crash_between_any_two_steps_leaves_a_whole_job_or_none(desk, monkeypatch, end):
    """Each step that changes the disk is the last one, in turn; power is cut there."""
    steps = iter(range(100))

    class Cut(BaseException):
        pass

    def counted(step):
        def run(*args, **more):
            if next(steps) == end:
                raise Cut
            return step(*args, **more)

        return run

    monkeypatch.setattr(os, "fsync", counted(os.fsync))
    monkeypatch.setattr(Path, "rename", counted(Path.rename))
    monkeypatch.setattr(desk.jobs, "accept", counted(desk.jobs.accept))
    monkeypatch.setattr("covid19net.service.intake.remove", lambda _: None)  # the process is gone by then
    monkeypatch.setattr("covid19net.service.intake.remove_whole", lambda *_: None)
    accepted = None
    with contextlib.suppress(Cut):
        accepted, _ = desk.send(b"one", b"two")
    monkeypatch.undo()
    disk.prepare(desk.settings.data)
    desk.intake.recover()
    jobs = [job.id for job in desk.jobs.list()]
    assert desk.names("inputs") == jobs
    assert jobs == ([accepted.id] if accepted else [])
    assert desk.names("incoming") == []
    assert bool(accepted) == (end == 6)  # 2 files, their folder, the move, the folder of inputs, the row


def test_a_full_disk_is_said_and_forgotten_when_there_is_room_again(small_disk):
    desk = Desk(small_disk / "data")
    kept, _ = desk.send(b"kept")
    with pytest.raises(DiskFull):
        desk.send(*[os.urandom(10**6)] * 100)
    assert desk.names("incoming") == []
    assert desk.names("inputs") == [kept.id]
    ballast = small_disk / "ballast"
    with pytest.raises(OSError, match="No space"):
        ballast.write_bytes(bytes(64 << 20))
    for number in range(30):  # until the rows find no room either
        try:
            desk.send(str(number).encode() * 5000)
        except DiskFull:
            break
    else:
        pytest.fail("never full")
    before = {job.id for job in desk.jobs.list()}
    assert before == set(desk.names("inputs"))
    ballast.unlink()
    job, new = desk.send(b"after")
    assert new
    assert set(desk.names("inputs")) == before | {job.id}
    desk.jobs.close()


def test_the_digest_of_the_content_does_not_hang_on_a_secret_of_ours(desk):
    """Worked out with hashlib from the documented parts alone."""
    from covid19net import __version__

    job, _ = desk.send(b"one")
    text = f'["{__version__}", "bundled", false, {{}}, "{sha256(b"one").hexdigest()}"]'
    assert job.content == sha256(text.encode()).hexdigest()
