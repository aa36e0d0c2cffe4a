"""Which model file a command works on: the one that is named, or the newest that fits."""

from __future__ import annotations

from pathlib import Path

from tresnet_deploy.cli._options import say, warn
from tresnet_deploy.contracts import Artifact
from tresnet_deploy.errors import UnavailableError, UsageError
from tresnet_deploy.hints import output_suffix

_BUILD = "tresnet-deploy build-engine"
_EXPORT = "tresnet-deploy export --variant l"


def model_at(path: Path | None, folder: Path) -> Artifact:
    """Return the engine or ONNX file at ``path``, or the newest engine of ``folder``.

    Raises:
        UsageError: there is no such file, or no engine.
        ArtifactError: the file is not what its sidecar says, or has none.
    """
    from tresnet_deploy import artifacts, graph_files

    if path is not None and path.suffix == ".onnx":
        return graph_files.artifact_of(path)
    if path is not None:
        return artifacts.read(path)
    newest = artifacts.newest(folder, want=_is_engine, what="engine", how=_BUILD)
    say(f"taking the newest engine, {newest.path}")
    return newest


def float_graph_at(path: Path | None, folder: Path) -> Artifact:
    """Return the ONNX file at ``path``, or the newest FP32 one of ``folder``.

    Raises:
        UsageError: there is no such file, or no FP32 graph.
        ArtifactError: the file is not what its sidecar says, or is not ours.
    """
    from tresnet_deploy import artifacts, graph_files

    if path is not None:
        return graph_files.artifact_of(path)
    newest = artifacts.newest(folder, want=_is_float_graph, what="FP32 ONNX file", how=_EXPORT)
    say(f"taking the newest FP32 graph, {newest.path}")
    return newest


def engines_of(folder: Path) -> tuple[Artifact, ...]:
    """Return all engines in ``folder`` of the newest one's weights that run here, oldest first.

    Raises:
        UsageError: there is no engine.
        UnavailableError: none of them runs here.
        ArtifactError: an engine is not what its sidecar says.
    """
    from tresnet_deploy import artifacts

    last = artifacts.newest(folder, want=_is_engine, what="engine", how=_BUILD)
    found = artifacts.listed(
        folder, want=lambda each: _is_engine(each) and each.source.sha256 == last.source.sha256
    )
    reasons = {each.path: _why_not_here(each) for each in found}
    running = [each for each in found if not reasons[each.path]]
    if not running:
        raise UnavailableError(
            f"no engine in {folder}/ runs here: {reasons[last.path]}",
            hints=(
                _BUILD + output_suffix(folder),
                f"copy {folder} to a machine with such a GPU, and run the command there",
            ),
        )
    for each in found:
        if reasons[each.path]:
            warn(f"{each.path.name} is left out: {reasons[each.path]}")
    return tuple(artifacts.read(each.path) for each in running)


def _why_not_here(engine: Artifact) -> str:
    """Return why the device of ``engine`` is missing here; nothing where it is not, or unknown.

    A runtime that is not installed is an error of its own, with its remedy, when it is loaded.
    """
    from tresnet_deploy.inspection.machine import probe

    found = probe(engine.backend or "").probe
    return "" if found.runs else found.reason


def newest_engine_of(folder: Path) -> Path:
    """Return where the newest engine of ``folder`` lies, its hashes not checked.

    Raises:
        UsageError: there is none.
    """
    from tresnet_deploy import artifacts

    found = artifacts.listed(folder, want=_is_engine)
    if not found:
        raise UsageError(
            f"there is no engine in {folder}/", hints=(_BUILD + output_suffix(folder),)
        )
    say(f"taking the newest engine, {found[-1].path}")
    return found[-1].path


def described(artifact: Artifact) -> str:
    """Return what ``artifact`` is, in a few words."""
    runtime = artifact.backend or "ONNX"
    return f"{artifact.path.name} ({artifact.architecture}, {runtime}, {artifact.precision})"


def _is_engine(artifact: Artifact) -> bool:
    return artifact.kind == "engine"


def _is_float_graph(artifact: Artifact) -> bool:
    return artifact.kind == "onnx" and artifact.precision == "fp32"
