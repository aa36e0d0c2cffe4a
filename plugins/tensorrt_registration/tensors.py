"""TensorRT's words for tensors in ours: types, formats, and the launch plan that they lead to.

Not run on a GPU yet. Formats are read by name, so nothing here imports TensorRT.
"""

from __future__ import annotations

from typing import Final, Protocol

from tresnet_deploy.errors import UsageError

from ..kernels import plans
from ..kernels.plans import ElementType, Launch, MemoryLayout, S

SPACE_TO_DEPTH: Final = "SpaceToDepth"
BLUR_POOL: Final = "BlurPool2d"
LEAKY_BLUR_POOL: Final = "LeakyBlurPool2d"

LINEAR: Final = "LINEAR"
_CHANNELS_LAST: Final[dict[ElementType, str]] = {
    "float32": "HWC",
    "float16": "HWC8",
    "bfloat16": "HWC8",
}
_PITCH_STEP: Final = {"HWC": 1, "HWC8": 8}
"""By this number TensorRT pads the channels of a pixel."""

# DataType's member names, our name, and the name in AutoTuneCombination.
_TYPES: Final[dict[str, tuple[ElementType, str]]] = {
    "FLOAT": ("float32", "FP32"),
    "HALF": ("float16", "FP16"),
    "BF16": ("bfloat16", "BF16"),
    "INT8": ("int8", "INT8"),
}


class Named(Protocol):
    """A member of one of TensorRT's enumerations."""

    @property
    def name(self) -> str:
        """Its name, such as HALF."""


def element_of(data_type: Named) -> ElementType:
    """Return our name of a type.

    Raises:
        UsageError: the kernels do not know it.
    """
    return _type(data_type)[0]


def autotune_name(data_type: Named) -> str:
    """Return the name of a type in ``AutoTuneCombination``."""
    return _type(data_type)[1]


def _type(data_type: Named) -> tuple[ElementType, str]:
    known = _TYPES.get(data_type.name)
    if known is None:
        raise UsageError(f"the plugins take {', '.join(_TYPES)} tensors, not {data_type.name}")
    return known


def takes(operator: str, element: ElementType) -> bool:
    """Tell whether a plugin takes tensors of a type: INT8 blurs need scales that no graph gives."""
    return operator == SPACE_TO_DEPTH or element != "int8"


def check(operator: str, element: ElementType) -> None:
    """Refuse tensors that a plugin does not take.

    Raises:
        UsageError: the blur of an INT8 map.
    """
    if not takes(operator, element):
        raise UsageError(
            f"the plugin {operator} takes float tensors, not {element}: leave the blurs out of the "
            "quantised layers, as quantize does unless it is told otherwise",
        )


def formats_of(operator: str, element: ElementType) -> tuple[str, ...]:
    """Return the memory formats of a plugin's input and output: only the blur has channels last.

    SpaceToDepth comes first in the network, where the image lies in planes.
    """
    if operator == SPACE_TO_DEPTH or element not in _CHANNELS_LAST:
        return (LINEAR,)
    return LINEAR, _CHANNELS_LAST[element]


def blur_plan(
    shape: tuple[S, S, S, S],
    element: ElementType,
    memory_format: str,
    *,
    width: int | None,
    channels: int | None,
    slope: float = 1.0,
) -> Launch[S]:
    """Plan a blur; ``width`` and ``channels`` are None where the build leaves them open."""
    if memory_format == LINEAR:
        pack = plans.blur_pack("nchw", element, width)
        return plans.blur_pool(shape, element, pack=pack, slope=slope)
    layout: MemoryLayout = "nhwc"
    step = _PITCH_STEP[memory_format]
    pitch = (shape[1] + (step - 1)) // step * step
    known = None if channels is None else -(-channels // step) * step
    pack = plans.blur_pack(layout, element, known)
    return plans.blur_pool(shape, element, layout=layout, pack=pack, pitch=pitch, slope=slope)


def space_to_depth_plan(
    shape: tuple[S, S, S, S], element: ElementType, blocksize: int, *, width: int | None
) -> Launch[S]:
    """Plan a SpaceToDepth of an image in planes."""
    pack = plans.space_to_depth_pack(blocksize, width)
    size = plans.ELEMENT_BYTES[element]
    return plans.space_to_depth(shape, element_bytes=size, blocksize=blocksize, pack=pack)


def depth_shape(shape: tuple[S, S, S, S], blocksize: int) -> tuple[S, S, S, S]:
    """Return the shape of SpaceToDepth's output."""
    n, c, h, w = shape
    return n, c * (blocksize * blocksize), h // blocksize, w // blocksize


def blurred_shape(shape: tuple[S, S, S, S]) -> tuple[S, S, S, S]:
    """Return the shape of the blur's output."""
    n, c, h, w = shape
    return n, c, (h + 1) // 2, (w + 1) // 2
