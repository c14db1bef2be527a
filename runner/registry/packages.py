"""The content store: packages as they came, by the SHA-256 of their bytes, and each unpacked once.

    DATA_DIR/packages/HASH.zip    as uploaded        .snap: a snapshot, restored, checked and signed anew
    PUBLIC/code/HASH/             its entries; of a snapshot, app.snap

Both appear by a rename, whole. Whoever works with a package pins it, so that `collect` leaves it alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar
from weakref import WeakValueDictionary

from snapfork.runner.registry import archives, requirements, snapshots
from snapfork.runner.registry.errors import OperationError, TooLarge
from snapfork.runner.registry.places import Places, remove, tidy
from snapfork.runner.registry.rows import Package

T = TypeVar("T")
SNAPSHOT = "app.snap"


class Packages:
    """The packages of one data directory, whose lock the caller holds (Store). `most_entries`: of a zip."""

    def __init__(self, places: Places, most_entries: int = archives.MOST_ENTRIES) -> None:
        self.places = places
        self._most_entries = most_entries
        self._pins: Counter[str] = Counter()
        self._working: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        tidy(places)

    async def add(self, data: bytes, most_bytes: int, most_unpacked: int) -> Package:
        """Judge, unpack and store an upload; the same bytes again cost their hash.

        Raises BadPackage and TooLarge, in one sentence.
        """
        if len(data) > most_bytes:
            raise TooLarge(f"The code has {len(data)} bytes; {most_bytes} is the most.", "code")
        digest = await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest())
        with self.pinned(digest):
            async with self._lock(digest):
                return await self._work(lambda: self._add(data, digest, most_unpacked))

    async def unpack(self, package: Package) -> Path:
        """Where a stored package lies unpacked; done now if need be. Raises OperationError if it is gone."""
        directory = self.places.code / package.hash
        if directory.is_dir():
            return directory
        async with self._lock(package.hash):
            if not directory.is_dir():
                await self._work(lambda: self._unpack_again(package))
        return directory

    def path(self, package: Package) -> Path:
        """The stored file."""
        return self.places.packages / f"{package.hash}.{package.kind}"

    @contextlib.contextmanager
    def pinned(self, digest: str) -> Iterator[None]:
        """Keep `collect` from a package that is not referred to yet."""
        self._pins[digest] += 1
        try:
            yield
        finally:
            self._pins[digest] -= 1
            if not self._pins[digest]:
                del self._pins[digest]

    def is_pinned(self, digest: str) -> bool:
        """Whether somebody is at work with it."""
        return digest in self._pins

    async def collect(self, held: Callable[[str], bool]) -> None:
        """Remove what is neither held nor pinned, unpacked code included."""
        for folder in (self.places.packages, self.places.code):
            for path in list(folder.iterdir()):
                digest = path.name.partition(".")[0]
                if not digest:  # being unpacked
                    continue
                async with self._lock(digest):  # nobody takes it up while it goes
                    if not held(digest) and not self.is_pinned(digest):
                        await asyncio.to_thread(remove, path)

    # -- in a thread ------------------------------------------------------------------------------------

    @staticmethod
    async def _work(function: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(function)
        except OSError as error:
            raise OperationError(f"The package cannot be stored: {error.strerror}.", "code") from None

    def _lock(self, digest: str) -> asyncio.Lock:
        lock = self._working.get(digest)
        if lock is None:
            lock = self._working[digest] = asyncio.Lock()
        return lock

    def _add(self, data: bytes, digest: str, most_unpacked: int) -> Package:
        kind = "snap" if snapshots.is_one(data) else "zip"
        stored = self.places.packages / f"{digest}.{kind}"
        draft = self._draft()
        try:
            _write(draft, data)
            package = Package(digest, len(data), kind, created=time.time())
            unpacked = self._unpack(draft, package, most_unpacked)
            os.replace(draft, stored)
            _sync(stored.parent)
            return unpacked
        finally:
            remove(draft)

    def _unpack_again(self, package: Package) -> None:
        stored = self.path(package)
        if not stored.exists():
            raise OperationError(f"The package {package.hash} is gone from {stored.parent}.", "code")
        self._unpack(stored, package, max(package.unpacked, 1))

    def _unpack(self, source: Path, package: Package, most_unpacked: int) -> Package:
        """Have the code of `source` in its place; the package with what is known of it then."""
        place = self.places.code / package.hash
        work = self.places.code / f".{package.hash}.{secrets.token_hex(4)}"
        work.mkdir(mode=0o755)
        try:
            work.chmod(0o755)
            if package.kind == "snap":
                size = snapshots.adopt(source, work / SNAPSHOT, self.places)
            else:
                with source.open("rb") as file:
                    contents = archives.inspect(file, most_unpacked, self._most_entries)
                    if not place.is_dir():
                        archives.unpack(file, contents, work, most_unpacked)
                size = contents.size
            with contextlib.suppress(OSError):  # it is there already
                os.rename(work, place)
        finally:
            remove(work)
        needs = requirements.find(place) if package.kind == "zip" else ""
        return Package(package.hash, package.size, package.kind, size, needs, package.created)

    def _draft(self) -> Path:
        return self.places.drafts / secrets.token_hex(8)


def _write(path: Path, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(fd)


def _sync(directory: Path) -> None:
    """Make a rename durable."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
