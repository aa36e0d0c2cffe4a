"""What the documentation says of the plugins' possible gain is what the roofline counts."""

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def roofline() -> dict[str, object]:
    return runpy.run_path(str(ROOT / "bench/roofline.py"))


def test_the_documents_tables_are_those_of_the_script(roofline) -> None:
    document = (ROOT / "docs/plugins.md").read_text("utf-8")
    for table in roofline["report"](markdown=True).split("\n\n"):
        assert table in document, "paste the output of: python bench/roofline.py --markdown"


def test_a_blur_saves_its_padded_copy_and_space_to_depth_saves_nothing(roofline) -> None:
    found = roofline["network"]("m")
    stem, *blurs = found.steps
    assert stem.saved == 0
    assert [step.shape for step in blurs] == [(128, 56, 56), (256, 28, 28), (512, 14, 14)]
    assert [step.saved for step in blurs] == [
        2 * c * (h + 2) * (w + 2) for c, h, w in (s.shape for s in blurs)
    ]
