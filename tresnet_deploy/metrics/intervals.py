"""How sure a share or a difference is: intervals and tests for few images and many."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Final

from tresnet_deploy.metrics.scores import Flags
from tresnet_deploy.results import Interval

CONFIDENCE: Final = 0.95
Z_95: Final = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)


def wilson(successes: int, trials: int) -> Interval:
    """Return the 95 % score interval of a share (Wilson, JASA 22, 1927; best for small samples)."""
    if trials == 0:
        return Interval(low=0.0, high=1.0)
    share, z2n = successes / trials, Z_95**2 / trials
    centre = (share + z2n / 2) / (1 + z2n)
    half = Z_95 * math.sqrt(share * (1 - share) / trials + z2n / (4 * trials)) / (1 + z2n)
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    return Interval(low=low, high=1.0 if successes == trials else min(1.0, centre + half))


def paired_drop(reference: Flags, candidate: Flags) -> tuple[float, Interval]:
    """Return how much less often the candidate is right on the same images, and its 95 % interval.

    With b images only the reference has right and c only the candidate, the drop is (b - c) / n.
    The interval is Bonett and Price's (2012), Wald's with one added to b and c, which Fagerland,
    Lydersen and Laake (Statistics in Medicine 33, 2014) recommend for paired shares of any size.
    """
    images = len(reference)
    lost = int((reference & ~candidate).sum())
    gained = int((candidate & ~reference).sum())
    down, up = (lost + 1) / (images + 2), (gained + 1) / (images + 2)
    half = Z_95 * math.sqrt((down + up - (down - up) ** 2) / (images + 2))
    interval = Interval(low=max(-1.0, down - up - half), high=min(1.0, down - up + half))
    return ((lost - gained) / images if images else 0.0), interval


def mcnemar(reference: Flags, candidate: Flags) -> float:
    """Return the exact two-sided p-value that both are right equally often (McNemar, 1947)."""
    lost = int((reference & ~candidate).sum())
    changed = lost + int((candidate & ~reference).sum())
    tail = sum(math.comb(changed, i) for i in range(min(lost, changed - lost) + 1))
    return min(1.0, 2 * tail / (1 << changed))


def chance_count(trials: int, share: float, *, level: float = CONFIDENCE) -> int:
    """Return the most events to expect in ``trials`` of chance ``share``: the binomial quantile."""
    if share <= 0:
        return 0
    if share >= 1:
        return trials
    log_odds = math.log(share) - math.log1p(-share)
    log_chance = trials * math.log1p(-share)
    total, count = math.exp(log_chance), 0
    while total < level and count < trials:
        log_chance += math.log((trials - count) / (count + 1)) + log_odds
        count += 1
        total += math.exp(log_chance)
    return count
