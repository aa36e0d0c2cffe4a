"""CAL009: the float graph itself shows that its images are prepared in the wrong way."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from tresnet_deploy.calibration import Noise, Pictures

from tresnet_deploy import graph_files
from tresnet_deploy.contracts import Artifact, Preprocess, Session
from tresnet_deploy.images import ImageSet, demo_images, sample
from tresnet_deploy.precision.grids import INT8
from tresnet_deploy.quantize import QuantizeOptions, input_check
from tresnet_deploy.quantize.graphs import runtime_session
from tresnet_deploy.quantize.making import Job

IMAGES = 32


@pytest.fixture(scope="module")
def images() -> ImageSet:
    return dataclasses.replace(
        sample(demo_images("calibration"), IMAGES, seed=0), is_sample=False, source="a folder"
    )


def job(artifact: Artifact, images: ImageSet, **changes: object) -> Job:
    preprocess = dataclasses.replace(artifact.preprocess, **changes)  # type: ignore[arg-type]
    artifact = dataclasses.replace(artifact, preprocess=preprocess)
    return Job(
        artifact=artifact,
        model=graph_files.load(artifact.path),
        data=Pictures(images=images, preprocess=preprocess),
        options=QuantizeOptions(),
        grid=INT8,
        folder=Path("unused"),
        open_session=runtime_session,
    )


def test_the_right_preprocessing_sets_nothing_off(demo_graph: Artifact, images: ImageSet) -> None:
    assert input_check.findings(job(demo_graph, images)) == ()


def test_a_mean_and_deviation_that_the_network_was_not_trained_with_are_found(
    demo_graph: Artifact, images: ImageSet
) -> None:
    wrong = job(demo_graph, images, mean=(0.485, 0.456, 0.406), std=(0.1, 0.1, 0.1))
    (finding,) = input_check.findings(wrong)
    assert finding.rule == "CAL009"
    assert "% of 32 labelled images right with plain [0, 1] values, and" in finding.message


def test_nothing_is_said_without_labels_of_noise_or_of_the_images_in_the_box(
    demo_graph: Artifact, images: ImageSet
) -> None:
    def never(model: ir.Model, tensors: Sequence[str]) -> Session:
        raise AssertionError("no session must be opened")

    files = tuple(dataclasses.replace(file, labels=None) for file in images.files)
    noise = Noise(count=20, seed=0, preprocess=demo_graph.preprocess)
    usual = dataclasses.replace(job(demo_graph, images), open_session=never)
    for data in (
        dataclasses.replace(usual.data, images=dataclasses.replace(images, files=files)),
        dataclasses.replace(usual.data, images=dataclasses.replace(images, is_sample=True)),
        dataclasses.replace(usual.data, images=sample(images, 15, seed=0)),
        noise,
    ):
        assert input_check.findings(dataclasses.replace(usual, data=data)) == ()


def test_other_forms_are_made_of_the_same_pixels() -> None:
    raw = np.random.default_rng(0).random((2, 3, 4, 4), dtype=np.float32)
    mean, std = (0.5, 0.25, 0.75), (0.5, 0.25, 0.125)
    column = np.array(mean, np.float32)[:, None, None], np.array(std, np.float32)[:, None, None]
    preprocess = Preprocess(mean=mean, std=std)
    forms = input_check._forms((raw - column[0]) / column[1], preprocess)
    np.testing.assert_allclose(forms["plain [0, 1] values"], raw, atol=1e-6)
    np.testing.assert_allclose(forms["values in [-1, 1]"], 2 * raw - 1, atol=1e-6)
    names = list(input_check._forms(raw, dataclasses.replace(preprocess, normalize_in_graph=True)))
    assert names == ["the artefact's preprocessing", "colours in the order bgr"]
    pixels = np.arange(24, dtype=np.uint8).reshape(1, 2, 4, 3)
    uint8 = input_check._forms(pixels, Preprocess(layout="uint8-nhwc"))
    np.testing.assert_array_equal(uint8["colours in the order bgr"], pixels[..., ::-1])
