"""Hand our plugins to TensorRT's own Python code, from its bindings wheel: no GPU, no libraries.

    python bench/plugin_registration.py BINDINGS.whl

``tensorrt.plugin`` is Python over the bindings, and it is here that TensorRT checks what a plugin
declares and asks for its kernel. Its decorators and its two template classes run as they are, over
stand-ins for the libraries (``tensorrt_surface``) and for symbolic sizes, which only a network has.
The ``IPluginV3`` classes are made and asked likewise. Any refusal ends this with its traceback.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from tensorrt_surface import load
from tresnet_deploy.plugins.kernels import nvrtc, plans
from tresnet_deploy.plugins.tensorrt_registration import quick, version_3

CAPABILITY: Final = 86
SIZES: Final = {"batch": 8, "height": 56, "width": 56}


class Expression:
    """A symbolic size, in the place of ``IDimensionExpr``: what it is worth with ``SIZES``."""

    def __init__(self, value: int, *, constant: bool) -> None:
        self.value, self.constant = value, constant

    def is_constant(self) -> bool:
        """Tell whether it is known when the engine is built."""
        return self.constant

    def get_constant_value(self) -> int:
        """Return it then."""
        assert self.constant
        return self.value

    def is_size_tensor(self) -> bool:
        """Return False: no size here is computed by a layer."""
        return False


class Builder:
    """``IExprBuilder`` by Python's arithmetic."""

    def constant(self, value: int) -> Expression:
        """Return a size that is known."""
        return Expression(value, constant=True)

    def operation(self, kind: Any, first: Expression, second: Expression) -> Expression:
        """Return the result of one of TensorRT's operations."""
        a, b = first.value, second.value
        results = {
            "SUM": a + b,
            "PROD": a * b,
            "FLOOR_DIV": a // max(b, 1),
            "CEIL_DIV": -(-a // max(b, 1)),
        }
        return Expression(results[kind.name], constant=first.constant and second.constant)


class Argument:
    """``ISymExpr``: an extra argument of a kernel."""


class Setter(dict[int, Any]):
    """``ISymExprs``: takes the extra arguments of a kernel."""

    nbSymExprs = 0  # noqa: N815  (TensorRT's name)


class Sizes(list[Any]):
    """``DimsExprs``: the sizes of one tensor."""

    def __init__(self, like: int | list[Any]) -> None:
        super().__init__([None] * like if isinstance(like, int) else like)


def prepare(trt: Any) -> tuple[ModuleType, ModuleType]:
    """Return ``tensorrt.plugin`` and its registry, both TensorRT's own."""
    trt.IDimensionExpr, trt.DimsExprs, trt.ISymExpr = Expression, Sizes, Argument
    sys.modules["tensorrt"] = trt
    trtp = importlib.import_module(f"{trt.__name__}.plugin")
    # There is no plugin registry to enter: that is libnvinfer's.
    trtp.register = functools.partial(trtp.register, lazy_register=True)  # type: ignore[attr-defined]
    return trtp, importlib.import_module(f"{trt.__name__}.plugin._lib")


def described(trt: ModuleType, kind: str, form: str, *sizes: int | str) -> Any:
    """Return a tensor as TensorRT describes it to a plugin; open sizes are -1."""
    dynamic = trt.DynamicPluginTensorDesc()
    one = trt.PluginTensorDesc()
    one.dims = trt.Dims([-1 if isinstance(size, str) else size for size in sizes])
    one.type, one.format = getattr(trt.DataType, kind), getattr(trt.TensorFormat, form)
    dynamic.desc = one
    worth = trt.Dims([SIZES[size] if isinstance(size, str) else size for size in sizes])
    dynamic.min = dynamic.opt = dynamic.max = worth
    return dynamic


def expressions(*sizes: int | str) -> list[Expression]:
    """Return the sizes as symbols."""
    return [
        Expression(SIZES[size], constant=False)
        if isinstance(size, str)
        else Expression(size, constant=True)
        for size in sizes
    ]


def embed(
    trt: ModuleType, lib: ModuleType, name: str, attribute: dict[str, float], tensors: list[Any]
) -> str:
    """Let TensorRT's AOT template ask for a kernel as a build does; return what it was given."""
    template = importlib.import_module(f"{trt.__name__}.plugin._plugin_class")._TemplateAOTPlugin
    record = lib.QDP_REGISTRY[f"tresnet::{name}"]
    plugin = template(name, "tresnet", record.num_outputs)
    plugin.init(
        record.register_func,
        attribute,
        record.aot_impl_attr_names,
        record.aot_impl_func,
        record.autotune_attr_names,
        record.autotune_func,
    )
    shapes = [shape for shape, _ in tensors]
    in_out = [tensor for _, tensor in tensors]
    count = len(in_out) - 1
    types = [tensor.desc.type for tensor in in_out[:count]]
    builder, setter, launch = Builder(), Setter(), type("Launch", (), {})()
    plugin.get_output_data_types(types, [4] * count)
    plugin.get_output_shapes(shapes[:count], [], builder)
    offered = plugin.get_supported_format_combinations(in_out, count)
    plugin.set_tactic(0)
    plugin.get_launch_params(shapes[:count], in_out, count, launch, setter, builder)
    kernel, text = plugin.get_kernel(
        [each.desc for each in in_out[:count]], [each.desc for each in in_out[count:]]
    )
    assert f".entry {kernel}(" in text.decode(), kernel
    scalars = [setter[index].expr.value for index in range(setter.nbSymExprs)]
    grid = launch.grid_x.expr.value
    assert grid == -(-scalars[0] // plans.THREADS)
    formats = {each.format.name for each in offered}
    return f"{kernel:40} grid {grid:6} x {launch.block_x.expr.value}  {scalars}  {sorted(formats)}"


def embed_all(trt: ModuleType, lib: ModuleType) -> None:
    """Print the kernel of each operator, type and format."""
    image = ("batch", 3, 224, 224)
    for kind in ("FLOAT", "HALF", "INT8"):
        tensors = [
            (expressions(*image), described(trt, kind, "LINEAR", *image)),
            (None, described(trt, kind, "LINEAR", "batch", 48, 56, 56)),
        ]
        print(embed(trt, lib, "SpaceToDepth", {"blocksize": 4}, tensors))
    for kind, form in (("FLOAT", "LINEAR"), ("FLOAT", "HWC"), ("HALF", "LINEAR"), ("HALF", "HWC8")):
        for sides in ((56, 56), ("height", "width")):
            shape = ("batch", 76, *sides)
            tensors = [
                (expressions(*shape), described(trt, kind, form, *shape)),
                (expressions(76, 1, 3, 3), described(trt, kind, "LINEAR", 76, 1, 3, 3)),
                (None, described(trt, kind, form, "batch", 76, 28, 28)),
            ]
            print(embed(trt, lib, "BlurPool2d", {"group": 76}, tensors))
    leaky = {"alpha": 0.5, "group": 76}
    print(embed(trt, lib, "LeakyBlurPool2d", leaky, tensors))


def check_version_3(trt: ModuleType) -> None:
    """Make the ``IPluginV3`` classes over TensorRT's own interfaces, and ask them."""
    values = {"blocksize": 4, "group": 76, "alpha": 0.5}
    for operator in version_3.OPERATORS:
        creator = version_3.creator_class(trt, operator)()
        assert isinstance(creator, trt.IPluginCreatorV3One)
        fields = [
            version_3.field(trt, name, kind, values=(values[name],))
            for name, kind in operator.attributes
        ]
        plugin = creator.create_plugin(
            operator.name, trt.PluginFieldCollection(fields), trt.TensorRTPhase.BUILD
        )
        copy = plugin.clone()
        assert isinstance(copy, trt.IPluginV3OneBuild)
        shape = ("batch", 76, 56, 56)
        tensors = [described(trt, "HALF", "LINEAR", *shape)] * (operator.inputs + 1)
        for position in range(len(tensors)):
            assert copy.supports_format_combination(position, tensors, operator.inputs)
        assert len(copy.get_fields_to_serialize()) == len(operator.attributes)
        assert copy.values == {name: values[name] for name, _ in operator.attributes}
        print(f"IPluginV3 {operator.name}: made, cloned and asked")


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("bindings", help="the wheel tensorrt_cu13_bindings-*.whl")
    with tempfile.TemporaryDirectory() as folder:
        trt = load(parser.parse_args().bindings, Path(folder))
        trtp, lib = prepare(trt)
        print(f"TensorRT {trt.__version__}, PTX by CUDA {nvrtc.find().version}")
        quick.register(trtp, capability=CAPABILITY)
        embed_all(trt, lib)
        check_version_3(trt)


if __name__ == "__main__":
    main()
