"""Work on many things in turn by several threads: scans, or parts of one."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
import os
from threading import Lock, local
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

# Environment of a process whose libraries are to keep to one thread each; it is set before they load.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

_BLAS = Lock()
_alone: list[Any] = []  # an entry for each `one_blas_thread` under way; the first knows what to go back to
_cores: list[int] = []  # from `use_cores`
_of_thread = local()  # of `overlapped`: its share of the cores


def use_cores(count: int) -> None:
    """Let this process work with so many threads; for a process that shares the machine with its like."""
    _cores[:] = [max(1, count)]


def cores() -> int:
    """How many threads to work with: the cores this process may use, unless `use_cores` says otherwise.

    Less in a thread of `overlapped`, which shares them with the others.
    """
    if hasattr(_of_thread, "cores"):
        return int(_of_thread.cores)
    if _cores:
        return _cores[0]
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Matrix products on the thread that asks for them.

    The products of one scan are small: BLAS's own threads spend longer waiting, at full load, than they save,
    and take the cores from the networks (docs/performance.md). Holds for the whole process.
    """
    from threadpoolctl import threadpool_limits

    with _BLAS:
        _alone.append(None if _alone else threadpool_limits(1, user_api="blas"))
    try:
        yield
    finally:
        with _BLAS:
            if len(_alone) == 1:
                _alone[0].restore_original_limits()
            _alone.pop()


def overlapped(work: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """Do the same work on each item, several at a time, and yield the results in the order of the items.

    With `lambda path: analyze(read_ct(path), models)` one scan is read or cleaned up on the CPU while another
    is on the GPU. Items are taken as they are needed: twice as many as threads are under way or waiting, so
    that a long list of scans does not fill the memory.

    Args:
        work: called in threads; may be called for several items at once.
        items: what to work on.
        threads: how many at a time, at least 1; on a GPU about as many as there are cores.

    Raises:
        Exception: whatever `work` raised, when its item's turn comes.
    """
    source, share = iter(items), max(1, cores() // threads)

    def worked(item: Item) -> Result:
        _of_thread.cores = share
        return work(item)

    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[Result]] = deque(
            pool.submit(worked, item) for item in islice(source, 2 * threads)
        )
        try:
            while waiting:
                result = waiting.popleft().result()
                waiting.extend(pool.submit(worked, item) for item in islice(source, 1))
                yield result
        finally:  # when the work is abandoned
            for future in waiting:
                future.cancel()


def side_by_side(one: Callable[[], Item], other: Callable[[], Result]) -> tuple[Item, Result]:
    """Do two things at once, each with half the cores; what they return."""
    calls: tuple[Callable[[], Any], ...] = (one, other)
    first, second = overlapped(lambda call: call(), calls, 2)
    return first, second
