import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tresnet_deploy.artifacts import from_json, locked, to_json
from tresnet_deploy.contracts import Array, Artifact, Batch
from tresnet_deploy.errors import ImageError, RunError, UnavailableError, UsageError
from tresnet_deploy.images import ImageFile, ImageSet, scan
from tresnet_deploy.parity import Overrides, Settings, Stage, compare, comparing
from tresnet_deploy.results import ParityReport, StageParity

MakeStage = Callable[..., Stage]


@pytest.fixture
def judged(
    make_stage: MakeStage,
    labelled_images: ImageSet,
    model: Artifact,
    tmp_path: Path,
) -> Callable[..., ParityReport]:
    def run(
        *stages: Stage, images: ImageSet = labelled_images, settings: Settings | None = None
    ) -> ParityReport:
        return compare(
            make_stage("reference"),
            stages,
            images,
            model,
            folder=tmp_path / "parity",
            settings=settings,
        )

    return run


Judged = Callable[..., ParityReport]


def only(report: ParityReport) -> StageParity:
    (stage,) = report.stages
    return stage


def noise(scale: float) -> Callable[[Array], Array]:
    rng = np.random.default_rng(0)

    def change(scores: Array) -> Array:
        return (scores + rng.normal(scale=scale, size=scores.shape)).astype(np.float32)

    return change


def flip_first_image() -> Callable[[Array], Array]:
    met = []

    def change(scores: Array) -> Array:
        changed = scores.copy()
        if not met:
            changed[0] = np.roll(changed[0], 1)
        met.append(len(scores))
        return changed

    return change


def nan_in_first_image() -> Callable[[Array], Array]:
    met = []

    def change(scores: Array) -> Array:
        changed = scores.copy()
        if not met:
            changed[0, 0] = np.nan
        met.append(len(scores))
        return changed

    return change


def test_equal_stages_pass_with_full_agreement(judged: Judged, make_stage: MakeStage) -> None:
    report = judged(make_stage("deploy form"), make_stage("engine", precision="int8"))
    assert report.verdict == "pass"
    for stage in report.stages:
        assert (stage.max_abs, stage.top1_agreement, stage.top5_agreement) == (0, 1, 1)
        assert (stage.cosine_min, stage.snr_db, stage.flips) == (1, None, ())


def test_a_stage_names_its_file_and_hash(judged: Judged, make_stage: MakeStage) -> None:
    stage = only(judged(make_stage("engine")))
    assert (stage.file, stage.sha256) == ("engine.onnx", "hash of engine")


def test_errors_are_measured_image_by_image_and_agree_with_polygraphys(
    judged: Judged, make_stage: MakeStage, tmp_path: Path
) -> None:
    from polygraphy.comparator import AccuracyResults

    stage = only(
        judged(make_stage("engine", noise(0.2), precision="int8"), settings=Settings(batch=1))
    )
    pair = ("reference", "engine")
    simple, cosines, _ = AccuracyResults.load(str(tmp_path / "parity" / "accuracy.json"))
    largest = max(found["scores"].max_absdiff for found in simple[pair])
    mean = np.mean([found["scores"].mean_absdiff for found in simple[pair]])
    smallest = min(found["scores"].cosine_similarity for found in cosines[pair])
    assert stage.max_abs == pytest.approx(largest)
    assert stage.mean_abs == pytest.approx(mean, rel=1e-5)
    assert stage.cosine_min == pytest.approx(smallest, abs=1e-6)


def test_cosine_is_that_of_the_worst_image_not_of_the_batch(
    judged: Judged, make_stage: MakeStage
) -> None:
    stage = only(judged(make_stage("engine", flip_first_image(), precision="int8")))
    assert stage.cosine_min < 0.9
    assert stage.snr_db is not None
    assert stage.snr_db > 10


def test_flips_name_image_classes_margin_and_label(judged: Judged, make_stage: MakeStage) -> None:
    stage = only(judged(make_stage("engine", flip_first_image(), precision="int8")))
    (flip,) = stage.flips
    assert (flip.image, flip.reference, flip.candidate) == ("ant/000.png", "ant", "bee")
    assert flip.label == "ant"
    assert flip.margin > 1


def test_flips_come_with_the_surest_first(judged: Judged, make_stage: MakeStage) -> None:
    stage = only(judged(make_stage("engine", lambda scores: -scores, precision="int8")))
    margins = [flip.margin for flip in stage.flips]
    assert len(margins) == 60
    assert margins == sorted(margins, reverse=True)


def test_a_broken_stage_fails_and_the_sound_one_before_it_passes(
    judged: Judged, make_stage: MakeStage
) -> None:
    broken = make_stage("engine", lambda scores: np.roll(scores, 1, axis=1), precision="int8")
    report = judged(make_stage("ONNX"), broken)
    assert report.verdict == "fail"
    assert [stage.passed for stage in report.stages] == [True, False]


def test_a_constant_engine_fails(judged: Judged, make_stage: MakeStage) -> None:
    report = judged(make_stage("engine", lambda scores: scores * 0 + 1, precision="int8"))
    assert report.verdict == "fail"


def test_nan_is_a_verdict_that_names_its_stage_and_leaves_the_numbers_readable(
    judged: Judged, make_stage: MakeStage
) -> None:
    report = judged(
        make_stage("ONNX"), make_stage("engine", nan_in_first_image(), precision="fp16")
    )
    stage = report.stages[1]
    assert (stage.non_finite, stage.cosine_min, stage.max_abs) == (1, 0, 0)
    assert stage.flips[0].candidate == "NaN or Inf"
    assert next(gate.name for gate in stage.gates if not gate.passed) == "images with NaN or Inf"
    assert from_json(to_json(report), ParityReport, name="report") == report


def test_a_stage_of_nothing_but_nan_can_be_reported(judged: Judged, make_stage: MakeStage) -> None:
    report = judged(make_stage("engine", lambda scores: scores * np.nan, precision="fp16"))
    stage = only(report)
    assert (stage.non_finite, stage.snr_db, stage.top1_agreement) == (60, 0, 0)
    assert stage.accuracy is not None
    assert (stage.accuracy.top1, stage.accuracy.top5) == (0, 0)
    assert from_json(to_json(report), ParityReport, name="report") == report


def test_a_reference_that_answers_nan_is_an_error(
    make_stage: MakeStage, images: ImageSet, model: Artifact, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match=r"the reference itself.* 13 of 13 images with NaN or Inf"):
        compare(
            make_stage("reference", lambda scores: scores * np.nan),
            (make_stage("engine"),),
            images,
            model,
            folder=tmp_path / "parity",
        )


def test_labels_give_accuracy_and_a_paired_drop(judged: Judged, make_stage: MakeStage) -> None:
    report = judged(make_stage("engine", flip_first_image(), precision="int8"))
    found = only(report).accuracy
    assert report.reference_accuracy is not None
    assert found is not None
    assert report.reference_accuracy.top1 == 1
    assert found.top1 == pytest.approx(59 / 60)
    assert found.drop == pytest.approx(1 / 60)
    assert found.drop_interval is not None
    assert found.drop_interval.low < 0 < found.drop_interval.high


def test_few_labelled_images_are_said_to_rule_out_little(
    judged: Judged, make_stage: MakeStage
) -> None:
    report = judged(make_stage("engine", flip_first_image(), precision="int8"))
    assert any("60 labelled images cannot rule out a drop" in note for note in report.notes)


def test_images_without_labels_give_agreement_alone(
    judged: Judged, make_stage: MakeStage, images: ImageSet
) -> None:
    report = judged(make_stage("engine"), images=images)
    assert report.reference_accuracy is None
    assert only(report).accuracy is None
    assert only(report).top1_agreement == 1


def test_several_labels_give_map_and_f1(
    make_stage: MakeStage,
    labelled_images: ImageSet,
    model: Artifact,
    tmp_path: Path,
) -> None:
    report = compare(
        make_stage("reference"),
        (make_stage("engine", noise(1.5), precision="int8"),),
        labelled_images,
        replace(model, labels=replace(model.labels, multi_label=True)),
        folder=tmp_path / "parity",
    )
    found = only(report).accuracy
    assert found is not None
    assert found.top1 is None
    assert found.mean_ap is not None
    assert found.mean_ap < 1
    assert found.cf1 is not None
    assert found.of1 is not None
    assert found.drop == pytest.approx(1 - found.mean_ap)


def test_labels_of_another_kind_are_left_out_with_a_note(
    judged: Judged, make_stage: MakeStage, images: ImageSet
) -> None:
    files = tuple(ImageFile(path=file.path, labels=(0, 1)) for file in images.files)
    report = judged(make_stage("engine"), images=replace(images, files=files))
    assert report.reference_accuracy is None
    assert any("not of the model's kind" in note for note in report.notes)


def test_a_reference_that_answers_one_class_only_is_noted(
    make_stage: MakeStage, images: ImageSet, model: Artifact, tmp_path: Path
) -> None:
    def blind(scores: Array) -> Array:
        return np.tile(np.float32([0.01, 0, 3, 0, 0, 0]), (len(scores), 1)) + scores / 1000

    report = compare(
        make_stage("reference", blind),
        (make_stage("engine", blind),),
        images,
        model,
        folder=tmp_path / "parity",
    )
    assert any("gives all 13 images one class (cat)" in note for note in report.notes)


def test_an_undecided_reference_does_not_fail_an_int8_engine_for_its_flips(
    make_stage: MakeStage,
    labelled_images: ImageSet,
    model: Artifact,
    tmp_path: Path,
) -> None:
    bias = np.float32([3, 3.1, 3.05, 0, 0, 0])

    def untrained(scores: Array) -> Array:
        return bias + scores / 100

    def quantised(scores: Array) -> Array:
        return untrained(scores) + np.float32([0.2, 0, 0.1, 0, 0, 0])

    report = compare(
        make_stage("reference", untrained),
        (make_stage("engine", quantised, precision="int8"),),
        replace(
            labelled_images, files=tuple(ImageFile(path=f.path) for f in labelled_images.files)
        ),
        model,
        folder=tmp_path / "parity",
    )
    assert only(report).top1_agreement == 0
    assert report.verdict == "pass"
    assert any("on 60 of 60 images" in note and "not judged" in note for note in report.notes)


def test_bounds_of_the_users_change_the_verdict(judged: Judged, make_stage: MakeStage) -> None:
    engine = make_stage("engine", noise(0.1), precision="int8")
    assert judged(engine).verdict == "pass"
    strict = Settings(overrides=Overrides(min_cosine=0.9999999))
    assert judged(engine, settings=strict).verdict == "fail"


def test_each_stage_gets_batches_that_it_takes_whatever_the_others_do(
    judged: Judged, make_stage: MakeStage
) -> None:
    fixed = make_stage("fixed", batch=4)
    limited = make_stage("limited", limits=Batch(min=2, opt=2, max=3))
    report = judged(fixed, limited, settings=Settings(batch=7))
    assert report.verdict == "pass"
    assert set(fixed.session.batches) == {4}  # type: ignore[attr-defined]
    assert set(limited.session.batches) <= {2, 3}  # type: ignore[attr-defined]


def test_unreadable_images_are_skipped_and_listed(
    judged: Judged, make_stage: MakeStage, images: ImageSet, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"not an image")
    more = replace(images, files=(*images.files[:3], ImageFile(path=broken), *images.files[3:]))
    report = judged(make_stage("engine"), images=more)
    assert report.images == 13
    assert len(report.skipped) == 1
    assert "broken.png" in report.skipped[0]


def test_no_readable_image_is_an_error_and_leaves_no_folder(
    judged: Judged, make_stage: MakeStage, tmp_path: Path
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"no")
    with pytest.raises(ImageError, match="none of the 1 images"):
        judged(make_stage("engine"), images=scan(folder))
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["images"]


def test_an_error_of_a_session_passes_through_and_keeps_the_older_files(
    judged: Judged, make_stage: MakeStage, tmp_path: Path
) -> None:
    judged(make_stage("engine"))
    before = sorted(path.name for path in (tmp_path / "parity").rglob("*"))

    def fall_over(scores: Array) -> Array:
        raise RunError("the device fell over")

    with pytest.raises(RunError, match="the device fell over"):
        judged(make_stage("engine", fall_over))
    assert sorted(path.name for path in (tmp_path / "parity").rglob("*")) == before
    assert not (tmp_path / ".parity.partial").exists()


def test_files_of_a_killed_run_are_replaced(
    judged: Judged, make_stage: MakeStage, tmp_path: Path
) -> None:
    (tmp_path / ".parity.partial" / "outputs").mkdir(parents=True)
    (tmp_path / ".parity.partial" / "outputs" / "0000000000.json").write_text("half")
    assert judged(make_stage("engine")).verdict == "pass"


@pytest.mark.parametrize(("side_px", "together"), [(224, 8), (448, 2), (640, 1), (64, 64)])
def test_a_batch_holds_about_the_same_number_of_pixels(
    side_px: int, together: int, model: Artifact
) -> None:
    preprocess = replace(model.preprocess, height_px=side_px, width_px=side_px)
    assert comparing.batch_of(preprocess) == together


def test_a_second_comparison_replaces_the_files_of_the_first(
    judged: Judged, make_stage: MakeStage, images: ImageSet, tmp_path: Path
) -> None:
    judged(make_stage("engine"), settings=Settings(batch=8))
    judged(make_stage("engine"), images=images, settings=Settings(batch=8))
    assert len((tmp_path / "parity" / "images.txt").read_text().splitlines()) == 13
    assert len(list((tmp_path / "parity" / "outputs").iterdir())) == 2


def test_a_folder_that_another_run_writes_to_is_left_alone(
    make_stage: MakeStage, images: ImageSet, model: Artifact, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UnavailableError):
        compare(
            make_stage("reference"),
            (make_stage("engine"),),
            images,
            model,
            folder=tmp_path / "file" / "parity",
        )
    with locked(tmp_path):
        pass


def test_two_stages_of_one_name_are_refused(judged: Judged, make_stage: MakeStage) -> None:
    with pytest.raises(UsageError, match="stages of other names"):
        judged(make_stage("engine"), make_stage("engine"))


def test_polygraphy_reads_the_scores_of_every_stage(
    judged: Judged, make_stage: MakeStage, tmp_path: Path
) -> None:
    from polygraphy.comparator import RunResults

    judged(make_stage("engine"), settings=Settings(batch=8))
    saved = RunResults.load(str(tmp_path / "parity" / "outputs" / "0000000000.json"))
    assert list(saved.keys()) == ["reference", "engine"]
    assert saved["engine"][0]["scores"].shape == (8, 6)


def test_polygraphys_command_line_checks_the_saved_accuracy(
    judged: Judged, make_stage: MakeStage, tmp_path: Path
) -> None:
    judged(make_stage("engine", noise(0.5), precision="int8"), settings=Settings(batch=8))
    command = [str(Path(sys.executable).with_name("polygraphy")), "check", "accuracy"]
    command += [str(tmp_path / "parity" / "accuracy.json"), "--compare", "cosine_similarity"]
    command += ["--cosine-similarity-threshold", "0.99999"]
    finished = subprocess.run(command, check=False, capture_output=True, text=True)
    assert finished.returncode == 1
    assert "Accuracy Summary | reference vs. engine | Passed: 0/8" in finished.stdout


def test_nothing_is_printed(
    judged: Judged, make_stage: MakeStage, capfd: pytest.CaptureFixture[str]
) -> None:
    judged(make_stage("engine", lambda scores: -scores))
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


def test_the_saved_images_are_listed_in_the_order_of_the_scores(
    judged: Judged, make_stage: MakeStage, tmp_path: Path, labelled_images: ImageSet
) -> None:
    judged(make_stage("engine"))
    listed = (tmp_path / "parity" / "images.txt").read_text().splitlines()
    assert listed == [labelled_images.name_of(file) for file in labelled_images.files]
