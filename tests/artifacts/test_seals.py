"""A seal notices any edit of our JSON, and nothing else."""

import json

import pytest

from tresnet_deploy import artifacts, seals
from tresnet_deploy.contracts import Artifact

DATA = b'{"name": "x", "mean": [0.5, 1.0], "deep": {"b": 1, "a": null}, "text": "\xc3\xa9"}'


def test_a_sealed_object_is_whole_and_keeps_its_fields() -> None:
    sealed = seals.sealed(DATA)
    assert not seals.is_broken(sealed)
    fields = json.loads(sealed)
    assert fields.pop("seal")
    assert fields == json.loads(DATA)
    assert seals.sealed(sealed) == sealed


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"0.5", b"0.6"), (b'"x"', b'"y"'), (b'"b": 1', b'"b": 2'), (b'"name"', b'"nome"')],
)
def test_any_edit_breaks_the_seal(old: bytes, new: bytes) -> None:
    sealed = seals.sealed(DATA)
    assert old in sealed
    assert seals.is_broken(sealed.replace(old, new))


def test_layout_and_order_do_not_matter() -> None:
    fields = json.loads(seals.sealed(DATA))
    turned = dict(reversed(fields.items()))
    assert not seals.is_broken(json.dumps(turned, indent=7).encode())


@pytest.mark.parametrize("data", [b"{}", b"[]", b'"text"', b'{"name": "x"}'])
def test_what_carries_no_seal_is_of_an_older_version(data: bytes) -> None:
    assert not seals.is_broken(data)


def test_a_sidecar_that_was_read_and_written_again_keeps_its_seal(artifact: Artifact) -> None:
    sealed = seals.sealed(artifacts.to_json(artifact))
    again = artifacts.to_json(artifacts.from_json(sealed, Artifact, name="it"))
    assert seals.sealed(again) == sealed
