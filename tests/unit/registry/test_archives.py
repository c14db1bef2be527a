"""Zips of strangers: each kind that is refused, by its sentence; what is unpacked, and how; random ones."""

from __future__ import annotations

import io
import os
import stat
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from snapfork.runner.registry import archives
from snapfork.runner.registry.errors import BadPackage, OperationError, TooLarge

MB = 1 << 20
LINK, PIPE, DEVICE = stat.S_IFLNK | 0o777, stat.S_IFIFO | 0o644, stat.S_IFCHR | 0o666
Made = list[tuple[str, bytes, int]]
"""(name, content, mode) of entries."""


def zipped(entries: Made, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", compression) as archive:
        for name, content, mode in entries:
            info = zipfile.ZipInfo("x", (2024, 5, 6, 7, 8, 10))
            info.filename = info.orig_filename = name
            info.compress_type = compression
            info.create_system = 3
            info.external_attr = mode << 16
            archive.writestr(info, content)
    return raw.getvalue()


def unpacked(data: bytes, directory: Path, most: int = 50 * MB, entries: int = 1000) -> Path:
    file = io.BytesIO(data)
    contents = archives.inspect(file, most, entries)
    archives.unpack(file, contents, directory, most)
    return directory


def patched(data: bytes, change: Callable[[bytearray], None]) -> bytes:
    raw = bytearray(data)
    change(raw)
    return bytes(raw)


def encrypted(raw: bytearray) -> None:
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        raw[raw.index(mark) + offset] |= 1


def wrong_crc(raw: bytearray) -> None:
    for mark, offset in ((b"PK\3\4", 14), (b"PK\1\2", 16)):
        raw[raw.index(mark) + offset] ^= 0xFF


def says_less(raw: bytearray) -> None:
    for mark, offset in ((b"PK\3\4", 22), (b"PK\1\2", 24)):
        struct.pack_into("<L", raw, raw.index(mark) + offset, 3)


FILE = 0o100644
REFUSED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "The code is not a zip file."),
    "text": (b"def handler(event, context): ...\n" * 9, "The code is not a zip file."),
    "cut off": (zipped([("a", b"x" * 999, FILE)])[:-40], "The code is not a zip file."),
    "end only": (b"PK\5\6" + b"\xff" * 18, "directory is larger"),
    "climbs": (zipped([("../a", b"", FILE)]), "'../a' in the zip leads out of it."),
    "climbs inside": (zipped([("a/../../b", b"", FILE)]), "leads out of it."),
    "climbs and comes back": (zipped([("a/../b", b"", FILE)]), "leads out of it."),
    "absolute": (zipped([("/etc/passwd", b"", FILE)]), "is absolute."),
    "drive": (zipped([("C:/a", b"", FILE)]), "is absolute."),
    "backslash": (zipped([("..\\a", b"", FILE)]), "a backslash"),
    "control": (zipped([("a\nb", b"", FILE)]), "control characters."),
    "long part": (zipped([("a" * 256, b"", FILE)]), "is too long."),
    "long name": (zipped([("/".join(["abcdefg"] * 200), b"", FILE)]), "is too long."),
    "twice": (zipped([("a", b"1", FILE), ("./a", b"2", FILE)]), "has 'a' twice."),
    "by case": (zipped([("a/Read", b"", FILE), ("a/read", b"", FILE)]), "are one place."),
    "directory by case": (zipped([("A/x", b"", FILE), ("a/y", b"", FILE)]), "are one place."),
    "by normalisation": (zipped([("caf\u00e9", b"", FILE), ("cafe\u0301", b"", FILE)]), "are one place."),
    "file and directory": (zipped([("a", b"", FILE), ("a/b", b"", FILE)]), "is a file and a directory."),
    "directory and file": (zipped([("a/b", b"", FILE), ("a", b"", FILE)]), "is a file and a directory."),
    "through a link": (zipped([("a", b"b", LINK), ("a/c", b"", FILE)]), "is a file and a directory."),
    "link out": (zipped([("a", b"../b", LINK)]), "The link 'a' in the zip leads out of it."),
    "link to root": (zipped([("a", b"/etc/passwd", LINK)]), "The link 'a' in the zip leads out of it."),
    "link to nothing": (zipped([("a", b"", LINK)]), "leads out of it."),
    "link through a link": (
        zipped([("a/b/up", b"../..", LINK), ("out", b"a/b/up/..", LINK)]),
        "The link 'out' in the zip leads out of it.",
    ),
    "circle": (zipped([("a", b"b", LINK), ("b", b"a", LINK)]), "leads out of it."),
    "long link": (zipped([("a", b"b" * 1025, LINK)]), "is too long."),
    "pipe": (zipped([("a", b"", PIPE)]), "neither a file nor a directory nor a link."),
    "device": (zipped([("a", b"", DEVICE)]), "neither a file nor a directory nor a link."),
    "full directory": (zipped([("a/", b"x", FILE)]), "is a directory with content."),
    "encrypted": (patched(zipped([("a", b"x", FILE)]), encrypted), "is encrypted."),
    "bzip2": (zipped([("a", b"x", FILE)], zipfile.ZIP_BZIP2), "in another way than by deflate."),
    "wrong checksum": (
        patched(zipped([("a", b"x" * 99, FILE)]), wrong_crc),
        "The zip is damaged: Bad CRC-32",
    ),
    "says less": (patched(zipped([("a", b"x" * 99, FILE)]), says_less), "The zip is damaged: Bad CRC-32"),
    "ratio": (zipped([("a", b"\0" * (20 * MB), FILE)]), "more than 200 times its size."),
    "too much": (zipped([(str(n), os.urandom(MB) * 6, FILE) for n in range(9)]), "more than 50 MB."),
    "too many": (zipped([(str(n), b"", FILE) for n in range(1001)]), "1001 entries; 1000 is the most."),
}


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused_in_one_sentence_and_leaves_nothing_outside(name: str, tmp_path: Path) -> None:
    data, sentence = REFUSED[name]
    (tmp_path / "inside").mkdir()
    with pytest.raises((BadPackage, TooLarge)) as caught:
        unpacked(data, tmp_path / "inside")
    assert sentence in caught.value.message
    assert "\n" not in caught.value.message and caught.value.message.endswith(".")
    assert os.listdir(tmp_path) == ["inside"]


def test_names_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    raw = zipped([("caf\u00e9", b"", FILE)]).replace("caf\u00e9".encode(), b"caf\xff\xff")
    with pytest.raises(BadPackage, match="damaged"):
        unpacked(raw, tmp_path)


def test_files_directories_and_links_inside_come_out_with_sane_modes_and_the_zips_times(
    tmp_path: Path,
) -> None:
    made = unpacked(
        zipped(
            [
                ("./", b"", stat.S_IFDIR | 0o777),
                ("bin/run", b"#!/bin/sh\n", stat.S_IFREG | 0o4711),
                ("lib/data.txt", b"data", stat.S_IFREG | 0o600),
                ("empty/", b"", stat.S_IFDIR | 0o700),
                ("current", b"lib", LINK),
                ("lib/back", b"../bin/./run", LINK),
                ("dangling", b"nowhere", LINK),
                ("plain", b"no mode at all", 0),
            ]
        ),
        tmp_path,
    )
    modes = {
        path.relative_to(made).as_posix(): stat.S_IMODE(path.lstat().st_mode) for path in made.rglob("*")
    }
    assert modes["bin/run"] == 0o755 and modes["lib/data.txt"] == modes["plain"] == 0o644
    assert modes["bin"] == modes["lib"] == modes["empty"] == 0o755
    assert os.readlink(made / "current") == "lib"
    assert (made / "lib/back").read_bytes() == b"#!/bin/sh\n"
    assert (made / "lib/data.txt").stat().st_mtime == 1714979290  # 2024-05-06 07:08:10 UTC


def test_the_umask_does_not_matter(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        made = unpacked(zipped([("a/b", b"", FILE)]), tmp_path)
    finally:
        os.umask(before)
    assert stat.S_IMODE((made / "a/b").stat().st_mode) == 0o644
    assert stat.S_IMODE((made / "a").stat().st_mode) == 0o755


def test_it_streams(tmp_path: Path) -> None:
    data = zipped([("big", os.urandom(40 * MB), FILE)], zipfile.ZIP_STORED)
    source = tmp_path / "big.zip"
    source.write_bytes(data)
    del data
    (tmp_path / "out").mkdir()
    tracemalloc.start()
    with source.open("rb") as file:
        contents = archives.inspect(file, 100 * MB)
        archives.unpack(file, contents, tmp_path / "out", 100 * MB)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * MB


NAMES = st.one_of(
    st.sampled_from(
        ["a", "b", "A", "a/b", "a/b/c", "../a", "a/../b", "/a", "a/", "b/", "./a", "a//b", "..", "C:a"]
    ),
    st.lists(st.sampled_from(["a", "b", "up", "..", ".", ""]), min_size=1, max_size=5).map("/".join),
    st.text(min_size=1, max_size=12).filter(lambda text: text.isprintable()),
)
TARGETS = st.lists(st.sampled_from(["a", "b", "up", "..", ".", ""]), min_size=1, max_size=6).map("/".join)
ENTRIES = st.lists(
    st.one_of(
        st.tuples(NAMES, st.binary(max_size=64), st.sampled_from([FILE, 0o755, 0, PIPE, DEVICE])),
        st.tuples(NAMES, TARGETS.map(str.encode), st.just(LINK)),
    ),
    max_size=8,
)
FLIPS = st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=4)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@settings(max_examples=200)
@given(ENTRIES, FLIPS)
def test_whatever_the_zip_nothing_is_written_or_leads_outside(
    tmp_path_factory: pytest.TempPathFactory, entries: Made, flips: list[tuple[int, int]]
) -> None:
    root = tmp_path_factory.mktemp("zip")
    inside = root / "one" / "two" / "inside"
    inside.mkdir(parents=True)
    raw = bytearray(zipped(entries))
    for at, value in flips:
        raw[at % len(raw)] = value
    try:
        unpacked(bytes(raw), inside, MB)
    except OperationError as error:
        assert "\n" not in error.message
    beside = [path for path in root.rglob("*") if inside not in (path, *path.parents)]
    assert {path.name for path in beside} == {"one", "two"}
    for path in inside.rglob("*"):
        assert stat.S_IFMT(path.lstat().st_mode) in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK)
        assert Path(os.path.realpath(path)).is_relative_to(inside)
