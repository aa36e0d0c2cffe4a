"""What NVIDIA's parser and builder mean: this file is about their words, explained and quoted."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tresnet_deploy.backends._nvinfer_request import Reply
from tresnet_deploy.errors import BuildError

_QUOTED: Final = 3  # the first errors say why, those after them what failed because of it
_LONGEST: Final = 300
# "[graph_jit.cpp::compile::278] Error Code 9: ..." is for NVIDIA's developers.
_PREFIX: Final = re.compile(r"^(?:\[[^\]]*\] ?)?(?:Error Code:? \d+:? ?)?")
# Without a driver each complaint about a node ends with this one about CUDA: not the cause.
_AFTERTHOUGHT: Final = re.compile(r"(?<=\S) \[checkMacros\.cpp::catchCudaError[^\n]*")


@dataclass(frozen=True, slots=True)
class _Meaning:
    """What a runtime's words mean, and the ways out."""

    words: str
    means: str
    hints: tuple[str, ...]


# Words of TensorRT-RTX 1.7.1, read off builds that fail this way.
_MEANINGS: Final = (
    _Meaning(
        "FP32 GEMM is not supported",
        "compute capability 7.5 has no FP32 matrix products, which the classifier is",
        ("--fp16", "leave compute capability 7.5 out"),
    ),
    _Meaning(
        "HW-specific datatypes: b16|bf16.*(not support|unsupported)",
        "compute capability 7.5 does not compute bf16",
        ("--fp16", "leave compute capability 7.5 out"),
    ),
    _Meaning(
        "fp8_e4m3|[Ff][Pp]8.*(not support|unsupported)",
        "FP8 needs compute capability 8.9 or higher",
        ("--compute-capability 8.9 --compute-capability 12.0", "--int8"),
    ),
    _Meaning(
        "within workspace limit|[Ii]nsufficient workspace",
        "no kernel fits into the workspace that it was given",
        ("a larger --workspace-mib, or none", "a smaller --batch"),
    ),
    _Meaning(
        "Plugin not found|No importer registered|unsupported operator",
        "the graph has an operator that the parser does not know",
        ("tresnet-deploy export --overwrite, with standard operators or functions",),
    ),
    _Meaning(
        "Non-zero zero point|kENABLE_UINT8_AND_ASYMMETRIC",
        "activations are quantised on an unsigned grid or one with a zero point",
        ("tresnet-deploy quantize, whose graphs are symmetric INT8",),
    ),
    _Meaning(
        "must have type FP8, FP4",
        "a bias is quantised to int32, which only ONNX Runtime reads",
        ("tresnet-deploy quantize, which leaves biases in float",),
    ),
    _Meaning(
        "must be of same type|must have the same type|[Tt]ype mismatch|In validateTypes at",
        "tensors of two types meet, which a strongly typed network refuses",
        ("tresnet-deploy build-engine --fp16, from the FP32 graph",),
    ),
    _Meaning(
        "Dimension mismatch for tensor|kMIN dimensions|profile.*not.*consistent",
        "the optimisation profile does not fit the graph's input",
        ("leave --batch out, for what the graph has",),
    ),
    _Meaning(
        "libnvinfer_lean|lean runtime",
        "version compatibility needs the lean runtime, which is not installed",
        ("leave --version-compatible out",),
    ),
    _Meaning(
        "cudaError(_t)? ?35|CUDA (initialization|driver)|no CUDA-capable device",
        "this needs an NVIDIA GPU with a driver, and none is visible",
        ("--backend tensorrt-rtx, which builds without a GPU",),
    ),
    _Meaning(
        "[Oo]ut of memory|OutOfMemory|std::bad_alloc|Cannot allocate memory",
        "there is too little memory for this network",
        ("a smaller --batch", "--workspace-mib, to bound what the builder takes"),
    ),
    _Meaning(
        "[Ff]ailed to parse|protobuf|ModelProto",
        "the file is no ONNX model that the parser can read",
        ("tresnet-deploy export --overwrite",),
    ),
)


def refusal(reply: Reply, *, runtime: str, graph: str) -> BuildError:
    """Return what went wrong in a build that ended by itself: explained, then quoted."""
    words = tuple(_AFTERTHOUGHT.sub("", each) for each in reply.words)
    text = "\n".join((*words, reply.error or ""))  # warnings speak of other things, too
    known = next((each for each in _MEANINGS if re.search(each.words, text)), None)
    means = known.means if known else reply.error
    return BuildError(
        f"{runtime} {reply.version} cannot build {graph}: {means}{_quoted(words)}",
        hints=known.hints if known else ("tresnet-deploy build-engine -v, for all it says",),
    )


def _quoted(words: Sequence[str]) -> str:
    short = [_short(each) for each in words]
    found = [each for each in dict.fromkeys(short) if each]
    if not found:
        return ""
    more = f" (and {len(found) - _QUOTED} more)" if len(found) > _QUOTED else ""
    return f"; its own words: {' / '.join(found[:_QUOTED])}{more}"


def _short(words: str) -> str:
    line = " ".join(_PREFIX.sub("", words).split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."


def death(code: int, last_words: str, *, runtime: str, graph: str) -> BuildError:
    """Return what is known of a build whose process ended by itself, without an answer."""
    said = f"; its last words: {_short(last_words)}" if last_words else ""
    if code >= 0:
        return BuildError(
            f"the process that built {graph} with {runtime} ended with {code} and no answer{said}",
            hints=("tresnet-deploy doctor",),
        )
    name = signal.Signals(-code).name
    if name == "SIGKILL":
        return BuildError(
            f"the process that built {graph} with {runtime} was killed, most likely for lack of "
            f"memory{_available()}; nothing was written",
            hints=("a smaller --batch", "--workspace-mib, to bound what the builder takes"),
        )
    return BuildError(
        f"{runtime} aborted ({name}) while it built {graph}{said}; nothing was written",
        hints=("tresnet-deploy build-engine --backend NAME, for another backend",),
    )


def _available() -> str:
    """Return how much memory is free now, where the system tells."""
    try:
        text = Path("/proc/meminfo").read_text("utf-8")
    except OSError:
        return ""
    match = re.search(r"MemAvailable:\s+(\d+) kB", text)
    return f" ({int(match[1]) // 1024} MiB are free now)" if match else ""


def late(timeout_s: int, *, runtime: str, graph: str) -> BuildError:
    """Return that a build was stopped after its time."""
    return BuildError(
        f"{runtime} had not built {graph} after {timeout_s} s and was stopped; nothing was written",
        hints=("a larger --build-timeout", "a smaller --optimization-level, or none"),
    )
