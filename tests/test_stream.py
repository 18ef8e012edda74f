"""Work on many items, several at a time."""

from threading import Barrier

import pytest

from covid19net.stream import overlapped


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


def test_a_fault_is_told_when_its_turn_comes():
    results = overlapped(lambda n: 6 // (2 - n), range(9), 2)
    assert [next(results), next(results)] == [3, 6]
    with pytest.raises(ZeroDivisionError):
        next(results)
