"""An engine of TensorRT or TensorRT-RTX on a GPU: this file is about binding and running it.

bind: host to pinned memory to device, once. step: one enqueue, or one launch of the CUDA graph that
the first step captured, and a wait for the stream. fetch: device to host. Events around the enqueue
take the device's own time. Not run on a GPU yet; all of it is driven against a recording fake.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from types import ModuleType

from tresnet_deploy.backends._cuda import Cuda, Handle, open_cuda
from tresnet_deploy.backends._feeds import bound, check
from tresnet_deploy.backends._nvinfer_buffers import Buffers
from tresnet_deploy.backends._nvinfer_engine import LoadedEngine, RunOptions, Shape
from tresnet_deploy.contracts import Array, Batch, Feeds
from tresnet_deploy.errors import DeployError, RunError

_log = logging.getLogger(__name__)


def open_session(
    runtime: ModuleType,
    plan: bytes,
    options: RunOptions,
    batch: Batch | None,
    *,
    cuda: Cuda | None = None,
) -> NvinferSession:
    """Return ``plan`` loaded by ``runtime``, the module ``tensorrt`` or ``tensorrt_rtx``.

    ``batch`` bounds what bind takes; ``cuda`` None is the first visible GPU.

    Raises:
        UnavailableError: there is no GPU, no driver or no cuda-python.
        RunError: the runtime refuses the plan, or has too little memory for it.
        UsageError: an option is not one of this runtime.
    """
    # The GPU first: without one the runtime's own message speaks of an assertion.
    device = cuda or open_cuda()
    free_mib = device.free_mib()
    engine = LoadedEngine(runtime, plan, options)
    captures = options.cuda_graph and not engine.replays_itself
    return NvinferSession(engine, device, batch=batch, captures=captures, free_mib=free_mib)


class NvinferSession:
    """A loaded engine with its memory on one GPU and one stream."""

    def __init__(
        self,
        engine: LoadedEngine,
        cuda: Cuda,
        *,
        batch: Batch | None,
        captures: bool,
        free_mib: float,
    ) -> None:
        """Take ``engine``; ``captures`` makes each step the launch of a CUDA graph.

        ``free_mib`` is the device memory that was free before the engine was loaded.
        """
        self.inputs = engine.inputs
        self.outputs = engine.outputs
        self._cuda = cuda
        self._batch = batch
        self._captures = captures
        self._free_mib = free_mib
        self._engine: LoadedEngine | None = engine
        self._closing = ExitStack()
        self._stream = cuda.stream()
        self._later(cuda.destroy_stream, self._stream)
        self._start, self._end = self._event(), self._event()
        self._buffers = Buffers(cuda, self._stream)
        self._later(self._buffers.close)
        self._later(engine.close)
        self._later(self._drop_graph)
        self._graph: Handle | None = None
        self._shapes: dict[str, Shape] | None = None
        self._stepped: bool | None = None

    def _event(self) -> Handle:
        event = self._cuda.event()
        self._later(self._cuda.destroy_event, event)
        return event

    def _later(self, give_back: Callable[..., None], *what: Handle) -> None:
        """Call ``give_back`` when the session closes, the latest first, whatever the others do.

        A GPU that failed fails in all that follows, and the first error is the one to read.
        """

        def quietly() -> None:
            try:
                give_back(*what)
            except DeployError as error:
                _log.warning("while a session was closed: %s", error.message)

        self._closing.callback(quietly)

    def bind(self, feeds: Feeds) -> None:
        """Copy ``feeds`` to the device, and set shapes and addresses where they are new.

        Raises:
            UsageError: the feeds do not fit, or no optimisation profile contains them.
            RunError: the runtime refuses a shape, or the GPU has too little memory.
        """
        engine = bound(self._engine)
        check(self.inputs, feeds, batch=self._batch)
        shapes = {spec.name: feeds[spec.name].shape for spec in self.inputs}
        profile = engine.profile_for(shapes)
        self._stepped = None
        if shapes != self._shapes:
            self._shapes = None  # until all of it is set: a bind that fails leaves nothing bound
            self._drop_graph()
            self._set_profile(engine, profile)
            self._set_shapes(engine, shapes)
            self._shapes = shapes
        for name, array in feeds.items():
            self._buffers.fill(name, array)
            self._buffers.upload(name)
        self._cuda.synchronize(self._stream)

    def _set_profile(self, engine: LoadedEngine, profile: int) -> None:
        if engine.context.active_optimization_profile == profile:
            return
        mark = engine.log.mark()
        number = self._cuda.number_of(self._stream)
        done = engine.context.set_optimization_profile_async(profile, number)
        engine.log.must(done, f"set_optimization_profile_async({profile})", mark=mark)
        self._cuda.synchronize(self._stream)

    def _set_shapes(self, engine: LoadedEngine, shapes: dict[str, Shape]) -> None:
        context, log, mark = engine.context, engine.log, engine.log.mark()
        for name, shape in shapes.items():
            done = context.set_input_shape(name, shape)
            log.must(done, f"set_input_shape({name}, {shape})", mark=mark)
        missing = context.infer_shapes()
        if missing:
            raise RunError(f"{log.title} wants more to know its shapes: {', '.join(missing)}")
        for spec in (*self.inputs, *self.outputs):
            shape = shapes.get(spec.name) or tuple(context.get_tensor_shape(spec.name))
            if min(shape, default=0) < 0:
                raise RunError(f"the size of {spec.name} depends on values: it cannot be bound")
            address = self._buffers.room(spec.name, shape, spec.dtype)
            done = context.set_tensor_address(spec.name, address)
            log.must(done, f"set_tensor_address({spec.name})", mark=mark)

    def step(self) -> None:
        """Run once on what is bound; return when the device has finished.

        Raises:
            RunError: nothing is bound, or the runtime or CUDA fails.
        """
        self._run(transfers=False)

    def step_with_transfers(self) -> None:
        """Do what step does, with copies of the inputs and outputs from and to pinned memory."""
        self._run(transfers=True)

    def _run(self, *, transfers: bool) -> None:
        engine = bound(self._engine)
        bound(self._shapes)
        if self._captures and self._graph is None:
            self._graph = self._captured(engine)
        self._cuda.record(self._start, self._stream)
        if transfers:
            for spec in self.inputs:
                self._buffers.upload(spec.name)
        if self._graph is None:
            self._enqueue(engine)
        else:
            self._cuda.launch(self._graph, self._stream)
        if transfers:
            for spec in self.outputs:
                self._buffers.download(spec.name)
        self._cuda.record(self._end, self._stream)
        self._cuda.synchronize(self._stream)
        self._stepped = True

    def _enqueue(self, engine: LoadedEngine) -> None:
        mark = engine.log.mark()
        done = engine.context.execute_async_v3(self._cuda.number_of(self._stream))
        engine.log.must(done, "execute_async_v3()", mark=mark)

    def _captured(self, engine: LoadedEngine) -> Handle:
        """Return the network as a graph; a run before it does what only a first run does."""
        self._enqueue(engine)
        self._cuda.synchronize(self._stream)
        self._cuda.begin_capture(self._stream)
        try:
            self._enqueue(engine)
        except RunError as error:
            self._abandon_capture()
            raise RunError(
                f"the engine cannot be captured as a CUDA graph: {error.message}",
                hints=("leave --option cuda_graph=true out",),
            ) from error
        return self._cuda.end_capture(self._stream)

    def _abandon_capture(self) -> None:
        try:
            self._cuda.destroy_graph(self._cuda.end_capture(self._stream))
        except RunError:  # a capture that failed says so again when it is ended
            return

    def _drop_graph(self) -> None:
        if self._graph is not None:
            graph, self._graph = self._graph, None
            self._cuda.destroy_graph(graph)

    def device_ms(self) -> float:
        """Return the milliseconds that the last step took on the device, by CUDA events."""
        bound(self._stepped)
        return self._cuda.elapsed_ms(self._start, self._end)

    def memory_mib(self) -> float:
        """Return the device memory that this session took, as far as nobody else took any."""
        return max(0.0, self._free_mib - self._cuda.free_mib())

    def gpu_id(self) -> str:
        """Return what nvidia-smi --id takes for the GPU it runs on."""
        return self._cuda.gpu_id()

    def fetch(self) -> dict[str, Array]:
        """Copy the outputs of the last step out.

        Raises:
            RunError: there was no step since bind.
        """
        bound(self._stepped)
        for spec in self.outputs:
            self._buffers.download(spec.name)
        self._cuda.synchronize(self._stream)
        return {spec.name: self._buffers.taken(spec.name) for spec in self.outputs}

    def close(self) -> None:
        """Write the runtime cache, drop the engine, and give back all memory; once is enough."""
        self._engine = self._shapes = self._stepped = None
        self._closing.close()
