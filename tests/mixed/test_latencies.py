"""What blocks cost: measured, or read from a file that must be of this network."""

from pathlib import Path

import pytest

from tresnet_deploy.artifacts import to_json
from tresnet_deploy.contracts import Artifact
from tresnet_deploy.errors import ArtifactError, UsageError
from tresnet_deploy.images import demo_images
from tresnet_deploy.int8_results import BlockLatency, LatencyTable
from tresnet_deploy.mixed import latencies
from tresnet_deploy.mixed.latencies import Engine
from tresnet_deploy.quantize import QuantizeOptions
from tresnet_deploy.registry import BACKENDS
from tresnet_deploy.sensitivity import prepare
from tresnet_deploy.timing import Schedule


def written(path: Path, *rows: tuple[str, float, float]) -> Path:
    blocks = tuple(BlockLatency(block=b, float_ms=f, int8_ms=i) for b, f, i in rows)
    path.write_bytes(to_json(LatencyTable(engine="gpu", device="x", batch=1, blocks=blocks)))
    return path


def test_a_table_is_read_in_the_order_of_the_network(tmp_path: Path) -> None:
    path = written(tmp_path / "table.json", ("head", 2, 1), ("stem", 4, 2))
    table = latencies.read(path, ("stem", "head"))
    assert [each.block for each in table.blocks] == ["stem", "head"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ((("stem", 2.0, 1.0),), "lacks head"),
        ((("stem", 2.0, 1.0), ("head", 2.0, 1.0), ("tail", 1.0, 1.0)), "has tail"),
        ((("stem", 2.0, 1.0), ("head", 2.0, 1.0), ("head", 1.0, 1.0)), "has head"),
        ((("stem", 2.0, 1.0), ("head", 0.0, 1.0)), "no times above 0 ms for head"),
    ],
)
def test_a_table_of_another_network_is_refused(
    tmp_path: Path, rows: tuple[tuple[str, float, float], ...], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        latencies.read(written(tmp_path / "table.json", *rows), ("stem", "head"))


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    with pytest.raises(UsageError, match="cannot read"):
        latencies.read(path, ("stem",))
    path.write_text('{"schema_version": 1, "blocks": 3}', "utf-8")
    with pytest.raises(ArtifactError, match="is not a readable LatencyTable"):
        latencies.read(path, ("stem",))


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_every_block_is_built_both_ways_and_timed(
    small_graph: Artifact,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    backend: str,
) -> None:
    monkeypatch.setattr(
        latencies,
        "_TURNS",
        Schedule(rounds=1, seconds=0.0, min_steps=1, settle_s=0, window_s=0, warmup_max_s=0),
    )
    folder = tmp_path_factory.mktemp("latencies")
    options = QuantizeOptions(samples=4, method="minmax", pad_channels=False)
    forms = prepare(small_graph, folder, images=demo_images("calibration"), options=options)
    engine = Engine(backend=backend, options=BACKENDS.load(backend).options_for("int8"), batch=1)
    table = latencies.measure(forms, engine, demo_images("test"), folder)
    assert [each.block for each in table.blocks] == [u.block for u in forms.units("block")]
    assert all(each.float_ms > 0 and each.int8_ms > 0 for each in table.blocks)
    assert table.device
