"""What ``quantize`` prints for people: the choices that were made, and the check."""

from __future__ import annotations

from collections.abc import Iterable

from tresnet_deploy.cli._inspection_text import facts
from tresnet_deploy.contracts import Artifact

_MIB = 2**20


def text(artifact: Artifact, source: Artifact) -> str:
    """Return the settings block, the check's figures and the file."""
    sizes = [each.path.stat().st_size / _MIB for each in (artifact, source)]
    saved = f"saved: {artifact.path} ({sizes[0]:.1f} MiB; FP32 {sizes[1]:.1f} MiB)"
    return f"{facts(_settings(artifact))}\n\n{saved}"


def _settings(artifact: Artifact) -> Iterable[tuple[str, str]]:
    settings = artifact.settings
    yield "network", artifact.architecture
    yield "graph", artifact.parents[0].name
    if artifact.precision == "int8":
        images = "noise images" if settings["random_calibration"] else "images"
        yield "ranges", f"{settings['method']} over {settings['calibration_images']} {images}"
        yield (
            "INT8",
            f"{settings['int8_layers']} layers, {settings['int8_activations']} activations",
        )
        yield "float", _float(artifact)
        yield "channels", "padded" if settings.get("pad_channels") else ""
    else:
        yield artifact.precision, f"{settings['half_layers']} layers; input and output FP32"
    yield "check", artifact.verified or ""


def _float(artifact: Artifact) -> str:
    usual = "" if artifact.settings["quantize_all"] else "blur, squeeze-excite, head"
    return ", ".join(part for part in (usual, str(artifact.settings["exclude"])) if part)
