"""ONNX files: this file is about reading them without trusting them, and writing our own.

Our files carry the fields of their artefact in ``metadata_props`` under ``tresnet_deploy.NAME``, so
that a file which lost its sidecar still says how images must be prepared.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Final

import google.protobuf.message
import msgspec
import onnx
import onnx.checker
import onnx_ir as ir

from tresnet_deploy import artifacts
from tresnet_deploy.contracts import SCHEMA_VERSION, Artifact, TensorSpec
from tresnet_deploy.errors import ArtifactError, UsageError

PREFIX: Final = "tresnet_deploy."
# What is only known once the bytes are (or lie where they lie) stands in the sidecar alone.
_SIDECAR_ONLY: Final = ("path", "sha256", "companions", "created", "verified", "schema_version")
_SCHEMA_KEY: Final = f"{PREFIX}schema_version"
_REMAKE: Final = "make one with: tresnet-deploy export"
_LOOKALIKES: Final = (
    (b"PK\x03\x04", "a zip archive, as PyTorch checkpoints and .pt2 files are"),
    (b"\x80", "a pickle, as old PyTorch checkpoints are"),
    (b"<", "XML or HTML, as OpenVINO models and failed downloads are"),
    (b"version https://git-lfs", "a Git LFS pointer: fetch the file with git lfs pull"),
    (b"ftrt", "a TensorRT engine"),
    (b"vtrt", "a TensorRT-RTX engine"),
)


def load(path: Path) -> ir.Model:
    """Return the graph in ``path`` with all its weights in memory.

    Raises:
        UsageError: there is no such file, or it cannot be read.
        ArtifactError: it is no ONNX model, is damaged, is newer than the installed onnx, or keeps
            weights in a file that is missing, too short or outside the model's folder.
    """
    model, problems = examine(path)
    if problems:
        raise problems[0]
    return model


def examine(path: Path) -> tuple[ir.Model, tuple[ArtifactError, ...]]:
    """Return the graph in ``path``, and what is wrong with weights that it keeps in other files.

    All weights are in memory when nothing is wrong; otherwise those of other files are not read.

    Raises:
        UsageError, ArtifactError: as :func:`load`, but for those weights.
    """
    proto = _parse(path)
    _check_versions(proto, path)
    try:
        model = ir.from_proto(proto)
    except ir.serde.SerdeError as error:
        raise ArtifactError(
            f"{path} is not a valid ONNX model: {_first_cause(error)}", hints=(_REMAKE,)
        ) from error
    _check_values(model, path)
    problems = tuple(_external_problems(model, path))
    if problems:
        return model, problems
    _check_graph(path)
    for tensor in _external_tensors(model):
        tensor.base_dir = path.parent
    try:
        return ir.external_data.load_to_model(model), ()
    except ValueError as error:  # what onnx_ir itself holds against the file, such as a hard link
        return model, (ArtifactError(f"{path}: {error}"),)


def save(model: ir.Model, path: Path) -> None:
    """Write ``model`` as one file, weights included.

    Raises:
        OSError: the disk refuses; ``artifacts.publishing`` explains that.
    """
    ir.save(model, path)


def tensor_specs(model: ir.Model) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Return the inputs and outputs of ``model``."""
    graph = model.graph
    return tuple(_spec(value) for value in graph.inputs), tuple(_spec(v) for v in graph.outputs)


def embed(model: ir.Model, artifact: Artifact) -> None:
    """Write what ``artifact`` says into the metadata of ``model``, replacing what was there.

    The folder of a checkpoint is left out: files travel, and paths tell of their makers.
    """
    for key in [key for key in model.metadata_props if key.startswith(PREFIX)]:
        del model.metadata_props[key]
    model.metadata_props[_SCHEMA_KEY] = str(SCHEMA_VERSION)
    for name, value in msgspec.to_builtins(artifact, enc_hook=str).items():
        if name in _SIDECAR_ONLY:
            continue
        if name == "source" and value["kind"] == "file":
            value["location"] = Path(value["location"]).name
        model.metadata_props[PREFIX + name] = msgspec.json.encode(value).decode()


def artifact_of(path: Path) -> Artifact:
    """Return the artefact of the ONNX file ``path``, from its sidecar or else its metadata.

    Raises:
        UsageError: there is no such file.
        ArtifactError: the sidecar does not match, or there is none and the file is not ours.
    """
    if artifacts.sidecar_of(path).is_file():
        return artifacts.read(path)
    proto = _parse(path)
    try:
        maker = " ".join((proto.producer_name, proto.producer_version)).strip() or "an unknown tool"
        found = {
            entry.key.removeprefix(PREFIX): msgspec.json.decode(entry.value)
            for entry in proto.metadata_props
            if entry.key.startswith(PREFIX)
        }
        if not found:
            raise ArtifactError(
                f"{path} was made by {maker}, not by tresnet-deploy: it does not say how images "
                "must be prepared for it",
                hints=(_REMAKE,),
            )
        found |= {"path": str(path), "sha256": artifacts.sha256_of(path)}
        artifact = msgspec.convert(found, Artifact, dec_hook=lambda kind, raw: kind(raw))
    except (TypeError, UnicodeDecodeError, msgspec.MsgspecError) as error:  # protobuf gives bytes
        raise ArtifactError(
            f"the tresnet-deploy metadata in {path} cannot be read: {error}", hints=(_REMAKE,)
        ) from error
    if artifact.schema_version != SCHEMA_VERSION:
        raise ArtifactError(
            f"{path} carries metadata of schema_version {artifact.schema_version}; this version "
            f"reads {SCHEMA_VERSION}",
            hints=(_REMAKE,),
        )
    return artifact


def _parse(path: Path) -> onnx.ModelProto:
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise UsageError(f"there is no file {path}", hints=(_REMAKE,)) from error
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    if not data:
        raise ArtifactError(f"{path} is empty", hints=(_REMAKE,))
    for magic, what in _LOOKALIKES:
        if data.startswith(magic):
            raise ArtifactError(f"{path} is no ONNX model but {what}")
    try:
        proto = onnx.load_model_from_string(data)
    except google.protobuf.message.DecodeError as error:
        raise ArtifactError(
            f"{path} is no ONNX model, or a damaged one (truncated at {len(data)} bytes?)",
            hints=("copy it again, or make it again: tresnet-deploy export --overwrite",),
        ) from error
    if not proto.ir_version or not proto.graph.node or not proto.graph.output:
        raise ArtifactError(f"{path} is no ONNX model: it holds no graph", hints=(_REMAKE,))
    return proto


def _first_cause(error: BaseException) -> BaseException:
    """Return what was raised first: onnx_ir wraps an error once for each level of the file."""
    while error.__context__ is not None:
        error = error.__context__
    return error


def _check_versions(proto: onnx.ModelProto, path: Path) -> None:
    newest = onnx.defs.onnx_opset_version()
    for entry in proto.opset_import:
        if entry.domain in ("", "ai.onnx") and entry.version > newest:
            raise ArtifactError(
                f"{path} uses opset {entry.version}; the installed onnx {onnx.__version__} knows "
                f"{newest} at most",
                hints=("pip install --upgrade onnx", "tresnet-deploy export --opset 18"),
            )
    if proto.ir_version > onnx.IR_VERSION:
        raise ArtifactError(
            f"{path} has the file version (ir_version) {proto.ir_version}; the installed onnx "
            f"{onnx.__version__} reads {onnx.IR_VERSION} at most",
            hints=("pip install --upgrade onnx",),
        )


def _external_tensors(model: ir.Model) -> Iterator[ir.ExternalTensor]:
    return (tensor for tensor in _tensors(model) if isinstance(tensor, ir.ExternalTensor))


def _tensors(model: ir.Model) -> Iterator[ir.TensorProtocol]:
    """Give all constants, those in attributes and subgraphs included."""
    for graph in (model.graph, *(function.graph for function in model.functions.values())):
        held = [value.const_value for value in graph.initializers.values()]
        for node in ir.traversal.RecursiveGraphIterator(graph):
            for attribute in node.attributes.values():
                # Not as_tensor(): it looks into the tensor, which may be of no known type.
                if attribute.type == ir.AttributeType.TENSOR and not attribute.is_ref():
                    held.append(attribute.value)
                elif attribute.type == ir.AttributeType.TENSORS and not attribute.is_ref():
                    held.extend(attribute.value)
        for inner in graph.subgraphs():
            held.extend(value.const_value for value in inner.initializers.values())
        yield from (tensor for tensor in held if tensor is not None)


def _check_values(model: ir.Model, path: Path) -> None:
    """Refuse a weight whose bytes do not fit its shape and type, before a step stumbles over it.

    Weights in other files have a check of their own.
    """
    for tensor in _tensors(model):
        if isinstance(tensor, ir.ExternalTensor):
            continue
        try:
            tensor.numpy()
        except (AssertionError, TypeError, ValueError) as error:  # onnx_ir's words for it
            raise ArtifactError(
                f"{path} is damaged: the weight {tensor.name!r} cannot be read: {error}",
                hints=(_REMAKE,),
            ) from error


def _external_problems(model: ir.Model, path: Path) -> Iterator[ArtifactError]:
    for tensor in _external_tensors(model):
        try:
            _check_external(tensor, path)
        except ArtifactError as error:
            yield error


def _check_external(tensor: ir.ExternalTensor, path: Path) -> None:
    location = str(tensor.location)
    anchored = PurePosixPath(location).is_absolute() or PureWindowsPath(location).anchor
    folder = path.resolve().parent
    try:
        file = (path.parent / location).resolve()
        missing = not file.is_file()
    except (OSError, RuntimeError, ValueError) as error:  # too long, a loop of links, a null byte
        raise ArtifactError(
            f"{path} keeps the weight {tensor.name!r} in a file of no possible name: {error}",
            hints=(_REMAKE,),
        ) from error
    if anchored or ".." in PureWindowsPath(location).parts or not file.is_relative_to(folder):
        raise ArtifactError(
            f"{path} keeps the weight {tensor.name!r} in {location!r}, outside its own folder: "
            "refused, since reading it could leak another file",
            hints=("save the model again as one file, from a source that you trust",),
        )
    if missing:
        raise ArtifactError(
            f"{path} keeps weights in {location!r}, which does not lie beside it",
            hints=(f"copy {location} along with the model",),
        )
    offset, length = tensor.offset or 0, tensor.length
    if offset < 0 or length not in (None, tensor.nbytes):
        raise ArtifactError(
            f"{path} keeps the weight {tensor.name!r} at byte {offset} of {location!r} with "
            f"{length} bytes, but its shape needs {tensor.nbytes}: the file is damaged",
        )
    needed = offset + tensor.nbytes
    if file.stat().st_size < needed:
        raise ArtifactError(
            f"{file} has {file.stat().st_size} bytes, but {path.name} needs {needed}: it is "
            "truncated or belongs to another model",
        )


def _check_graph(path: Path) -> None:
    try:
        onnx.checker.check_model(str(path))
    except UnicodeDecodeError as error:  # the checker quotes a name that is no text
        raise ArtifactError(f"{path} is not a valid ONNX model: a name is no text") from error
    except onnx.checker.ValidationError as error:
        first_line = str(error).strip().partition("\n")[0]
        raise ArtifactError(f"{path} is not a valid ONNX model: {first_line}") from error


def _spec(value: ir.Value) -> TensorSpec:
    assert value.name is not None
    if value.shape is None or value.dtype is None:
        raise ArtifactError(f"the graph does not say the type and shape of {value.name}")
    shape = tuple(
        size if isinstance(size, int) else size.value or f"{value.name}_{axis}"
        for axis, size in enumerate(value.shape)
    )
    return TensorSpec(name=value.name, dtype=value.dtype.numpy().name, shape=shape)
