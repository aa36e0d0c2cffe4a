"""Our own operators on a GPU: as TensorRT plugins, and as torch custom ops."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tresnet_deploy import build, graph_files, passes
from tresnet_deploy.contracts import Array, Artifact
from tresnet_deploy.errors import UnavailableError
from tresnet_deploy.images import demo_images
from tresnet_deploy.registry import BACKENDS

from .conftest import SIZES, least_cosine, scores

pytestmark = pytest.mark.gpu
Record = Callable[[str, object], None]


def test_an_engine_with_plugins_gives_the_scores_of_one_without(
    demo_graph: Artifact,
    images: Array,
    reference: Array,
    tmp_path_factory: pytest.TempPathFactory,
    record_property: Record,
) -> None:
    try:
        BACKENDS.load("tensorrt")
    except UnavailableError as error:
        pytest.skip(error.message)
    folder = tmp_path_factory.mktemp("plugins")
    model = graph_files.load(demo_graph.path)
    ((_, outcome),) = passes.run(model, ("plugin-operators",))
    assert outcome.changed > 0
    path = folder / "tresnet.onnx"
    graph_files.embed(model, demo_graph)
    graph_files.save(model, path)
    marked = graph_files.artifact_of(path)
    made = build.build(
        marked,
        folder / build.file_name(marked, "tensorrt", "fp32"),
        backend="tensorrt",
        batch=SIZES,
        images=demo_images("calibration"),
    )
    least = least_cosine(scores(made, images), reference)
    record_property("nodes", outcome.changed)
    record_property("least cosine", f"{least:.5f}")
    assert least >= 0.9999


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("size", [(7, 7), (8, 12), (33, 5)])
def test_torch_ops_compute_on_a_gpu_what_they_do_on_a_cpu(
    channels_last: bool, size: tuple[int, int]
) -> None:
    torch = pytest.importorskip("torch")
    from tresnet_deploy.plugins.torch_ops import operators

    if not torch.cuda.is_available():
        pytest.skip("this PyTorch was built without CUDA")
    order = torch.channels_last if channels_last else torch.contiguous_format
    torch.manual_seed(0)
    x = torch.randn(2, 16, *size).contiguous(memory_format=order)
    blur = operators().blur_pool2d
    here = x.clone().requires_grad_()
    there = x.cuda().requires_grad_()
    expected, found = blur(here, 0.01), blur(there, 0.01)
    torch.testing.assert_close(found.cpu(), expected)
    expected.square().sum().backward()
    found.square().sum().backward()
    torch.testing.assert_close(there.grad.cpu(), here.grad, rtol=1e-4, atol=1e-5)
    if size == (8, 12):
        move = operators().space_to_depth
        assert torch.equal(move(x.cuda(), 4).cpu(), move(x, 4))
