"""The engine inspector's JSON, which a machine with a GPU gives: this file is about its schema.

TensorRT 11 has ``Format`` and ``Datatype`` for each tensor and ``I/O Tensors``; TensorRT 10 had
``Format/Datatype`` and ``Bindings``. Written from NVIDIA's migration guide and tested with a sample
made by hand: not run on a GPU yet.
"""

from __future__ import annotations

import msgspec

from tresnet_deploy.fusions.builder_text import UnknownTextError, origins
from tresnet_deploy.fusions.reports import Kernel, KernelTensor


class _Tensor(msgspec.Struct):
    name: str = msgspec.field(name="Name")
    shape: list[int | str] = msgspec.field(name="Dimensions", default_factory=list)
    format: str = msgspec.field(name="Format", default="")
    dtype: str = msgspec.field(name="Datatype", default="")
    both: str = msgspec.field(name="Format/Datatype", default="")


class _Layer(msgspec.Struct):
    name: str = msgspec.field(name="Name")
    kind: str = msgspec.field(name="LayerType")
    inputs: list[_Tensor] = msgspec.field(name="Inputs", default_factory=list)
    outputs: list[_Tensor] = msgspec.field(name="Outputs", default_factory=list)
    constants: list[_Tensor] = msgspec.field(name="Constants", default_factory=list)
    tactic: str = msgspec.field(name="TacticName", default="")
    metadata: str = msgspec.field(name="Metadata", default="")


class _Engine(msgspec.Struct):
    layers: list[_Layer | str] = msgspec.field(name="Layers")


def parse(text: str) -> tuple[Kernel, ...]:
    """Return the kernels that the JSON lists.

    Raises:
        UnknownTextError: it has another schema, lists no layers, or names them only.
    """
    try:
        layers = msgspec.json.decode(text, type=_Engine).layers
    except (msgspec.MsgspecError, RecursionError) as error:
        raise UnknownTextError(f"the inspector's JSON has an unknown schema: {error}") from error
    if not layers:
        raise UnknownTextError("the inspector's JSON lists no layers")
    return tuple(_kernel(layer) for layer in layers)


def _kernel(layer: _Layer | str) -> Kernel:
    if isinstance(layer, str):
        raise UnknownTextError(
            "the inspector names layers and tells no more: the engine was not built with "
            "ProfilingVerbosity.DETAILED"
        )
    return Kernel(
        name=layer.name,
        kind=layer.kind,
        inputs=tuple(map(_tensor, layer.inputs)),
        outputs=tuple(map(_tensor, layer.outputs)),
        constants=len(layer.constants),
        tactic=layer.tactic,
        origin=origins(layer.metadata),
    )


def _tensor(tensor: _Tensor) -> KernelTensor:
    return KernelTensor(
        name=tensor.name,
        shape=",".join(map(str, tensor.shape)),
        dtype=tensor.dtype or tensor.both,
        format=tensor.format or tensor.both,
    )
