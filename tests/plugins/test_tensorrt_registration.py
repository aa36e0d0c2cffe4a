"""TensorRT is handed the right kernel, grid and arguments; its API is a fake (tensorrt_fake)."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tresnet_deploy.plugins
from tresnet_deploy.plugins import blur_pool, space_to_depth, tensorrt_registration
from tresnet_deploy.plugins.kernels import driver, nvrtc, plans
from tresnet_deploy.plugins.tensorrt_registration import quick, tensors, version_3

from tresnet_deploy.errors import UsageError

from . import tensorrt_fake
from .conftest import Runner, from_memory, in_memory, noise
from .tensorrt_fake import DataType, Symbol, Tensor, TensorDesc, TensorFormat

SM = 86
ALL = ("SpaceToDepth", "BlurPool2d", "LeakyBlurPool2d")
DTYPES = {DataType.FLOAT: "float32", DataType.HALF: "float16", DataType.BF16: "bfloat16"}


@pytest.fixture(autouse=True)
def ptx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvrtc, "ptx", lambda *what: " ".join(map(str, what)))
    monkeypatch.setattr(nvrtc, "find", lambda: None)


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[plans.Launch[int], list[int], int]]:
    calls: list[tuple[plans.Launch[int], list[int], int]] = []
    monkeypatch.setattr(
        driver, "launch", lambda plan, pointers, *, stream: calls.append((plan, pointers, stream))
    )
    return calls


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> Any:
    module = tensorrt_fake.runtime(monkeypatch)
    assert tensorrt_registration.register(module, capability=SM) == ALL
    return module.plugin.found


def evaluated(result: tuple[Any, ...], sizes: dict[str, int]) -> plans.Launch[int]:
    """The launch that TensorRT would make of an AOT kernel at run time."""
    kernel, text, parameters, extra = result
    source, capability, compiled = text.split()
    assert (capability, compiled) == (str(SM), kernel)
    scalars = tuple(Symbol.of(each).value(sizes) for each in extra)
    plan = plans.Launch(
        source=source,
        kernel=kernel,
        inputs=2 if source == "blur_pool" else 1,
        items=scalars[0],
        scalars=scalars,
    )
    assert parameters.grid_x.value(sizes) == plans.blocks_of(plan)
    assert parameters.block_x == plans.THREADS
    return plan


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("form", ["LINEAR", "HWC8"])
def test_an_embedded_blur_of_any_batch_is_the_reference(
    plugins: Any, run_on_host: Runner, batch: int, form: str
) -> None:
    x = TensorDesc(("batch", 12, 14, 28), DataType.HALF)
    x.format = TensorFormat[form]
    found = plugins["tresnet::BlurPool2d"]
    result = found.aot(x, TensorDesc((12, 1, 3, 3), DataType.HALF), 12, (), 0)
    plan = evaluated(result, {"batch": batch})
    values = noise((batch, 12, 14, 28), "float16")
    if form == "LINEAR":
        assert plan.kernel == "blur_pool_nchw_float16_v2"
        y = run_on_host(plan, (values, None), (batch, 12, 7, 14))
    else:
        assert plan.kernel == "blur_pool_nhwc_float16_v8"
        padded = np.pad(values, ((0, 0), (0, 4), (0, 0), (0, 0)))
        memory = run_on_host(plan, (in_memory(padded, "nhwc"), None), (batch, 7, 14, 16))
        y = from_memory(memory, "nhwc")[:, :12]
    exact = blur_pool.reference(values.astype(np.float64))
    np.testing.assert_allclose(y.astype(np.float64), exact, rtol=1e-3, atol=1e-4)


def test_an_embedded_blur_of_open_sides_takes_single_outputs(
    plugins: Any, run_on_host: Runner
) -> None:
    x = TensorDesc(("batch", 4, "height", "width"), DataType.FLOAT)
    result = plugins["tresnet::BlurPool2d"].aot(x, x, 4, (), 0)
    for height, width in ((5, 7), (8, 8)):
        plan = evaluated(result, {"batch": 2, "height": height, "width": width})
        assert plan.kernel == "blur_pool_nchw_float32_v1"
        values = noise((2, 4, height, width), "float32")
        expected = blur_pool.reference(values)
        y = run_on_host(plan, (values, None), expected.shape)
        np.testing.assert_allclose(y, expected, atol=1e-6)


def test_an_embedded_blur_takes_the_activation_along(
    plugins: Any,
    run_on_host: Runner,
    launched: list[tuple[plans.Launch[int], list[int], int]],
) -> None:
    x = TensorDesc(("batch", 4, 6, 8), DataType.FLOAT)
    found = plugins["tresnet::LeakyBlurPool2d"]
    plan = evaluated(found.aot(x, x, 0.25, 4, (), 0), {"batch": 2})
    values = noise((2, 4, 6, 8), "float32")
    expected = blur_pool.reference(values, slope=0.25)
    np.testing.assert_allclose(run_on_host(plan, (values, None), (2, 4, 3, 4)), expected, atol=1e-6)
    held = Tensor((2, 4, 6, 8), DataType.FLOAT, 1)
    found.jit(held, held, 0.25, 4, (held,), 7)
    assert launched[0][0] == plan
    assert [each.value({"batch": 5}) for each in found.describe(x, x, 0.25, 4).shape_expr] == [
        *(5, 4),
        *(3, 4),
    ]


@pytest.mark.parametrize("dtype", [DataType.FLOAT, DataType.HALF, DataType.INT8])
def test_an_embedded_space_to_depth_is_the_reference(
    plugins: Any, run_on_host: Runner, dtype: DataType
) -> None:
    x = TensorDesc(("batch", 3, 16, 32), dtype)
    plan = evaluated(plugins["tresnet::SpaceToDepth"].aot(x, 4, (), 0), {"batch": 2})
    assert plan.kernel.endswith("b4_v4")
    values = noise((2, 3, 16, 32), tensors.element_of(dtype))
    expected = space_to_depth.reference(values, blocksize=4)
    np.testing.assert_array_equal(run_on_host(plan, (values,), expected.shape), expected)


def test_outputs_are_described_by_symbols(plugins: Any) -> None:
    x = TensorDesc(("batch", 3, "height", "width"), DataType.HALF)
    sizes = {"batch": 5, "height": 9, "width": 12}
    blurred = plugins["tresnet::BlurPool2d"].describe(x, x, 3)
    assert [each.value(sizes) for each in blurred.shape_expr] == [5, 3, 5, 6]
    sizes["height"] = 8
    moved = plugins["tresnet::SpaceToDepth"].describe(x, 4)
    assert [each.value(sizes) for each in moved.shape_expr] == [5, 48, 2, 3]
    assert moved.dtype is blurred.dtype is DataType.HALF


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (DataType.FLOAT, [("FP32, FP32, FP32", "LINEAR, LINEAR, LINEAR"),
                          ("FP32, FP32, FP32", "HWC, LINEAR, HWC")]),
        (DataType.HALF, [("FP16, FP16, FP16", "LINEAR, LINEAR, LINEAR"),
                         ("FP16, FP16, FP16", "HWC8, LINEAR, HWC8")]),
    ],
)  # fmt: skip
def test_a_blur_is_tried_in_planes_and_channels_last(
    plugins: Any, dtype: DataType, expected: list[tuple[str, str]]
) -> None:
    x = TensorDesc((1, 8, 8, 8), dtype)
    found = plugins["tresnet::BlurPool2d"].autotune(x, x, 8, ())
    assert [(each.io_types, each.layouts) for each in found] == expected


def test_a_blur_of_integers_is_refused(plugins: Any) -> None:
    x = TensorDesc((1, 8, 8, 8), DataType.INT8)
    with pytest.raises(UsageError, match="BlurPool2d takes float tensors, not int8"):
        plugins["tresnet::BlurPool2d"].autotune(x, x, 8, ())


def test_space_to_depth_is_tried_in_planes_only(plugins: Any) -> None:
    x = TensorDesc((1, 3, 8, 8), DataType.INT8)
    (found,) = plugins["tresnet::SpaceToDepth"].autotune(x, 4, ())
    assert (found.io_types, found.layouts) == ("INT8, INT8", "LINEAR, LINEAR")


def test_a_type_without_a_kernel_is_refused(plugins: Any) -> None:
    x = TensorDesc((1, 3, 8, 8), DataType.INT32)
    with pytest.raises(UsageError, match="take FLOAT, HALF, BF16, INT8 tensors, not INT32"):
        plugins["tresnet::SpaceToDepth"].autotune(x, 4, ())


def test_python_launches_the_same_kernels_on_tensorrts_stream(
    plugins: Any, launched: list[tuple[plans.Launch[int], list[int], int]]
) -> None:
    x = Tensor((2, 8, 8, 16), DataType.HALF, 0x10)
    taps, y = Tensor((8, 1, 3, 3), DataType.HALF, 0x20), Tensor((2, 8, 4, 8), DataType.HALF, 0x30)
    plugins["tresnet::BlurPool2d"].jit(x, taps, 8, (y,), 7)
    plugins["tresnet::SpaceToDepth"].jit(x, 4, (y,), 7)
    blur, move = launched
    expected = plans.blur_pool((2, 8, 8, 16), "float16", pack=4)
    assert blur == (expected, [0x10, 0x20, 0x30], 7)
    assert move[1:] == ([0x10, 0x30], 7)
    assert move[0].kernel == "space_to_depth_nchw_2byte_b4_v4"


def test_a_runtime_without_plugins_is_refused_with_a_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = tensorrt_fake.runtime(monkeypatch, plugins=False)
    with pytest.raises(UsageError, match="tensorrt_fake takes no plugins") as caught:
        tensorrt_registration.register(module, capability=SM)
    assert caught.value.exit_code == 2
    assert "tresnet-deploy export --operators function" in caught.value.hints


def test_tensorrt_rtx_is_refused() -> None:
    runtime = pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")
    with pytest.raises(UsageError, match="tensorrt_rtx takes no plugins"):
        tresnet_deploy.plugins.refuse_on(runtime)


@pytest.fixture
def creators(monkeypatch: pytest.MonkeyPatch) -> Any:
    module = tensorrt_fake.runtime(monkeypatch, quick=False)
    assert tensorrt_registration.register(module, capability=SM) == ALL
    return module.get_plugin_registry().creators


def created(creators: Any, name: str, **values: float) -> Any:
    creator = creators["tresnet", name]
    assert [field.name for field in creator.field_names] == list(values)
    fields = [
        tensorrt_fake.PluginField(key, np.array([value]), field.type)
        for (key, value), field in zip(values.items(), creator.field_names, strict=True)
    ]
    return creator.create_plugin(name, fields, None)


def described(form: str, dtype: DataType, *dims: int) -> SimpleNamespace:
    return SimpleNamespace(dims=dims, type=dtype, format=TensorFormat[form])


def test_an_older_runtime_gets_plugin_classes(
    creators: Any, launched: list[tuple[plans.Launch[int], list[int], int]]
) -> None:
    plugin = created(creators, "BlurPool2d", group=8).attach_to_context(None)
    x = described("HWC8", DataType.HALF, 2, 8, 8, 16)
    plugin.enqueue([x, x], [x], [0x10, 0x20], [0x30], 0, 7)
    expected = plans.blur_pool((2, 8, 8, 16), "float16", layout="nhwc", pack=8, pitch=8)
    assert launched == [(expected, [0x10, 0x20, 0x30], 7)]
    (field,) = plugin.get_fields_to_serialize()
    assert (field.name, field.data.tolist()) == ("group", [8])
    assert plugin.get_output_data_types([DataType.HALF, DataType.HALF]) == [DataType.HALF]


def test_a_plugin_class_keeps_the_slope_of_the_activation(
    creators: Any, launched: list[tuple[plans.Launch[int], list[int], int]]
) -> None:
    plugin = created(creators, "LeakyBlurPool2d", alpha=0.25, group=8).clone()
    x = described("LINEAR", DataType.FLOAT, 1, 8, 8, 8)
    plugin.enqueue([x, x], [x], [1, 2], [3], 0, 7)
    assert launched[0][0] == plans.blur_pool((1, 8, 8, 8), "float32", pack=4, slope=0.25)
    alpha, group = plugin.get_fields_to_serialize()
    assert (alpha.name, alpha.type, alpha.data.tolist()) == ("alpha", "FLOAT32", [0.25])
    assert (group.name, group.type, group.data.tolist()) == ("group", "INT32", [8])


def test_plugin_classes_describe_their_outputs(creators: Any) -> None:
    builder = tensorrt_fake.ExpressionBuilder()
    sizes = {"batch": 3, "height": 8, "width": 12}
    x = [Symbol.of(each) for each in ("batch", 3, "height", "width")]
    move = created(creators, "SpaceToDepth", blocksize=4)
    (shape,) = move.get_output_shapes([x], [], builder)
    assert [each.value(sizes) for each in shape] == [3, 48, 2, 3]
    sizes["height"] = 9
    (shape,) = created(creators, "BlurPool2d", group=3).get_output_shapes([x, x], [], builder)
    assert [each.value(sizes) for each in shape] == [3, 3, 5, 6]


@pytest.mark.parametrize(
    ("name", "tensors_", "supported"),
    [
        ("BlurPool2d", (("LINEAR", "HALF"), ("LINEAR", "HALF"), ("LINEAR", "HALF")), True),
        ("BlurPool2d", (("HWC8", "HALF"), ("LINEAR", "HALF"), ("HWC8", "HALF")), True),
        ("BlurPool2d", (("HWC8", "HALF"), ("HWC8", "HALF"), ("HWC8", "HALF")), False),
        ("BlurPool2d", (("HWC8", "FLOAT"), ("LINEAR", "FLOAT"), ("HWC8", "FLOAT")), False),
        ("BlurPool2d", (("HWC8", "HALF"), ("LINEAR", "HALF"), ("LINEAR", "HALF")), False),
        ("BlurPool2d", (("LINEAR", "FLOAT"), ("LINEAR", "FLOAT"), ("LINEAR", "HALF")), False),
        ("BlurPool2d", (("LINEAR", "INT8"), ("LINEAR", "INT8"), ("LINEAR", "INT8")), False),
        ("BlurPool2d", (("LINEAR", "INT32"), ("LINEAR", "INT32"), ("LINEAR", "INT32")), False),
        ("SpaceToDepth", (("LINEAR", "INT8"), ("LINEAR", "INT8")), True),
        ("SpaceToDepth", (("HWC8", "HALF"), ("HWC8", "HALF")), False),
    ],
)
def test_plugin_classes_take_the_combinations_that_have_kernels(
    creators: Any, name: str, tensors_: tuple[tuple[str, str], ...], supported: bool
) -> None:
    plugin = created(creators, name, **{"group" if name == "BlurPool2d" else "blocksize": 4})
    in_out = [SimpleNamespace(desc=described(form, DataType[kind])) for form, kind in tensors_]
    found = [
        plugin.supports_format_combination(position, in_out, len(in_out) - 1)
        for position in range(len(in_out))
    ]
    assert all(found) == supported


def test_a_second_registration_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    module = tensorrt_fake.runtime(monkeypatch)
    first = tensorrt_registration.register(module, capability=SM)
    found = dict(module.plugin.found)
    assert tensorrt_registration.register(module, capability=90) == first
    assert module.plugin.found == found


def test_both_ways_register_the_same_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    module = tensorrt_fake.runtime(monkeypatch)
    assert quick.register(module.plugin, capability=SM) == version_3.register(module)
