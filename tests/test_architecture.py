"""The teeth of ARCHITECTURE.md: imports go down only, and each heavy library stays in its room."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HOMES = {
    "tresnet": "tresnet",
    "tresnet_deploy": "tresnet_deploy",
    "plugins": "tresnet_deploy.plugins",
    "calibration": "tresnet_deploy.calibration",
}
FLOORS = {
    "tresnet": 0,
    "tresnet_deploy": 0,
    "tresnet_deploy.errors": 0,
    "tresnet_deploy.contracts": 1,
    "tresnet_deploy.registry": 1,
    "tresnet_deploy.seals": 1,
    "tresnet_deploy.disk": 1,
    "tresnet_deploy.hints": 1,
    "tresnet_deploy.results": 2,
    "tresnet_deploy.artifacts": 2,
    "tresnet_deploy.preprocess": 2,
    "tresnet_deploy.int8_results": 3,
    "tresnet_deploy.images": 3,
    "tresnet_deploy.environment": 3,
    "tresnet_deploy.ledger": 3,
    "tresnet_deploy.speedups": 3,
    "tresnet_deploy.timing": 3,
    "tresnet_deploy.gpus": 3,
    "tresnet_deploy.folders": 3,
    "tresnet_deploy.gpu_watch": 3,
    "tresnet_deploy.trtexec": 3,
    "tresnet_deploy.graph_files": 3,
    "tresnet_deploy.weights": 3,
    "tresnet_deploy.plugins": 3,
    "tresnet_deploy.calibration": 4,
    "tresnet_deploy.passes": 4,
    "tresnet_deploy.blocks": 4,
    "tresnet_deploy.fusions": 4,
    "tresnet_deploy.trust": 4,
    "tresnet_deploy.doubts": 4,
    "tresnet_deploy.backends": 6,
    "tresnet_deploy.precision": 5,
    "tresnet_deploy.metrics": 4,
    "tresnet_deploy.scoring": 5,
    "tresnet_deploy.eager": 3,
    "tresnet_deploy.tracing": 5,
    "tresnet_deploy.export_check": 5,
    "tresnet_deploy.export": 7,
    "tresnet_deploy.quantize": 7,
    "tresnet_deploy.build": 7,
    "tresnet_deploy.parity": 7,
    "tresnet_deploy.benchmark": 7,
    "tresnet_deploy.converting": 8,
    "tresnet_deploy.sensitivity": 8,
    "tresnet_deploy.mixed": 9,
    "tresnet_deploy.contestants": 8,
    "tresnet_deploy.packaging": 8,
    "tresnet_deploy.evaluate": 7,
    "tresnet_deploy.predict": 7,
    "tresnet_deploy.inspection": 7,
    "tresnet_deploy.preflight": 7,
    "tresnet_deploy.engines": 9,
    "tresnet_deploy.report": 9,
    "tresnet_deploy.pipeline": 10,
    "tresnet_deploy.cli": 11,
}
FENCES = {
    "click": ("tresnet_deploy.cli",),
    "tqdm": ("tresnet_deploy.cli",),
    "tensorrt": ("tresnet_deploy.backends", "tresnet_deploy.plugins"),
    "tensorrt_rtx": ("tresnet_deploy.backends", "tresnet_deploy.plugins"),
    "openvino": ("tresnet_deploy.backends",),
    "onnxruntime": ("tresnet_deploy.backends",),
    "jinja2": ("tresnet_deploy.report",),
}
MAX_LINES = 300


def modules() -> list[tuple[str, Path]]:
    found = []
    for folder, package in HOMES.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            name = ".".join((package, *parts)).removesuffix(".__init__")
            found.append((name, path))
    return found


def room_of(name: str) -> str:
    parts = name.split(".")
    for size in range(min(len(parts), 2), 0, -1):
        room = ".".join(parts[:size])
        if room in FLOORS:
            return room
    raise AssertionError(f"{name} has no floor: add it to FLOORS and to ARCHITECTURE.md")


def imports_of(path: Path, package: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")
                base = ".".join([*above[: len(above) - node.level + 1], *([base] if base else [])])
            found |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return found


@pytest.mark.parametrize(("name", "path"), modules(), ids=[name for name, _ in modules()])
def test_a_module_imports_only_downwards_and_keeps_within_the_fences(name: str, path: Path) -> None:
    room = room_of(name)
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    known = {module for module, _ in modules()}
    for target in imports_of(path, package):
        top = target.split(".")[0]
        if top in FENCES:
            assert room in FENCES[top], f"{name} imports {top}, which belongs in {FENCES[top]}"
        if target in known and room_of(target) != room:
            assert FLOORS[room_of(target)] < FLOORS[room], (
                f"{name} imports {target}, which is above"
            )


@pytest.mark.parametrize(("name", "path"), modules(), ids=[name for name, _ in modules()])
def test_a_module_holds_one_thing_in_at_most_300_lines(name: str, path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= MAX_LINES, name
