"""What ``quantize`` prints for people: the choices that were made, and the check."""

from __future__ import annotations

from collections.abc import Iterable

from tresnet_deploy.artifacts import from_json
from tresnet_deploy.cli._inspection_text import facts
from tresnet_deploy.cli._tables import percent, table
from tresnet_deploy.contracts import CALIBRATED, Artifact
from tresnet_deploy.images import counted
from tresnet_deploy.quantize import AUTO, Recipe
from tresnet_deploy.quantize.trials import Trial, Trials, beside

_MIB = 2**20


def text(artifact: Artifact, source: Artifact) -> str:
    """Return the settings block, the check's figures and the file."""
    sizes = [each.path.stat().st_size / _MIB for each in (artifact, source)]
    saved = f"saved: {artifact.path} ({sizes[0]:.1f} MiB; FP32 {sizes[1]:.1f} MiB)"
    parts = (facts(_settings(artifact)), _trials(artifact), saved)
    return "\n\n".join(part for part in parts if part)


def _trials(artifact: Artifact) -> str:
    """Return the table of recipes that were measured, or nothing."""
    path = beside(artifact.path)
    if artifact.settings.get("chosen_by") != AUTO or not path.is_file():
        return ""
    found = from_json(path.read_bytes(), Trials, name=str(path))
    heads = ("recipe", "SNR dB", "agreement", "top-1", "s", "")
    judged = f"by {found.criterion}, on {found.images} images held out"
    return f"{table(heads, (_row(trial) for trial in found.trials))}\n{judged}"


def _row(trial: Trial) -> tuple[str, ...]:
    recipe = Recipe(
        method=trial.method,
        equalize=trial.equalize,
        bias_correction=trial.bias_correction,
        weights=trial.weights,
        weight_rounding=trial.weight_rounding,
    )
    return (
        str(recipe),
        f"{trial.snr_db:.1f}",
        percent(trial.agreement),
        percent(trial.top1),
        f"{trial.seconds:.1f}",
        "taken" if trial.taken else "",
    )


def _settings(artifact: Artifact) -> Iterable[tuple[str, str]]:
    settings = artifact.settings
    yield "network", artifact.architecture
    yield "graph", artifact.parents[0].name
    if artifact.precision in CALIBRATED:
        number = int(settings["calibration_images"] or 0)
        images = f"{number} noise images" if settings["random_calibration"] else counted(number)
        yield "ranges", f"{settings['method']} over {images}"
        layers, activations = (
            settings[f"{artifact.precision}_{what}"] for what in ("layers", "activations")
        )
        yield "also", _extras(artifact)
        yield artifact.precision.upper(), f"{layers} layers, {activations} activations"
        yield "float", _float(artifact)
        yield "channels", "padded" if settings.get("pad_channels") else ""
    else:
        yield artifact.precision, f"{settings['half_layers']} layers; input and output FP32"
        yield "kept FP32", _islands(artifact)
    yield "check", artifact.verified or ""


def _extras(artifact: Artifact) -> str:
    settings = artifact.settings
    parts = (
        "channels equalized" if settings.get("equalize") else "",
        "biases corrected" if settings.get("bias_correction") else "",
        "weights by their squared error" if settings.get("weights") == "mse" else "",
        _rounding(artifact),
    )
    return ", ".join(part for part in parts if part)


def _rounding(artifact: Artifact) -> str:
    remaining = artifact.settings.get("weight_error_remaining")
    if not isinstance(remaining, float):
        return ""
    return f"weights rounded by gptq ({percent(remaining)} of the nearest's error remains)"


def _islands(artifact: Artifact) -> str:
    nodes, why = (artifact.settings.get(name) for name in ("fp32_nodes", "fp32_because"))
    return f"{nodes} nodes: {why}" if nodes else ""


def _float(artifact: Artifact) -> str:
    usual = "" if artifact.settings["quantize_all"] else "blur, squeeze-excite, head"
    return ", ".join(part for part in (usual, str(artifact.settings["exclude"])) if part)
