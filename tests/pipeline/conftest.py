"""One real deployment of the demo network, made once: small samples, rounds of milliseconds."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from tresnet_deploy import contestants, weights
from tresnet_deploy.contracts import Batch
from tresnet_deploy.images import demo_checkpoint
from tresnet_deploy.pipeline import Deployment, Plan, deploy
from tresnet_deploy.quantize import QuantizeOptions
from tresnet_deploy.report import StepTime
from tresnet_deploy.timing import Schedule

FAST = Schedule(rounds=2, seconds=0.01, min_steps=1, settle_s=0.0, window_s=0.0, warmup_max_s=0.0)


@pytest.fixture(scope="session")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return Plan(
        source=weights.resolve(checkpoint=demo_checkpoint()),
        folder=tmp_path_factory.mktemp("deployment"),
        batch=Batch(min=1, opt=2, max=4),
        quantize=QuantizeOptions(samples=32),
        samples=60,
        benchmark=contestants.Options(batches=(1, 2), schedule=FAST, quick=True, compiled=False),
        command="tresnet-deploy deploy --demo",
    )


@pytest.fixture(scope="session")
def told() -> list[tuple[int, str, StepTime | None]]:
    return []


@pytest.fixture(scope="session")
def deployment(plan: Plan, told: list[tuple[int, str, StepTime | None]]) -> Deployment:
    return deploy(plan, seen=lambda *step: told.append(step))


@pytest.fixture
def fresh(plan: Plan, deployment: Deployment, tmp_path: Path) -> Plan:
    """The same plan, its files copied into a folder that a test may spoil."""
    folder = tmp_path / "copy"
    shutil.copytree(plan.folder, folder)
    return dataclasses.replace(plan, folder=folder)
