"""Plugins as ``IPluginV3`` classes: this file is about runtimes without ``tensorrt.plugin``.

Not run on a GPU yet. One class serves every operator, since they differ in shapes and plans only;
the interfaces that it must derive from come with the runtime.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

import numpy as np

from tresnet_deploy.errors import UsageError

from .. import DOMAIN
from ..kernels import driver
from ..kernels.plans import Launch
from . import tensors
from .tensors import BLUR_POOL, LEAKY_BLUR_POOL, LINEAR, SPACE_TO_DEPTH

_VERSION: Final = "1"


@dataclass(frozen=True, slots=True)
class _Operator:
    """Name, number of inputs, and the attributes of its nodes with their types."""

    name: str
    inputs: int
    attributes: tuple[tuple[str, type[int | float]], ...]


OPERATORS: Final = (
    _Operator(SPACE_TO_DEPTH, inputs=1, attributes=(("blocksize", int),)),
    _Operator(BLUR_POOL, inputs=2, attributes=(("group", int),)),
    _Operator(LEAKY_BLUR_POOL, inputs=2, attributes=(("alpha", float), ("group", int))),
)

_Values = dict[str, int | float]


def register(trt: ModuleType) -> tuple[str, ...]:
    """Register a creator for each operator with the plugin registry of ``trt``."""
    registry = trt.get_plugin_registry()
    for operator in OPERATORS:
        creator = creator_class(trt, operator)()
        registry.register_creator(creator, DOMAIN)
    return tuple(operator.name for operator in OPERATORS)


def creator_class(trt: ModuleType, operator: _Operator) -> type:
    """Return the class that TensorRT's parser makes plugins of ``operator`` with."""
    plugin = plugin_class(trt, operator)

    class Creator(trt.IPluginCreatorV3One):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.IPluginCreatorV3One.__init__(self)
            self.name = operator.name
            self.plugin_namespace = DOMAIN
            self.plugin_version = _VERSION
            fields = [field(trt, *attribute, values=()) for attribute in operator.attributes]
            self.field_names = trt.PluginFieldCollection(fields)

        def create_plugin(self, name: str, fields: Any, phase: Any) -> Any:
            given = {field.name: field.data[0] for field in fields}
            return plugin({name: kind(given[name]) for name, kind in operator.attributes})

    return Creator


def plugin_class(trt: ModuleType, operator: _Operator) -> type:
    """Return the plugin's class; an instance holds the attributes' values."""
    interfaces = (
        trt.IPluginV3,
        trt.IPluginV3OneCore,
        trt.IPluginV3OneBuild,
        trt.IPluginV3OneRuntime,
    )
    members = {"operator": operator, "runtime": trt, "interfaces": interfaces}
    return type(operator.name, (Behaviour, *interfaces), members)


class Behaviour:
    """What TensorRT calls on a plugin; ``plugin_class`` adds the interfaces to derive from."""

    operator: _Operator
    runtime: ModuleType
    interfaces: tuple[type, ...]

    def __init__(self, values: _Values) -> None:
        for interface in self.interfaces:
            interface.__init__(self)  # type: ignore[misc]  # pybind11 wants each one called
        self.values = values
        self.num_outputs = 1
        self.plugin_name = self.operator.name
        self.plugin_namespace = DOMAIN
        self.plugin_version = _VERSION

    def get_capability_interface(self, type: Any) -> Any:  # noqa: A002  (TensorRT's name)
        """Return this very object, which has all of them."""
        return self

    def get_output_data_types(self, input_types: Any) -> list[Any]:
        """Return the type of the input."""
        return [input_types[0]]

    def get_output_shapes(self, inputs: Any, shape_inputs: Any, builder: Any) -> list[Any]:
        """Return the output's symbolic sizes."""
        return [_output_shape(self.runtime, self.operator, inputs[0], self.values, builder)]

    def get_fields_to_serialize(self) -> Any:
        """Return the attributes, which the engine keeps."""
        fields = [
            field(self.runtime, name, kind, values=(self.values[name],))
            for name, kind in self.operator.attributes
        ]
        return self.runtime.PluginFieldCollection(fields)

    def configure_plugin(self, inputs: Any, outputs: Any) -> None:
        """Keep nothing: enqueue gets the same descriptions."""

    def on_shape_change(self, inputs: Any, outputs: Any) -> None:
        """Keep nothing, for the same reason."""

    def supports_format_combination(self, pos: int, in_out: Any, num_inputs: int) -> bool:
        """Tell whether the tensor at ``pos`` fits those before it."""
        return _supported(self.operator, pos, [each.desc for each in in_out])

    def enqueue(  # noqa: PLR0917  (TensorRT's own list)
        self,
        input_desc: Any,
        output_desc: Any,
        inputs: Any,
        outputs: Any,
        workspace: int,
        stream: int,
    ) -> None:
        """Queue the kernel."""
        plan = _plan(self.operator, input_desc[0], self.values)
        driver.launch(plan, [*inputs, outputs[0]], stream=stream)

    def attach_to_context(self, context: Any) -> Any:
        """Return a plugin for one execution context."""
        return self.clone()

    def set_tactic(self, tactic: int) -> None:
        """Ignore it: there is one kernel for each format."""

    def clone(self) -> Any:
        """Return an equal plugin."""
        copy = type(self)(self.values)
        copy.__dict__.update(self.__dict__)
        return copy


def _supported(operator: _Operator, position: int, descriptions: list[Any]) -> bool:
    """Tell whether the tensor at ``position`` fits those before it, as TensorRT asks."""
    x, this = descriptions[0], descriptions[position]
    if position == 0:
        try:
            element = tensors.element_of(x.type)
        except UsageError:
            return False
        known = tensors.formats_of(operator.name, element)
        return tensors.takes(operator.name, element) and x.format.name in known
    if this.type != x.type:
        return False
    is_filter = position < operator.inputs
    return bool(this.format.name == LINEAR if is_filter else this.format == x.format)


def field(
    trt: ModuleType, name: str, kind: type[int | float], *, values: tuple[int | float, ...]
) -> Any:
    """Return an attribute as TensorRT holds it; no values for a declaration."""
    if kind is int:
        return trt.PluginField(name, np.array(values, np.int32), trt.PluginFieldType.INT32)
    return trt.PluginField(name, np.array(values, np.float32), trt.PluginFieldType.FLOAT32)


def _plan(operator: _Operator, x: Any, values: _Values) -> Launch[int]:
    n, c, h, w = x.dims
    element = tensors.element_of(x.type)
    if operator.name == SPACE_TO_DEPTH:
        block = int(values["blocksize"])
        return tensors.space_to_depth_plan((n, c, h, w), element, block, width=w)
    slope = values.get("alpha", 1.0)
    return tensors.blur_plan((n, c, h, w), element, x.format.name, width=w, channels=c, slope=slope)


def _output_shape(
    trt: ModuleType, operator: _Operator, x: Any, values: _Values, builder: Any
) -> Any:
    """Return symbolic sizes by the arithmetic of TensorRT's expression builder."""
    operation = trt.DimensionOperation

    def apply(kind: Any, size: Any, number: int) -> Any:
        return builder.operation(kind, size, builder.constant(number))

    result = trt.DimsExprs(x)
    if operator.name == SPACE_TO_DEPTH:
        block = int(values["blocksize"])
        result[1] = apply(operation.PROD, x[1], block * block)
        result[2] = apply(operation.FLOOR_DIV, x[2], block)
        result[3] = apply(operation.FLOOR_DIV, x[3], block)
    else:
        result[2] = apply(operation.CEIL_DIV, x[2], 2)
        result[3] = apply(operation.CEIL_DIV, x[3], 2)
    return result
