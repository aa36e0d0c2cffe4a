"""NVRTC makes PTX of the kernels for every GPU that we name, on a machine without one."""

import ctypes
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from tresnet_deploy.plugins.kernels import Source, kernels_of, nvrtc, plans, program_of

from tresnet_deploy.errors import BuildError, UnavailableError, UsageError

REGISTERS_OF_AN_SM = 65536
SOURCES: tuple[Source, ...] = ("blur_pool", "space_to_depth")
ENTRY = re.compile(r"\.entry (\w+)\((.*?)\)", re.S)


@pytest.mark.parametrize("capability", nvrtc.CAPABILITIES)
@pytest.mark.parametrize("source", SOURCES)
def test_every_kernel_compiles_for_every_gpu(
    compiler: nvrtc.Nvrtc, source: Source, capability: int
) -> None:
    text = compiler.ptx(source, capability)
    assert f".target sm_{capability}" in text
    assert {name for name, _ in ENTRY.findall(text)} == set(kernels_of(source))


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
    body = compiler.ptx(source, 86).partition(f".entry {kernel}(")[2].partition(".entry")[0]
    assert re.search(load, body), body


@pytest.mark.parametrize(
    ("source", "capability"),
    [("blur_pool", 75), ("blur_pool", 86), ("blur_pool", 120), ("space_to_depth", 86)],
)
def test_machine_code_keeps_to_registers_and_leaves_room_for_full_occupancy(
    compiler: nvrtc.Nvrtc, source: Source, capability: int
) -> None:
    """By the words of the assembler, which NVRTC holds too."""
    program = compiler._program(source, program_of(source))
    options = (b"--std=c++17", b"-arch=sm_%d" % capability, b"--ptxas-options=-v")
    array = (ctypes.c_char_p * len(options))(*options)
    assert compiler.library.nvrtcCompileProgram(program, len(options), array) == 0
    words = compiler._text(program, "ProgramLog").decode()
    registers = [int(count) for count in re.findall(r"Used (\d+) registers", words)]
    assert len(registers) == len(kernels_of(source))
    assert max(registers) <= REGISTERS_OF_AN_SM // 1024, "Turing's SM holds 1024 threads"
    assert set(re.findall(r"(\d+) bytes (?:stack frame|spill stores)", words)) == {"0"}


def test_arguments_lie_in_the_order_that_tensorrt_wants(compiler: nvrtc.Nvrtc) -> None:
    entries = dict(ENTRY.findall(compiler.ptx("blur_pool", 86)))
    plan = plans.blur_pool((1, 8, 4, 4), "float32")
    kinds = re.findall(r"\.param \.(\w+)", entries[plan.kernel])
    pointers = [".u64"] * plan.inputs
    assert [f".{kind}" for kind in kinds] == [*pointers, *[".u32"] * len(plan.scalars), ".u64"]


def test_a_gpu_that_nvrtc_does_not_know_is_refused(compiler: nvrtc.Nvrtc) -> None:
    with pytest.raises(UsageError, match=r"compiles for SM .*, not for SM 35"):
        compiler.ptx("blur_pool", 35)


@pytest.mark.parametrize("source", SOURCES)
def test_a_gpu_that_nvrtc_knows_gets_machine_code(compiler: nvrtc.Nvrtc, source: Source) -> None:
    assert nvrtc.code(source, 86).startswith(b"\x7fELF")
    for name in kernels_of(source):
        assert name.encode() in nvrtc.code(source, 86)


def test_a_gpu_of_the_future_gets_ptx(compiler: nvrtc.Nvrtc) -> None:
    newest = compiler.capabilities()[-1]
    assert f".target sm_{newest}".encode() in nvrtc.code("space_to_depth", newest + 1)


def test_the_newest_of_several_compilers_is_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A CUDA 12 build of torch brings one of its own, in another folder."""
    opened: list[Path] = []
    for name in ("cuda_nvrtc/lib/libnvrtc.so.12", "cu13/lib/libnvrtc.so.13"):
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.touch()
        (path.parent / "libnvrtc.alt.so.99").touch()
    spec = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: spec)
    monkeypatch.setattr(nvrtc, "open_library", opened.append)
    nvrtc.find.__wrapped__()
    assert opened == [tmp_path / "cu13/lib/libnvrtc.so.13"]


def test_a_damaged_compiler_is_told_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "cu13/lib/libnvrtc.so.13"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not a library")
    spec = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: spec)
    with pytest.raises(UnavailableError, match="NVRTC does not load: ") as caught:
        nvrtc.find.__wrapped__()
    assert caught.value.exit_code == 3


def test_a_refused_source_is_quoted(compiler: nvrtc.Nvrtc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvrtc, "text_of", lambda _name: "#error not today\n")
    with pytest.raises(BuildError, match="not today"):
        compiler.ptx("blur_pool", 86)


def test_a_newer_gpu_takes_the_nearest_older_code(compiler: nvrtc.Nvrtc) -> None:
    assert nvrtc.nearest(compiler, 86) == 86
    assert nvrtc.nearest(compiler, 999) == compiler.capabilities()[-1]
    with pytest.raises(UnavailableError, match="as old as SM 30"):
        nvrtc.nearest(compiler, 30)


def test_an_engine_carries_one_kernel_that_is_compiled_once(compiler: nvrtc.Nvrtc) -> None:
    text = nvrtc.ptx("blur_pool", 89, "blur_pool_nchw_float16_v4")
    assert [name for name, _ in ENTRY.findall(text)] == ["blur_pool_nchw_float16_v4"]
    assert nvrtc.ptx("blur_pool", 89, "blur_pool_nchw_float16_v4") is text


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(UnavailableError, match="NVRTC") as caught:
        nvrtc.find.__wrapped__()
    assert caught.value.hints == ("pip install 'tresnet-deploy[plugins]'",)
