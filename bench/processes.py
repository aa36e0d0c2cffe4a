"""A command in a process of its own: its seconds, its peak memory and how it ended."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Final

COMMAND: Final = (sys.executable, "-c", "from tresnet_deploy.cli import main; main()")
_KIB_PER_MIB: Final = 1024


@dataclass(frozen=True, kw_only=True)
class Ended:
    """``peak_mib`` is what the kernel counted (ru_maxrss); ``said`` is its stderr."""

    seconds: float
    peak_mib: float
    code: int
    said: str


def ended(command: tuple[object, ...]) -> Ended:
    """Run ``command`` to its end, its stdout thrown away."""
    begin = time.monotonic()
    process = subprocess.Popen(
        list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    with process.stderr as stderr:
        said = stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return Ended(
        seconds=round(time.monotonic() - begin, 1),
        peak_mib=round(usage.ru_maxrss / _KIB_PER_MIB),
        code=process.returncode,
        said=said.strip(),
    )
