"""Record the names and parameters of TensorRT's Python API as JSON, for tests/backends.

    python bench/tensorrt_surface.py tensorrt            # an installed TensorRT
    python bench/tensorrt_surface.py BINDINGS.whl        # its bindings wheel alone, no libraries

The bindings refuse to load without libnvinfer and its parser. Names and signatures need neither, so
empty shared objects with the missing functions stand in for them; nothing of TensorRT is called.
"""

from __future__ import annotations

import argparse
import enum
import importlib
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "tests/backends/tensorrt11_surface.json"
# What building and running an engine touch.
CLASSES = (
    "Builder",
    "BuilderFlag",
    "DataType",
    "Dims",
    "ExecutionContextAllocationStrategy",
    "HardwareCompatibilityLevel",
    "IBuilderConfig",
    "ICudaEngine",
    "IExecutionContext",
    "IHostMemory",
    "ILogger",
    "INetworkDefinition",
    "IOptimizationProfile",
    "IRuntimeConfig",
    "ITensor",
    "ITimingCache",
    "MemoryPoolType",
    "OnnxParser",
    "ProfilingVerbosity",
    "Runtime",
    "TensorFormat",
    "TensorIOMode",
    "TensorLocation",
)
SIGNATURE = re.compile(r"^(?:\d+\. )?(\w+)\((.*)\)(?: -> .*)?$")
NEEDED = re.compile(r"\(NEEDED\)\s+Shared library: \[(libnv\w+\.so\.\d+)\]")
UNDEFINED = re.compile(r"^\s+U (\w*(?:_INTERNAL|PluginRegistry|NvInferPlugins|ParserVersion))$")


def surface(module: ModuleType) -> dict[str, Any]:
    """Return version, members of enumerations, and methods with their parameters' names."""
    classes = {name: described(getattr(module, name)) for name in CLASSES if hasattr(module, name)}
    return {"module": module.__name__.split("_bindings")[0], "version": module.__version__} | {
        "classes": classes
    }


def described(kind: type) -> dict[str, object]:
    """Return the members of an enumeration, or the methods and properties of a class."""
    members = getattr(kind, "__members__", None)
    if members is not None or issubclass(kind, enum.Enum):
        return {"members": sorted(members or {})}
    found = [name for name in dir(kind) if not name.startswith("_")]
    values = {name: getattr(kind, name) for name in found}
    return {
        "methods": {
            name: list(parameters(name, value.__doc__ or ""))
            for name, value in values.items()
            if callable(value) and not isinstance(value, type)
        },
        "properties": [name for name, value in values.items() if isinstance(value, property)],
    }


def parameters(name: str, text: str) -> Iterator[list[str]]:
    """Give the parameters of each overload in pybind11's docstring ``text``, without self."""
    for line in text.splitlines():
        match = SIGNATURE.match(line.strip())
        if match and match[1] == name and "*args" not in match[2]:
            names = [part.partition(":")[0].strip() for part in split(match[2])]
            yield [each for each in names if each and each != "self"]


def split(arguments: str) -> Iterator[str]:
    """Split at the commas outside all brackets."""
    depth, part = 0, ""
    for letter in arguments:
        depth += (letter in "([{<") - (letter in ")]}>")
        if letter == "," and depth == 0:
            yield part
            part = ""
        else:
            part += letter
    yield part


def load(target: str, folder: Path) -> ModuleType:
    """Import a module by name, or the bindings in a wheel over stand-ins for their libraries."""
    if not target.endswith(".whl"):
        return importlib.import_module(target)
    with zipfile.ZipFile(target) as wheel:
        wheel.extractall(folder)
    (binary,) = folder.glob("*/tensorrt*.so")
    symbols = [match[1] for line in tool("nm", "-D", binary) if (match := UNDEFINED.match(line))]
    source = folder / "stand_in.c"
    source.write_text("\n".join(f"void *{symbol}(void) {{ return 0; }}" for symbol in symbols))
    for library in NEEDED.findall("\n".join(tool("readelf", "-d", binary))):
        output = folder / library
        tool("gcc", "-shared", "-fPIC", f"-Wl,-soname,{library}", "-o", output, source)
        importlib.import_module("ctypes").CDLL(str(output), mode=0x101)  # RTLD_LAZY | RTLD_GLOBAL
    sys.path.insert(0, str(folder))
    return importlib.import_module(binary.parent.name)


def tool(*command: str | Path) -> list[str]:
    """Return what a command prints, by line."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def main() -> None:
    """Write the record."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("target", help="module name, or a bindings wheel")
    parser.add_argument("--output", type=Path, default=RECORD)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = surface(load(arguments.target, Path(folder)))
    rows = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in found["classes"].items()]
    head = json.dumps({name: found[name] for name in ("module", "version")})[1:-1]
    arguments.output.write_text(
        "{" + head + ', "classes": {\n' + ",\n".join(rows) + "\n}}\n", encoding="utf-8"
    )
    print(f"saved: {arguments.output}")


if __name__ == "__main__":
    main()
