"""Work on many items, several at a time."""

import os
import subprocess
import sys
from threading import Barrier

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from covid19net import stream
from covid19net.stream import cores, one_blas_thread, overlapped, side_by_side


def test_results_come_in_order():
    assert list(overlapped(lambda n: n * n, range(20), 3)) == [n * n for n in range(20)]


def test_as_many_as_threads_are_worked_on_at_once():
    gate = Barrier(3, timeout=20)  # opens only when three wait for it
    assert len(list(overlapped(lambda _: gate.wait(), range(9), 3))) == 9


def test_items_are_taken_as_they_are_needed():
    taken = []

    def source():
        for n in range(100):
            taken.append(n)
            yield n

    results = overlapped(str, source(), 2)
    assert next(results) == "0"
    assert len(taken) <= 5
    results.close()
    assert len(taken) <= 5


def test_threads_share_the_cores(monkeypatch):
    monkeypatch.setattr(stream, "_cores", [8])
    assert list(overlapped(lambda _: cores(), range(3), 2)) == [4, 4, 4]
    assert list(overlapped(lambda _: list(overlapped(lambda _: cores(), [0], 2)), [0], 2)) == [[2]]
    assert list(overlapped(lambda _: cores(), [0], 20)) == [1]
    assert side_by_side(lambda: ("a", cores()), lambda: ("b", cores())) == (("a", 4), ("b", 4))
    assert cores() == 8


def test_a_fault_is_told_when_its_turn_comes():
    results = overlapped(lambda n: 6 // (2 - n), range(9), 2)
    assert [next(results), next(results)] == [3, 6]
    with pytest.raises(ZeroDivisionError):
        next(results)


def blas_threads():
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_products_stay_on_one_thread_until_the_last_asker_is_done():
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        first, second = one_blas_thread(), one_blas_thread()
        first.__enter__()
        second.__enter__()
        assert blas_threads() == {1}
        first.__exit__(None, None, None)
        assert blas_threads() == {1}
        second.__exit__(None, None, None)
        assert blas_threads() == before != {1}


def test_a_process_can_be_told_how_many_threads_to_use():
    code = "from covid19net.stream import *; before = cores(); use_cores(1); print(before, cores())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(len(os.sched_getaffinity(0))), "1"]
