"""Build every network in every precision with TensorRT-RTX for every GPU; no GPU is needed.

    python bench/engine_matrix.py [--networks m,l] [--targets 8.6,8.9] [--json FILE]

The table has the builder's seconds and the engine's MiB for each compute capability, the fused
kernels, and the builder's largest memory. Weights are random: none of these depends on their
values. Ends with 1 when a build fails that must not, or one succeeds that cannot.
"""

from __future__ import annotations

import argparse
import dataclasses
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from tresnet_deploy import environment, export, fusions, quantize, weights
from tresnet_deploy.backends import tensorrt_rtx
from tresnet_deploy.contracts import Artifact, Batch, Precision, Source
from tresnet_deploy.errors import BuildError
from tresnet_deploy.images import sample_photos

PRECISIONS: Final[tuple[Precision, ...]] = ("fp32", "fp16", "int8")
TARGETS: Final = ("7.5", "8.0", "8.6", "8.9", "12.0")
SIZES: Final = Batch(min=1, opt=8, max=16)
CALIBRATION_IMAGES: Final = 8
CLASSES_OF_ML_DECODER: Final = 80  # of MS-COCO
TURING: Final = "7.5"  # has no FP32 matrix products: NVIDIA's builder says so
BYTES_PER_MIB: Final = 2**20


@dataclass(frozen=True, kw_only=True)
class Network:
    """A row of the table of variants, and the head it gets."""

    variant: str
    decoder: bool = False


NETWORKS: Final = {
    "s": Network(variant="s"),
    "m": Network(variant="m"),
    "l": Network(variant="l"),
    "xl": Network(variant="xl"),
    "v2-l": Network(variant="v2_l"),
    "frelu": Network(variant="d"),
    "ml-decoder": Network(variant="l", decoder=True),
}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One build; ``refused`` is why there is no engine, empty where there is one."""

    network: str
    precision: Precision
    target: str
    seconds: float = 0.0
    peak_mib: int = 0
    size_mib: float = 0.0
    kernels: int | None = None
    refused: str = ""

    @property
    def right(self) -> bool:
        """Whether it came out as it must."""
        return bool(self.refused) == ((self.target, self.precision) == (TURING, "fp32"))

    @property
    def text(self) -> str:
        """Seconds and size, or that there is none."""
        if self.refused:
            return "refused" if self.right else "FAILED"
        return f"{self.seconds:.1f} s {self.size_mib:.0f} MiB" + ("" if self.right else " (?)")


def main() -> int:
    """Print the table, a network as soon as it is built; return 1 when a cell is wrong."""
    options = _arguments()
    if options.worker:
        for cell in _cells(options.worker, options.targets, options.folder):
            print(msgspec.json.encode(cell).decode(), flush=True)
        return 0
    for name, fact in environment.describe().items():
        print(f"{name}: {fact}", file=sys.stderr)
    found: list[Cell] = []
    for name in options.networks:
        cells = _built(name, options.targets)
        found += cells
        _print(cells, options.targets, header=name == options.networks[0])
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2))
    wrong = [cell for cell in found if not cell.right]
    for cell in wrong:
        why = cell.refused or "it must be refused, and was built"
        print(f"wrong: {cell.network} {cell.precision} {cell.target}: {why}", file=sys.stderr)
    missing = len(options.networks) * len(PRECISIONS) * len(options.targets) - len(found)
    if missing:
        print(f"wrong: {missing} builds were never reached", file=sys.stderr)
    print(f"{len(found) - len(wrong)} of {len(found) + missing} came out as they must")
    return 1 if wrong or missing else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--networks", type=_listed, default=tuple(NETWORKS))
    parser.add_argument("--targets", type=_listed, default=TARGETS)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--worker", choices=NETWORKS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def _listed(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _built(name: str, targets: tuple[str, ...]) -> list[Cell]:
    """Return the cells of a network, made in a process of its own that gives its memory back."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--worker", name, "--folder", folder]
        done = subprocess.run(
            [*command, "--targets", ",".join(targets)], stdout=subprocess.PIPE, check=False
        )
    return [msgspec.json.decode(line, type=Cell) for line in done.stdout.splitlines()]


def _cells(name: str, targets: tuple[str, ...], folder: Path) -> Iterator[Cell]:
    for graph in _graphs(NETWORKS[name], folder):
        for target in targets:
            cell = Cell(network=name, precision=graph.precision, target=target)
            yield _cell(cell, graph, folder / "engine")


def _cell(cell: Cell, graph: Artifact, path: Path) -> Cell:
    """Return ``cell`` with what building it came to."""
    best = tensorrt_rtx.options_for(graph.precision)
    options = dataclasses.replace(best, compute_capabilities=cell.target)
    try:
        engine = tensorrt_rtx.build(graph, path, batch=SIZES, options=options)
    except BuildError as error:
        return dataclasses.replace(cell, refused=error.message)
    report = fusions.read(engine)
    return dataclasses.replace(
        cell,
        seconds=float(str(engine.settings["build.builder_seconds"])),
        peak_mib=int(str(engine.settings["build.builder_peak_mib"])),
        size_mib=path.stat().st_size / BYTES_PER_MIB,
        kernels=report.totals.kernels if report and report.totals else None,
    )


def _graphs(network: Network, folder: Path) -> Iterator[Artifact]:
    """Give the network's graph in each precision."""
    photos = sample_photos()
    source = _source(network, folder)
    plain = export.export(
        weights.load(source),
        folder / "network.onnx",
        source=source,
        options=export.ExportOptions(),
        images=photos,
    )
    yield plain
    yield quantize.convert(plain, folder / "network.fp16.onnx", precision="fp16")
    yield quantize.quantize(
        plain,
        folder / "network.int8.onnx",
        images=photos,
        options=quantize.QuantizeOptions(samples=CALIBRATION_IMAGES, method="minmax"),
    )


def _source(network: Network, folder: Path) -> Source:
    """Return random weights of the network; those of an ML-Decoder are made here."""
    if not network.decoder:
        return weights.resolve(variant=network.variant, tag="random")
    import torch

    from tresnet import create
    from tresnet.layers import ActivatedNorm
    from tresnet.saving import save_miil

    torch.manual_seed(0)
    model = create(
        network.variant, classes=CLASSES_OF_ML_DECODER, head="ml_decoder", norm="batchnorm"
    )
    for module in model.modules():
        if isinstance(module, ActivatedNorm):
            module.momentum = 1.0  # one batch then gives all statistics
    with torch.no_grad():
        model.train()(torch.rand(4, 3, 224, 224))
    checkpoint = folder / "decoder.safetensors"
    save_miil(model.eval(), checkpoint)
    return weights.resolve(checkpoint=checkpoint)


def _print(cells: list[Cell], targets: tuple[str, ...], *, header: bool) -> None:
    """Print a row for each precision of one network."""
    widths = (12, 6, *(len("000.0 s 0000 MiB"),) * len(targets), 7, 8)
    if header:
        _row(("network", "", *targets, "kernels", "peak MiB"), widths)
    for precision in PRECISIONS:
        row = {cell.target: cell for cell in cells if cell.precision == precision}
        if not row:
            continue
        built = [cell for cell in row.values() if not cell.refused]
        kernels = sorted({cell.kernels for cell in built if cell.kernels is not None})
        texts = (row[target].text if target in row else "-" for target in targets)
        peak = max((cell.peak_mib for cell in built), default=0)
        span = "-".join(map(str, dict.fromkeys((*kernels[:1], *kernels[-1:]))))
        _row((cells[0].network, precision, *texts, span, str(peak)), widths)


def _row(texts: tuple[str, ...], widths: tuple[int, ...]) -> None:
    print("  ".join(text.ljust(width) for text, width in zip(texts, widths, strict=True)).rstrip())


if __name__ == "__main__":
    sys.exit(main())
