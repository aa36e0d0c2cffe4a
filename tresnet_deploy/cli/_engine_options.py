"""Options of an engine that only some backends have: short for ``-O NAME=VALUE``.

A backend that lacks one refuses it by name, so none is passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from tresnet_deploy.cli._options import gathered
from tresnet_deploy.contracts import Batch
from tresnet_deploy.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])

_LEVELS: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFlags:
    """What the options give, each under the name of its option."""

    threads: int | None
    operators: str | None
    compute_capability: tuple[str, ...]
    hardware_compatible: bool
    version_compatible: bool
    weight_streaming: bool
    workspace_mib: int | None
    optimization_level: int | None
    timing_cache: Path | None
    runtime_cache: Path | None
    cuda_graph: bool
    build_timeout: int | None
    extra: tuple[str, ...]

    def options(self, batches: tuple[Batch, ...]) -> dict[str, str]:
        """Return them by the names of the backends' options; ``batches`` are all that were given.

        Raises:
            UsageError: one is no NAME=VALUE, or is given twice.
        """
        given = {name: value for name, value in self._named(batches).items() if value}
        return with_pairs(given, self.extra)

    def _named(self, batches: tuple[Batch, ...]) -> dict[str, str]:
        """Return the flags by the options that they are short for; empty where not given."""
        numbers = {
            "threads": self.threads,
            "workspace_mib": self.workspace_mib,
            "optimization_level": self.optimization_level,
            "timeout_s": self.build_timeout,
        }
        switches = {
            "version_compatible": self.version_compatible,
            "weight_streaming": self.weight_streaming,
            "cuda_graph": self.cuda_graph,
        }
        return {
            "profiles": ",".join(map(str, batches)) if len(batches) > 1 else "",
            "operators": self.operators or "",
            "compute_capabilities": ",".join(self.compute_capability),
            "hardware_compatible": "ampere+" if self.hardware_compatible else "",
            "timing_cache": "" if self.timing_cache is None else str(self.timing_cache),
            "runtime_cache": "" if self.runtime_cache is None else str(self.runtime_cache),
            **{name: "" if number is None else str(number) for name, number in numbers.items()},
            **{name: "true" if on else "" for name, on in switches.items()},
        }


def with_pairs(given: Mapping[str, str], pairs: Iterable[str]) -> dict[str, str]:
    """Return the options ``given`` and those that ``pairs``, of NAME=VALUE each, add.

    Raises:
        UsageError: one is no NAME=VALUE, or is given twice.
    """
    named = dict(given)
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"--option {pair!r} is not NAME=VALUE")
        if name in named:
            raise UsageError(f"the option {name} is given twice")
        named[name] = value
    return named


def engine_options(function: F) -> F:
    """Add the options below; they arrive as one :class:`EngineFlags` called ``flags``."""
    return gathered(function, EngineFlags, "flags", _OPTIONS)


_CACHE = click.Path(path_type=Path, dir_okay=False)
_OPTIONS = (
    click.option(
        "--threads",
        type=click.IntRange(min=1),
        help="CPU threads.  [default: usable physical cores]",
    ),
    click.option(
        "--operators",
        type=click.Choice(["as-exported", "plugin"]),
        help="TensorRT: use our plugins, whatever the graph was exported with.",
    ),
    click.option(
        "--compute-capability",
        multiple=True,
        metavar="MAJOR.MINOR",
        help="TensorRT-RTX: GPU to build for, such as 8.6; may be repeated.  [default: all from "
        "8.0]",
    ),
    click.option(
        "--hardware-compatible", is_flag=True, help="TensorRT: run on all GPUs from Ampere on."
    ),
    click.option(
        "--version-compatible", is_flag=True, help="TensorRT: run under later versions too."
    ),
    click.option(
        "--weight-streaming",
        is_flag=True,
        help="NVIDIA's backends: let weights stay in host memory.",
    ),
    click.option(
        "--workspace-mib",
        type=click.IntRange(min=1),
        help="NVIDIA's backends: most memory for scratch.",
    ),
    click.option(
        "--optimization-level",
        type=click.IntRange(0, _LEVELS),
        help="TensorRT: from fast to build to fast to run.",
    ),
    click.option("--timing-cache", type=_CACHE, help="TensorRT: keep its timings of kernels here."),
    click.option("--runtime-cache", type=_CACHE, help="TensorRT-RTX: keep compiled kernels here."),
    click.option(
        "--cuda-graph", is_flag=True, help="NVIDIA's backends: replay each step as one launch."
    ),
    click.option(
        "--build-timeout",
        type=click.IntRange(min=1),
        metavar="SECONDS",
        help="NVIDIA's backends: stop a build that takes longer.  [default: 3600]",
    ),
    click.option(
        "-O",
        "--option",
        "extra",
        multiple=True,
        metavar="NAME=VALUE",
        help="An option of the backend's own, such as inference_precision=f32; may be repeated.",
    ),
)
