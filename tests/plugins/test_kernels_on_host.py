"""The very kernels that a GPU gets, run by the CPU: each index is that of the NumPy reference."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tresnet_deploy.plugins import blur_pool, space_to_depth
from tresnet_deploy.plugins.kernels import Source, host, plans
from tresnet_deploy.plugins.kernels.plans import ElementType, MemoryLayout

from tresnet_deploy.errors import BuildError, UnavailableError, UsageError

from .conftest import DTYPES, Arrays, Runner, from_memory, in_memory, noise

# Odd and even sides, the smallest ones, batch 1, TResNet's own channels and widths, every pack.
BLURRED = (
    (1, 1, 2, 2),
    (1, 1, 2, 3),
    (1, 3, 3, 2),
    (1, 3, 3, 3),
    (1, 1, 2, 64),
    (2, 3, 9, 5),
    (1, 48, 7, 7),
    (1, 76, 14, 14),
    (3, 76, 5, 12),
    (2, 16, 4, 8),
    (1, 5, 6, 24),
    (1, 64, 56, 56),
)
MOVED = ((1, 1, 4, 4), (1, 3, 4, 8), (2, 3, 8, 12), (1, 3, 16, 16), (3, 5, 4, 32), (1, 48, 12, 20))
ELEMENTS: tuple[ElementType, ...] = ("float32", "float16", "bfloat16", "int8")
LAYOUTS: tuple[MemoryLayout, ...] = ("nchw", "nhwc")
SLOPE = 1e-3


def packs(layout: MemoryLayout, element: ElementType, innermost: int) -> set[int]:
    """One output a thread, and as many as fit."""
    found = {1, plans.blur_pack(layout, element, innermost)}
    if layout == "nchw" and innermost % 4 == 0:
        found.add(2)
    return found


def blurred(
    run: Runner, x: Arrays, element: ElementType, layout: MemoryLayout, pack: int, **floats: float
) -> Arrays:
    n, c, h, w = x.shape
    plan = plans.blur_pool((n, c, h, w), element, layout=layout, pack=pack, **floats)
    shape = in_memory(np.empty((n, c, -(-h // 2), -(-w // 2))), layout).shape
    return from_memory(run(plan, (in_memory(x, layout), None), shape), layout)


@pytest.mark.parametrize("shape", BLURRED, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("element", ELEMENTS)
@pytest.mark.parametrize("slope", [1.0, SLOPE])
def test_the_blur_is_the_reference(
    run_on_host: Runner,
    shape: tuple[int, int, int, int],
    layout: MemoryLayout,
    element: ElementType,
    slope: float,
) -> None:
    x = noise(shape, element)
    innermost = shape[3] if layout == "nchw" else shape[1]
    for pack in packs(layout, element, innermost):
        y = blurred(run_on_host, x, element, layout, pack, slope=slope)
        if element == "int8" and slope == 1:
            np.testing.assert_array_equal(y, blur_pool.reference_int8(x))
        elif element == "int8":  # a tie may be missed by the rounding of the sum before it
            exact = blur_pool.reference(x.astype(np.float64), slope=slope)
            assert np.abs(y - exact).max() <= 0.5 + 1e-5
        else:
            exact = blur_pool.reference(x.astype(np.float64), slope=slope)
            assert_rounded(y, exact)


def assert_rounded(y: Arrays, exact: Arrays) -> None:
    """Compare with the exact result: sums are in float32 and rounded once to the type."""
    import ml_dtypes

    step = float(ml_dtypes.finfo(y.dtype).eps)
    bound = np.abs(exact) * step * 0.51 + 3e-7 + float(ml_dtypes.finfo(y.dtype).tiny)
    assert (np.abs(y.astype(np.float64) - exact) <= bound).all()


@pytest.mark.parametrize("ratio", [0.5, 0.73, 3.0])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_int8_blur_changes_the_scale_and_clamps(
    run_on_host: Runner, layout: MemoryLayout, ratio: float
) -> None:
    x = noise((2, 16, 6, 8), "int8")
    x[:, :, :2] = 127
    x[:, :, -2:] = -128
    y = blurred(run_on_host, x, "int8", layout, 1, ratio=ratio)
    np.testing.assert_array_equal(y, blur_pool.reference_int8(x, ratio=ratio))
    if ratio > 1:
        assert {-128, 127} <= set(y.ravel().tolist())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 65504.0, 6e-8, -0.0])
@pytest.mark.parametrize("element", ["float32", "float16", "bfloat16"])
def test_special_numbers_pass_through_the_blur(
    run_on_host: Runner, element: ElementType, value: float
) -> None:
    with np.errstate(over="ignore"):
        x = np.full((1, 1, 4, 4), value).astype(DTYPES[element])
    y = blurred(run_on_host, x, element, "nchw", 1)
    np.testing.assert_array_equal(y.astype(np.float64), x[:, :, :2, :2].astype(np.float64))


def test_padded_channels_are_carried_along(run_on_host: Runner) -> None:
    x = noise((1, 76, 6, 5), "float16")
    pitch = 80  # TensorRT's HWC8
    padded = np.concatenate([x, np.zeros((1, 4, 6, 5), np.float16)], axis=1)
    plan = plans.blur_pool((1, 76, 6, 5), "float16", layout="nhwc", pack=8, pitch=pitch)
    y = run_on_host(plan, (in_memory(padded, "nhwc"), None), (1, 3, 3, pitch))
    assert_rounded(from_memory(y, "nhwc")[:, :76], blur_pool.reference(x.astype(np.float64)))
    assert not y[..., 76:].any()


@pytest.mark.parametrize("shape", BLURRED[:-1], ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("element", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("slope", [1.0, SLOPE])
def test_the_gradient_of_the_blur_is_the_reference(
    run_on_host: Runner,
    shape: tuple[int, int, int, int],
    layout: MemoryLayout,
    element: ElementType,
    slope: float,
) -> None:
    n, c, h, w = shape
    gradient = noise((n, c, -(-h // 2), -(-w // 2)), element)
    x = None if slope == 1 else noise(shape, element, seed=1)
    plan = plans.blur_pool_backward(shape, element, layout=layout, slope=slope)
    inputs = (in_memory(gradient, layout), None if x is None else in_memory(x, layout))
    y = run_on_host(plan, inputs, in_memory(np.empty(shape), layout).shape)
    exact = blur_pool.reference_gradient(
        gradient.astype(np.float64), x, height=h, width=w, slope=slope
    )
    assert_rounded(from_memory(y, layout), exact)


@pytest.mark.parametrize("shape", MOVED, ids=str)
@pytest.mark.parametrize("blocksize", [2, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32])
def test_space_to_depth_and_back_in_planes(
    run_on_host: Runner, shape: tuple[int, int, int, int], blocksize: int, dtype: type[np.generic]
) -> None:
    x = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    expected = space_to_depth.reference(x, blocksize=blocksize)
    for pack in {1, plans.space_to_depth_pack(blocksize, shape[3])}:
        options = {"element_bytes": x.itemsize, "blocksize": blocksize, "pack": pack}
        y = run_on_host(plans.space_to_depth(shape, **options), (x,), expected.shape)
        np.testing.assert_array_equal(y, expected)
        back = plans.space_to_depth(shape, **options, inverse=True)
        np.testing.assert_array_equal(run_on_host(back, (y,), shape), x)


@pytest.mark.parametrize("shape", MOVED, ids=str)
@pytest.mark.parametrize("blocksize", [2, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32])
def test_space_to_depth_and_back_in_channels_last(
    run_on_host: Runner, shape: tuple[int, int, int, int], blocksize: int, dtype: type[np.generic]
) -> None:
    x = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    expected = space_to_depth.reference(x, blocksize=blocksize)
    options = {"element_bytes": x.itemsize, "blocksize": blocksize}
    plan = plans.space_to_depth_nhwc(shape, **options)
    memory = in_memory(expected, "nhwc")
    y = run_on_host(plan, (in_memory(x, "nhwc"),), memory.shape)
    np.testing.assert_array_equal(y, memory)
    back = plans.space_to_depth_nhwc(shape, **options, inverse=True)
    x_memory = in_memory(x, "nhwc")
    np.testing.assert_array_equal(run_on_host(back, (y,), x_memory.shape), x_memory)


def test_tresnets_images_move_sixteen_bytes_a_thread() -> None:
    shape = (1, 3, 224, 224)
    assert plans.space_to_depth_nhwc(shape, element_bytes=4).kernel.endswith("16byte")
    assert plans.space_to_depth_pack(4, 224) == 4


def test_no_kernel_touches_memory_that_is_not_its_own(host_kernels: object, tmp_path: Path) -> None:
    """In a process of its own, where inputs and outputs end and begin at pages without access."""
    script = Path(__file__).with_name("guard_pages.py")
    done = subprocess.run(
        [sys.executable, str(script), *(each.library._name for each in host_kernels.values())],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr or f"ended by signal {-done.returncode}"


def test_a_vector_at_an_odd_address_ends_the_process(
    host_kernels: dict[Source, host.HostKernels],
) -> None:
    """So the test above proves alignment too."""
    program = f"""
import ctypes
from tresnet_deploy.plugins.kernels import Source, host, plans
kernels = host.HostKernels(ctypes.CDLL({host_kernels["blur_pool"].library._name!r}))
memory = ctypes.create_string_buffer(4096)
start = ctypes.addressof(memory) // 16 * 16 + 16
plan = plans.blur_pool((1, 1, 4, 8), "float32", pack=4)
kernels.run(plan, [start, 0, start + 1024])
print("aligned", flush=True)
kernels.run(plan, [start + 4, 0, start + 1024])
print("unaligned")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["aligned"]
    assert done.returncode < 0


@pytest.mark.parametrize("side", [(1, 5), (5, 1), (1, 1)])
def test_a_map_of_one_row_is_refused(side: tuple[int, int]) -> None:
    words = f"height and width must be 2 or more, not {side[0]}x{side[1]}"
    with pytest.raises(UsageError, match=words):
        plans.check_blur((1, 3, *side))
    with pytest.raises(UsageError, match=words):
        blur_pool.reference(np.zeros((1, 3, *side), np.float32))


@pytest.mark.parametrize(
    ("shape", "blocksize", "words"),
    [((1, 3, 6, 8), 4, "multiples of 4, not 6x8"), ((1, 3, 9, 9), 3, "blocks of 2 and 4, not of")],
)
def test_space_to_depth_refuses_what_has_no_kernel(
    shape: tuple[int, ...], blocksize: int, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        plans.check_space_to_depth(shape, blocksize)


@pytest.mark.parametrize("shape", [(0, 3, 8, 8), (4096, 2048, 128, 128)])
def test_an_empty_or_enormous_tensor_is_refused(shape: tuple[int, int, int, int]) -> None:
    plan = plans.blur_pool(shape, "float32")
    with pytest.raises(UsageError, match="takes 1 to 2147483647 work items, not"):
        plans.blocks_of(plan)


def test_a_machine_without_a_compiler_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UnavailableError, match="no C\\+\\+ compiler") as caught:
        host.find_compiler()
    assert caught.value.exit_code == 3


def test_a_compilers_refusal_is_quoted(
    host_kernels: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "blur_pool.cu").write_text("#error not today\n")
    monkeypatch.setattr(host, "FOLDER", tmp_path)
    with pytest.raises(BuildError, match="not today"):
        host.compile_kernels("blur_pool", tmp_path)
