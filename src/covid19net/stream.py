"""Many scans one after the other, so that reading some overlaps computing others."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


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
    source = iter(items)
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[Result]] = deque(
            pool.submit(work, item) for item in islice(source, 2 * threads)
        )
        try:
            while waiting:
                result = waiting.popleft().result()
                waiting.extend(pool.submit(work, item) for item in islice(source, 1))
                yield result
        finally:  # when the work is abandoned
            for future in waiting:
                future.cancel()
