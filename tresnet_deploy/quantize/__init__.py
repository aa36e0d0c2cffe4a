"""FP32 to INT8, FP8, FP16 or bf16: the steps from an ONNX artefact to a typed one.

   FP32 graph --calibrate, or a cached table--> ranges --place, insert--> Q/DQ graph --check--> file
   FP32 graph --type the layers------------------------------------> half graph --check--> file

A file appears only when a runtime has run it beside the FP32 graph on a few images.
"""

from tresnet_deploy.quantize.drawing import digests, drawn
from tresnet_deploy.quantize.graphs import OpenSession
from tresnet_deploy.quantize.half import Half, convert
from tresnet_deploy.quantize.int8 import quantize, require_quantisable
from tresnet_deploy.quantize.options import (
    AUTO,
    DEFAULT_SAMPLES,
    PADDED,
    SKIPPED,
    QuantizeOptions,
    Recipe,
)

__all__ = [
    "AUTO",
    "DEFAULT_SAMPLES",
    "PADDED",
    "SKIPPED",
    "Half",
    "OpenSession",
    "QuantizeOptions",
    "Recipe",
    "convert",
    "digests",
    "drawn",
    "quantize",
    "require_quantisable",
]
