"""A launch through the CUDA driver, against a recording fake of it: nothing here needs a GPU."""

import ctypes
from collections.abc import Callable

import pytest
from tresnet_deploy.plugins.kernels import driver, nvrtc, plans

from tresnet_deploy.errors import RunError, UnavailableError

PLAN = plans.blur_pool((2, 8, 6, 6), "float32", slope=0.5)
POINTERS = [0x1000, 0, 0x2000]
STREAM = 0x77


def as_pointer(reference: object) -> ctypes.c_void_p:
    """What ``byref`` refers to."""
    target: ctypes.c_void_p = reference._obj
    return target


class FakeDriver:
    """Knows one GPU of capability 8.6 with a context, and notes each call."""

    def __init__(self, *, failing: str = "", context: int | None = 0xC0) -> None:
        self.failing, self.context = failing, context
        self.calls: list[str] = []
        self.launched: tuple[object, ...] = ()
        self.loaded = b""
        self.answers: dict[str, Callable[..., None]] = {
            "cuCtxGetCurrent": self.current_context,
            "cuDevicePrimaryCtxRetain": self.retain,
            "cuCtxSetCurrent": self.take,
            "cuDeviceGetAttribute": self.attribute,
            "cuModuleLoadData": self.load,
            "cuModuleGetFunction": self.function,
            "cuGetErrorString": self.words,
            "cuLaunchKernel": self.launch,
        }

    def __getattr__(self, name: str) -> Callable[..., int]:
        def call(*arguments: object) -> int:
            self.calls.append(name)
            if name == self.failing:
                return 700
            if name in self.answers:
                self.answers[name](*arguments)
            return 0

        return call

    def current_context(self, out) -> None:
        as_pointer(out).value = self.context

    def retain(self, out, device) -> None:
        as_pointer(out).value = 0xC7

    def take(self, context) -> None:
        self.context = context.value

    def attribute(self, out, number, device) -> None:
        as_pointer(out).value = {75: 8, 76: 6}[number.value]

    def load(self, out, text) -> None:
        self.loaded = text.raw
        as_pointer(out).value = 0xAA

    def function(self, out, module, name) -> None:
        assert name.decode() == PLAN.kernel
        assert module.value == 0xAA
        as_pointer(out).value = 0xFF

    def words(self, code, out) -> None:
        as_pointer(out).value = b"an illegal memory access was encountered"

    def launch(self, *arguments) -> None:
        function, gx, gy, gz, bx, by, bz, shared, stream, parameters, extra = arguments
        kinds = [ctypes.c_void_p] * 2 + [ctypes.c_int32] * 5 + [ctypes.c_void_p]
        values = [
            ctypes.cast(address, ctypes.POINTER(kind)).contents.value
            for address, kind in zip(parameters, kinds, strict=True)
        ]
        grid = [each.value for each in (gx, gy, gz, bx, by, bz, shared)]
        self.launched = (function.value, grid, stream.value, values, extra)


@pytest.fixture(autouse=True)
def code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvrtc, "code", lambda source, sm: f"{source}\0for {sm}".encode())


def test_a_launch_hands_over_grid_stream_and_arguments() -> None:
    fake = FakeDriver()
    driver.launch(PLAN, POINTERS, stream=STREAM, library=fake)
    items = 2 * 8 * 3 * 3
    values = [0x1000, None, items, 6, 6, plans.float_bits(0.5), plans.float_bits(1.0), 0x2000]
    assert fake.launched == (0xFF, [1, 1, 1, 256, 1, 1, 0], STREAM, values, None)
    assert fake.loaded == b"blur_pool\0for 86\0"


def test_code_is_loaded_once_a_context() -> None:
    fake = FakeDriver()
    for _ in range(3):
        driver.launch(PLAN, POINTERS, stream=STREAM, library=fake)
    assert fake.calls.count("cuModuleLoadData") == 1
    assert fake.calls.count("cuLaunchKernel") == 3
    fake.context = 0xC1
    driver.launch(PLAN, POINTERS, stream=STREAM, library=fake)
    assert fake.calls.count("cuModuleLoadData") == 2


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            "cuModuleLoadData",
            "loading blur_pool.cu, which a driver older than the compiler may not read",
        ),
        ("cuModuleGetFunction", "finding blur_pool_nchw_float32_v1"),
        ("cuLaunchKernel", "launching blur_pool_nchw_float32_v1"),
    ],
)
def test_what_the_driver_refuses_is_named_with_its_words(call: str, words: str) -> None:
    with pytest.raises(RunError, match=f"{words} failed: an illegal memory access"):
        driver.launch(PLAN, POINTERS, stream=STREAM, library=FakeDriver(failing=call))


def test_a_thread_without_a_context_is_told_what_to_do() -> None:
    with pytest.raises(RunError, match="no CUDA context is current"):
        driver.launch(PLAN, POINTERS, stream=STREAM, library=FakeDriver(context=None))


def test_a_thread_without_a_context_takes_that_of_its_gpu() -> None:
    fake = FakeDriver(context=None)
    driver.launch(PLAN, POINTERS, stream=STREAM, ordinal=1, library=fake)
    assert fake.context == 0xC7
    assert fake.calls.count("cuLaunchKernel") == 1
    refusing = FakeDriver(context=None, failing="cuDevicePrimaryCtxRetain")
    with pytest.raises(RunError, match="opening GPU 1 failed"):
        driver.launch(PLAN, POINTERS, stream=STREAM, ordinal=1, library=refusing)


def test_the_first_gpus_capability_needs_no_context() -> None:
    assert driver.capability_of(0, library=FakeDriver(context=None)) == 86
    with pytest.raises(RunError, match="finding GPU 0 failed"):
        driver.capability_of(0, library=FakeDriver(failing="cuDeviceGet"))


def test_a_machine_without_a_driver_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "_LIBRARY", "libcuda-that-is-not-there.so.1")
    with pytest.raises(UnavailableError, match="the NVIDIA driver is not here"):
        driver._open.__wrapped__()
