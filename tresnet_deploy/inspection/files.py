"""Which kind of file a path is, told by its sidecar and its first bytes, then by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from tresnet_deploy import artifacts
from tresnet_deploy.errors import UnavailableError, UsageError
from tresnet_deploy.hints import quoted
from tresnet_deploy.inspection.checkpoints import inspect_checkpoint
from tresnet_deploy.inspection.engines import inspect_engine
from tresnet_deploy.inspection.graphs import inspect_graph
from tresnet_deploy.inspection.reports import FileReport

# Files that only ever are engines: without a sidecar they are refused by name, not sniffed.
_ENGINE_SUFFIXES: Final = (".xml", ".pt2", ".engine", ".plan", ".trt")
_SAFETENSORS_BRACE: Final = 8  # its JSON header starts behind a length of 8 bytes
_ONNX_FIRST_BYTE: Final = b"\x08"  # the tag of ModelProto.ir_version, always written first


def inspect(path: Path, *, trust_pickle: bool = False, fused_layers: bool = False) -> FileReport:
    """Return what the file, or timm hub folder, at ``path`` is.

    ``fused_layers`` builds a throw-away engine of an ONNX file, to report its kernels; those of an
    engine are reported in any case.

    Raises:
        UsageError: there is no such file, or ``fused_layers`` is asked of a checkpoint.
        ArtifactError: it is damaged, or not what its sidecar says.
        UnavailableError: it cannot be read, or it is a checkpoint and PyTorch is missing, or
            TensorRT-RTX is to build and is missing.
        BuildError: TensorRT-RTX refuses the graph.
        TResNetError: it is no TResNet's checkpoint; or its pickle would run code, and
            ``trust_pickle`` is False.
    """
    kind = _kind(path)
    if kind == "engine":
        return inspect_engine(path)
    if kind == "onnx":
        return inspect_graph(path, fused_layers=fused_layers)
    if fused_layers:
        raise UsageError(
            f"{path} is a checkpoint, which has no kernels: engines have",
            hints=(f"tresnet-deploy export --checkpoint {quoted(path)}",),
        )
    return inspect_checkpoint(path, trust_pickle=trust_pickle)


def _kind(path: Path) -> Literal["checkpoint", "onnx", "engine"]:
    try:
        if path.is_dir():
            return "checkpoint"
        if not path.is_file():
            raise UsageError(f"there is no file {path}")
        if artifacts.sidecar_of(path).is_file():
            return artifacts.read(path).kind
        with path.open("rb") as file:
            head = file.read(_SAFETENSORS_BRACE + 1)
    except OSError as error:
        raise UnavailableError(f"cannot read {path}: {error.strerror or error}") from error
    if path.suffix in _ENGINE_SUFFIXES:
        return "engine"
    if path.suffix == ".onnx":
        return "onnx"
    is_onnx = head.startswith(_ONNX_FIRST_BYTE) and not head.endswith(b"{")
    return "onnx" if is_onnx else "checkpoint"
