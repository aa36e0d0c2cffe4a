"""NVRTC makes PTX of the kernels for every GPU that we name, on a machine without one."""

import re

import pytest
from tresnet_deploy.plugins.kernels import FOLDER, Source, nvrtc, plans

from tresnet_deploy.errors import BuildError, UnavailableError, UsageError

SOURCES: tuple[Source, ...] = ("blur_pool", "space_to_depth")
EXPORTED = re.compile(
    r"^(?:BLUR|MOVE)_\w+\((\w+),|^BOTH_(NCHW|NHWC)\((\w+), [\w ]+?(?:, (\d), (\d))?\)", re.M
)
ENTRY = re.compile(r"\.entry (\w+)\((.*?)\)", re.S)


def kernels_in(source: Source) -> set[str]:
    """The kernels that a source's last lines ask for."""
    found = set()
    for name, layout, size, block, pack in EXPORTED.findall((FOLDER / f"{source}.cu").read_text()):
        if name and not name.isupper():
            found.add(name)
        elif layout:
            tail = f"_{size}_b{block}_v{pack}" if block else f"_{size}"
            found |= {
                f"{way}_{layout.lower()}{tail}" for way in ("space_to_depth", "depth_to_space")
            }
    return found


@pytest.mark.parametrize("capability", nvrtc.CAPABILITIES)
@pytest.mark.parametrize("source", SOURCES)
def test_every_kernel_compiles_for_every_gpu(
    compiler: nvrtc.Nvrtc, source: Source, capability: int
) -> None:
    text = compiler.compile(source, capability)
    assert f".target sm_{capability}" in text
    assert {name for name, _ in ENTRY.findall(text)} == kernels_in(source)
    assert ".local" not in text, "a kernel keeps its values in memory instead of registers"


@pytest.mark.parametrize(
    ("source", "kernel", "load"),
    [
        ("blur_pool", "blur_pool_nchw_float32_v2", r"ld\.global\.nc\.v4\.(f|b|u)32"),
        ("blur_pool", "blur_pool_nchw_float16_v4", r"ld\.global\.nc\.v4\.(f|b|u)32"),
        ("blur_pool", "blur_pool_nhwc_float32_v4", r"ld\.global\.nc\.v4\.(f|b|u)32"),
        ("blur_pool", "blur_pool_nhwc_float16_v8", r"ld\.global\.nc\.v4\.(f|b|u)32"),
        ("space_to_depth", "space_to_depth_nchw_4byte_b4_v4", r"ld\.global\.nc\.v4\.(f|b|u)32"),
        ("space_to_depth", "space_to_depth_nhwc_16byte", r"ld\.global\.nc\.v4\.(f|b|u)32"),
    ],
)
def test_aligned_kernels_load_sixteen_bytes_at_a_time(
    compiler: nvrtc.Nvrtc, source: Source, kernel: str, load: str
) -> None:
    body = compiler.compile(source, 86).partition(f".entry {kernel}(")[2].partition(".entry")[0]
    assert re.search(load, body), body


def test_arguments_lie_in_the_order_that_tensorrt_wants(compiler: nvrtc.Nvrtc) -> None:
    entries = dict(ENTRY.findall(compiler.compile("blur_pool", 86)))
    plan = plans.blur_pool((1, 8, 4, 4), "float32")
    kinds = re.findall(r"\.param \.(\w+)", entries[plan.kernel])
    pointers = [".u64"] * plan.inputs
    assert [f".{kind}" for kind in kinds] == [*pointers, *[".u32"] * len(plan.scalars), ".u64"]


def test_a_gpu_that_nvrtc_does_not_know_is_refused(compiler: nvrtc.Nvrtc) -> None:
    with pytest.raises(UsageError, match=r"compiles for SM .*, not for SM 35"):
        compiler.compile("blur_pool", 35)


def test_a_refused_source_is_quoted(compiler: nvrtc.Nvrtc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvrtc, "text_of", lambda _name: "#error not today\n")
    with pytest.raises(BuildError, match="not today"):
        compiler.compile("blur_pool", 86)


def test_a_newer_gpu_takes_the_nearest_older_code(compiler: nvrtc.Nvrtc) -> None:
    assert nvrtc.nearest(compiler, 86) == 86
    assert nvrtc.nearest(compiler, 999) == compiler.capabilities()[-1]
    with pytest.raises(UnavailableError, match="as old as SM 30"):
        nvrtc.nearest(compiler, 30)


def test_ptx_is_compiled_once_a_process(compiler: nvrtc.Nvrtc) -> None:
    assert nvrtc.ptx("blur_pool", 89) is nvrtc.ptx("blur_pool", 89)


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(UnavailableError, match="NVRTC") as caught:
        nvrtc.find.__wrapped__()
    assert caught.value.hints == ("pip install 'tresnet-deploy[plugins]'",)
