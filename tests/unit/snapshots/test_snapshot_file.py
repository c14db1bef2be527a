"""The file of a snapshot: whole, signed by somebody trusted, or refused before anything is unpickled."""

from __future__ import annotations

import json
import os
import struct
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from snapfork.adapter import SnapshotError
from snapfork.adapter.snapshots import capture, file, keys, snapshot
from snapfork.runner.kept import lookup

STREAM = b"a pickle, never loaded here" * 200
BUFFERS = [b"one" * 3000, b"two" * 5000]


@pytest.fixture(autouse=True)
def own_keys(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))

    def never(*_arguments: Any, **_named: Any) -> Any:
        raise AssertionError("unpickled")

    monkeypatch.setattr(capture, "Unpickler", never)


def header() -> file.Header:
    here = snapshot.environment()
    return file.Header(
        **here,  # type: ignore[arg-type]
        created="2026-01-01T00:00:00+00:00",
        interface="wsgi",
        target="shop:app",
        app_dir="/srv/shop",
        modules=[["shop", False]],
        by_reference=["flask"],
        needs=[],
        packages={"pytest": pytest.__version__},
        settings={},
    )


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "shop.snap"
    file.write(path, header(), STREAM, BUFFERS)
    return path


def test_what_is_written_is_read(written: Path) -> None:
    opened = file.read(written)
    assert bytes(opened.stream) == STREAM
    assert [bytes(one) for one in opened.buffers()] == BUFFERS
    assert opened.header.target == "shop:app"
    assert all(offset % 4096 == 0 for offset, _, _ in opened.table)
    opened.verify_buffers()
    snapshot.check_environment(opened)
    assert sorted(os.listdir(written.parent)) == ["shop.snap"], "no draft is left"


def test_who_writes_to_a_buffer_writes_to_a_copy(written: Path) -> None:
    opened = file.read(written)
    opened.buffers()[0][:3] = b"new"
    assert bytes(file.read(written).buffers()[0]) == BUFFERS[0]


def refusal(path: Path) -> str:
    """The sentence with which a file is refused, its buffers included."""
    with pytest.raises(SnapshotError) as caught:
        opened = file.read(path)
        snapshot.check_environment(opened)
        opened.verify_buffers()
        pytest.fail("it was taken")
    sentence = str(caught.value)
    assert "\n" not in sentence and str(path) in sentence
    return sentence


def test_truncated_at_every_kilobyte_or_longer(written: Path) -> None:
    whole = written.read_bytes()
    for size in range(0, len(whole), 1024):
        written.write_bytes(whole[:size])
        refusal(written)
    for more in (b"\0", b"more", b"\0" * file.PAGE):
        written.write_bytes(whole + more)
        assert "behind what was signed" in refusal(written)


def enter(path: Path) -> dict[str, Any]:
    """What becomes of a file that is to come into a store."""
    return lookup.enter({"target": str(path), "data_dir": str(path.parent / "data"), "forget": ""})


def test_only_whole_files_come_into_the_store(written: Path) -> None:
    """Bits are flipped across the file and it is cut at every kilobyte; nothing is unpickled on the way."""
    whole = written.read_bytes()
    other = written.with_name("other.snap")
    for at in [*range(0, 400), *range(400, len(whole), 61)]:
        damaged = bytearray(whole)
        damaged[at] ^= 1 << at % 8
        other.write_bytes(damaged)
        said = enter(other)
        assert str(other) in said["refused"] and "\n" not in said["refused"], at
    for size in range(0, len(whole), 1024):
        other.write_bytes(whole[:size])
        assert "refused" in enter(other), size
    assert list((written.parent / "data" / "snapshots" / "objects").iterdir()) == []
    assert enter(written)["found"]["check_ms"] > 0
    (kept,) = (written.parent / "data" / "snapshots" / "objects").iterdir()
    assert kept.read_bytes() == whole
    assert "check_ms" not in enter(written)["found"], "it is there already"


@hypothesis_settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_bit_anywhere(written: Path, data: st.DataObject) -> None:
    whole = file.parse(written).mapped
    at = data.draw(st.integers(0, len(whole) - 1))
    damaged = bytearray(whole)
    damaged[at] ^= 1 << data.draw(st.integers(0, 7))
    other = written.with_name("damaged.snap")
    other.write_bytes(damaged)
    refusal(other)


WRONG = {
    "implementation": "pypy",
    "python": "3.9",
    "abi": "cpython-39-x86_64-linux-gnu",
    "platform": "linux-riscv64",
    "packages": {"pytest": "0.1"},
}


@pytest.mark.parametrize("name", WRONG)
def test_of_another_environment(name: str, tmp_path: Path) -> None:
    made = header()
    setattr(made, name, WRONG[name])
    path = tmp_path / "other.snap"
    file.write(path, made, STREAM, BUFFERS)
    said = refusal(path)
    assert str(WRONG[name]) in said or "0.1" in said
    assert "make it anew" in said


def test_a_package_that_is_not_here(tmp_path: Path) -> None:
    made = header()
    made.packages = {"no-such-package": "1.0"}
    file.write(tmp_path / "other.snap", made, STREAM, [])
    assert "needs no-such-package 1.0, which is not installed" in refusal(tmp_path / "other.snap")


@pytest.mark.parametrize("name", [one.name for one in fields(file.Header)])
def test_a_header_field_of_a_wrong_kind(name: str, written: Path) -> None:
    whole = written.read_bytes()
    size = struct.unpack_from("<I", whole, 12)[0]
    raw = json.loads(whole[file._START.size : file._START.size + size])
    raw[name] = None
    changed = json.dumps(raw).encode().ljust(size)[:size]
    written.write_bytes(whole[: file._START.size] + changed + whole[file._START.size + size :])
    refusal(written)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "too short"),
        (b"#!/bin/sh\n" * 100, "is not a snapshot"),
        (b"SNAPFORK" + b"\xff" * 200, "has format"),
    ],
)
def test_other_files(text: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / "x.snap").write_bytes(text)
    assert says in refusal(tmp_path / "x.snap")
    assert "directory" in refusal(tmp_path)
    assert "cannot be read" in refusal(tmp_path / "missing.snap")


def test_a_stranger_is_refused_until_trusted(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = keys.line(keys.public_bytes(keys.own_key()), "alice")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "bob"))
    assert "which is not trusted here" in refusal(written)
    assert keys.public_bytes(keys.own_key()) != keys.parse_line(line)
    assert "which is not trusted here" in refusal(written)
    keys.trust(line)
    file.read(written).verify_buffers()


def test_the_key_is_private_and_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    first = keys.public_bytes(keys.own_key())
    path = tmp_path / "snapfork" / "key.pem"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert keys.public_bytes(keys.own_key()) == first
    path.chmod(0o644)
    with pytest.raises(SnapshotError, match="chmod 600"):
        keys.own_key()
    path.chmod(0o600)
    path.write_text("nonsense")
    with pytest.raises(SnapshotError, match="not an Ed25519 key"):
        keys.own_key()


@pytest.mark.parametrize(
    "text", ["", "ssh-ed25519 AAAA", "snapfork-ed25519", "snapfork-ed25519 !!", "x" * 90]
)
def test_what_is_no_key(text: str) -> None:
    with pytest.raises(SnapshotError, match="not a public key of snapfork"):
        keys.parse_line(text)


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="cannot be written"):
        file.write(tmp_path / "missing" / "x.snap", header(), b"", [])
