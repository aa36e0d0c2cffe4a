"""Loading an engine of NVIDIA's runtimes: this file is about what is asked before it is read."""

from __future__ import annotations

from tresnet_deploy import gpus, trust
from tresnet_deploy.backends import _engine, _nvinfer_plugins
from tresnet_deploy.backends._nvinfer_options import (
    Options,
    capabilities_of,
    names_targets,
)
from tresnet_deploy.backends._nvinfer_probe import PORTABLE_LEAST, Kind, probe
from tresnet_deploy.backends._nvinfer_session import open_session
from tresnet_deploy.contracts import Artifact, Session
from tresnet_deploy.errors import ArtifactError, ElsewhereError


def load(kind: Kind, artifact: Artifact) -> Session:
    """Load an engine on the GPU. Not run on a GPU yet.

    Raises:
        ArtifactError: it is another backend's engine, a graph, or not what its sidecar says.
        UnavailableError: it is for a GPU or a version that is not here.
        RunError: the runtime refuses the file.
    """
    if artifact.kind != "engine":
        raise ArtifactError(
            f"{artifact.path} is no engine, and {kind.title} runs engines only",
            hints=(f"tresnet-deploy build-engine --backend {kind.name}",),
        )
    options = _engine.options_of(artifact, Options, backend=kind.name)
    trust.check_before_loading(artifact)
    _check_here(kind, artifact, options)
    _nvinfer_plugins.register_for_engine(kind.runtime, artifact.settings)
    return open_session(kind.runtime, artifact.path.read_bytes(), options, artifact.batch)


def _check_here(kind: Kind, artifact: Artifact, options: Options) -> None:
    """Refuse an engine that cannot run on this machine."""
    found = probe(kind)
    if not found.runs:
        raise ElsewhereError(
            f"{artifact.path.name} cannot run here: {found.reason}",
            hints=(
                f"copy {artifact.path.name} and its .json files to a machine with such a GPU, and "
                "run the command there",
                "tresnet-deploy build-engine --backend openvino, for an engine that runs here",
            ),
        )
    gpu = gpus.visible()[0]
    named = capabilities_of(options)
    fits = gpu.capability in named if named else gpu.capability >= PORTABLE_LEAST
    if names_targets(kind.runtime) and not fits:
        raise ElsewhereError(
            f"{artifact.path.name} cannot run here: it was built for {artifact.device}, and this "
            f"is {gpu}",
            hints=(
                f"tresnet-deploy build-engine --backend {kind.name} --compute-capability "
                f"{gpu.capability[0]}.{gpu.capability[1]}",
            ),
        )
