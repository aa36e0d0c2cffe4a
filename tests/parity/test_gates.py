import pytest

from tresnet_deploy.parity.gates import DEFAULTS, Findings, Overrides, bounds_for, judge, told
from tresnet_deploy.results import Accuracy, Gate, Interval


def findings(
    *,
    non_finite: int = 0,
    relative_error: float = 0.0,
    cosine_min: float = 1.0,
    clear_images: int = 30,
    clear_flips: int = 0,
    top1_agreement: float = 1.0,
    accuracy: Accuracy | None = None,
    reference_accuracy: Accuracy | None = None,
) -> Findings:
    return Findings(
        non_finite=non_finite,
        relative_error=relative_error,
        cosine_min=cosine_min,
        top1_agreement=top1_agreement,
        clear_images=clear_images,
        clear_flips=clear_flips,
        accuracy=accuracy,
        reference_accuracy=reference_accuracy,
    )


def failed(gates: tuple[Gate, ...]) -> list[str]:
    return [gate.name for gate in gates if not gate.passed]


def with_drop(drop: float, low: float, high: float) -> Accuracy:
    interval = Interval(low=low, high=high)
    return Accuracy(images=500, top1=0.8 - drop, drop=drop, drop_interval=interval)


REFERENCE = Accuracy(images=500, top1=0.8)


@pytest.mark.parametrize("precision", DEFAULTS)
def test_a_perfect_stage_passes_every_gate_of_its_precision(precision: str) -> None:
    gates = judge(findings(), precision, Overrides())  # type: ignore[arg-type]
    assert gates
    assert not failed(gates)


@pytest.mark.parametrize("precision", DEFAULTS)
def test_an_image_without_a_finite_answer_fails_every_precision(precision: str) -> None:
    gates = judge(findings(non_finite=1), precision, Overrides())  # type: ignore[arg-type]
    assert failed(gates) == ["images with NaN or Inf"]


def test_fp32_is_held_to_errors_far_below_those_of_ten_bit_mantissas() -> None:
    assert not failed(judge(findings(relative_error=5e-5), "fp32", Overrides()))
    assert failed(judge(findings(relative_error=1e-2), "fp32", Overrides())) == ["largest error"]


def test_one_flip_of_a_clear_image_fails_fp32() -> None:
    gates = judge(findings(clear_flips=1), "fp32", Overrides())
    assert failed(gates) == ["top-1 agreement on clear images"]


def test_one_flip_in_thirty_images_is_chance_for_int8_and_two_are_not() -> None:
    assert not failed(judge(findings(clear_flips=1), "int8", Overrides()))
    assert failed(judge(findings(clear_flips=2), "int8", Overrides())) == [
        "top-1 agreement on clear images"
    ]


def test_many_images_leave_little_to_chance() -> None:
    assert not failed(judge(findings(clear_images=1000, clear_flips=15), "int8", Overrides()))
    assert failed(judge(findings(clear_images=1000, clear_flips=16), "int8", Overrides()))


def test_agreement_is_not_judged_without_a_clear_image() -> None:
    gates = judge(findings(clear_images=0), "int8", Overrides())
    assert not [gate for gate in gates if "agreement" in gate.name]


def test_a_bound_of_the_users_on_agreement_is_literal_and_over_all_images() -> None:
    measured = findings(top1_agreement=0.96, clear_flips=0)
    assert failed(judge(measured, "int8", Overrides(min_agreement=0.97))) == ["top-1 agreement"]
    assert not failed(judge(measured, "int8", Overrides(min_agreement=0.96)))


def test_a_drop_fails_when_even_the_lower_end_of_its_interval_is_too_large() -> None:
    unclear = findings(accuracy=with_drop(0.02, 0.002, 0.04), reference_accuracy=REFERENCE)
    proven = findings(accuracy=with_drop(0.02, 0.009, 0.03), reference_accuracy=REFERENCE)
    assert not failed(judge(unclear, "int8", Overrides()))
    assert failed(judge(proven, "int8", Overrides())) == ["drop in top-1, lower end"]


def test_the_allowed_drop_is_a_share_of_the_references_accuracy() -> None:
    measured = findings(accuracy=with_drop(0.0, -0.01, 0.01), reference_accuracy=REFERENCE)
    (gate,) = (gate for gate in judge(measured, "int8", Overrides()) if "drop" in gate.name)
    assert gate.bound == pytest.approx(0.01 * 0.8)


def test_a_bound_of_the_users_on_the_drop_is_literal() -> None:
    measured = findings(accuracy=with_drop(0.02, -0.01, 0.05), reference_accuracy=REFERENCE)
    assert failed(judge(measured, "int8", Overrides(max_drop=0.01))) == ["drop in top-1"]
    assert not failed(judge(measured, "int8", Overrides(max_drop=0.02)))


def test_without_labels_no_drop_is_judged() -> None:
    assert not [gate for gate in judge(findings(), "int8", Overrides()) if "drop" in gate.name]


def test_the_drop_of_a_multi_label_model_is_one_of_map() -> None:
    several = Accuracy(images=9, mean_ap=0.8, drop=0.0, drop_interval=Interval(low=0, high=0))
    gates = judge(findings(accuracy=several, reference_accuracy=several), "int8", Overrides())
    assert "drop in mAP, lower end" in [gate.name for gate in gates]


def test_a_stricter_cosine_makes_more_images_clear() -> None:
    default = bounds_for("int8", Overrides()).clear_margin
    strict = bounds_for("int8", Overrides(min_cosine=0.99)).clear_margin
    assert strict == pytest.approx(0.4)
    assert strict < default


def test_noise_at_the_cosine_bound_seldom_flips_an_image_that_is_just_clear() -> None:
    import numpy as np

    rng = np.random.default_rng(0)
    cosine = DEFAULTS["int8"].min_cosine
    noise = np.sqrt(2 * (1 - cosine)) * rng.normal(size=(20_000, 2))
    changes_of_lead = noise[:, 0] - noise[:, 1]
    flips = (changes_of_lead > DEFAULTS["int8"].clear_margin).mean()
    assert flips == pytest.approx(0.0228, abs=0.004)  # beyond two standard deviations, one side


def test_every_bound_can_be_set() -> None:
    overrides = Overrides(min_cosine=0.5, max_error=0.5, min_agreement=0.5, max_drop=0.5)
    gates = judge(
        findings(
            relative_error=0.6,
            cosine_min=0.4,
            top1_agreement=0.4,
            accuracy=with_drop(0.6, 0.5, 0.7),
            reference_accuracy=REFERENCE,
        ),
        "int8",
        overrides,
    )
    assert failed(gates) == ["largest error", "smallest cosine", "top-1 agreement", "drop in top-1"]


@pytest.mark.parametrize(
    ("name", "value", "bound", "words"),
    [
        ("smallest cosine", 0.999981, 0.99999, ("0.999981", "at least 0.99999")),
        ("smallest cosine", 0.98999999, 0.99, ("0.98999999", "at least 0.99")),
        ("top-1 agreement", 0.87, 0.98, ("87.00 %", "at least 98.00 %")),
        ("top-1 agreement", 0.99996, 1.0, ("99.996 %", "at least 100.000 %")),
    ],
)
def test_a_failed_gate_is_told_with_digits_that_show_it(
    name: str, value: float, bound: float, words: tuple[str, str]
) -> None:
    gate = Gate(name=name, value=value, bound=bound, direction="at least", passed=False)
    assert told(gate) == words
