"""The snapshot file: what stands where, and what is checked before a byte of it is unpickled.

    0   8 bytes   magic
    8   u32       format version
    12  u32       length of the header
    16  32 bytes  public key of the signer
    48  64 bytes  Ed25519 signature
    112 header    JSON (utf-8): what the app needs, and the lengths of what follows
        stream    the pickle
        table     per buffer: offset and length (u64 each), SHA-256
    then, page-aligned, the buffers

All numbers are little-endian. The signature is of magic, version, header, stream and table; the buffers are
covered by the hashes in the table, and checked apart, because they are large and mapped rather than read.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import struct
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from snapfork.adapter.snapshots.errors import SnapshotError

MAGIC = b"SNAPFORK"
VERSION = 2
_START = struct.Struct("<8sII32s64s")
_ENTRY = struct.Struct("<QQ32s")
PAGE = 4096
MAX_HEADER = 16 << 20


@dataclass
class Header:
    """What a file says of itself.

    modules: (name, is a package) of those inside. by_reference: modules that it names. needs: those of them
    that are the user's own, whose source must be there. packages: name -> version.
    """

    implementation: str
    python: str
    abi: str
    platform: str
    created: str
    interface: str
    target: str
    app_dir: str
    modules: list[list[Any]]
    by_reference: list[str]
    needs: list[str]
    packages: dict[str, str]
    settings: dict[str, Any]
    warnings: list[str] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    stream_bytes: int = 0
    buffers: int = 0


@dataclass
class Opened:
    """A file as it was read. `mapped` is private: who writes to a buffer gets a copy of its page.

    signed: where what the signature covers ends, and the buffers begin.
    """

    path: str
    header: Header
    signer: bytes
    stream: memoryview
    table: list[tuple[int, int, bytes]]
    mapped: mmap.mmap
    signature: bytes
    message: bytes
    signed: int

    def check_signer(self, trusted: Collection[bytes]) -> None:
        """Raises SnapshotError unless one of these keys has signed what was read."""
        from snapfork.adapter.snapshots import keys  # late: templates leave this to another process

        if not keys.is_signed(self.signer, self.signature, self.message):
            raise _damaged(self.path, "its signature does not hold")
        if self.signer not in trusted:
            raise SnapshotError(
                f"{self.path} is signed by {keys.describe(self.signer)}, which is not trusted here; if you "
                "trust the signer, have their key (`runner key`) in a file, and type: runner key trust FILE"
            )

    def buffers(self) -> list[memoryview]:
        """The buffers as they lie in the file."""
        view = memoryview(self.mapped)
        return [view[offset : offset + length] for offset, length, _ in self.table]

    def verify_buffers(self) -> None:
        """Compare each buffer with its hash; nothing else may be in the file. Raises SnapshotError."""
        end = self.signed
        for number, (view, (offset, length, digest)) in enumerate(
            zip(self.buffers(), self.table, strict=True)
        ):
            if hashlib.sha256(view).digest() != digest:
                raise SnapshotError(f"{self.path} is damaged: its buffer {number} is not what was signed.")
            if offset != _aligned(end) or any(self.mapped[end:offset]):
                raise _damaged(self.path, f"there is something before its buffer {number}")
            end = offset + length
        if len(self.mapped) != (_aligned(end) if self.table else end) or any(self.mapped[end:]):
            raise _damaged(self.path, "there is something behind what was signed")


def write(path: str | os.PathLike[str], header: Header, stream: bytes, buffers: list[Any]) -> None:
    """Write and sign a file; it appears under its name when it is whole. Raises SnapshotError."""
    from snapfork.adapter.snapshots import keys

    key = keys.own_key()
    views = [memoryview(buffer).cast("B") for buffer in buffers]
    header.stream_bytes, header.buffers = len(stream), len(views)
    head = json.dumps(asdict(header), separators=(",", ":")).encode()
    offset = _aligned(_START.size + len(head) + len(stream) + _ENTRY.size * len(views))
    table = b""
    places = []
    for view in views:
        places.append(offset)
        table += _ENTRY.pack(offset, view.nbytes, hashlib.sha256(view).digest())
        offset = _aligned(offset + view.nbytes)
    signature = key.sign(_message(head, stream, table))
    start = _START.pack(MAGIC, VERSION, len(head), keys.public_bytes(key), signature)
    target = Path(path)
    try:
        handle, draft = tempfile.mkstemp(dir=target.parent or ".", prefix=f".{target.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(start + head)
                file.write(stream)
                file.write(table)
                for place, view in zip(places, views, strict=True):
                    file.seek(place)
                    file.write(view)
                file.truncate(max(file.tell(), offset if views else 0))
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, target)
        except BaseException:
            os.unlink(draft)
            raise
    except OSError as error:
        raise SnapshotError(f"{path} cannot be written: {error.strerror}.") from None


def read(path: str | os.PathLike[str], trusted: Collection[bytes] | None = None) -> Opened:
    """Open a file and check everything but its buffers' contents. Raises SnapshotError.

    `trusted` are the public keys that count; None for those of this user.
    """
    from snapfork.adapter.snapshots import keys

    opened = parse(path)
    opened.check_signer(keys.trusted() if trusted is None else trusted)
    return opened


def parse(path: str | os.PathLike[str]) -> Opened:
    """Open a file whose signature is checked elsewhere. Raises SnapshotError if it is not whole."""
    mapped = _map(path)
    start = _START.unpack_from(mapped)
    magic, version, head_bytes, signer, signature = start
    if magic != MAGIC:
        raise SnapshotError(f"{path} is not a snapshot.")
    if version != VERSION:
        raise SnapshotError(f"{path} has format {version}, and this snapfork reads {VERSION}; make it anew.")
    if head_bytes > min(MAX_HEADER, len(mapped) - _START.size):
        raise _damaged(path, "its header is cut off")
    view = memoryview(mapped)
    head = bytes(view[_START.size : _START.size + head_bytes])
    header = _header(path, head)
    at = _START.size + head_bytes
    entries = header.buffers * _ENTRY.size
    if header.stream_bytes < 0 or header.buffers < 0 or at + header.stream_bytes + entries > len(mapped):
        raise _damaged(path, "it is cut off")
    stream = view[at : at + header.stream_bytes]
    table = bytes(view[at + header.stream_bytes : at + header.stream_bytes + entries])
    places = list(_places(path, table, len(mapped)))
    message = _message(head, stream, table)
    end = at + header.stream_bytes + entries
    return Opened(os.fspath(path), header, signer, stream, places, mapped, signature, message, end)


def _places(path: Any, table: bytes, size: int) -> Iterator[tuple[int, int, bytes]]:
    for offset, length, digest in _ENTRY.iter_unpack(table):
        if offset % PAGE or offset + length > size:
            raise _damaged(path, "it is cut off")
        yield offset, length, digest


def _map(path: str | os.PathLike[str]) -> mmap.mmap:
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size < _START.size:
                raise SnapshotError(f"{path} is not a snapshot: it is too short.")
            return mmap.mmap(file.fileno(), size, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
    except IsADirectoryError:
        raise SnapshotError(f"{path} is a directory, not a snapshot.") from None
    except OSError as error:
        raise SnapshotError(f"{path} cannot be read: {error.strerror}.") from None


def _header(path: Any, head: bytes) -> Header:
    known = {one.name: one for one in fields(Header)}
    try:
        raw = json.loads(head)
        header = Header(**raw)
    except (ValueError, TypeError, RecursionError):
        raise _damaged(path, "its header cannot be read") from None
    for name in known:
        value, kind = getattr(header, name), str(known[name].type).partition("[")[0]
        if type(value).__name__ != kind:
            raise _damaged(path, f"its header has a wrong {name}")
    return header


def _message(head: bytes, stream: Any, table: bytes) -> bytes:
    parts = (head, stream, table)
    digests = b"".join(hashlib.sha256(part).digest() for part in parts)
    return b"snapfork snapshot\0" + MAGIC + struct.pack("<I", VERSION) + digests


def _damaged(path: Any, how: str) -> SnapshotError:
    return SnapshotError(f"{path} is damaged: {how}.")


def _aligned(offset: int) -> int:
    return -(-offset // PAGE) * PAGE
