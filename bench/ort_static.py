"""ONNX Runtime's static quantisation as others use it; as a script, for bench/calibration_cost.py.

python bench/ort_static.py GRAPH FOLDER COUNT METHOD TARGET LIMIT_BYTES
"""

import resource
import sys
from collections.abc import Iterable
from pathlib import Path

import onnx
from onnx.inliner import inline_local_functions
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from tresnet_deploy import artifacts
from tresnet_deploy.contracts import Array
from tresnet_deploy.images import batches, sample, scan


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, name: str, inputs: Iterable[Array]) -> None:
        self._feeds = ({name: array} for array in inputs)

    def get_next(self) -> dict[str, Array] | None:
        return next(self._feeds, None)


def inlined(graph: Path, target: Path) -> Path:
    """Write `graph` to `target` with our functions inlined, which others' tools do not know."""
    onnx.save(inline_local_functions(onnx.load(graph)), target)
    return target


def quantize(
    graph: Path,
    target: Path,
    name: str,
    inputs: Iterable[Array],
    method: CalibrationMethod,
    *,
    reduce_range: bool = False,
) -> None:
    """Write `graph` with Q/DQ pairs, a scale for each channel of weights, calibrated on `inputs`.

    `inputs` are arrays (1, 3, H, W) for the input called `name`. With `reduce_range` weights have
    seven bits, which ONNX Runtime advises for processors without VNNI.
    """
    quantize_static(
        graph,
        target,
        _Reader(name, inputs),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
        calibrate_method=method,
        reduce_range=reduce_range,
    )


def main() -> None:
    """Quantise in at most so many bytes of memory."""
    graph, folder, count, method, target, limit = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_AS, (int(limit), int(limit)))
    artifact = artifacts.read(Path(graph))
    pictures = sample(scan(Path(folder)), int(count), seed=0)
    quantize(
        inlined(artifact.path, Path(f"{target}.plain.onnx")),
        Path(target),
        artifact.inputs[0].name,
        (batch.array for batch in batches(pictures, artifact.preprocess, 1)),
        CalibrationMethod[method],
    )


if __name__ == "__main__":
    main()
