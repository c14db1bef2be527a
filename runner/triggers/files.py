"""Looking at a directory: which files are there, and whether one is still being written."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat

from snapfork.runner.registry import directories
from snapfork.runner.triggers.memory import Seen


def scan(directory: str) -> dict[str, Seen]:
    """Regular files below `directory` by their paths in it; links are not followed. Raises OSError when the
    directory itself cannot be read, Crowded when there is too much in it; what cannot be read inside is not
    there."""
    found: dict[str, Seen] = {}
    count = 0
    with os.scandir(directory):
        pass
    pending = [""]
    while pending:
        below = pending.pop()
        try:
            with os.scandir(os.path.join(directory, below)) as entries:
                for entry in entries:
                    count += 1
                    if count > directories.MOST_ENTRIES:
                        raise directories.Crowded(directory)
                    path = os.path.join(below, entry.name)
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(path)
                    elif entry.is_file(follow_symlinks=False):
                        info = entry.stat(follow_symlinks=False)
                        found[path] = Seen(info.st_mtime_ns, info.st_size)
        except OSError:  # removed meanwhile, or not ours to read
            continue
    return found


def identity(directory: str) -> tuple[int, int] | None:
    """Which directory has that name, None if none has."""
    try:
        info = os.stat(directory)
    except OSError:
        return None
    return (info.st_dev, info.st_ino) if stat.S_ISDIR(info.st_mode) else None


def look(directory: str, path: str) -> Seen | None:
    """A file as it is now, None if it is none."""
    try:
        info = os.lstat(os.path.join(directory, path))
    except OSError:
        return None
    return Seen(info.st_mtime_ns, info.st_size) if stat.S_ISREG(info.st_mode) else None


def above(path: str) -> list[str]:
    """The directories that a path leads through."""
    parts = path.split(os.sep)
    return [os.sep.join(parts[:count]) for count in range(1, len(parts))]


def arrived(directory: str, path: str) -> float:
    """When a file came to its place or got its content, whichever was later; seconds since the epoch."""
    try:
        info = os.lstat(os.path.join(directory, path))
    except OSError:
        return 0.0
    return max(info.st_ctime, info.st_mtime)


def is_being_written(directory: str, path: str) -> bool | None:
    """Whether somebody has the file open for writing; None where the kernel does not tell us.

    A read lease is given only on a file that nobody has open for writing (fcntl(2), F_SETLEASE). One that
    opens it in this moment waits for some microseconds; the signal that would tell us of him is one that
    is ignored by default.
    """
    try:
        fd = os.open(
            os.path.join(directory, path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        )
    except OSError:
        return None
    try:
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return True if error.errno in (errno.EAGAIN, errno.EACCES) and _may_lease(fd) else None
    finally:
        os.close(fd)
    return False


def _may_lease(fd: int) -> bool:
    """EACCES is also for who may not lease at all: neither the owner nor root."""
    return os.geteuid() in (0, os.fstat(fd).st_uid)
