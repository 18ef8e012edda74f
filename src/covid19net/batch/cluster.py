"""Workers as actors of a Ray cluster: only a row travels, results are written where the work is done."""

from importlib.util import find_spec
import logging
from types import TracebackType
from typing import Any

from covid19net.batch.cases import Case
from covid19net.batch.plan import Plan
from covid19net.batch.schedule import Done
from covid19net.batch.worker import Open, Outcome, Worker
from covid19net.errors import Covid19netError, InputError, fault_from
from covid19net.stream import ONE_THREAD

LOCAL = "local"  # address of a cluster of this machine's cores, made for the batch
RAY_EXTRA = "pip install 'covid19net[ray]'"
STORE = 80 << 20  # bytes of the object store of a local cluster: rows pass by it


class Actor:
    """What Ray keeps in a process of its own, and asks from as many threads as there are cases in hand.

    Args:
        plan: of the batch.
        identity: from `identity_of`.
        opening: makes what does the work.
    """

    def __init__(self, plan: Plan, identity: str, opening: Open) -> None:
        self._fault: Covid19netError | None = None
        try:
            self._work = opening(plan, identity)
        except Exception as error:
            self._fault = fault_from(error)

    def do(self, case: Case) -> Outcome | Covid19netError:
        """The outcome of a case, or what stops the batch."""
        if self._fault is not None:
            return self._fault
        try:
            return self._work(case)
        except Exception as error:
            return fault_from(error)


class RayCrew:
    """Actors of a Ray cluster; it is joined, or made, for as long as the context lasts.

    Args:
        plan: of the batch.
        identity: from `identity_of`.
        address: of the cluster, or "local" for one of this machine alone.
        workers: how many; None: one for each `plan.threads` CPUs, or for each GPU.
        opening: makes what does the work.

    Raises:
        InputError: Ray is not installed, or there is no such cluster.
    """

    def __init__(
        self, plan: Plan, identity: str, address: str, workers: int | None = None, opening: Open = Worker
    ) -> None:
        if find_spec("ray") is None:
            raise InputError(f"--ray needs Ray, which is not installed: {RAY_EXTRA}")
        import ray

        self._ray: Any = ray
        self._begin(address, workers or 1, plan)
        on_gpu = plan.device == "cuda"
        there = self._ray.cluster_resources()
        places = there.get("GPU", 0) if on_gpu else there.get("CPU", 1) // plan.threads
        workers = workers or max(int(places), 1)
        self._actor = self._ray.remote(Actor).options(
            num_cpus=plan.threads,
            num_gpus=1 if on_gpu else 0,
            max_concurrency=plan.together,
            runtime_env={"env_vars": ONE_THREAD},
        )
        self._arguments = (plan, identity, opening)
        self._actors = [self._actor.remote(*self._arguments) for _ in range(workers)]
        self._counts = [0] * workers
        self._under_way: dict[Any, tuple[int, Any, Case]] = {}  # reference -> place of the actor, actor, case
        self.room = workers * plan.together
        self.room_alone = workers

    def _begin(self, address: str, workers: int, plan: Plan) -> None:
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if address == LOCAL:
            cores = workers * plan.threads
            options |= {"num_cpus": cores, "object_store_memory": STORE, "include_dashboard": False}
        else:
            options |= {"address": address}
        try:
            self._ray.init(**options)
        except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
            raise InputError(f"no Ray cluster at {address}: {str(error).splitlines()[0]}") from error

    def __enter__(self) -> "RayCrew":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ray.shutdown()

    def submit(self, case: Case) -> None:
        """Give a case to the actor with the fewest."""
        place = min(range(len(self._counts)), key=self._counts.__getitem__)
        actor = self._actors[place]
        self._counts[place] += 1
        self._under_way[actor.do.remote(case)] = (place, actor, case)

    def collect(self) -> list[Done]:
        """As in `Crew`."""
        waiting = list(self._under_way)
        ready, waiting = self._ray.wait(waiting, num_returns=1)
        if waiting:
            more, _ = self._ray.wait(waiting, num_returns=len(waiting), timeout=0)
            ready += more
        return [self._done(reference) for reference in ready]

    def _done(self, reference: Any) -> Done:  # noqa: ANN401 - Ray has no types
        place, actor, case = self._under_way.pop(reference)
        if actor is self._actors[place]:
            self._counts[place] -= 1
        try:
            said: Outcome | Covid19netError = self._ray.get(reference)
        except self._ray.exceptions.RayError:  # the actor died, or its machine did
            if actor is self._actors[place]:
                self._actors[place] = self._actor.remote(*self._arguments)
                self._counts[place] = 0
            return Done(case, None)
        if isinstance(said, Covid19netError):
            raise said
        return Done(case, said)
