"""The kernels, compiled once a session for this CPU, and arrays as the kernels see them."""

from collections.abc import Callable

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from tresnet_deploy.plugins.kernels import Source, host, nvrtc
from tresnet_deploy.plugins.kernels.plans import ElementType, Launch, MemoryLayout

from tresnet_deploy.errors import UnavailableError

Arrays = npt.NDArray[np.generic]
Runner = Callable[[Launch[int], tuple[Arrays | None, ...], tuple[int, ...]], Arrays]

DTYPES: dict[ElementType, npt.DTypeLike] = {
    "float32": np.float32,
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
    "int8": np.int8,
}
ALIGNMENT = 16
GUARD = 64  # elements on each side of an array, which nobody may write


@pytest.fixture(scope="session")
def host_kernels(tmp_path_factory: pytest.TempPathFactory) -> dict[Source, host.HostKernels]:
    """The kernels of both sources, compiled by the system's C++ compiler."""
    try:
        host.find_compiler()
    except UnavailableError as error:
        pytest.skip(error.message)
    folder = tmp_path_factory.mktemp("kernels")
    sources: tuple[Source, ...] = ("blur_pool", "space_to_depth")
    return {source: host.compile_kernels(source, folder) for source in sources}


@pytest.fixture(scope="session")
def run_on_host(host_kernels: dict[Source, host.HostKernels]) -> Runner:
    """Run a plan on arrays and return its output, of a given shape in memory."""

    def run(plan: Launch[int], inputs: tuple[Arrays | None, ...], shape: tuple[int, ...]) -> Arrays:
        first = next(each for each in inputs if each is not None)
        held = [None if each is None else guarded(each) for each in inputs]
        output = guarded(np.full(shape, 99, first.dtype))
        pointers = [0 if each is None else address(each) for each in (*held, output)]
        host_kernels[plan.source].run(plan, pointers)
        for each in (output, *filter(lambda x: x is not None, held)):
            check_guards(each)
        return output

    return run


@pytest.fixture(scope="session")
def compiler() -> nvrtc.Nvrtc:
    """NVRTC, where the extra ``plugins`` is installed."""
    try:
        return nvrtc.find()
    except UnavailableError as error:
        pytest.skip(f"{error.message}: {error.hints[0]}")


def guarded(array: Arrays) -> Arrays:
    """Return an aligned copy with a margin on both sides that says when it was written to."""
    size = array.size + 2 * GUARD + ALIGNMENT
    memory = np.full(size, 77, array.dtype)
    start = GUARD + (-(memory[GUARD:].ctypes.data) % ALIGNMENT) // array.itemsize
    view = memory[start : start + array.size].reshape(array.shape)
    view[...] = array
    return view


def check_guards(view: Arrays) -> None:
    memory = view.base
    while memory.base is not None:
        memory = memory.base
    start = (view.ctypes.data - memory.ctypes.data) // view.itemsize
    margins = np.concatenate([memory[:start], memory[start + view.size :]])
    assert (margins == 77).all(), "a kernel wrote outside its output"


def address(array: Arrays) -> int:
    return int(array.ctypes.data)


def noise(shape: tuple[int, ...], element: ElementType, seed: int = 0) -> Arrays:
    """Return seeded values of a type: normal, or all of int8."""
    random = np.random.default_rng(seed)
    if element == "int8":
        return random.integers(-128, 128, shape, dtype=np.int8)
    return random.normal(size=shape).astype(DTYPES[element])


def in_memory(x: Arrays, layout: MemoryLayout) -> Arrays:
    """Return (N, C, H, W) as it lies in memory."""
    return np.ascontiguousarray(x if layout == "nchw" else x.transpose(0, 2, 3, 1))


def from_memory(y: Arrays, layout: MemoryLayout) -> Arrays:
    """Return an array in memory as (N, C, H, W)."""
    return y if layout == "nchw" else y.transpose(0, 3, 1, 2)
