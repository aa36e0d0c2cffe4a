"""Which calibration method and which layers to quantise: the measurements behind the defaults.

    python bench/calibration.py [--variants m] [--calibration-samples 128]

For the trained network in the box and for seeded ones: signal-to-noise ratio and top-1 agreement of
the INT8 graph with the float graph, accuracy where there are labels, and the seconds it took (rows
after the methods reuse a calibration table, but for the equalised one). The trained network is
judged on images that were not calibrated on; for seeded ones the sample photographs serve both.
"""

import argparse
import dataclasses
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from tresnet_deploy import weights
from tresnet_deploy.backends import onnxruntime
from tresnet_deploy.contracts import Array, Artifact, run
from tresnet_deploy.environment import describe
from tresnet_deploy.export import ExportOptions, export, file_name
from tresnet_deploy.images import (
    ImageSet,
    batches,
    default_images,
    demo_checkpoint,
    demo_images,
    sample_photos,
)
from tresnet_deploy.quantize import QuantizeOptions, quantize
from tresnet_deploy.registry import OBSERVERS

BATCH: Final = 5
HEAD: Final = "  {:34} {:>8} {:>10} {:>8} {:>9}"


def main() -> None:
    """Print one table for each network."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--variants", default="m", help="seeded networks, beside the trained one")
    parser.add_argument("--calibration-samples", type=int, default=128)
    options = parser.parse_args()
    for name, fact in describe().items():
        print(f"{name}: {fact}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as scratch:
        trained = weights.resolve(checkpoint=demo_checkpoint())
        seeded = [
            weights.resolve(variant=variant, tag=weights.RANDOM)
            for variant in options.variants.split(",")
            if variant
        ]
        for number, source in enumerate((trained, *seeded)):
            checkpoint = weights.load(source)
            target = Path(scratch) / str(number) / file_name(checkpoint)
            images = demo_images("test") if source is trained else sample_photos()
            artifact = export(
                checkpoint, target, source=source, options=ExportOptions(), images=images
            )
            print(f"\n{artifact.architecture}, {source.kind} weights, {len(images)} images")
            print(HEAD.format("", "SNR dB", "agreement", "top-1", "seconds"))
            _table(artifact, images, options.calibration_samples)


def _candidates(samples: int) -> Iterator[tuple[str, QuantizeOptions]]:
    """Give each method alone, then what may be done beside, and each set of layers."""
    usual = QuantizeOptions(samples=samples)
    for method in OBSERVERS.names():
        yield method, dataclasses.replace(usual, method=method)
    yield f"{usual.method}, equalized", dataclasses.replace(usual, equalize=True)
    yield f"{usual.method}, biases corrected", dataclasses.replace(usual, bias_correction=True)
    yield f"{usual.method}, weights by mse", dataclasses.replace(usual, weights="mse")
    rounded = dataclasses.replace(usual, weight_rounding="gptq")
    yield f"{usual.method}, rounded by gptq", rounded
    additions = dataclasses.replace(usual, exclude=("/Add$",))
    yield f"{usual.method}, skip connections float", additions
    everything = dataclasses.replace(usual, quantize_all=True)
    yield f"{usual.method}, stem float", dataclasses.replace(usual, exclude=("^stem",))
    yield f"{usual.method}, everything", everything
    yield (
        f"{usual.method}, everything but the head",
        dataclasses.replace(everything, exclude=("^head",)),
    )
    yield (
        f"{usual.method}, stem, body and blur",
        dataclasses.replace(everything, exclude=("^head", r"\.se\.")),
    )


def _table(artifact: Artifact, images: ImageSet, samples: int) -> None:
    calibration = default_images(artifact, "calibrate", None)
    wanted, labels = _logits(artifact, images), np.array([file.label for file in images.files])
    known = images.labelled
    print(_row("float", wanted, wanted, labels if known else None, None))
    for name, options in _candidates(samples):
        begun = time.perf_counter()
        int8 = quantize(
            artifact,
            artifact.path.with_suffix(".int8.onnx"),
            images=calibration,
            options=options,
            overwrite=True,
        )
        seconds = time.perf_counter() - begun
        found = _logits(int8, images)
        print(_row(name, found, wanted, labels if known else None, seconds), flush=True)


def _row(
    name: str, found: Array, wanted: Array, labels: Array | None, seconds: float | None
) -> str:
    noise = float(np.square(found - wanted).sum())
    snr_db = 10 * np.log10(float(np.square(wanted).sum()) / noise) if noise else np.inf
    agreement = float((found.argmax(1) == wanted.argmax(1)).mean())
    top1 = "-" if labels is None else f"{(found.argmax(1) == labels).mean():.1%}"
    took = "-" if seconds is None else f"{seconds:.1f}"
    return HEAD.format(name, f"{snr_db:.1f}", f"{agreement:.1%}", top1, took)


def _logits(artifact: Artifact, images: ImageSet) -> Array:
    session = onnxruntime.load(artifact)
    (given,), (made,) = artifact.inputs, artifact.outputs
    try:
        found = [
            run(session, {given.name: batch.array})[made.name].astype(np.float64)
            for batch in batches(images, artifact.preprocess, BATCH)
        ]
    finally:
        session.close()
    return np.concatenate(found)


if __name__ == "__main__":
    main()
