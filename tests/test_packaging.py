"""The wheel, the sdist and the extras are what pyproject.toml and ARCHITECTURE.md promise."""

import ast
import importlib.metadata
import itertools
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tresnet_deploy.registry import BACKENDS

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
# Folders of the checkout, and the package each becomes.
SOURCES = {
    "tresnet": "tresnet",
    "tresnet_deploy": "tresnet_deploy",
    "plugins": "tresnet_deploy/plugins",
    "calibration": "tresnet_deploy/calibration",
}
# Extras that are no backend: another runtime of one, a compiled layer for training, and bundles.
NO_BACKEND = {"cuda", "abn", "plugins", "all-cpu", "dev"}
# What only some machines have; everything else must work without them.
OPTIONAL = ("torch", "safetensors", "huggingface_hub", "onnxscript", "inplace_abn", "nncf")
# All that a machine which only runs engines needs.
ENGINE_ONLY = (
    "tresnet.variants",
    "tresnet_deploy.artifacts",
    "tresnet_deploy.benchmark",
    "tresnet_deploy.evaluate",
    "tresnet_deploy.graph_files",
    "tresnet_deploy.images",
    "tresnet_deploy.inspection",
    "tresnet_deploy.predict",
    "tresnet_deploy.preprocess",
    "tresnet_deploy.weights",
    "tresnet_deploy.backends.onnxruntime",
    "tresnet_deploy.backends.openvino",
)


def files_on_disk() -> Iterator[tuple[str, Path]]:
    for folder, package in SOURCES.items():
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield f"{package}/{path.relative_to(ROOT / folder).as_posix()}", path


def build(source: Path, target: Path, *kinds: str) -> None:
    command = [sys.executable, "-m", "build", "--no-isolation", *kinds, "--outdir", str(target)]
    done = subprocess.run([*command, str(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy to build in, so that the build leaves nothing in the real one."""
    folder = tmp_path_factory.mktemp("packaging") / "checkout"
    folder.mkdir()
    for name in SOURCES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="session")
def wheel(checkout: Path) -> zipfile.ZipFile:
    build(checkout, checkout.parent / "wheel", "--wheel")
    (path,) = (checkout.parent / "wheel").glob("*.whl")
    return zipfile.ZipFile(path)


@pytest.fixture(scope="session")
def unpacked_sdist(checkout: Path) -> Path:
    build(checkout, checkout.parent / "sdist", "--sdist")
    (path,) = (checkout.parent / "sdist").glob("*.tar.gz")
    with tarfile.open(path) as archive:
        archive.extractall(checkout.parent / "unpacked", filter="data")
    (folder,) = (checkout.parent / "unpacked").iterdir()
    return folder


def test_only_two_names_land_in_site_packages(wheel: zipfile.ZipFile) -> None:
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"tresnet", "tresnet_deploy"}


def test_the_package_list_is_the_folders_on_disk() -> None:
    on_disk = {
        str(Path(name).parent).replace("/", ".")
        for name, _ in files_on_disk()
        if name.endswith("/__init__.py")
    }
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == on_disk


def test_every_folder_with_python_files_is_a_package() -> None:
    names = [name for name, _ in files_on_disk()]
    folders = {str(Path(name).parent) for name in names if name.endswith(".py")}
    assert {folder for folder in folders if f"{folder}/__init__.py" not in names} == set()


def test_the_wheel_holds_every_file_of_the_packages_and_no_other(wheel: zipfile.ZipFile) -> None:
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert packed == {name for name, _ in files_on_disk()}


def test_the_wheel_ships_types_templates_and_data(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    assert {"tresnet/py.typed", "tresnet_deploy/py.typed"} <= set(names)
    assert any(name.startswith("tresnet_deploy/templates/") for name in names)
    assert any(name.startswith("tresnet_deploy/data/photos/") for name in names)
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_the_wheel_stays_small_enough_for_a_package_index(wheel: zipfile.ZipFile) -> None:
    """An index takes 100 MB a file; the promised data is some 10 MB."""
    assert sum(entry.compress_size for entry in wheel.infolist()) < 20e6


def test_the_wheel_installs_the_command(wheel: zipfile.ZipFile) -> None:
    (name,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert "tresnet-deploy = tresnet_deploy.cli:main" in wheel.read(name).decode()


def test_the_sdist_builds_the_same_wheel(
    wheel: zipfile.ZipFile, unpacked_sdist: Path, tmp_path: Path
) -> None:
    build(unpacked_sdist, tmp_path, "--wheel")
    (path,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(path) as other:
        assert path.name == Path(str(wheel.filename)).name
        assert sorted(other.namelist()) == sorted(wheel.namelist())
        for name in wheel.namelist():
            assert other.read(name) == wheel.read(name), name


def test_extras_are_named_as_the_backends() -> None:
    assert set(EXTRAS) - NO_BACKEND == set(BACKENDS.names())


def requirements(*extras: str) -> set[str]:
    """All distributions that these extras ask for, with the extras they refer to."""
    found: set[str] = set()
    for extra in extras:
        for line in EXTRAS[extra]:
            requirement = Requirement(line)
            if requirement.name == PROJECT["project"]["name"]:
                found |= requirements(*requirement.extras)
            else:
                found.add(requirement.name)
    return found


@pytest.mark.parametrize("extra", sorted(EXTRAS))
def test_no_extra_asks_for_two_builds_of_one_runtime(extra: str) -> None:
    assert not {"onnxruntime", "onnxruntime-gpu"} <= requirements(extra)


def test_the_cpu_bundle_holds_every_cpu_backend_and_nothing_for_gpus() -> None:
    bundle = requirements("all-cpu")
    assert {"torch", "onnxruntime", "openvino"} <= bundle
    assert not {"onnxruntime-gpu", "tensorrt", "tensorrt-rtx"} & bundle


def test_a_plain_install_asks_for_no_runtime() -> None:
    names = {Requirement(line).name for line in PROJECT["project"]["dependencies"]}
    assert not names & {"torch", "onnxruntime", "openvino", "huggingface-hub", "safetensors"}


def test_the_pinned_versions_satisfy_every_requirement() -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))
    pins = {normal(name): version for name, version in pins.items()}
    wanted = itertools.chain(PROJECT["project"]["dependencies"], *EXTRAS.values())
    for requirement in map(Requirement, wanted):
        if (pinned := pins.get(normal(requirement.name))) is not None:
            assert requirement.specifier.contains(pinned), f"{requirement} but {pinned} is pinned"


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def without_cuda(name: str) -> str:
    """NVIDIA's meta packages bring a build for one CUDA version, which has the files."""
    return re.sub(r"-cu\d+$", "", normal(name))


def imported_names(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found.add(node.module.partition(".")[0])
    return found


def test_everything_that_is_imported_is_declared() -> None:
    declared = {
        normal(Requirement(line).name)
        for line in itertools.chain(PROJECT["project"]["dependencies"], *EXTRAS.values())
    }
    providers = importlib.metadata.packages_distributions()
    undeclared = {
        f"{name}: {top}"
        for name, path in files_on_disk()
        if path.suffix == ".py"
        for top in imported_names(path) - sys.stdlib_module_names - {"tresnet", "tresnet_deploy"}
        if top in providers and not {without_cuda(each) for each in providers[top]} & declared
    }
    assert undeclared == set()


def test_a_machine_that_only_runs_engines_needs_no_torch() -> None:
    program = f"""
import importlib, sys
for name in {OPTIONAL!r}:
    sys.modules[name] = None
for name in {ENGINE_ONLY!r}:
    importlib.import_module(name)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
