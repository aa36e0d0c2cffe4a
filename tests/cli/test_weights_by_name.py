"""Weights by name on the command line, where there is no network."""

import os
import subprocess
import sys
from pathlib import Path

NO_HUB = "http://127.0.0.1:9"  # nothing listens there


def export(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = "from tresnet_deploy.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, "export", *arguments, "--output", str(folder / "deploy")],
        env={**os.environ, "HF_ENDPOINT": NO_HUB, "HF_HOME": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_a_network_one_error_shows_three_ways_out_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    done = export(tmp_path, "--variant", "l")
    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr == (
        "error: the weights timm/tresnet_l.miil_in1k are not in the cache, and "
        f"{NO_HUB} did not give them: [Errno 111] Connection refused\n"
        "  try: --checkpoint FILE, with weights that you have\n"
        "  try: hf download timm/tresnet_l.miil_in1k model.safetensors, where there is a network, "
        "and copy ~/.cache/huggingface from there to here\n"
        "  try: --weights random --seed 0, which shows speed and size but classifies nothing\n"
    )
    assert not (tmp_path / "deploy").exists()


def test_a_wrong_class_count_is_refused_before_anything_is_fetched(tmp_path: Path) -> None:
    done = export(tmp_path, "--variant", "l", "--classes", "80")
    assert done.returncode == 2
    assert "timm/tresnet_l.miil_in1k has 1000 classes, not 80" in done.stderr


def test_a_mistyped_variant_gets_a_suggestion(tmp_path: Path) -> None:
    done = export(tmp_path, "--variant", "tresnet_xxl")
    assert done.returncode == 2
    assert "did you mean" in done.stderr
