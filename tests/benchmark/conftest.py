"""A clock that only moves when a fake session steps: statistics are tested, never real time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import cycle

import numpy as np
import pytest

from tresnet_deploy.benchmark import Contestant
from tresnet_deploy.contracts import Array, Batch, Feeds, Precision, TensorSpec
from tresnet_deploy.timing import Schedule


@dataclass
class FakeClock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class FakeSession:
    clock: FakeClock
    times_s: Iterator[float]
    output: Array = field(default_factory=lambda: np.eye(2, dtype=np.float32))
    log: list[str] = field(default_factory=list)
    name: str = ""
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()

    def bind(self, feeds: Feeds) -> None:
        raise AssertionError("contestants come bound")

    def step(self) -> None:
        self.log.append(self.name)
        self.clock.now += next(self.times_s)

    def fetch(self) -> dict[str, Array]:
        return {"logits": self.output}

    def close(self) -> None:
        self.log.append(f"close {self.name}")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def schedule() -> Schedule:
    return Schedule(
        rounds=5, seconds=0.1, min_steps=2, settle_s=0.02, window_s=0.05, warmup_max_s=1.0
    )


MakeContestant = Callable[..., Contestant]


@pytest.fixture
def contestant(clock: FakeClock) -> MakeContestant:
    """Make a contestant whose step takes the given milliseconds, in turn and again."""

    def make(
        name: str,
        *times_ms: float,
        backend: str = "openvino",
        precision: Precision = "fp32",
        parity: str = "pass",
        batch: Batch | None = None,
        output: Array | None = None,
    ) -> Contestant:
        out = np.eye(2, dtype=np.float32) if output is None else output

        def open_session(size: int) -> FakeSession:
            steps = cycle(time_ms / 1000 * size for time_ms in times_ms)
            return FakeSession(clock, steps, output=out, name=name)

        return Contestant(
            name=name,
            backend=backend,
            precision=precision,
            parity=parity,  # type: ignore[arg-type]
            open=open_session,
            batch=batch,
        )

    return make
