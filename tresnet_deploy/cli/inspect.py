"""Say what a checkpoint, ONNX file or engine is."""

from __future__ import annotations

from pathlib import Path

import click

from tresnet_deploy.cli._options import emit, output_format, talkative


@click.command("inspect")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--trust-pickle/--no-trust-pickle",
    default=False,
    help="Load a pickle that runs code; only for files whose origin you trust.",
)
@click.option(
    "--fused-layers",
    is_flag=True,
    help="List each kernel of an engine. Of an ONNX file, TensorRT-RTX builds an engine for that "
    "and throws it away; no GPU is needed.",
)
@output_format
@talkative
def command(
    *, file: Path, trust_pickle: bool, fused_layers: bool, output_format: str, quiet: bool
) -> None:
    """Say what FILE is: a checkpoint, an ONNX file (of any origin) or an engine.

    Nothing in the file is executed. Checkpoints need PyTorch; ONNX files and engines do not.

    Of an engine of TensorRT-RTX or TensorRT it also says what the builder fused: which convolutions
    compute their activation in the same kernel, where quantisation, casts and changes of layout
    stayed kernels of their own.
    """
    from tresnet_deploy.artifacts import to_json
    from tresnet_deploy.cli._inspection_text import file_text
    from tresnet_deploy.inspection import inspect

    report = inspect(file, trust_pickle=trust_pickle, fused_layers=fused_layers)
    if output_format == "json":
        emit(to_json(report))
    else:
        emit(file_text(report, kernels=fused_layers))
