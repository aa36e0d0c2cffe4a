"""Backends that only pretend, in a folder of their own, so that every failure can be played."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tresnet_deploy.build import building, choosing
from tresnet_deploy.registry import Folder

AddBackend = Callable[..., None]

BACKEND = """
import dataclasses
from pathlib import Path
import numpy as np
from tresnet_deploy.backends import _engine
from tresnet_deploy.contracts import Probe
from tresnet_deploy.errors import ElsewhereError
from tresnet_deploy.registry import BACKENDS

READS = "onnx"
WRITES = ".{name}.bin"
GRAPHS = {{precision: precision for precision in {precisions}}}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    threads: int = 0
    fast: bool = True


def options_for(precision):
    return Options()


def probe():
    return Probe(usable={usable}, runs={runs}, reason="{reason}", version="1",
                 precisions={precisions})


def build(source, path, *, batch, options):
    path.write_bytes(b"engine")
    {on_build}
    return _engine.describe(source, path, backend="{name}", precision=source.precision,
                            batch=batch, device="none", options=options, versions={{}})


class Session:
    def __init__(self, artifact):
        self._real = BACKENDS.load("onnxruntime").load(dataclasses.replace(
            artifact, kind="onnx", path=Path(artifact.settings["graph"])))
        self.inputs, self.outputs = self._real.inputs, self._real.outputs
        self.bind, self.step, self.close = self._real.bind, self._real.step, self._real.close

    def fetch(self):
        found = self._real.fetch()["logits"]
        return {{"logits": {answer}}}


def load(artifact):
    if not {runs}:
        raise ElsewhereError("{reason}")
    return Session(artifact)
"""


@pytest.fixture
def add_backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AddBackend:
    """Write a backend into an otherwise empty folder that ``build`` looks into."""
    package = tmp_path / f"fake_backends_{tmp_path.name.replace('-', '_')}"
    package.mkdir()
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    folder = Folder(package.name, "backend", optional=True)
    for module in (building, choosing):
        monkeypatch.setattr(module, "BACKENDS", folder)

    def add(
        name: str,
        *,
        precisions: tuple[str, ...] = ("fp32",),
        usable: bool = True,
        runs: bool = True,
        reason: str = "runs here",
        on_build: str = "pass",
        answer: str = "found",
        source: str | None = None,
    ) -> None:
        text = source or BACKEND.format(
            name=name,
            precisions=repr(precisions),
            usable=usable,
            runs=runs,
            reason=reason,
            on_build=on_build,
            answer=answer,
        )
        (package / f"{name}.py").write_text(text)

    return add
