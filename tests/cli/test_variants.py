"""``variants`` prints the table of networks and of published weights."""

import json
import subprocess
import sys

from tresnet.variants import VARIANTS


def test_the_text_names_every_variant_and_every_tag(command) -> None:
    done = command("variants")
    assert done.code == 0
    for row in VARIANTS:
        assert row.name in done.out
        for weights in row.weights:
            assert any(row.name in line and weights.tag in line for line in done.out.splitlines())


def test_a_row_shows_depths_width_parameters_and_multiply_adds(command) -> None:
    (row,) = (line for line in command("variants").out.splitlines() if "4-5-18-3" in line)
    assert row.split()[:5] == ["tresnet_l", "4-5-18-3", "76", "56.0", "10.9"]


def test_weights_nobody_measured_show_a_dash_not_a_number(command) -> None:
    lines = command("variants").out.splitlines()
    (row,) = (line for line in lines if line.split()[1:2] == ["miil_in21k"] and "_m " in line)
    assert row.split() == ["tresnet_m", "miil_in21k", "-", "224", "squish", "11221"]


def test_json_holds_the_whole_table_with_a_schema_version(command) -> None:
    found = json.loads(command("variants", "--format", "json").out)
    assert found["schema_version"] == 1
    assert [row["name"] for row in found["variants"]] == [row.name for row in VARIANTS]
    assert found["variants"][0]["weights"][0]["repository"].startswith("timm/")


def test_it_works_without_torch() -> None:
    program = "import sys; sys.modules['torch'] = None\nfrom tresnet_deploy.cli import main\nmain()"
    done = subprocess.run(
        [sys.executable, "-c", program, "variants"], capture_output=True, text=True, check=True
    )
    assert "tresnet_xl" in done.stdout
