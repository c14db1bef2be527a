"""Zips of strangers: judged whole before a byte is written, then unpacked in a stream.

Refused, as BadPackage or TooLarge, in one sentence each: what is no zip; names that are absolute, climb
("..", backslashes, drives), are too long or not text; two entries for one place, also by other case or
normalisation, or a file where another entry needs a directory; symlinks that lead out or in circles; devices,
sockets and pipes; encrypted entries, methods other than store and deflate; what unpacks to too much, or to
too many times its own size; wrong checksums and lengths.
"""

from __future__ import annotations

import calendar
import os
import re
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from snapfork.runner.registry.errors import BadPackage, TooLarge

MOST_ENTRIES = 50_000
MOST_DIRECTORY = 16 << 20
"""Bytes of a zip's central directory, which is read whole."""
MOST_RATIO = 200
FREE_OF_RATIO = 16 << 20
"""Unpacked bytes up to which nobody minds how well an entry compresses."""
LONGEST_PART, LONGEST_NAME, LONGEST_LINK = 255, 1024, 1024
MOST_LINKS_FOLLOWED = 40
CHUNK = 1 << 16
_END = struct.Struct("<4s4H2LH")
_END64_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_DRIVE = re.compile(r"[A-Za-z]:")
_SANE_TIME = (1980, 1, 1, 0, 0, 0)
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    struct.error,
    ValueError,
    NotImplementedError,
    OverflowError,
)


@dataclass(frozen=True)
class Entry:
    """One entry as it will be made. path: its parts. kind: "file", "directory" or "link"."""

    path: tuple[str, ...]
    kind: str
    info: zipfile.ZipInfo
    target: str = ""

    @property
    def name(self) -> str:
        return "/".join(self.path)


@dataclass(frozen=True)
class Contents:
    """What a zip that may be unpacked holds. size: unpacked bytes, as it says of itself."""

    entries: list[Entry]
    size: int


def inspect(file: BinaryIO, most_bytes: int, most_entries: int = MOST_ENTRIES) -> Contents:
    """Judge a zip by its directory. Raises BadPackage and TooLarge."""
    try:
        _check_directory_size(file)
        with zipfile.ZipFile(file) as archive:
            infos = archive.infolist()
            if len(infos) > most_entries:
                raise TooLarge(f"The zip has {len(infos)} entries; {most_entries} is the most.", "code")
            return _judge(archive, infos, most_bytes)
    except _BROKEN as error:
        raise _bad(f"The zip is damaged: {_said(error)}.") from None


def unpack(file: BinaryIO, contents: Contents, directory: Path, most_bytes: int) -> None:
    """Write the entries below `directory`, an empty directory of our own. Raises as `inspect`.

    Directories are 0755, files 0644 or 0755, whatever the zip says; times are the zip's.
    """
    written = 0
    try:
        with zipfile.ZipFile(file) as archive:
            for entry in contents.entries:
                place = directory.joinpath(*entry.path)
                if entry.kind == "directory":
                    _make_directory(place)
                elif entry.kind == "file":
                    _make_directory(place.parent)
                    written += _extract(archive, entry, place, most_bytes - written)
    except _BROKEN as error:
        raise _bad(f"The zip is damaged: {_said(error)}.") from None
    # Links last: no entry is ever written through one.
    for entry in contents.entries:
        if entry.kind == "link":
            place = directory.joinpath(*entry.path)
            _make_directory(place.parent)
            os.symlink(entry.target, place)


def _bad(sentence: str) -> BadPackage:
    return BadPackage(sentence, "code")


def _said(error: BaseException) -> str:
    text = str(error).strip().rstrip(".")
    return (text.splitlines()[0][:200] if text else type(error).__name__).encode("ascii", "replace").decode()


def _check_directory_size(file: BinaryIO) -> None:
    """Refuse what zipfile would read into memory at once. Raises BadPackage if this is no zip."""
    end = file.seek(0, os.SEEK_END)
    reach = min(end, _END.size + 65535)
    file.seek(end - reach)
    tail = file.read(reach)
    at = tail.rfind(b"PK\5\6")
    if at < 0 or len(tail) - at < _END.size:
        raise _bad("The code is not a zip file.")
    size = _END.unpack_from(tail, at)[5]
    if at >= _END64_LOCATOR.size and tail[at - _END64_LOCATOR.size :].startswith(b"PK\6\7"):
        where = _END64_LOCATOR.unpack_from(tail, at - _END64_LOCATOR.size)[2]
        file.seek(min(where, end))
        record = file.read(_END64.size)
        if len(record) == _END64.size:
            size = max(_END64.unpack(record)[8], size if size != 0xFFFFFFFF else 0)
    if size > MOST_DIRECTORY:
        raise TooLarge(f"The zip's directory is larger than {MOST_DIRECTORY >> 20} MB.", "code")
    file.seek(0)


# -- judging --------------------------------------------------------------------------------------------


def _judge(archive: zipfile.ZipFile, infos: list[zipfile.ZipInfo], most_bytes: int) -> Contents:
    entries: list[Entry] = []
    size = packed = 0
    for info in infos:
        path = _path(info)
        if info.flag_bits & 0x1:
            raise _bad(f"The entry {_show(info)} of the zip is encrypted.")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise _bad(f"The entry {_show(info)} of the zip is compressed in another way than by deflate.")
        kind = _kind(info)
        if not path:
            if kind == "directory":
                continue  # "./" is the directory itself
            raise _bad("An entry of the zip has no name.")
        size += info.file_size
        packed += info.compress_size
        if size > most_bytes:
            raise TooLarge(f"The zip unpacks to more than {most_bytes >> 20} MB.", "code")
        target = _target(archive, info) if kind == "link" else ""
        entries.append(Entry(path, kind, info, target))
    if size > FREE_OF_RATIO and size > MOST_RATIO * max(packed, 1):
        raise _bad(f"The zip unpacks to more than {MOST_RATIO} times its size.")
    _check_places(entries)
    _check_links(entries)
    return Contents(entries, size)


def _path(info: zipfile.ZipInfo) -> tuple[str, ...]:
    name = info.orig_filename
    if "\0" in name or any(ord(mark) < 32 or ord(mark) == 127 for mark in name):
        raise _bad(f"The name {_show(info)} in the zip holds control characters.")
    if "\\" in name:
        raise _bad(f"The name {_show(info)} in the zip holds a backslash; paths in zips have '/'.")
    if name.startswith("/") or _DRIVE.match(name):
        raise _bad(f"The name {_show(info)} in the zip is absolute.")
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if ".." in parts:
        raise _bad(f"The name {_show(info)} in the zip leads out of it.")
    try:
        too_long = len(name.encode()) > LONGEST_NAME or any(
            len(part.encode()) > LONGEST_PART for part in parts
        )
    except UnicodeEncodeError:
        raise _bad(f"The name {_show(info)} in the zip is not text.") from None
    if too_long:
        raise _bad(f"The name {_show(info)} in the zip is too long.")
    return parts


def _show(info: zipfile.ZipInfo) -> str:
    text = ascii(info.orig_filename)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _kind(info: zipfile.ZipInfo) -> str:
    mode = stat.S_IFMT(info.external_attr >> 16)
    if info.orig_filename.endswith("/"):
        if mode not in (0, stat.S_IFDIR) or info.file_size:
            raise _bad(f"The entry {_show(info)} of the zip is a directory with content.")
        return "directory"
    if mode == stat.S_IFLNK:
        return "link"
    if mode in (0, stat.S_IFREG):
        return "file"
    raise _bad(f"The entry {_show(info)} of the zip is neither a file nor a directory nor a link.")


def _target(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> str:
    if info.file_size > LONGEST_LINK:
        raise _bad(f"The link {_show(info)} in the zip is too long.")
    with archive.open(info) as source:
        raw = source.read(LONGEST_LINK + 1)
    try:
        target = raw.decode()
    except UnicodeDecodeError:
        target = ""
    if not target or "\0" in target or target.startswith("/") or "\\" in target:
        raise _bad(f"The link {_show(info)} in the zip leads out of it.")
    return target


def _check_places(entries: list[Entry]) -> None:
    """Every place is taken once, by names that also differ where case and normalisation do not count."""
    spelled: dict[tuple[str, ...], tuple[str, ...]] = {}
    kinds: dict[tuple[str, ...], str] = {}
    for entry in entries:
        for depth in range(1, len(entry.path) + 1):
            part = entry.path[:depth]
            folded = tuple(_fold(name) for name in part)
            if spelled.setdefault(folded, part) != part:
                raise _bad(
                    f"The zip has {'/'.join(spelled[folded])!a} and {'/'.join(part)!a}, which are one place."
                )
            kind = entry.kind if depth == len(entry.path) else "parent"
            before = kinds.get(part)
            if before is None or (before == "parent" and kind == "directory"):
                kinds[part] = kind
            elif kind == "parent" and before in ("parent", "directory"):
                continue
            elif "parent" in (kind, before):
                raise _bad(f"{'/'.join(part)!a} in the zip is a file and a directory.")
            else:
                raise _bad(f"The zip has {'/'.join(part)!a} twice.")


def _fold(name: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def _check_links(entries: list[Entry]) -> None:
    links = {entry.path: entry.target for entry in entries if entry.kind == "link"}
    for path in links:
        if _resolve(path, links) is None:
            raise _bad(f"The link {'/'.join(path)!a} in the zip leads out of it.")


def _resolve(path: tuple[str, ...], links: dict[tuple[str, ...], str]) -> tuple[str, ...] | None:
    """Where the kernel would arrive from the zip's root; None if it leaves it on the way, or never ends."""
    ahead, followed = list(reversed(path)), 0
    here: list[str] = []
    while ahead:
        part = ahead.pop()
        if part in ("", "."):
            continue
        if part == "..":
            if not here:
                return None
            here.pop()
            continue
        here.append(part)
        target = links.get(tuple(here))
        if target is not None:
            followed += 1
            if followed > MOST_LINKS_FOLLOWED:
                return None
            here.pop()
            ahead += reversed(target.split("/"))
    return tuple(here)


# -- writing --------------------------------------------------------------------------------------------


def _make_directory(place: Path) -> None:
    """With its parents, each 0755 whatever the umask."""
    if not place.is_dir():
        _make_directory(place.parent)
        place.mkdir()
        place.chmod(0o755)


def _extract(archive: zipfile.ZipFile, entry: Entry, place: Path, room: int) -> int:
    executable = (entry.info.external_attr >> 16) & 0o111
    mode = 0o755 if executable else 0o644
    written = 0
    fd = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with open(fd, "wb") as sink:
        for chunk in _chunks(archive, entry.info):
            written += len(chunk)
            if written > min(room, entry.info.file_size):
                raise TooLarge("The zip unpacks to more than it says.", "code")
            sink.write(chunk)
        if written != entry.info.file_size:
            raise _bad(f"The entry {_show(entry.info)} of the zip is shorter than it says.")
        os.fchmod(fd, mode)  # whatever the umask
        sink.flush()
        moment = _time(entry.info)
        os.utime(fd, (moment, moment))
    return written


def _chunks(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    with archive.open(info) as source:
        while chunk := source.read(CHUNK):
            yield chunk


def _time(info: zipfile.ZipInfo) -> int:
    """The entry's time, read as UTC; zips know no zone."""
    try:
        moment = calendar.timegm((*info.date_time, 0, 0, 0))
    except (ValueError, OverflowError):
        return calendar.timegm((*_SANE_TIME, 0, 0, 0))
    return moment if info.date_time[1] and info.date_time[2] else calendar.timegm((*_SANE_TIME, 0, 0, 0))
