"""The table of jobs: nothing is lost, nothing is done twice."""

from contextlib import closing
import sqlite3
import threading

import pytest

from covid19net.errors import InputError
from covid19net.prognosis.model import Clinical
from covid19net.service.jobs import Jobs, QueueFull, State

RESULT = (
    '{"probability": 0.7, "decision": {"call": "positive", "threshold": 0.5}, '
    '"seconds": {"lungs": 1.5, "maps": 1.0}, '
    '"findings": [{"code": "weights-demonstration", "message": ""}, {"code": "noise", "message": ""}]}'
)


@pytest.fixture
def jobs(tmp_path):
    jobs = Jobs(tmp_path / "service.sqlite")
    yield jobs
    jobs.close()


def put(jobs, number, limit=100, **more):
    return jobs.accept(
        f"{number:032x}",
        f"content {number}",
        source="rest",
        owner=more.pop("owner", "ris"),
        limit=limit,
        **more,
    )


def test_the_oldest_is_claimed_first_and_ends_once(jobs):
    (first, new), (second, _) = put(jobs, 1), put(jobs, 2)
    assert new
    assert (jobs.position(first.id), jobs.position(second.id)) == (0, 1)
    claimed = jobs.claim()
    assert (claimed.id, claimed.state, claimed.attempts) == (first.id, State.RUNNING, 1)
    assert jobs.position(first.id) is None
    assert jobs.finish(first.id, State.DONE, exit_code=0, summary={"score": 0.5})
    assert not jobs.finish(first.id, State.FAILED)
    assert jobs.get(first.id).state is State.DONE
    assert jobs.get(first.id).summary == {"score": 0.5}
    assert jobs.claim().id == second.id
    assert jobs.claim() is None
    assert jobs.counts() == {"queued": 0, "running": 1, "done": 1, "failed": 0, "cancelled": 0}


def test_jobs_of_a_folder_from_before_an_update_are_done(tmp_path):
    """The table as it was before jobs knew age, sex and comorbidity."""
    database = tmp_path / "service.sqlite"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(
            "CREATE TABLE jobs (serial INTEGER PRIMARY KEY AUTOINCREMENT, turn INTEGER NOT NULL, "
            "id TEXT NOT NULL UNIQUE, content TEXT NOT NULL, state TEXT NOT NULL, source TEXT NOT NULL, "
            "owner TEXT NOT NULL, label TEXT, submitted REAL, started REAL, finished REAL, "
            "attempts INTEGER NOT NULL DEFAULT 0, reason TEXT, exit_code INTEGER, follows TEXT, "
            "summary TEXT, cancel INTEGER NOT NULL DEFAULT 0, UNIQUE (owner, content))"
        )
        connection.execute(
            "INSERT INTO jobs (turn, id, content, state, source, owner, summary) "
            "VALUES (1, 'a', 'c', 'queued', 'rest', 'ris', '{\"score\": 0.5}')"
        )
    for _ in range(2):  # the second time there is nothing to bring up to date
        with closing(Jobs(database)) as jobs:
            assert jobs.get("a").clinical == Clinical()
            assert jobs.get("a").summary == {"score": 0.5}
            assert put(jobs, 1, clinical=Clinical(61, "F", comorbidity=True))[0].clinical.age == 61
    with closing(Jobs(database)) as jobs:
        assert jobs.claim().id == "a"


def test_the_same_content_is_one_job_of_each_owner(jobs):
    job, _ = put(jobs, 1)
    again, new = jobs.accept("f" * 32, job.content, source="rest", owner="ris", limit=1)  # no room is needed
    assert (again.id, new) == (job.id, False)
    other, new = jobs.accept("e" * 32, job.content, source="rest", owner="pacs", limit=9)
    assert (other.id, new) == ("e" * 32, True)


@pytest.mark.parametrize("end", [State.FAILED, State.CANCELLED])
def test_what_failed_or_was_cancelled_runs_again_when_it_is_sent_again(jobs, end):
    job, _ = put(jobs, 1)
    later, _ = put(jobs, 2)
    jobs.claim()
    jobs.finish(job.id, end, reason="a reason", exit_code=3)
    again, new = put(jobs, 1)
    assert (again.id, new, again.state) == (job.id, False, State.QUEUED)
    assert (again.reason, again.exit_code, again.attempts, again.finished) == (None, None, 0, None)
    assert jobs.claim().id == later.id  # its turn is new


def test_a_key_names_one_submission_of_its_owner(jobs):
    job, _ = put(jobs, 1, key="k")
    assert put(jobs, 1, key="k") == (job, False)
    with pytest.raises(InputError, match="other files"):
        put(jobs, 2, key="k")
    assert put(jobs, 2, key="k", owner="pacs")[1]
    assert jobs.counts()[State.QUEUED] == 2


def test_the_queue_is_bounded_and_says_when_to_come_back(jobs):
    for number in range(3):
        put(jobs, number, limit=3)
    with pytest.raises(QueueFull) as full:
        put(jobs, 3, limit=3)
    assert full.value.retry_after == 30  # nothing was done yet
    assert full.value.exit_code == 5
    jobs.claim()
    assert put(jobs, 3, limit=3)[1]


def test_a_released_job_keeps_its_place_and_its_attempts_only_if_it_may_be_at_fault(jobs):
    first, _ = put(jobs, 1)
    put(jobs, 2)
    jobs.claim()
    assert jobs.release(first.id)
    assert jobs.get(first.id).attempts == 0
    assert jobs.claim().id == first.id
    assert jobs.release(first.id, counted=True)
    assert jobs.get(first.id).attempts == 1
    assert not jobs.release(first.id)


def test_a_waiting_job_is_cancelled_at_once_and_a_running_one_is_marked(jobs):
    first, _ = put(jobs, 1)
    second, _ = put(jobs, 2)
    jobs.claim()
    assert jobs.request_cancel(first.id)
    assert jobs.request_cancel(second.id)
    assert jobs.get(first.id).state is State.RUNNING
    assert jobs.cancel_requested(first.id)
    assert jobs.get(second.id).state is State.CANCELLED
    assert not jobs.request_cancel(second.id)
    assert not jobs.request_cancel("0" * 32)


def test_pages_of_the_list_are_newest_first_and_filtered(jobs):
    for number in range(5):
        put(jobs, number, owner="ris" if number % 2 else "pacs")
    jobs.claim()
    ids = [int(job.id, 16) for job in jobs.list(limit=2)]
    assert ids == [4, 3]
    assert [int(job.id, 16) for job in jobs.list(before=f"{3:032x}")] == [2, 1, 0]
    assert [int(job.id, 16) for job in jobs.list(owner="ris")] == [3, 1]
    assert [int(job.id, 16) for job in jobs.list(state=State.RUNNING)] == [0]


def test_what_follows_is_found(jobs):
    first, _ = put(jobs, 1)
    second, _ = put(jobs, 2, follows=first.id)
    assert second.follows == first.id
    assert jobs.followed_by(first.id) == second.id
    assert jobs.followed_by(second.id) is None


def test_a_running_job_is_not_removed(jobs):
    job, _ = put(jobs, 1, key="k")
    jobs.claim()
    assert not jobs.remove(job.id)
    jobs.finish(job.id, State.DONE)
    assert jobs.remove(job.id)
    assert jobs.get(job.id) is None
    assert put(jobs, 2, key="k")[1]  # the key is free again
    assert not jobs.remove(job.id)


def test_recovery_takes_whole_results_and_queues_or_ends_the_rest(jobs, tmp_path):
    for number in range(4):
        put(jobs, number)
    ids = [jobs.claim().id for _ in range(4)]
    (tmp_path / "results" / ids[0]).mkdir(parents=True)
    (tmp_path / "results" / ids[0] / "result.json").write_text(RESULT)
    jobs.request_cancel(ids[1])
    for _ in range(9):
        jobs.release(ids[2], counted=True)
        jobs.claim()
    jobs.close()
    again = Jobs(tmp_path / "service.sqlite")
    (done,) = again.recover(tmp_path / "results")
    assert (done.id, done.state) == (ids[0], State.DONE)
    assert again.get(ids[0]).summary == {
        "score": 0.7, "threshold": 0.5, "positive": True, "demonstration": True, "warnings": 2,
        "seconds": 2.5,
    }  # fmt: skip
    assert again.get(ids[0]) == done
    assert again.get(ids[1]).state is State.CANCELLED
    assert again.get(ids[2]).state is State.FAILED
    assert "10 times" in again.get(ids[2]).reason
    assert again.get(ids[3]).state is State.QUEUED
    assert again.recover(tmp_path / "results") == ()
    again.close()


def test_many_threads_claim_each_job_once(jobs):
    for number in range(40):
        put(jobs, number)
    claimed = []

    def work():
        while job := jobs.claim():
            claimed.append(job.id)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == [f"{number:032x}" for number in range(40)]


def test_rows_are_written_through_to_the_disk(jobs, tmp_path):
    put(jobs, 1)
    assert jobs._connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL (sqlite.org/pragma.html)
    other = sqlite3.connect(tmp_path / "service.sqlite")
    assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert other.execute("SELECT count(*) FROM jobs").fetchone() == (1,)
    other.close()


def test_later_runs_are_found_without_reading_the_whole_table(jobs):
    """The page asks for a hundred of them, again and again, and a year has tens of thousands of jobs."""
    asked = []
    jobs._connection.set_trace_callback(asked.append)
    jobs.followed_by("a" * 32)
    (query,) = asked
    (plan,) = jobs._connection.execute(f"EXPLAIN QUERY PLAN {query}").fetchall()[:1]
    assert "USING INDEX jobs_follows" in plan[3]


def test_what_is_sent_again_is_the_newest_and_takes_its_new_label(jobs):
    for number in range(3):
        jobs.accept(str(number) * 32, f"content {number}", source="rest", owner="ris", limit=9, label="old")
        jobs.request_cancel(str(number) * 32)
    again, new = jobs.accept("9" * 32, "content 0", source="rest", owner="ris", limit=9, label="bed 7")
    assert (again.id, again.label, new) == ("0" * 32, "bed 7", False)
    assert [job.id[0] for job in jobs.list()] == ["0", "2", "1"]
    assert [job.id[0] for job in jobs.list(before="0" * 32)] == ["2", "1"]
    kept, _ = jobs.accept("9" * 32, "content 1", source="dicom", owner="ris", limit=9)
    assert kept.label == "old"
