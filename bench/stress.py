"""A stress set for INT8: the box's network with outliers in its activations, equal in float.

    python bench/stress.py [--bits 6] [--seeds 3]

In every block some channels are made 2**bits times as large as they were, and what reads them
divides by as much: the float network answers the same, to the bit, and an activation's step, which
all channels share, leaves the others next to none. Printed for each seed: how often INT8 agrees
with the float network on the test images, by each calibration method, without and with
equalisation.
"""

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import onnx_ir as ir

from tresnet_deploy import artifacts, graph_files, weights
from tresnet_deploy.backends import onnxruntime
from tresnet_deploy.contracts import Array, Artifact, run
from tresnet_deploy.environment import describe
from tresnet_deploy.export import ExportOptions, export
from tresnet_deploy.images import ImageSet, batches, demo_checkpoint, demo_images
from tresnet_deploy.quantize import QuantizeOptions, quantize
from tresnet_deploy.registry import OBSERVERS

BITS: Final = 6
SHARE: Final = 0.25  # of the channels become large
BATCH: Final = 25
WEIGHT: Final = ".conv.weight"


def stressed(model: ir.Model, *, bits: int = BITS, seed: int = 0) -> ir.Model:
    """Return ``model`` with outliers in what the inner convolutions of every block read."""
    copy = model.clone()
    rng = np.random.default_rng(seed)
    names = copy.graph.initializers
    for name in [name for name in names if name.endswith(WEIGHT)]:
        layer = name.removesuffix(WEIGHT)
        first, *others = _readers(layer) or ("",)
        readers = [first, *(name for name in others if name in names)] if first in names else []
        if not readers:
            continue
        channels = _array(copy, name).shape[0]
        large = rng.permutation(channels) < max(1, int(SHARE * channels))
        factors = np.where(large, 2.0**bits, 1.0).astype(np.float32)
        _replace(copy, name, _array(copy, name) * factors[:, None, None, None])
        _replace(copy, f"{layer}.conv.bias", _array(copy, f"{layer}.conv.bias") * factors)
        for reader in readers:
            _replace(copy, reader, _array(copy, reader) / factors[:, None, None])
    return copy


def _readers(layer: str) -> tuple[str, ...]:
    """Return the weights that read what ``layer`` makes, through blur and squeeze-excite."""
    block, _, name = layer.rpartition(".")
    if name == "conv1":
        return (f"{block}.conv2{WEIGHT}",)
    if name == "conv2":  # of a bottleneck; a basic block has no conv3 and its sum is left alone
        return (f"{block}.conv3{WEIGHT}", f"{block}.se.fc1.weight")
    return ()


def _array(model: ir.Model, name: str) -> Array:
    value = model.graph.initializers[name].const_value
    assert value is not None, name
    return np.asarray(value.numpy())


def _replace(model: ir.Model, name: str, array: Array) -> None:
    model.graph.initializers[name].const_value = ir.tensor(array, name=name)


def saved(model: ir.Model, like: Artifact, path: Path) -> Artifact:
    """Write ``model`` to ``path`` as an artefact that says what ``like`` says."""
    with artifacts.publishing(path, overwrite=True) as staging:
        graph_files.save(model, staging.path)
        return staging.finish(dataclasses.replace(like, companions=()))


def logits(artifact: Artifact, images: ImageSet) -> Array:
    """Return the outputs of ``artifact`` for ``images``, (N, classes)."""
    session = onnxruntime.load(artifact)
    (given,), (made,) = artifact.inputs, artifact.outputs
    try:
        return np.concatenate(
            [
                run(session, {given.name: batch.array})[made.name]
                for batch in batches(images, artifact.preprocess, BATCH)
            ]
        )
    finally:
        session.close()


def _rows(original: Artifact, folder: Path, *, bits: int, seed: int) -> Iterator[str]:
    images, calibration = demo_images("test"), demo_images("calibration")
    model = stressed(graph_files.load(original.path), bits=bits, seed=seed)
    artifact = saved(model, original, folder / f"stressed{seed}.onnx")
    wanted = logits(original, images)
    assert np.array_equal(logits(artifact, images), wanted), "stress changed the float network"
    for method in OBSERVERS.names():
        cells = []
        for equalize in (False, True):
            int8 = quantize(
                artifact,
                folder / f"stressed{seed}.int8.onnx",
                images=calibration,
                options=QuantizeOptions(method=method, equalize=equalize, seed=seed),
                overwrite=True,
            )
            found = logits(int8, images)
            cells.append(f"{(found.argmax(1) == wanted.argmax(1)).mean():>10.1%}")
        yield f"  {seed:<5}{method:16}{cells[0]}{cells[1]}"


def main() -> None:
    """Print one row for each seed and method."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--bits", type=int, default=BITS)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    for name, fact in describe().items():
        print(f"{name}: {fact}", file=sys.stderr)
    print(f"  {'seed':5}{'method':16}{'plain':>10}{'equalized':>10}")
    with tempfile.TemporaryDirectory() as scratch:
        source = weights.resolve(checkpoint=demo_checkpoint())
        original = export(
            weights.load(source),
            Path(scratch) / "tresnet.onnx",
            source=source,
            options=ExportOptions(),
            images=demo_images("calibration"),
        )
        for seed in range(options.seeds):
            for row in _rows(original, Path(scratch), bits=options.bits, seed=seed):
                print(row, flush=True)


if __name__ == "__main__":
    main()
