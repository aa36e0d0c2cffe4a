"""Run every kernel on arrays that end, and then that begin, at a page without access.

    python guard_pages.py BLUR_POOL.so SPACE_TO_DEPTH.so

A kernel that reads or writes one element too far ends this process by a signal.
"""

import ctypes
import mmap
import sys

from tresnet_deploy.plugins.kernels import host, plans

PAGE = mmap.PAGESIZE
NO_ACCESS = 0  # PROT_NONE
SHAPES = ((1, 1, 2, 2), (1, 3, 3, 3), (2, 76, 7, 7), (1, 16, 4, 8), (1, 8, 6, 12))
LIBC = ctypes.CDLL(None, use_errno=True)


class Guarded:
    """``size`` bytes between two pages without access, against the last one or the first."""

    def __init__(self, size: int, *, at_end: bool) -> None:
        pages = -(-size // PAGE)
        self.memory = mmap.mmap(-1, (pages + 2) * PAGE)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        for page in (start, start + (pages + 1) * PAGE):
            assert LIBC.mprotect(ctypes.c_void_p(page), PAGE, NO_ACCESS) == 0
        slack = (pages * PAGE - size) // 16 * 16
        self.address = start + PAGE + (slack if at_end else 0)


KEPT: list[Guarded] = []


def run(kernels: host.HostKernels, plan: plans.Launch[int], sizes: list[int]) -> None:
    for at_end in (True, False):
        buffers = [Guarded(size, at_end=at_end) if size else None for size in sizes]
        KEPT.extend(each for each in buffers if each)
        kernels.run(plan, [each.address if each else 0 for each in buffers])


def main() -> None:
    blur, move = (host.HostKernels(ctypes.CDLL(path)) for path in sys.argv[1:])
    for n, c, h, w in SHAPES:
        read, written = n * c * h * w, n * c * -(-h // 2) * -(-w // 2)
        for element, size in plans.ELEMENT_BYTES.items():
            for layout in ("nchw", "nhwc"):
                pack = plans.blur_pack(layout, element, w if layout == "nchw" else c)
                for each in {1, pack}:
                    plan = plans.blur_pool((n, c, h, w), element, layout=layout, pack=each)
                    run(blur, plan, [read * size, 0, written * size])
                if element != "int8":
                    plan = plans.blur_pool_backward((n, c, h, w), element, layout=layout)
                    run(blur, plan, [written * size, read * size, read * size])
    for shape in ((1, 3, 8, 8), (2, 5, 4, 32), (1, 1, 4, 4)):
        count = shape[0] * shape[1] * shape[2] * shape[3]
        for size in (1, 2, 4):
            for inverse in (False, True):
                pack = plans.space_to_depth_pack(4, shape[3])
                both = [count * size] * 2
                plan = plans.space_to_depth(shape, element_bytes=size, pack=pack, inverse=inverse)
                run(move, plan, both)
                plan = plans.space_to_depth_nhwc(shape, element_bytes=size, inverse=inverse)
                run(move, plan, both)


if __name__ == "__main__":
    main()
