"""INT8 that keeps its accuracy: ours beside the quantisers that others make, on labelled images.

    python bench/accuracy.py [--output FOLDER] [--grounds demo,outliers,cifar10] [--seeds 0,1,2]
                             [--modelopt PYTHON]

Three networks: the trained one in the box, the same with outliers in its activations (equal in
float), and one trained on colour photographs by `examples/train.py --dataset cifar10`. Each
quantiser gets as many calibration images, drawn anew for each seed; what it chooses, it chooses on
images held out of the training; the test images are for the table alone. A row is the seed whose
drop is the median. Rivals have their own defaults; ours are the commands that a user types.

What is measured lies in FOLDER and is not measured again: a run that was stopped goes on. The
seconds are CPU time, all threads. Speeds are measured last, want a quiet machine, and are measured
anew in each run (`--no-speeds` keeps the old ones). About an hour on two cores, and the network;
three without VNNI.
"""

import argparse
import functools
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import openvino
from accuracy_data import GROUNDS, Ground
from accuracy_rivals import NNCF_FILE, OpenVino, Predict, Rival, rivals
from accuracy_table import AUTO, MIN_MAX, MIXED, Results, Run, Speed, chart, markdown, verdicts

from tresnet_deploy import artifacts, environment, metrics, scoring
from tresnet_deploy.contracts import Array, Session
from tresnet_deploy.report import pages
from tresnet_deploy.speedups import median_ratio, round_speeds
from tresnet_deploy.timing import Schedule, interleaved

COMMAND: Final = Path(sys.executable).with_name("tresnet-deploy")
OURS: Final[dict[str, tuple[str, ...]]] = {
    MIN_MAX: ("--method", "minmax"),
    "ours, default": (),
    AUTO: ("--method", "auto"),
    MIXED: ("--method", "auto", "--min-agreement", "99%"),
}
_PART: Final = 500


def main() -> None:
    """Measure, and print and write the tables."""
    options = _arguments()
    facts = environment.describe()
    for name, fact in facts.items():
        print(f"{name}: {fact}", file=sys.stderr)
    found = [_measured(name, options) for name in options.grounds.split(",")]
    text = "\n".join(map(markdown, found))
    print(text)
    artifacts.write_whole(options.output / "accuracy.md", text.encode())
    page = options.output / "accuracy.html"
    artifacts.write_whole(page, _page(found, facts).encode())
    print(f"saved: {page}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("accuracy"))
    parser.add_argument("--grounds", default=",".join(GROUNDS))
    parser.add_argument(
        "--seeds", type=lambda text: tuple(map(int, text.split(","))), default="0,1,2"
    )
    parser.add_argument("--modelopt", type=Path, help="a Python that has nvidia-modelopt[onnx]")
    parser.add_argument("--speeds", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args()
    if unknown := set(options.grounds.split(",")) - set(GROUNDS):
        parser.error(f"--grounds: {', '.join(unknown)} is none of {', '.join(GROUNDS)}")
    return options


def _measured(name: str, options: argparse.Namespace) -> Results:
    ground = GROUNDS[name](options.output / name)
    reference = _answers(_engine(ground.artifact.path), ground.test)
    runs = tuple(
        _run(ground, quantiser, seed, make)
        for seed in options.seeds
        for quantiser, make in _quantisers(ground, seed, options)
    )
    return Results(
        title=ground.name,
        labels=tuple(map(int, ground.labels)),
        reference=reference,
        runs=runs,
        speeds=_speeds(ground, options.seeds[0], measure=options.speeds),
        notes=tuple(_other_runtimes(ground, options.seeds[0])),
    )


def _quantisers(
    ground: Ground, seed: int, options: argparse.Namespace
) -> Iterator[tuple[str, Callable[[], Predict]]]:
    """Give each quantiser's name and what makes its engine."""
    for name, rival in rivals(options.modelopt, first=seed == options.seeds[0]).items():
        yield name, functools.partial(_theirs, rival, ground, seed)
    for name in OURS:
        yield name, functools.partial(_ours, ground, seed, name)


def _theirs(rival: Rival, ground: Ground, seed: int) -> Predict:
    return rival(ground, ground.calibration(seed))


def _run(ground: Ground, name: str, seed: int, make: Callable[[], Predict]) -> Run:
    """Let one quantiser work and answer, unless it has."""
    path = ground.folder / "runs" / f"{_slug(name)}-{seed}.json"
    if path.is_file():
        return msgspec.json.decode(path.read_bytes(), type=Run)
    begun = _cpu_seconds()
    try:
        predict = make()
    except Exception as error:  # noqa: BLE001  (whatever a rival raises is its result)
        run = Run(name=name, seed=seed, cpu_seconds=_cpu_seconds() - begun, failed=str(error)[:300])
    else:
        seconds = _cpu_seconds() - begun
        answers = _answers(predict, ground.test)
        run = Run(name=name, seed=seed, cpu_seconds=seconds, answers=answers)
    path.parent.mkdir(exist_ok=True)
    artifacts.write_whole(path, msgspec.json.encode(run))
    right = np.mean(np.array(run.answers) == ground.labels) if run.answers else 0.0
    print(f"{ground.name}, {name}, seed {seed}: {right:.2%} {run.failed}", file=sys.stderr)
    return run


def _cpu_seconds() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _slug(name: str) -> str:
    return "-".join(name.replace(",", "").replace("+", "").lower().split())


def _folder(ground: Ground, name: str, seed: int) -> Path:
    return ground.folder / f"{_slug(name)}-{seed}"


def _built(ground: Ground, name: str, seed: int) -> Path:
    (engine,) = _folder(ground, name, seed).glob("*.openvino.xml")
    return engine


def _ours(ground: Ground, seed: int, name: str) -> Predict:
    """What a user types, and the engine that it makes."""
    command = [COMMAND, "build-engine", ground.artifact.path, "--int8", "--backend", "openvino"]
    command += ["--calibration-data", ground.pool.root, "--calibration-samples", ground.samples]
    command += ["--seed", seed, "--overwrite", "--output", _folder(ground, name, seed), *OURS[name]]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-300:])
    return _engine(_built(ground, name, seed))


def _engine(path: Path) -> Predict:
    artifact = artifacts.read(path)

    def predict(images: Array) -> Array:
        with scoring.opened(artifact) as session:
            return scoring.scores_of(session, images, batch=artifact.batch)

    return predict


def _answers(predict: Predict, images: Array) -> tuple[int, ...]:
    """The class (N,) that each image gets."""
    parts = np.array_split(images, -(-len(images) // _PART))
    return tuple(int(answer) for part in parts for answer in metrics.best(predict(part)))


def _other_runtimes(ground: Ground, seed: int) -> Iterator[str]:
    """Say whether other runtimes take the Q/DQ file of ours, and answer alike."""
    (graph,) = _folder(ground, AUTO, seed).glob("*.int8.onnx")
    answers = [_answers(_engine(path), ground.test) for path in (graph, _built(ground, AUTO, seed))]
    share = np.mean(np.array(answers[0]) != np.array(answers[1]))
    yield f"one Q/DQ file, ONNX Runtime against OpenVINO: {share:.2%} of answers differ"
    checked = _said([COMMAND, "preflight", graph])
    yield f"it passes `preflight`: {checked}"
    options = ["--backend", "tensorrt-rtx", "--compute-capability", "8.6", "--overwrite"]
    built = _said([COMMAND, "build-engine", graph, *options, "--output", graph.parent / "rtx"])
    yield f"TensorRT-RTX builds it: {built}"


def _said(command: list[object]) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if done.returncode:
        return f"no, exit code {done.returncode}: {done.stderr.strip()[-200:]}"
    return "yes"


def _speeds(ground: Ground, seed: int, *, measure: bool) -> tuple[Speed, ...]:
    """Time our engines beside NNCF's, two at a time, at batch 1 and 8."""
    path = ground.folder / "speeds.json"
    if measure:
        found = tuple(
            _speed(ground, name, seed, batch) for name in (AUTO, MIXED) for batch in (1, 8)
        )
        artifacts.write_whole(path, msgspec.json.encode(found))
    if not path.is_file():
        return ()
    return msgspec.json.decode(path.read_bytes(), type=tuple[Speed, ...])


def _speed(ground: Ground, name: str, seed: int, batch: int) -> Speed:
    images = ground.test[:batch]
    rival = OpenVino(openvino.Core().read_model(ground.folder / NNCF_FILE))
    with scoring.opened(artifacts.read(_built(ground, name, seed))) as session:
        session.bind({session.inputs[0].name: images})
        sessions: tuple[Session, ...] = (session, rival.session(ground, images))
        ours, theirs = interleaved(sessions, Schedule(rounds=21, seconds=0.3))
    fast, slow = (round_speeds(each.rounds_ms, batch, "latency") for each in (ours, theirs))
    ratio, interval = median_ratio(fast / slow)
    return Speed(name=name, batch=batch, ratio=ratio, interval=interval)


def _page(found: list[Results], facts: dict[str, str]) -> str:
    source = Path(__file__).with_name("accuracy.html.jinja").read_text()
    page = pages.environment().from_string(source)
    entries = [(chart(each), [*verdicts(each), *each.notes]) for each in found]
    return page.render(entries=entries, facts=facts)


if __name__ == "__main__":
    main()
