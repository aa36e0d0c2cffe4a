"""A hub of one repository on the loopback device, and small checkpoints to serve and to load."""

import hashlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants

from tresnet import create
from tresnet.saving import save_miil

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """What the server holds, how it misbehaves, and what it was asked."""

    content: bytes = b"weights"
    path: str = "/timm/tresnet_m.miil_in1k/resolve/main/model.safetensors"
    status: int = 200
    delay_s: float = 0.0
    etag: str | None = None  # instead of the sha256 of the content
    cuts: int = 0  # so many transfers break off half-way
    requests: list[str] = field(default_factory=list)
    endpoint: str = ""
    storage: str = ""  # another host name, as the real hub keeps large files elsewhere

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


def handler_of(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        stopped = threading.Event()

        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.answer()

        def answer(self) -> None:
            hub.requests.append(f"{self.command} {self.path}")
            self.stopped.wait(hub.delay_s)
            if self.path == "/blob":
                self.send_blob()
            elif hub.status != 200 or self.path != hub.path:
                self.send_response(hub.status if hub.status != 200 else 404)
                self.send_header("Content-Length", "0")
                self.end_headers()
            else:  # as the hub answers for large files: where they lie, and what they are
                self.send_response(302)
                self.send_header("Location", f"{hub.storage}/blob")
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("X-Linked-ETag", f'"{hub.etag or hub.sha256}"')
                self.send_header("X-Linked-Size", str(len(hub.content)))
                self.send_header("Content-Length", "0")
                self.end_headers()

        def send_blob(self) -> None:
            wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            start = int(wanted[1]) if wanted else 0
            rest = hub.content[start:]
            self.send_response(206 if wanted else 200)
            self.send_header("Content-Length", str(len(rest)))
            if wanted:
                last = len(hub.content) - 1
                self.send_header("Content-Range", f"bytes {start}-{last}/{len(hub.content)}")
            self.end_headers()
            if self.command == "GET":
                hub.cuts -= 1
                self.wfile.write(rest if hub.cuts < 0 else rest[: len(rest) // 2])
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(hub))
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    hub.storage = f"http://localhost:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield hub
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def no_hub() -> str:
    """An endpoint where nothing listens."""
    return "http://127.0.0.1:9"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short limits and no pauses between the library's retries."""
    monkeypatch.setattr("tresnet_deploy.weights.hub._ANSWER_LIMIT_S", 0.2)
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.2)
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _seconds: None)


@pytest.fixture(scope="session")
def miil_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "mine.safetensors"
    model = create("m", width_factor=0.25, classes=3, norm="batchnorm")
    save_miil(model, path, class_names=("cat", "dog", "owl"))
    return path
