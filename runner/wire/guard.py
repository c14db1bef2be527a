"""A lock that gateway and instance share, on the instance's page; a process that dies lets go of it.

Each side has an open file description of its own, to which the kernel ties the lock.
"""

from __future__ import annotations

import fcntl
import os
import struct

_FLOCK = struct.Struct("hhqqi4x")  # struct flock: type, whence, start, length, pid
_LOCK = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0)
_UNLOCK = _FLOCK.pack(fcntl.F_UNLCK, os.SEEK_SET, 0, 1, 0)
_SET, _SET_AND_WAIT = fcntl.F_OFD_SETLK, fcntl.F_OFD_SETLKW


def reopen(fd: int) -> int:
    """A descriptor of a description of its own for what `fd` has open. Raises OSError."""
    return os.open(f"/proc/self/fd/{fd}", os.O_RDWR | os.O_CLOEXEC)


class Guard:
    """`fd` is open for writing and belongs to the guard."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def lock(self) -> None:
        """Wait for the lock, which the other side holds for microseconds."""
        fcntl.fcntl(self.fd, _SET_AND_WAIT, _LOCK)

    def try_lock(self) -> bool:
        """Take the lock if it is free."""
        try:
            fcntl.fcntl(self.fd, _SET, _LOCK)
        except BlockingIOError:
            return False
        return True

    def unlock(self) -> None:
        fcntl.fcntl(self.fd, _SET, _UNLOCK)

    def close(self) -> None:
        os.close(self.fd)
