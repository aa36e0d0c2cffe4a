"""Published weights by name: fetched once, checked always, and three ways out without a network."""

import logging
import socket
import sys
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants
from huggingface_hub.utils import are_progress_bars_disabled, enable_progress_bars

from tresnet.errors import UnknownVariantError
from tresnet_deploy.errors import ArtifactError, UnavailableError
from tresnet_deploy.weights import cache_folder, published


def fetch(hub, cache: Path) -> Path:
    return published("m", "miil_in1k", cache_dir=cache, endpoint=hub.endpoint)


def gets(hub) -> int:
    return sum(request.startswith("GET") for request in hub.requests)


def test_the_file_is_fetched_and_cached_under_its_hash(hub, tmp_path: Path) -> None:
    path = fetch(hub, tmp_path)
    assert path.name == "model.safetensors"
    assert path.read_bytes() == hub.content
    assert path.resolve().name == hub.sha256


def test_a_second_call_downloads_nothing(hub, tmp_path: Path) -> None:
    fetch(hub, tmp_path)
    before = gets(hub)
    fetch(hub, tmp_path)
    assert gets(hub) == before


def test_a_warmed_cache_works_without_the_hub(
    hub, no_hub: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = fetch(hub, tmp_path)
    with caplog.at_level(logging.INFO):
        assert published("m", "miil_in1k", cache_dir=tmp_path, endpoint=no_hub) == path
    assert "the cached file is used" in caplog.text


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "proxy:port"])
def test_a_proxy_that_cannot_be_used_is_a_hub_that_cannot_be_reached(
    hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    path = fetch(hub, tmp_path)
    for name in ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, proxy)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("NO_PROXY", "")
    huggingface_hub.close_session()  # it has read its proxies before
    try:
        elsewhere = "http://192.0.2.1:9"  # no address of any machine (RFC 5737)
        assert published("m", "miil_in1k", cache_dir=tmp_path, endpoint=elsewhere) == path
        with pytest.raises(UnavailableError, match="did not give them"):
            published("l", cache_dir=tmp_path, endpoint=elsewhere)
    finally:
        huggingface_hub.close_session()


@pytest.mark.parametrize("status", [401, 404, 500, 503])
def test_a_warmed_cache_works_when_the_hub_refuses(hub, tmp_path: Path, status: int) -> None:
    path = fetch(hub, tmp_path)
    hub.status = status
    assert fetch(hub, tmp_path) == path


def test_without_a_network_one_error_shows_three_ways_out(no_hub: str, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError) as caught:
        published("l", cache_dir=tmp_path, endpoint=no_hub)
    assert caught.value.exit_code == 3
    assert caught.value.message == (
        "the weights timm/tresnet_l.miil_in1k are not in the cache, and http://127.0.0.1:9 did not "
        "give them: [Errno 111] Connection refused"
    )
    file, warmed, random = caught.value.hints
    assert file.startswith("--checkpoint FILE")
    assert warmed.startswith("hf download timm/tresnet_l.miil_in1k model.safetensors")
    assert random.startswith("--weights random --seed 0")


@pytest.mark.parametrize(
    ("status", "words"), [(401, "Unauthorized"), (404, "Not Found"), (503, "Service Unavailable")]
)
def test_a_refusal_of_the_hub_is_reported_with_its_status(
    hub, tmp_path: Path, status: int, words: str
) -> None:
    hub.status = status
    with pytest.raises(UnavailableError, match=f"it answered {status} {words}"):
        fetch(hub, tmp_path)


@pytest.mark.usefixtures("impatient")
def test_a_hub_that_does_not_answer_is_asked_once(hub, tmp_path: Path) -> None:
    hub.delay_s = 1.0
    with pytest.raises(UnavailableError, match="timed out"):
        fetch(hub, tmp_path)
    assert hub.requests == [f"HEAD {hub.path}"]


@pytest.mark.usefixtures("impatient")
def test_a_transfer_that_breaks_off_is_resumed(hub, tmp_path: Path) -> None:
    hub.cuts = 1
    assert fetch(hub, tmp_path).read_bytes() == hub.content


@pytest.mark.usefixtures("impatient")
def test_a_transfer_that_never_ends_is_one_error_and_leaves_no_file(hub, tmp_path: Path) -> None:
    hub.cuts = 1000
    with pytest.raises(UnavailableError, match="did not give them"):
        fetch(hub, tmp_path)
    assert not list(tmp_path.rglob("model.safetensors"))
    assert not list(tmp_path.rglob("*.incomplete"))


def test_bytes_of_another_hash_are_refused_and_deleted(hub, tmp_path: Path) -> None:
    hub.etag = "ab" * 32
    with pytest.raises(ArtifactError, match="sha256 is not abababababab") as caught:
        fetch(hub, tmp_path)
    assert "proxy or mirror" in caught.value.hints[0]
    assert not list(tmp_path.rglob("ab" * 32))


def test_a_server_that_names_no_hash_is_refused(hub, tmp_path: Path) -> None:
    hub.etag = "not-a-sha256"
    with pytest.raises(UnavailableError, match="names no sha256"):
        fetch(hub, tmp_path)
    assert gets(hub) == 0


def test_a_damaged_cached_file_is_fetched_again(hub, tmp_path: Path) -> None:
    path = fetch(hub, tmp_path)
    path.resolve().write_bytes(b"damaged")
    assert fetch(hub, tmp_path).read_bytes() == hub.content


def test_a_damaged_cached_file_is_refused_without_the_hub(hub, no_hub: str, tmp_path: Path) -> None:
    blob = fetch(hub, tmp_path).resolve()
    blob.write_bytes(b"damaged")
    with pytest.raises(ArtifactError, match="is damaged") as caught:
        published("m", "miil_in1k", cache_dir=tmp_path, endpoint=no_hub)
    assert str(blob) in caught.value.hints[0]


def test_a_cache_that_cannot_be_written_is_named(hub, tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"a file, not a folder")
    with pytest.raises(UnavailableError, match="cannot be put into the cache") as caught:
        fetch(hub, tmp_path / "cache")
    assert caught.value.hints[0].startswith("HF_HOME=FOLDER")


def test_an_unknown_tag_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UnknownVariantError, match="choose one of: miil_in1k, miil_in1k_448"):
        published("l", "miil_in22k", cache_dir=tmp_path)


def test_a_variant_nobody_published_says_so(tmp_path: Path) -> None:
    with pytest.raises(UnknownVariantError, match="no weights on a hub"):
        published("tresnet_d", cache_dir=tmp_path)


def test_without_huggingface_hub_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UnavailableError, match="cannot be fetched here") as caught:
        published("m", cache_dir=tmp_path)
    assert caught.value.hints[0] == "pip install 'tresnet-deploy[pytorch]'"
    assert len(caught.value.hints) == 4


def test_offline_mode_of_the_hub_is_obeyed(
    hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UnavailableError, match="offline mode is enabled"):
        fetch(hub, tmp_path)
    assert hub.requests == []


def test_a_closed_port_is_what_these_tests_take_for_no_network(no_hub: str) -> None:
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(no_hub.rpartition(":")[2]))) != 0


def test_quiet_turns_the_progress_bars_of_the_hub_off(hub, tmp_path: Path) -> None:
    published("m", "miil_in1k", cache_dir=tmp_path, endpoint=hub.endpoint, quiet=True)
    assert are_progress_bars_disabled()
    enable_progress_bars()


def test_the_cache_folder_is_the_hubs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder() == Path(constants.HF_HUB_CACHE)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert cache_folder() is None
