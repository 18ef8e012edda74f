"""Workers as processes of this machine. One that dies is replaced; all end when this process does.

Each is spoken to through a pipe of its own, so that it is known which cases died with it.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
import os
import signal
from threading import Lock
from types import TracebackType

from covid19net.batch.cases import Case
from covid19net.batch.plan import Plan
from covid19net.batch.schedule import Done
from covid19net.batch.worker import Open, Outcome, Worker
from covid19net.errors import Covid19netError, ResourceError, fault_from

ENDING = 5.0  # seconds a worker has to end when it is asked to


class Hand:
    """One worker process, and the cases it has.

    Args:
        plan: of the batch.
        identity: from `identity_of`.
        opening: makes what does the work, in the process.
    """

    def __init__(self, plan: Plan, identity: str, opening: Open) -> None:
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(
            target=serve, args=(theirs, plan, identity, opening), daemon=True
        )
        self.process.start()
        theirs.close()
        self.cases: dict[int, Case] = {}
        self.began = False

    def end(self) -> None:
        """End the process, whatever it does."""
        self.pipe.close()
        self.process.terminate()
        self.process.join(ENDING)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()


class LocalCrew:
    """Processes of this machine.

    Args:
        plan: of the batch.
        identity: from `identity_of`.
        workers: how many.
        opening: makes what does the work.
    """

    room_alone = 1

    def __init__(self, plan: Plan, identity: str, workers: int, opening: Open = Worker) -> None:
        self.room = workers * plan.together
        self._arguments = (plan, identity, opening)
        self._hands = [Hand(*self._arguments) for _ in range(workers)]

    def __enter__(self) -> "LocalCrew":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for hand in self._hands:
            hand.end()

    def submit(self, case: Case) -> None:
        """Give a case to the worker with the fewest."""
        hand = min(self._hands, key=lambda each: len(each.cases))
        hand.cases[case.place] = case
        with suppress(OSError):  # it died; that is found when results are collected
            hand.pipe.send(case)

    def collect(self) -> list[Done]:
        """As in `Crew`."""
        done: list[Done] = []
        while not done:
            pipes = {hand.pipe: place for place, hand in enumerate(self._hands)}
            for pipe in wait(list(pipes)):
                done += self._heard(pipes[pipe])  # type: ignore[index]  # we gave it pipes only
        return done

    def _heard(self, place: int) -> list[Done]:
        hand = self._hands[place]
        try:
            said = hand.pipe.recv()
        except (EOFError, OSError):
            return self._buried(place)
        if isinstance(said, Covid19netError):
            raise said
        hand.began = True
        if said is None:
            return []
        number, outcome = said
        return [Done(hand.cases.pop(number), outcome)]

    def _buried(self, place: int) -> list[Done]:
        """Replace a dead worker."""
        hand = self._hands[place]
        hand.end()
        if not hand.began:
            raise ResourceError("a worker died before it could begin: too little memory, or a broken library")
        self._hands[place] = Hand(*self._arguments)
        return [Done(case, None) for case in hand.cases.values()]


def serve(pipe: Connection, plan: Plan, identity: str, opening: Open) -> None:
    """What a worker process does until its pipe closes, which it does when the other end dies.

    Says None when it is ready, then (place, outcome) of each case, or the fault that stops the batch.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the batch itself ends its workers
    speaking = Lock()

    def say(what: object) -> None:
        with speaking, suppress(OSError):
            pipe.send(what)

    try:
        work = opening(plan, identity)
    except Exception as error:
        say(fault_from(error))
        return
    say(None)

    def do(case: Case) -> None:
        try:
            outcome: Outcome = work(case)
        except Exception as error:
            say(fault_from(error))
        else:
            say((case.place, outcome))

    pool = ThreadPoolExecutor(plan.together)
    try:
        while True:
            pool.submit(do, pipe.recv())
    except (EOFError, OSError):
        os._exit(1)  # at once: nobody waits for what is under way, and half a case leaves no trace
