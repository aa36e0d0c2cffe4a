"""Where an engine's tensors lie: this file is about device memory and its twin in pinned memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tresnet_deploy.backends._cuda import Address, Cuda, Handle
from tresnet_deploy.contracts import Array


@dataclass(slots=True)
class _Buffer:
    address: Address
    size: int
    host: Array


class Buffers:
    """One buffer a tensor; device memory grows when a shape needs more, and never shrinks."""

    def __init__(self, cuda: Cuda, stream: Handle) -> None:
        """Copy on ``stream``."""
        self._cuda = cuda
        self._stream = stream
        self._held: dict[str, _Buffer] = {}

    def room(self, name: str, shape: tuple[int, ...], dtype: str) -> Address:
        """Return the address of memory for a tensor of this shape, which may be the one it had."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        held = self._held.get(name)
        if held is not None and held.host.shape == shape and held.host.dtype == dtype:
            return held.address
        if held is not None and held.size >= size:
            self._cuda.free_pinned(held.host)
            held.host = self._cuda.pinned(shape, dtype)
            return held.address
        if held is not None:
            self._free(name)
        address = self._cuda.allocate(size)
        # Known before the pinned half is asked for, so that close() finds it if that one fails.
        self._held[name] = _Buffer(address, size, np.empty(0))
        self._held[name].host = self._cuda.pinned(shape, dtype)
        return address

    def fill(self, name: str, array: Array) -> None:
        """Copy ``array`` into pinned memory."""
        np.copyto(self._held[name].host, array)

    def upload(self, name: str) -> None:
        """Queue the copy to the device."""
        held = self._held[name]
        self._cuda.to_device(held.address, held.host, self._stream)

    def download(self, name: str) -> None:
        """Queue the copy from the device."""
        held = self._held[name]
        self._cuda.to_host(held.host, held.address, self._stream)

    def taken(self, name: str) -> Array:
        """Return a copy of what the last download brought."""
        return self._held[name].host.copy()

    def close(self) -> None:
        """Give all memory back."""
        for name in tuple(self._held):
            self._free(name)

    def _free(self, name: str) -> None:
        held = self._held.pop(name)
        if held.host.size:
            self._cuda.free_pinned(held.host)
        self._cuda.free(held.address)
