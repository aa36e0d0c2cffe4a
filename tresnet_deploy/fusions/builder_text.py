r"""The builder's verbose text on its layers: this file is about reading it without guessing.

TensorRT-RTX logs one verbose message, with ``ProfilingVerbosity.DETAILED``, that starts with
``Layers:`` and has a line for each kernel::

    Name: N, LayerType: kgen, Inputs: [ { Name: x, Dimensions: [-1,3], Strides: [3,1],
    StrideOrder: [1,0], Datatype: Half, Format: (Linear) ... }], Constants: [..], Outputs: [..],
    TacticName: t, StreamId: 0, Metadata: [ONNX Layer: a]\x1f[ONNX Layer: b]

It is a log, no interface: a line of another form makes the whole text unreadable, with that line as
the reason. Seen with TensorRT-RTX 1.7.
"""

from __future__ import annotations

import re
from typing import Final

from tresnet_deploy.fusions.reports import Kernel, KernelTensor

FIRST_LINE: Final = "Layers:"
_END: Final = "I/O Tensors:"
_SHOWN_CHARACTERS: Final = 80

_LAYER: Final = re.compile(
    r"Name: (?P<name>.*?), LayerType: (?P<kind>[^,]*), Inputs: (?P<inputs>.*), "
    r"Constants: (?P<constants>.*), Outputs: (?P<outputs>.*), TacticName: (?P<tactic>[^,]*), "
    r"StreamId: \d+, Metadata: (?P<metadata>.*)"
)
_TENSOR: Final = re.compile(
    r"\{ Name: (?P<name>.*?), Dimensions: \[(?P<shape>[^\]]*)\], Strides: \[[^\]]*\], "
    r"StrideOrder: \[[^\]]*\], Datatype: (?P<dtype>[^,]+), Format: (?P<format>.*?) \}(?:, |(?=\]))"
)
_SEPARATOR: Final = re.compile(r"[\x1e\x1f]|\s(?=\[ONNX Layer: )")
# What follows the bracket tells what became of the node: ``__gemm_from_conv1x1``.
_ORIGIN: Final = re.compile(r"\[ONNX Layer: (.*)\]")


class UnknownTextError(ValueError):
    """The text has a form that is not known here; the message says where."""


def parse(text: str) -> tuple[Kernel, ...]:
    """Return the kernels that ``text`` lists.

    Raises:
        UnknownTextError: a line has another form, or there is none.
    """
    first, *lines = text.split("\n")  # splitlines() would split at the separators of origins
    if first.strip() != FIRST_LINE:
        raise UnknownTextError("the builder's text lists no layers")
    kernels = []
    for number, line in enumerate(lines, 2):
        if line.strip() == _END:
            break
        if line.strip():
            kernels.append(_kernel(line, number))
    else:
        raise UnknownTextError(f"the builder's text ends before the line {_END!r}")
    if not kernels:
        raise UnknownTextError("the builder's text lists no layers")
    return tuple(kernels)


def _kernel(line: str, number: int) -> Kernel:
    found = _LAYER.fullmatch(line)
    if found is None:
        raise UnknownTextError(
            f"line {number} of the builder's text has an unknown form: {line[:_SHOWN_CHARACTERS]}"
        )
    return Kernel(
        name=found["name"],
        kind=found["kind"],
        inputs=_tensors(found["inputs"], number),
        outputs=_tensors(found["outputs"], number),
        constants=len(_tensors(found["constants"], number)),
        tactic=found["tactic"],
        origin=origins(found["metadata"]),
    )


def origins(metadata: str) -> tuple[str, ...]:
    """Return the ONNX nodes that a kernel's metadata names, each once."""
    found = (_ORIGIN.search(part) for part in _SEPARATOR.split(metadata))
    return tuple(dict.fromkeys(match[1] for match in found if match))


def _tensors(text: str, number: int) -> tuple[KernelTensor, ...]:
    found = tuple(_TENSOR.finditer(text))
    rest = _TENSOR.sub("", text)
    if rest.replace(" ", "") != "[]":
        raise UnknownTextError(
            f"line {number} of the builder's text describes a tensor in an unknown form: "
            f"{rest[:_SHOWN_CHARACTERS]}"
        )
    return tuple(
        KernelTensor(
            name=tensor["name"],
            shape=tensor["shape"],
            dtype=tensor["dtype"],
            format=tensor["format"],
        )
        for tensor in found
    )
