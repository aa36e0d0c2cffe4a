"""What ``inspect`` and ``doctor`` print for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tresnet_deploy.cli._fusion_text import fusion_text
from tresnet_deploy.cli._tables import percent, table
from tresnet_deploy.contracts import Artifact, Preprocess, Probe, TensorSpec
from tresnet_deploy.inspection import (
    CheckpointReport,
    EngineReport,
    FileReport,
    GraphReport,
    MachineReport,
)

_SHOWN_NAMES = 5
_SHOWN_HASH = 16
_MILLION = 1e6
_PRECISIONS = ("fp32", "fp16", "bf16", "int8", "fp8")

Facts = Iterable[tuple[str, str]]


def file_text(report: FileReport, *, kernels: bool = False) -> str:
    """Return one fact a line; what was decided comes with its reason.

    ``kernels`` also lists each kernel that is known.
    """
    if isinstance(report, CheckpointReport):
        return facts(_checkpoint(report))
    if isinstance(report, GraphReport):
        parts = [facts(_graph(report)), _operators(report)]
    else:
        parts = [facts(_engine(report))]
    if report.layers is not None:
        parts.append(fusion_text(report.layers, kernels=kernels))
    elif kernels:
        parts.append("Kernels\n\nnot known: its backend names none")
    return "\n\n".join(parts)


def machine_text(report: MachineReport) -> str:
    """Return the machine, the backends with their precisions, and the remedies."""
    backends = table(
        ("backend", *_PRECISIONS, "version", "devices", "state"),
        [
            (
                backend.name,
                *("yes" if p in backend.probe.precisions else "-" for p in _PRECISIONS),
                backend.probe.version.partition("-")[0] or "-",  # no build numbers
                ", ".join(backend.probe.devices) or "-",
                _state(backend.probe),
            )
            for backend in report.backends
        ],
    )
    remedies = [(f"backend {each.name}", each.remedy) for each in report.backends if each.remedy]
    parts = [facts([*report.environment.items(), *report.folders.items()]), backends]
    if missing := [*remedies, *report.missing.items()]:
        parts.append("Not installed\n\n" + facts(missing))
    return "\n\n".join(parts)


def _state(probe: Probe) -> str:
    return "usable" if probe.usable and probe.runs else probe.reason


def facts(pairs: Facts) -> str:
    """Return aligned lines of name and text, leaving out what is empty."""
    kept = [(name, text) for name, text in pairs if text]
    width = max((len(name) for name, _ in kept), default=0)
    return "\n".join(f"{name.ljust(width)}  {text}" for name, text in kept)


def _checkpoint(report: CheckpointReport) -> Facts:
    yield "file", f"{report.path} ({report.size_mib:.1f} MiB, sha256 {_short(report.sha256)})"
    yield "kind", f"checkpoint, {report.layout} layout, {_wrapping(report)}"
    yield "network", report.architecture
    yield "blocks, width", f"{'-'.join(map(str, report.depths))}, {report.width}"
    yield "parameters", f"{report.parameters / _MILLION:.2f} million, all finite"
    yield "class names", _names(report.class_names)
    yield "gammas", f"{report.gammas}: {report.gammas_reason}"
    shares = f"{percent(report.negative_gammas)} negative, {percent(report.zero_gammas)} zero"
    yield "gammas stored", shares
    stem, block = report.slopes
    yield "slopes", f"stem {stem:g}, blocks {block:g}: {report.slopes_reason}"
    yield "images", f"{_preprocess(report.preprocess)}: {report.preprocess_reason}"
    yield "ignored", _names(report.ignored)


def _wrapping(report: CheckpointReport) -> str:
    prefix = f", keys prefixed {report.prefix!r}" if report.prefix else ""
    return f"{'flat' if report.wrapper == 'flat' else f'inside {report.wrapper!r}'}{prefix}"


def _graph(report: GraphReport) -> Facts:
    yield "file", f"{report.path} ({report.size_mib:.1f} MiB, sha256 {_short(report.sha256)})"
    opsets = (f"{domain or 'onnx'} {version}" for domain, version in report.opsets.items())
    yield "kind", f"ONNX file, IR {report.ir_version}, opsets {', '.join(opsets)}"
    yield "producer", report.producer
    yield "inputs", _tensors(report.inputs)
    yield "outputs", _tensors(report.outputs)
    yield "weights", f"{report.weights / _MILLION:.2f} million numbers"
    if report.quantize_nodes or report.dequantize_nodes:
        pairs = (
            f"{report.quantize_nodes} QuantizeLinear, {report.dequantize_nodes} DequantizeLinear"
        )
        yield "Q/DQ", pairs
    if report.artifact is None:
        yield "origin", "not made by tresnet-deploy: it does not say how images must be prepared"
    else:
        yield from _artifact(report.artifact)
    yield "metadata", _pairs(report.metadata)


def _operators(report: GraphReport) -> str:
    rows = [(each.operator, str(each.count)) for each in report.operators]
    text = table(("operator", "nodes"), rows)
    if report.functions:
        defined = [(f.function, str(f.body_nodes), str(f.calls)) for f in report.functions]
        text += "\n\n" + table(("function of this file", "nodes inside", "calls"), defined)
    return text


def _engine(report: EngineReport) -> Facts:
    artifact = report.artifact
    yield "file", f"{report.path} ({report.size_mib:.1f} MiB, sha256 {_short(artifact.sha256)})"
    yield "kind", f"{artifact.precision} engine of {artifact.backend}"
    yield "device", artifact.device or ""
    if batch := artifact.batch:
        fixed = f"{batch.min} only" if batch.fixed else f"{batch.min} to {batch.max}"
        yield "batch", f"{fixed}, best at {batch.opt}"
    yield "inputs", _tensors(artifact.inputs)
    yield "outputs", _tensors(artifact.outputs)
    yield from _artifact(artifact)
    for number, parent in enumerate(report.parents):
        made = f"{parent.step}, {parent.precision}, " if parent.step else ""
        yield "made from" if number == 0 else "", f"{parent.name} ({made}{parent.state})"
    runtime = report.runtime
    runs = runtime.usable and runtime.runs
    yield "runs here", f"yes, {runtime.version}" if runs else f"no: {runtime.reason}"
    yield "parity", _verdict(report)


def _artifact(artifact: Artifact) -> Facts:
    yield "network", artifact.architecture
    source = artifact.source
    yield "weights from", f"{source.kind} {source.location or source.variant or ''}".rstrip()
    yield "classes", f"{artifact.labels.classes} {_names(artifact.labels.names)}".rstrip()
    yield "images", _preprocess(artifact.preprocess)
    yield "step", f"{artifact.step}, {artifact.precision}, {artifact.created or 'time unknown'}"
    yield "settings", _pairs(artifact.settings)
    yield "versions", _pairs(artifact.versions)
    yield "verified", artifact.verified or ""


def _verdict(report: EngineReport) -> str:
    verdict = report.verdict
    if verdict is None:
        return "not proven: tresnet-deploy compare"
    agreement = f"top-1 agrees on {percent(verdict.top1_agreement)} of {verdict.images} images"
    if verdict.passed:
        return f"passed, {agreement}"
    return f"failed ({', '.join(verdict.failed_gates)}), {agreement}"


def _preprocess(rule: Preprocess) -> str:
    crop = f" {rule.crop_pct:.3g}" if rule.resize == "crop" else ""
    plain = not any(rule.mean) and set(rule.std) == {1.0}
    values = "[0, 1]" if plain else f"mean {rule.mean}, std {rule.std}"
    inside = " in the graph" if rule.normalize_in_graph and not plain else ""
    size = f"{rule.width_px} x {rule.height_px} px"
    return (
        f"{size}, {rule.resize}{crop}, {rule.interpolation}, {values}{inside}, "
        f"{rule.color_order.upper()}, {rule.layout}"
    )


def _tensors(specs: Iterable[TensorSpec]) -> str:
    return ", ".join(f"{s.name} {s.dtype} [{', '.join(map(str, s.shape))}]" for s in specs)


def _names(names: tuple[str, ...]) -> str:
    more = f", ... ({len(names)} in all)" if len(names) > _SHOWN_NAMES else ""
    return ", ".join(names[:_SHOWN_NAMES]) + more


def _pairs(mapping: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in mapping.items())


def _short(digest: str) -> str:
    return f"{digest[:_SHOWN_HASH]}..."
