"""The fewest blocks to keep in float: this file is about which sets of blocks are tried.

Blocks are ranked by the noise that goes for each millisecond that keeping them float costs. The
first 0, 1, 2, 4, 8, ... of that ranking are tried until the bound is met, then the numbers between
the last two; of the set that is left, each block is tried without, the costly ones first. Every set
that is tried is judged as it is: the ranking only says what to try.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tresnet_deploy.contracts import Progress, no_progress
from tresnet_deploy.int8_results import Judged, LatencyTable, Mixture
from tresnet_deploy.mixed.bounds import Bound

Judge = Callable[[tuple[str, ...]], Judged]
"""Builds the mixture with these blocks in float and judges it."""

_FREE = 0.002  # of the network's latency: a smaller cost cannot be told from none


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A block: what share of the noise goes when it stays float, and what that costs."""

    block: str
    gain: float
    cost_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The blocks to keep, None where no set met the bound, and everything that was tried."""

    kept: tuple[str, ...] | None
    curve: tuple[Mixture, ...]


def ranked(candidates: Sequence[Candidate], latency_ms: float) -> tuple[str, ...]:
    """Return the blocks, the most noise for each millisecond first; ties by order."""
    least = _FREE * latency_ms

    def worth(candidate: Candidate) -> float:
        return candidate.gain / max(candidate.cost_ms, least)

    return tuple(each.block for each in sorted(candidates, key=lambda c: -worth(c)))


def search(
    ranking: Sequence[str],
    judge: Judge,
    bound: Bound,
    latencies: LatencyTable,
    *,
    progress: Progress = no_progress,
) -> Found:
    """Return the set of blocks to keep in float, and the curve of all sets tried.

    At least one block stays INT8: a network without is no INT8 network.
    """
    tried = _Tried(
        order=tuple(each.block for each in latencies.blocks),
        judge=judge,
        bound=bound,
        latencies=latencies,
        progress=progress,
    )
    most = len(ranking) - 1
    low, high = -1, 0
    while not tried.meets(ranking[:high]):
        if high == most:
            return Found(kept=None, curve=tried.curve())
        low, high = high, min(max(1, 2 * high), most)
    while high - low > 1:
        middle = (low + high) // 2
        if tried.meets(ranking[:middle]):
            high = middle
        else:
            low = middle
    kept = _pruned(ranking[:high], tried, latencies)
    return Found(kept=tried.in_order(kept), curve=tried.curve())


def _pruned(kept: Sequence[str], tried: _Tried, latencies: LatencyTable) -> tuple[str, ...]:
    """Return ``kept`` without the blocks that the bound does not need."""
    cost = {each.block: each.cost_ms for each in latencies.blocks}
    left = tuple(kept)
    for block in sorted(kept, key=lambda name: -cost[name]):
        smaller = tuple(name for name in left if name != block)
        if tried.meets(smaller):
            left = smaller
    return left


@dataclass(slots=True, kw_only=True)
class _Tried:
    """Sets that were judged: none is judged twice."""

    order: tuple[str, ...]
    judge: Judge
    bound: Bound
    latencies: LatencyTable
    progress: Progress
    found: dict[tuple[str, ...], Mixture] = field(default_factory=dict)

    def in_order(self, blocks: Sequence[str]) -> tuple[str, ...]:
        """Return ``blocks`` in the order of the network."""
        return tuple(name for name in self.order if name in blocks)

    def meets(self, blocks: Sequence[str]) -> bool:
        """Judge the mixture that keeps ``blocks`` in float."""
        kept = self.in_order(blocks)
        if kept not in self.found:
            judged = self.judge(kept)
            self.found[kept] = Mixture(
                kept=kept,
                latency_ms=self.latencies.of(kept),
                judged=judged,
                met=self.bound.met(judged),
            )
            self.progress(len(self.found), None, "mixtures judged")
        return self.found[kept].met

    def curve(self) -> tuple[Mixture, ...]:
        """Return all mixtures, the fastest first, the efficient ones marked."""
        points = sorted(self.found.values(), key=lambda point: (point.latency_ms, point.kept))
        return tuple(
            dataclasses.replace(
                point, efficient=not any(self._beats(other, point) for other in points)
            )
            for point in points
        )

    def _beats(self, other: Mixture, point: Mixture) -> bool:
        """Whether ``other`` is as good in both, and better in one."""
        mine = (-point.latency_ms, self._quality(point))
        theirs = (-other.latency_ms, self._quality(other))
        return theirs != mine and all(a >= b for a, b in zip(theirs, mine, strict=True))

    def _quality(self, point: Mixture) -> float:
        value = self.bound.value(point.judged)
        return value if self.bound.kind == "min-agreement" else -value
