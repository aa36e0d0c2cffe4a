"""The files of a deployment: the FP32 graph, graphs in other precisions, and engines.

Each function returns its files, what they are in words, and whether all were there already.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tresnet_deploy import build, export, ledger, weights
from tresnet_deploy.contracts import CALIBRATED, Artifact, Precision, Probe
from tresnet_deploy.converting import converted
from tresnet_deploy.engines import Choice, choose
from tresnet_deploy.environment import versions
from tresnet_deploy.errors import UnavailableError
from tresnet_deploy.images import default_images, sample_photos
from tresnet_deploy.pipeline.plan import Plan, Run
from tresnet_deploy.registry import BACKENDS

# What a lower precision has to beat to be worth its loss of accuracy.
_HIGHER: Final[Mapping[Precision, tuple[Precision, ...]]] = {
    "fp32": (),
    "bf16": ("fp32",),
    "fp16": ("fp32",),
    "int8": ("fp32", "bf16"),
    "fp8": ("fp32", "fp16"),
}


def check_backend(plan: Plan) -> None:
    """Refuse a backend whose engines cannot run here: a deployment proves and measures them.

    Raises:
        UsageError: no backend has that name.
        UnavailableError: its runtime or its device is missing.
    """
    if plan.backend is None:
        return
    found: Probe = BACKENDS.load(plan.backend).probe()
    if found.usable and not found.runs:
        raise UnavailableError(
            f"{plan.backend} cannot run what it builds here ({found.reason}), and deploy proves "
            "and measures its engine",
            hints=(
                f"tresnet-deploy build-engine --backend {plan.backend}, which only builds",
                "leave --backend out, for the fastest engine that runs here",
            ),
        )


def exported(run: Run) -> tuple[Artifact, str, bool]:
    """Write the FP32 graph, proven against eager PyTorch."""
    plan = run.plan
    checkpoint = weights.load(plan.source, quiet=run.quiet)
    target = plan.folder / export.file_name(checkpoint)
    key = ledger.key_of("export", plan.source, plan.export, versions())
    known = None if plan.overwrite else ledger.known(target, key)
    graph = known or export.export(
        checkpoint,
        target,
        source=plan.source,
        options=plan.export,
        images=sample_photos(),
        overwrite=plan.overwrite,
        progress=run.progress,
    )
    ledger.add(target, key)
    return graph, f"{target.name}, opset {plan.export.opset}", known is not None


def choices(graph: Artifact, plan: Plan) -> tuple[Choice, ...]:
    """Return who builds the engine to ship, and then its rivals."""
    subject = choose(graph, precision=plan.precision, backend=plan.backend)
    if not plan.rivals:
        return (subject,)
    pairs = [(subject.backend, precision) for precision in _HIGHER[plan.precision]]
    others = (name for name in BACKENDS.names() if name != subject.backend)
    pairs += [(name, plan.precision) for name in others]
    able = [pair for pair in pairs if _runs_graphs(*pair)]
    return subject, *(choose(graph, precision=precision, backend=name) for name, precision in able)


def _runs_graphs(backend: str, precision: Precision) -> bool:
    """Return whether ``backend`` makes such engines here from graphs, not from the checkpoint."""
    try:
        module = BACKENDS.load(backend)
    except UnavailableError:
        return False
    found: Probe = module.probe()
    return module.READS == "onnx" and found.usable and found.runs and precision in found.precisions


def graphs(
    run: Run, graph: Artifact, choices: tuple[Choice, ...]
) -> tuple[tuple[Artifact, ...], str, bool]:
    """Make the graphs in other precisions that the engines are built from."""
    plan = run.plan
    images = None
    if any(choice.calibrates for choice in choices) and not plan.quantize.random_calibration:
        images = default_images(graph, "calibrate", plan.calibration_data)
    found = [
        converted(
            graph,
            plan.folder,
            precision=precision,
            images=images,
            options=plan.quantize,
            overwrite=plan.overwrite,
            progress=run.progress,
        )
        for precision in dict.fromkeys(choice.graph for choice in choices)
        if precision != graph.precision
    ]
    words = ", ".join(_graph_in_words(each.artifact) for each in found) or "not needed"
    return tuple(each.artifact for each in found), words, all(each.reused for each in found)


def _graph_in_words(graph: Artifact) -> str:
    if graph.precision not in CALIBRATED:
        return graph.path.name
    settings = graph.settings
    return f"{graph.path.name}, {settings['method']} on {settings['calibration_images']} images"


def engines(
    run: Run, graphs: tuple[Artifact, ...], choices: tuple[Choice, ...]
) -> tuple[tuple[Artifact, ...], str, bool]:
    """Build the engine to ship, and its rivals: before it, as later commands take the newest."""
    by_precision = {graph.precision: graph for graph in graphs}
    pairs = [
        _engine(run, by_precision[choice.graph], choice, stem=graphs[0])
        for choice in reversed(choices)
    ][::-1]
    engines = tuple(engine for engine, _ in pairs)
    more = f" and {len(engines) - 1} rivals" if len(engines) > 1 else ""
    words = f"{engines[0].path.name}{more}; {choices[0].backend}: {choices[0].reason}"
    return engines, words, all(reused for _, reused in pairs)


def _engine(run: Run, graph: Artifact, choice: Choice, *, stem: Artifact) -> tuple[Artifact, bool]:
    plan = run.plan
    target = plan.folder / build.file_name(stem, choice.backend, choice.precision)
    parts = (graph.sha256, choice.backend, choice.precision, plan.batch, choice.options)
    key = ledger.key_of("build", *parts, versions())
    known = None if plan.overwrite else ledger.known(target, key)
    engine = known or build.build(
        graph,
        target,
        backend=choice.backend,
        precision=choice.precision,
        batch=plan.batch,
        options=choice.options,
        overwrite=plan.overwrite,
        progress=run.progress,
    )
    ledger.add(target, key)
    return engine, known is not None
