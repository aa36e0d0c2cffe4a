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
from tresnet_deploy.hints import output_suffix, quoted
from tresnet_deploy.images import ImageSet
from tresnet_deploy.quantize import (
    AUTO,
    PADDED,
    SKIPPED,
    QuantizeOptions,
    Recipe,
    convert,
    digests,
    quantize,
)

_CLAIMS: Final = "mixed."
"""What a search for the fewest float blocks says of a graph begins so."""


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
    there = reusable(
        artifact, folder, precision=precision, images=images, options=options, overwrite=overwrite
    )
    if there is not None:
        return Converted(artifact=_claiming(there, artifact), reused=True)
    target = folder / file_name(artifact, precision)
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
        made = convert(
            artifact,
            target,
            precision=precision,
            images=images,
            strict=options.strict,
            overwrite=overwrite,
        )
    return Converted(artifact=made, reused=False)


def reusable(
    artifact: Artifact,
    folder: Path,
    *,
    precision: Precision,
    images: ImageSet | None,
    options: QuantizeOptions,
    overwrite: bool = False,
) -> Artifact | None:
    """Return what :func:`converted` would take as it is; None where it would make a file.

    Raises:
        UsageError: it would refuse.
    """
    if artifact.precision == precision:
        return artifact
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
        return existing
    if target.exists() and not overwrite:
        raise _other(target)
    return None


def _other(target: Path) -> UsageError:
    return UsageError(
        f"{target} exists already and was made of another graph, by other settings or another "
        "version",
        hints=(
            "add --overwrite to replace it",
            f"tresnet-deploy build-engine {quoted(target)}{output_suffix(target.parent)}, to build "
            "from it as it is",
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
    if (existing.preprocess, existing.labels) != (artifact.preprocess, artifact.labels):
        return False
    if existing.precision not in CALIBRATED:
        return True
    wanted = _settings(images, options)
    return all(existing.settings.get(name) == value for name, value in wanted.items())


def _claiming(existing: Artifact, artifact: Artifact) -> Artifact:
    """Return ``existing`` with what this search says of it, and not what an earlier one did."""
    kept = {name: each for name, each in existing.settings.items() if not name.startswith(_CLAIMS)}
    new = {name: each for name, each in artifact.settings.items() if name.startswith(_CLAIMS)}
    settings = {**kept, **new}
    return (
        existing if settings == existing.settings else artifacts.described_anew(existing, settings)
    )


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
        wanted[PADDED] = options.pad_channels
    if options.strict:
        wanted[SKIPPED] = 0
    if images is not None:
        wanted |= digests(images, options)
    else:
        wanted["calibration_images"] = options.samples
    return wanted
