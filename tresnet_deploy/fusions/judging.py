"""What is to be said of kernels: which computes nothing, and which convolution lost its activation.

An operator is told by the graph where it is at hand, else by the names of nodes that end with it,
as those made here do (``layer1.0.conv1/Conv``). What a kernel without origin does is told by the
builder's own name for it: ``__myl_CastTran_myl0_5`` casts and transposes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Final

from tresnet_deploy.fusions.graph_facts import GraphFacts
from tresnet_deploy.fusions.reports import (
    EXTRA,
    FindingKind,
    FusionTotals,
    Kernel,
    KernelFinding,
)

_PAIRS: Final = frozenset(("QuantizeLinear", "DequantizeLinear"))
_CASTS: Final = frozenset(("Cast", "CastLike"))
_MOVES: Final = frozenset(
    (
        "Concat",
        "DepthToSpace",
        "Flatten",
        "Identity",
        "Reshape",
        "Slice",
        "SpaceToDepth",
        "Split",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
    )
)
_WORDS_OF_MOVES: Final = frozenset(("Conc", "Copy", "Move", "Repl", "Resh", "Slic", "Tran"))
_GENERATED: Final = re.compile(r"__myl_((?:[A-Z][a-z0-9]*)+)_myl\d+_\d+")
_PROFILE: Final = re.compile(r" \[profile (\d+)\]|_myl(\d+)_\d+$")
_WORD: Final = re.compile(r"[A-Z][a-z0-9]*")
_OF_OUR_NAMES: Final = re.compile(r".*/([A-Z]\w*?)(?:_\d+)?")
_OF_A_FUNCTION: Final = " | "
_EIGHT_BITS: Final = ("Int8", "FP8")
_FLOAT: Final = "Float"


def operators(kernel: Kernel, facts: GraphFacts | None) -> tuple[str, ...]:
    """Return the ONNX operators of ``kernel``, "" for those that nothing tells."""
    return tuple(_operator(name, facts) for name in kernel.origin)


def _operator(name: str, facts: GraphFacts | None) -> str:
    if facts is not None and name in facts.operators:
        return facts.operators[name]
    found = _OF_OUR_NAMES.fullmatch(name)
    return "" if found is None or _OF_A_FUNCTION in name else found[1]


def profile(kernel: Kernel) -> int:
    """Return the optimisation profile that runs ``kernel``: the builder puts it into the name."""
    found = _PROFILE.search(kernel.name)
    return int(found[1] or found[2]) if found else 0


def by_profile(kernels: tuple[Kernel, ...]) -> tuple[tuple[Kernel, ...], ...]:
    """Return the kernels of each profile that has any, in their order."""
    profiles = sorted({kernel.profile for kernel in kernels})
    return tuple(tuple(k for k in kernels if k.profile == number) for number in profiles)


def findings(kernels: tuple[Kernel, ...], facts: GraphFacts | None) -> Iterator[KernelFinding]:
    """Give all that is to be said of the kernels of one profile, kernel by kernel."""
    computed = main_kernels(kernels)
    activations = _named_activations(kernels, facts)
    readers = _readers(kernels)
    for kernel in kernels:
        yield from _of_convolutions(kernel, computed, activations)
        idle = _idle(kernel)
        if idle is not None:
            before = "" if kernel.origin else _next_node(kernel, readers)
            yield KernelFinding(kind=idle, kernel=kernel.name, origin=kernel.origin, before=before)


def _readers(kernels: tuple[Kernel, ...]) -> dict[str, Kernel]:
    """Return for each tensor the first kernel that reads it."""
    found: dict[str, Kernel] = {}
    for kernel in kernels:
        for tensor in kernel.inputs:
            found.setdefault(tensor.name, kernel)
    return found


def _next_node(kernel: Kernel, readers: dict[str, Kernel]) -> str:
    """Return the first ONNX node of what reads ``kernel``, "" where nothing tells."""
    for tensor in kernel.outputs:
        reader = readers.get(tensor.name)
        if reader is not None and reader.origin:
            return reader.origin[0]
    return ""


def main_kernels(kernels: tuple[Kernel, ...]) -> dict[str, Kernel]:
    """Return for each convolution the kernel that multiplies: later ones finish its sums."""
    found: dict[str, Kernel] = {}
    for kernel in kernels:
        for name, operator in zip(kernel.origin, kernel.operators, strict=True):
            if operator == "Conv":
                found.setdefault(name, kernel)
    return found


def _named_activations(kernels: tuple[Kernel, ...], facts: GraphFacts | None) -> dict[str, str]:
    """Return the convolutions' own activations, those that some kernel names."""
    named = {name for kernel in kernels for name in kernel.origin}
    pairs = facts.activations.items() if facts else ()
    return {convolution: activation for convolution, activation in pairs if activation in named}


def _of_convolutions(
    kernel: Kernel, computed: dict[str, Kernel], activations: dict[str, str]
) -> Iterator[KernelFinding]:
    mine = tuple(name for name in kernel.origin if computed.get(name) is kernel)
    for name in mine:
        activation = activations.get(name)
        if activation is not None and activation not in kernel.origin:
            yield KernelFinding(
                kind="activation apart", kernel=kernel.name, origin=(name, activation)
            )
    if mine and _FLOAT in kernel.writes and any(each in _EIGHT_BITS for each in kernel.reads):
        yield KernelFinding(kind="float output", kernel=kernel.name, origin=mine)


def _idle(kernel: Kernel) -> FindingKind | None:
    """Return in which way ``kernel`` computes nothing, None when it computes, or nobody knows."""
    found = set(kernel.operators)
    if "" in found:
        return None
    if not found:
        return _idle_by_name(kernel)
    if found <= _PAIRS:
        return "quantisation left"
    if found <= _CASTS:
        return "cast"
    if found <= {"Pad"} | _MOVES | _CASTS and "Pad" in found:
        return "padding apart"
    return "move" if found <= _MOVES | _CASTS | _PAIRS else None


def _idle_by_name(kernel: Kernel) -> FindingKind | None:
    if "reformat" in kernel.kind.lower():
        return "reformat"
    generated = _GENERATED.fullmatch(kernel.name)
    if generated is None:
        return None
    words = set(_WORD.findall(generated[1]))
    if words <= _WORDS_OF_MOVES:
        return "reformat"
    return "cast" if words <= _WORDS_OF_MOVES | {"Cast"} else None


def totals(
    kernels: tuple[Kernel, ...], found: tuple[KernelFinding, ...], facts: GraphFacts | None
) -> FusionTotals:
    """Return the report in numbers; host-side helpers without inputs and outputs are no kernels."""
    launched = tuple(kernel for kernel in kernels if kernel.inputs or kernel.outputs)
    profiles = by_profile(launched)
    convolutions = [main_kernels(each) for each in profiles]
    named = [_named_activations(each, facts) for each in profiles]
    activated = sum(
        len(ours.keys() & theirs) for ours, theirs in zip(named, convolutions, strict=True)
    )
    apart = sum(finding.kind == "activation apart" for finding in found)
    told = sum(map(len, convolutions)) + sum(map(len, named))
    return FusionTotals(
        profiles=len(profiles),
        kernels=len(launched),
        kinds=dict(Counter(kernel.kind for kernel in launched).most_common()),
        convolutions=sum(map(len, convolutions)),
        activated=None if facts is None else activated,
        fused=None if facts is None else activated - apart,
        untold=None if facts is None else len(profiles) * _in_graph(facts) - told,
        unfused_pairs=sum(
            len(finding.origin) for finding in found if finding.kind == "quantisation left"
        ),
        extra_kernels=sum(finding.kind in EXTRA for finding in found),
    )


def _in_graph(facts: GraphFacts) -> int:
    """Return how many convolutions, and activations of their own, the graph has."""
    convolutions = sum(operator == "Conv" for operator in facts.operators.values())
    return convolutions + len(facts.activations)
