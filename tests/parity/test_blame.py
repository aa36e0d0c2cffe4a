"""Where accuracy goes inside the network: every block of every file, by its torch name."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from tresnet_deploy import artifacts, build, graph_files
from tresnet_deploy.contracts import Artifact, Batch
from tresnet_deploy.errors import RunError, UsageError
from tresnet_deploy.images import ImageSet, demo_images, sample
from tresnet_deploy.parity.blame import SHOWS_INNER, Blame, blame
from tresnet_deploy.registry import BACKENDS
from tresnet_deploy.results import BlockSnr


@pytest.fixture(scope="module")
def few() -> ImageSet:
    return sample(demo_images("test"), 4, seed=0)


@pytest.fixture(scope="module")
def engines(
    demo_int8: Artifact, few: ImageSet, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Artifact, ...]:
    """One engine of each backend that shows inner tensors; the batch of 4 is run in parts."""
    folder = tmp_path_factory.mktemp("engines")
    return tuple(
        build.build(
            demo_int8,
            folder / f"tresnet.int8{BACKENDS.load(name).WRITES}",
            backend=name,
            batch=Batch(min=3, opt=3, max=3),
            images=few,
        )
        for name in SHOWS_INNER
    )


@pytest.fixture(scope="module")
def found(
    demo_graph: Artifact, demo_int8: Artifact, engines: tuple[Artifact, ...], few: ImageSet
) -> Blame:
    return blame((demo_graph, demo_int8, *engines), few)


def ratios(blocks: tuple[BlockSnr, ...]) -> dict[str, float]:
    return {each.block: float("inf") if each.snr_db is None else each.snr_db for each in blocks}


def test_every_file_tells_of_every_block_in_order(found: Blame) -> None:
    names = [each.block for each in found.blocks[None]]
    assert names[:2] == ["stem", "layer1.0"]
    assert names[-1] == "head"
    assert len(names) == 23
    assert not found.notes
    assert found.images == 4
    for blocks in found.blocks.values():
        assert [each.block for each in blocks] == names


def test_float_files_keep_every_block(found: Blame, demo_graph: Artifact) -> None:
    for name in (None, demo_graph.path.name):
        assert min(ratios(found.blocks[name]).values()) > 100


def test_int8_loses_where_the_first_pairs_are(found: Blame, demo_int8: Artifact) -> None:
    int8 = ratios(found.blocks[demo_int8.path.name])
    assert int8["layer1.0"] < 45
    assert int8["layer1.0"] < ratios(found.blocks[None])["layer1.0"] - 50


def test_engines_show_what_their_graph_shows(
    found: Blame, demo_int8: Artifact, engines: tuple[Artifact, ...]
) -> None:
    graph = ratios(found.blocks[demo_int8.path.name])
    for engine in engines:
        for block, snr_db in ratios(found.blocks[engine.path.name]).items():
            if block != "stem":  # float in the graph; engines may compute it in bf16
                assert snr_db > graph[block] - 6, (engine.backend, block)


def test_a_damaged_block_is_where_the_ratio_falls(
    demo_graph: Artifact, few: ImageSet, tmp_path: Path
) -> None:
    model = graph_files.load(demo_graph.path)
    weight = model.graph.initializers["layer3.4.conv2.conv.weight"]
    assert weight.const_value is not None
    weight.const_value = ir.tensor(-np.asarray(weight.const_value.numpy()), name=weight.name)
    path = tmp_path / "damaged.onnx"
    graph_files.save(model, path)
    damaged = replace(demo_graph, path=path, sha256=artifacts.sha256_of(path))
    blocks = ratios(blame((demo_graph, damaged), few).blocks["damaged.onnx"])
    assert blocks["layer3.3"] > 100
    assert blocks["layer3.4"] < 40


def test_a_runtime_that_shows_nothing_inside_is_named_in_a_note(
    demo_graph: Artifact, few: ImageSet
) -> None:
    engine = replace(
        demo_graph, kind="engine", backend="pytorch", path=demo_graph.path.with_suffix(".pt2")
    )
    found = blame((demo_graph, engine), replace(few, files=few.files[:1]))
    assert found.notes == ("tresnet.pt2 shows no inner tensors: pytorch runs it as a whole",)
    assert "tresnet.pt2" not in found.blocks


def test_without_the_float_graph_there_are_no_names(demo_int8: Artifact, few: ImageSet) -> None:
    with pytest.raises(UsageError, match="blame needs the FP32 ONNX file"):
        blame((demo_int8,), few)


def test_a_tensor_that_is_not_there_is_an_error(demo_graph: Artifact) -> None:
    for name in SHOWS_INNER:
        with pytest.raises(RunError):
            BACKENDS.load(name).showing(demo_graph, ("layer9.0/Relu",))
