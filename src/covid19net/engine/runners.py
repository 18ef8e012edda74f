"""Two ways to run one graph over a stream of inputs, with the same interface."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from covid19net.engine.converted import Part
from covid19net.engine.device import memory_told
from covid19net.engine.graph import import_openvino
from covid19net.errors import InputError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

# Networks get ready in turns, in the order they are opened: the one needed first is ready first, and what is
# left of the processor reads the scan.
_READYING = Lock()

FILL_UP = 8  # batches on "cuda" are filled up to multiples of it

# Exactness is a setting of the whole process in torch: one thread at a time may have set it. A GPU does one
# network's work at a time anyway.
_EXACT = Lock()

Precision = Literal["bf16", "f32"]
Arrays = tuple[np.ndarray, ...]


class Runner(Protocol):
    """A network ready to run."""

    batch: int

    def stream(self, inputs: Iterable[np.ndarray]) -> Iterator[Arrays]:
        """Run the network on each input and yield its outputs in the same order, float32."""
        ...

    def describe(self) -> dict[str, object]:
        """Engine, version, device, precision and threads, for the provenance of a result."""
        ...


class OpenVINORunner:
    """A converted graph on the CPU, for inputs of its one shape.

    The graph is compiled in a thread of its own, so that the scan can be read meanwhile; the first use waits.

    Args:
        part: from `converted`.
        precision: "bf16" computes in bf16 where the processor has it, otherwise in f32.
        threads: CPU threads; None leaves the choice to OpenVINO: every core.
        streams: inputs worked on at once; None: one for each thread, which wastes less than cutting each
            input up for all threads.
    """

    batch = 1

    def __init__(
        self, part: Part, *, precision: Precision, threads: int | None = None, streams: int | None = None
    ) -> None:
        self._options = (precision, threads, streams)
        self._lock, self._streams = Lock(), 0  # those under way
        pool = ThreadPoolExecutor(1)
        self._compiled: Future[Any] = pool.submit(self._compile, part)
        pool.shutdown(wait=False)

    def _compile(self, part: Part) -> Any:  # noqa: ANN401 - OpenVINO has no types
        with _READYING:
            return self._ready(part)

    def _ready(self, part: Part) -> Any:  # noqa: ANN401
        openvino = import_openvino()
        precision, threads, streams = self._options
        core = openvino.Core()
        native = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        config: dict[str, object] = {
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" and native else "f32",
            "PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT",
        }
        if threads:
            config["INFERENCE_NUM_THREADS"] = threads
            config["ENABLE_CPU_PINNING"] = False  # processes that share a machine would pin the same cores
        if streams or threads:
            config["NUM_STREAMS"] = streams or threads
        with memory_told("preparing a network"):
            model = core.read_model(part.graph, part.numbers)
            return core.compile_model(model, "CPU", config)

    def stream(self, inputs: Iterable[np.ndarray]) -> Iterator[Arrays]:
        """Run the graph on each input and yield copies of its outputs in the same order, float32."""
        compiled = self._compiled.result()
        # One more than run at once: the next input is ready when a stream falls free.
        jobs = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS") + 1
        outputs = range(len(compiled.outputs))
        idle: list[Any] = []
        busy: deque[Any] = deque()

        def finished() -> Arrays:
            request = busy.popleft()
            request.wait()
            idle.append(request)
            return tuple(request.get_output_tensor(i).data.copy() for i in outputs)

        with memory_told("running a network on the CPU"), self._in_use(compiled):
            try:
                for array in inputs:
                    if len(busy) == jobs:
                        yield finished()
                    request = idle.pop() if idle else compiled.create_infer_request()
                    request.start_async([array])
                    busy.append(request)
                while busy:
                    yield finished()
            finally:  # an abandoned stream must not leave work running on buffers about to be freed
                for request in busy:
                    request.wait()
                idle.clear()

    @contextmanager
    def _in_use(self, compiled: Any) -> Iterator[None]:  # noqa: ANN401 - OpenVINO has no types
        """Let go of working memory when the last stream has ended.

        Between scans it is worth more than the tenth of a second of asking for it again: the diagnosis
        network holds 0.4 GB.
        """
        with self._lock:
            self._streams += 1
        try:
            yield
        finally:
            with self._lock:
                self._streams -= 1
                if not self._streams:
                    compiled.release_memory()

    def describe(self) -> dict[str, object]:
        """Engine, version, device, precision, threads and streams."""
        openvino = import_openvino()
        compiled = self._compiled.result()
        return {
            "engine": "openvino",
            "version": openvino.get_version().split("-")[0],
            "device": "cpu",
            "precision": compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name(),
            "threads": compiled.get_property("INFERENCE_NUM_THREADS"),
            "streams": compiled.get_property("NUM_STREAMS"),
        }


def _channels_last(tensor: "Tensor") -> "torch.memory_format":
    import torch

    return torch.channels_last if tensor.ndim == 4 else torch.channels_last_3d


class TorchRunner:
    """A torch module on a GPU, or on the CPU for comparison.

    On "cuda" the work for one shape of input is recorded once and replayed as a whole: a network is hundreds
    of small steps, and asking for each of them takes longer than doing it.

    Args:
        module: in evaluation mode; a tensor in, a tensor or a tuple of tensors out. It is moved and changed.
        device: "cuda", "mps" or "torch-cpu".
        precision: "bf16" where the GPU has it, or "f32"; never TF32.
        batch: inputs to run together.
        channels_last: on "cuda", keep channels together in memory.
    """

    def __init__(
        self,
        module: "nn.Module",
        device: str,
        *,
        precision: Precision,
        batch: int = 1,
        channels_last: bool = False,
    ) -> None:
        import torch

        self.batch = batch
        self._name = device
        self._device = torch.device(device.removeprefix("torch-"))
        native = device != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
        self._type = torch.bfloat16 if precision == "bf16" and native else torch.float32
        with memory_told(f"preparing a network on {device}"):
            self._module = module.requires_grad_(requires_grad=False).to(self._device, self._type)
            if channels_last and device == "cuda":
                for weight in self._module.parameters():
                    if weight.ndim > 3:
                        weight.data = weight.data.contiguous(memory_format=_channels_last(weight))
        self._channels_last = channels_last and device == "cuda"
        self._pool: Any = None  # memory that all recordings share: one runs at a time
        self._recorded: dict[tuple[int, ...], tuple[Any, Tensor, tuple[Tensor, ...]]] = {}

    def _exact(self) -> AbstractContextManager[None]:
        """No TF32, and no algorithm chosen by a race or whose sums come in any order."""
        from torch.backends import cudnn

        guard: AbstractContextManager[None] = cudnn.flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=False
        )
        return guard

    def stream(self, inputs: Iterable[np.ndarray]) -> Iterator[Arrays]:
        """Run the module on each input and yield its outputs in the same order, float32."""
        for array in inputs:
            yield self._run(array)

    def _run(self, array: np.ndarray) -> Arrays:
        import torch

        with memory_told(f"running a network on {self._name}"):
            inputs = torch.from_numpy(array).to(self._device)
            return tuple(tensor.cpu().numpy() for tensor in self.tensors(inputs))

    def tensors(self, inputs: "Tensor") -> "tuple[Tensor, ...]":
        """Run the module on a tensor that is on its device; the outputs stay there, float32."""
        import torch

        told = memory_told(f"running a network on {self._name}")
        with told, torch.inference_mode(), _EXACT, self._exact():
            if self._name == "cuda":
                return self._replayed(inputs)
            try:
                return tuple(tensor.float() for tensor in self._outputs(inputs.to(self._type)))
            except NotImplementedError as error:  # an operation this GPU's part of torch does not have
                raise InputError(f"device {self._name!r} cannot run this network; choose cpu") from error

    def _outputs(self, inputs: "Tensor") -> "tuple[Tensor, ...]":
        out = self._module(inputs)
        return out if isinstance(out, tuple) else (out,)

    def _replayed(self, inputs: "Tensor") -> "tuple[Tensor, ...]":
        """Run by replaying the recorded work; batches are filled up, so that few sizes are recorded."""
        import torch

        count = len(inputs)
        size = min(-(-count // FILL_UP) * FILL_UP, self.batch)
        shape = (size, *inputs.shape[1:])
        if shape not in self._recorded:
            self._recorded[shape] = self._record(shape)
        graph, into, out = self._recorded[shape]
        into[:count].copy_(inputs)
        graph.replay()
        found = tuple(tensor[:count].to(torch.float32, copy=True) for tensor in out)
        torch.cuda.current_stream().synchronize()  # before another thread replays over these tensors
        return found

    def _record(self, shape: tuple[int, ...]) -> "tuple[Any, Tensor, tuple[Tensor, ...]]":
        """Record the work for one shape of input: the recording, and where inputs and outputs lie."""
        import torch

        into = torch.zeros(shape, dtype=self._type, device=self._device)
        if self._channels_last:
            into = into.contiguous(memory_format=_channels_last(into))
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # libraries get ready before, not while it is recorded
            for _ in range(2):
                self._outputs(into)
        stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        # Other threads may go on allocating and copying meanwhile.
        with torch.cuda.graph(graph, pool=self._pool, stream=stream, capture_error_mode="thread_local"):
            out = self._outputs(into)
        self._pool = graph.pool()
        torch.cuda.current_stream().wait_stream(stream)
        return graph, into, out

    def describe(self) -> dict[str, object]:
        """Engine, version, device, precision and threads."""
        import torch

        return {
            "engine": "torch",
            "version": torch.__version__,
            "device": self._name,
            "precision": "bf16" if self._type == torch.bfloat16 else "f32",
            "threads": torch.get_num_threads(),
        }
