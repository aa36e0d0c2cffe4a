"""The graph that an engine is built from: made of the FP32 one, or one that is there and fits.

FP32 ONNX, precision --an earlier file of the same graph and settings, or a new one--> ONNX
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tresnet_deploy import __version__, artifacts
from tresnet_deploy.contracts import (
    CALIBRATED,
    Artifact,
    Precision,
    Progress,
    Scalar,
    no_progress,
)
from tresnet_deploy.errors import ArtifactError, UsageError
from tresnet_deploy.images import ImageSet
from tresnet_deploy.quantize import AUTO, QuantizeOptions, Recipe, convert, digests, quantize

_PAD: Final = "pad_channels"


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """A graph in the wanted precision; ``reused`` says that it was there already."""

    artifact: Artifact
    reused: bool


def file_name(artifact: Artifact, precision: Precision) -> str:
    """Return what the form of ``artifact`` in ``precision`` is called: tresnet_l.int8.onnx."""
    return f"{artifact.path.stem}.{precision}.onnx"


def converted(
    artifact: Artifact,
    folder: Path,
    *,
    precision: Precision,
    images: ImageSet | None,
    options: QuantizeOptions,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> Converted:
    """Return ``artifact`` in ``precision``: itself, a fitting file of ``folder``, or a new one.

    ``images`` are for calibration, and for the ranges that FP16 has to hold; None with
    ``options.random_calibration`` or without calibration only.

    Raises:
        UsageError: ``artifact`` is neither in that precision nor FP32, or another file has the name
            of the one to make and ``overwrite`` is False.
        DeployError: as quantize and convert raise.
    """
    if artifact.precision == precision:
        return Converted(artifact=artifact, reused=True)
    if artifact.precision != "fp32":
        raise UsageError(
            f"{artifact.path} is in {artifact.precision}; {precision} is made from FP32",
            hints=(
                f"--precision {artifact.precision}",
                "tresnet-deploy export, for the FP32 graph",
            ),
        )
    target = folder / file_name(artifact, precision)
    existing = _existing(target)
    if existing is not None and _fits(existing, artifact, images, options):
        return Converted(artifact=existing, reused=True)
    if target.exists() and not overwrite:
        raise _other(target)
    if precision == "int8" or precision == "fp8":  # noqa: PLR1714  (so that types are narrowed)
        made = quantize(
            artifact,
            target,
            images=images,
            options=options,
            precision=precision,
            overwrite=overwrite,
            progress=progress,
        )
    else:
        assert precision != "fp32"
        made = convert(artifact, target, precision=precision, images=images, overwrite=overwrite)
    return Converted(artifact=made, reused=False)


def _other(target: Path) -> UsageError:
    return UsageError(
        f"{target} exists already and was made of another graph, by other settings or another "
        "version",
        hints=(
            "add --overwrite to replace it",
            f"tresnet-deploy build-engine {target}, to build from it as it is",
        ),
    )


def _existing(target: Path) -> Artifact | None:
    """Return the finished file at ``target``; None where there is none or it is damaged."""
    try:
        return artifacts.read(target) if target.exists() else None
    except ArtifactError:
        return None


def _fits(
    existing: Artifact, artifact: Artifact, images: ImageSet | None, options: QuantizeOptions
) -> bool:
    made_from = existing.parents[0].sha256 if existing.parents else None
    if (made_from, existing.versions.get("tresnet-deploy")) != (artifact.sha256, __version__):
        return False
    if existing.precision not in CALIBRATED:
        return True
    wanted = _settings(images, options)
    return all(existing.settings.get(name) == value for name, value in wanted.items())


def _settings(images: ImageSet | None, options: QuantizeOptions) -> dict[str, Scalar]:
    """Return what quantize would record, as far as it decides the result."""
    asked = options.recipe()
    wanted: dict[str, Scalar] = {
        "seed": options.seed,
        "exclude": " ".join(options.exclude),
        "quantize_all": options.quantize_all,
        "random_calibration": options.random_calibration,
    }
    # None: whatever "auto" has found best.
    extras: Recipe | QuantizeOptions = options if options.method == AUTO else asked
    if options.method == AUTO:
        wanted["chosen_by"] = AUTO
    else:
        wanted["method"] = options.method
    fixed = {
        "equalize": extras.equalize,
        "bias_correction": extras.bias_correction,
        "weights": extras.weights,
        "weight_rounding": extras.weight_rounding,
    }
    wanted |= {name: value for name, value in fixed.items() if value is not None}
    if options.pad_channels is not None:
        wanted[_PAD] = options.pad_channels
    if images is not None:
        wanted |= digests(images, options)
    else:
        wanted["calibration_images"] = options.samples
    return wanted
