"""Plugins through ``tensorrt.plugin``: this file is about its four decorators.

Not run on a GPU yet. Each operator has a description (shapes and types), formats to try, a kernel
to embed in the engine (``aot_impl``: PTX, grid, and arguments in the order inputs, integers,
outputs) and a launch from Python (``impl``). Build with the network flag PREFER_AOT_PYTHON_PLUGINS;
TensorRT refuses to choose by itself where both are defined.

TensorRT checks the decorated functions by their annotations, which must be its own classes, so they
are put on afterwards: the module is an argument here.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

from .. import DOMAIN
from ..kernels import driver, nvrtc
from ..kernels.plans import THREADS, Launch
from . import tensors
from .tensors import BLUR_POOL, LEAKY_BLUR_POOL, SPACE_TO_DEPTH

_Function = Callable[..., Any]
_ID: Final = f"{DOMAIN}::{{}}"


def register(trtp: ModuleType, *, capability: int) -> tuple[str, ...]:
    """Register all operators with ``tensorrt.plugin``, for a GPU of ``capability``."""
    _register_space_to_depth(trtp, capability)
    _register_blur_pool(trtp, capability)
    _register_leaky_blur_pool(trtp, capability)
    return SPACE_TO_DEPTH, BLUR_POOL, LEAKY_BLUR_POOL


def _register_space_to_depth(trtp: ModuleType, capability: int) -> None:
    def describe(x: Any, blocksize: int) -> Any:
        shape = tensors.depth_shape(_symbolic(x), blocksize)
        return trtp.from_shape_expr(shape, x.dtype)

    def autotune(x: Any, blocksize: int, outputs: Any) -> Any:
        return _combinations(trtp, SPACE_TO_DEPTH, x, inputs=1)

    def aot(x: Any, blocksize: int, outputs: Any, tactic: int) -> Any:
        element = tensors.element_of(x.dtype)
        width = _constant(x.shape_expr[3])
        plan = tensors.space_to_depth_plan(_symbolic(x), element, blocksize, width=width)
        return _embedded(trtp, plan, capability)

    def jit(x: Any, blocksize: int, outputs: Any, stream: int) -> None:
        n, c, h, w = x.shape
        element = tensors.element_of(x.dtype)
        plan = tensors.space_to_depth_plan((n, c, h, w), element, blocksize, width=w)
        driver.launch(plan, [x.data_ptr, outputs[0].data_ptr], stream=stream)

    functions = (describe, autotune, aot, jit)
    _decorate(trtp, SPACE_TO_DEPTH, ("x",), {"blocksize": int}, functions)


def _register_blur_pool(trtp: ModuleType, capability: int) -> None:
    def describe(x: Any, taps: Any, group: int) -> Any:
        return trtp.from_shape_expr(tensors.blurred_shape(_symbolic(x)), x.dtype)

    def autotune(x: Any, taps: Any, group: int, outputs: Any) -> Any:
        return _combinations(trtp, BLUR_POOL, x, inputs=2)

    def aot(x: Any, taps: Any, group: int, outputs: Any, tactic: int) -> Any:
        return _embedded(trtp, _symbolic_blur(x, slope=1.0), capability)

    def jit(x: Any, taps: Any, group: int, outputs: Any, stream: int) -> None:
        _launch_blur(x, taps, outputs[0], stream, slope=1.0)

    functions = (describe, autotune, aot, jit)
    _decorate(trtp, BLUR_POOL, ("x", "taps"), {"group": int}, functions)


def _register_leaky_blur_pool(trtp: ModuleType, capability: int) -> None:
    def describe(x: Any, taps: Any, alpha: float, group: int) -> Any:
        return trtp.from_shape_expr(tensors.blurred_shape(_symbolic(x)), x.dtype)

    def autotune(x: Any, taps: Any, alpha: float, group: int, outputs: Any) -> Any:
        return _combinations(trtp, LEAKY_BLUR_POOL, x, inputs=2)

    def aot(  # noqa: PLR0917  (TensorRT's own list, as in jit)
        x: Any, taps: Any, alpha: float, group: int, outputs: Any, tactic: int
    ) -> Any:
        return _embedded(trtp, _symbolic_blur(x, slope=alpha), capability)

    def jit(  # noqa: PLR0917
        x: Any, taps: Any, alpha: float, group: int, outputs: Any, stream: int
    ) -> None:
        _launch_blur(x, taps, outputs[0], stream, slope=alpha)

    functions = (describe, autotune, aot, jit)
    _decorate(trtp, LEAKY_BLUR_POOL, ("x", "taps"), {"alpha": float, "group": int}, functions)


def _symbolic_blur(x: Any, *, slope: float) -> Launch[Any]:
    """Plan the blur of a tensor whose sizes may be open."""
    return tensors.blur_plan(
        _symbolic(x),
        tensors.element_of(x.dtype),
        x.format.name,
        width=_constant(x.shape_expr[3]),
        channels=_constant(x.shape_expr[1]),
        slope=slope,
    )


def _launch_blur(x: Any, taps: Any, y: Any, stream: int, *, slope: float) -> None:
    n, c, h, w = x.shape
    element = tensors.element_of(x.dtype)
    plan = tensors.blur_plan((n, c, h, w), element, x.format.name, width=w, channels=c, slope=slope)
    driver.launch(plan, [x.data_ptr, taps.data_ptr, y.data_ptr], stream=stream)


def _decorate(
    trtp: ModuleType,
    name: str,
    inputs: tuple[str, ...],
    attributes: dict[str, type],
    functions: tuple[_Function, _Function, _Function, _Function],
) -> None:
    """Annotate the functions with the classes of ``trtp`` and hand them over."""
    describe, autotune, aot, jit = functions
    described = dict.fromkeys(inputs, trtp.TensorDesc)
    several = {"outputs": tuple[trtp.TensorDesc]}  # type: ignore[name-defined]
    kernel = tuple[str, str, trtp.KernelLaunchParams, trtp.SymIntExprs]  # type: ignore[name-defined]

    describe.__annotations__ = {**described, **attributes, "return": trtp.TensorDesc}
    autotune.__annotations__ = {
        **described,
        **attributes,
        **several,
        "return": list[trtp.AutoTuneCombination],  # type: ignore[name-defined]
    }
    aot.__annotations__ = {**described, **attributes, **several, "tactic": int, "return": kernel}
    jit.__annotations__ = {
        **dict.fromkeys(inputs, trtp.Tensor),
        **attributes,
        "outputs": tuple[trtp.Tensor],  # type: ignore[name-defined]
        "stream": int,
        "return": None,
    }
    plugin_id = _ID.format(name)
    if _is_registered(trtp, name):
        return
    trtp.register(plugin_id)(describe)
    trtp.autotune(plugin_id)(autotune)
    trtp.aot_impl(plugin_id)(aot)
    trtp.impl(plugin_id)(jit)


def _is_registered(trtp: ModuleType, name: str) -> bool:
    """Tell whether this process has the plugin already, which TensorRT would not take twice."""
    return hasattr(trtp.op, DOMAIN) and hasattr(vars(trtp.op)[DOMAIN], name)


def _symbolic(x: Any) -> tuple[Any, Any, Any, Any]:
    n, c, h, w = x.shape_expr
    return n, c, h, w


def _constant(size: Any) -> int | None:
    """Return a size that is known when the engine is built."""
    return int(size.constant_value()) if size.is_constant else None


def _combinations(trtp: ModuleType, operator: str, x: Any, *, inputs: int) -> list[Any]:
    """Offer each memory format; the filter of the blur always lies linear."""
    element = tensors.element_of(x.dtype)
    tensors.check(operator, element)
    types = ", ".join([tensors.autotune_name(x.dtype)] * (inputs + 1))
    linear = [tensors.LINEAR] * (inputs - 1)
    return [
        trtp.AutoTuneCombination(types, ", ".join([each, *linear, each]))
        for each in tensors.formats_of(operator, element)
    ]


def _embedded(trtp: ModuleType, plan: Launch[Any], capability: int) -> tuple[str, str, Any, Any]:
    """Return kernel name, PTX, grid and extra arguments, as ``aot_impl`` must."""
    parameters = trtp.KernelLaunchParams()
    parameters.grid_x = trtp.cdiv(plan.items, THREADS)
    parameters.block_x = THREADS
    extra = trtp.SymIntExprs(len(plan.scalars))
    for index, scalar in enumerate(plan.scalars):
        extra[index] = trtp.SymInt32(scalar)
    return plan.kernel, nvrtc.ptx(plan.source, capability, plan.kernel), parameters, extra
