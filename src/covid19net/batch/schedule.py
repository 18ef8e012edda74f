"""Who does what when: a few cases under way at once, a dead worker's again alone, results as they come."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

from covid19net.batch.cases import Case
from covid19net.batch.worker import Outcome


class Done(NamedTuple):
    """A case that is no longer under way.

    Attributes:
        case: which.
        outcome: None where its worker died.
    """

    case: Case
    outcome: Outcome | None


class Crew(Protocol):
    """Workers, wherever they are.

    Attributes:
        room: cases that may be under way at once.
        room_alone: the same for cases whose worker died once: so few that one more that dies is to blame.
    """

    room: int
    room_alone: int

    def submit(self, case: Case) -> None:
        """Give a case to a worker; returns at once."""
        ...

    def collect(self) -> list[Done]:
        """Wait until a case under way is done, and return all that are.

        Raises:
            Covid19netError: what stops a batch, such as a full disk or a worker that cannot begin.
        """
        ...


def work_through(cases: Iterable[Case], crew: Crew) -> Iterator[Done]:
    """Have every case done; what is yielded in the end without an outcome took two workers with it.

    Args:
        cases: taken as there is room, so that a list of millions costs nothing.
        crew: who does them.

    Yields:
        Each case once, in the order they are done.
    """
    suspects: list[Case] = []
    for done in _pass(cases, crew, crew.room):
        if done.outcome is None:
            suspects.append(done.case)
        else:
            yield done
    yield from _pass(suspects, crew, crew.room_alone)


def _pass(cases: Iterable[Case], crew: Crew, room: int) -> Iterator[Done]:
    source, under_way = iter(cases), 0
    while True:
        while under_way < room and (case := next(source, None)) is not None:
            crew.submit(case)
            under_way += 1
        if not under_way:
            return
        for done in crew.collect():
            under_way -= 1
            yield done
