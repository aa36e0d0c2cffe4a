"""A session on a GPU whose every step copies its inputs in and its outputs out."""

from __future__ import annotations

from tresnet_deploy.contracts import Array, Feeds
from tresnet_deploy.timing import DeviceSession


class WithTransfers:
    """Passes everything on to a session, but steps with copies from and to pinned memory."""

    def __init__(self, session: DeviceSession) -> None:
        """Take ``session``, which is closed with this one."""
        self._session = session
        self.inputs = session.inputs
        self.outputs = session.outputs

    def bind(self, feeds: Feeds) -> None:
        """Copy ``feeds`` to the device."""
        self._session.bind(feeds)

    def step(self) -> None:
        """Run once, copies included."""
        self._session.step_with_transfers()

    def step_with_transfers(self) -> None:
        """Run once, copies included."""
        self._session.step_with_transfers()

    def fetch(self) -> dict[str, Array]:
        """Return the outputs of the last step."""
        return self._session.fetch()

    def device_ms(self) -> float:
        """Return what the last step took on the device, copies included."""
        return self._session.device_ms()

    def memory_mib(self) -> float:
        """Return the device memory that the session holds."""
        return self._session.memory_mib()

    def gpu_id(self) -> str:
        """Return what nvidia-smi --id takes."""
        return self._session.gpu_id()

    def close(self) -> None:
        """Close the session."""
        self._session.close()
