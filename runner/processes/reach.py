"""Letting a user without rights reach an interpreter that lies where only root may enter, such as /root; and
having a function's layers in /opt.

The process gets a view of its own of the file system (a mount namespace). In it, each directory that stops
the user is covered by an empty one, in which just the needed directories appear, to be read. All else
that lay there is gone from view. So is what the machine has in /opt, for functions with layers. The rest of
the machine, and other processes, see no difference.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable, Sequence

_CLONE_NEWNS = 0x20000  # linux/sched.h
OPT = "/opt"
_RDONLY, _NOSUID, _REMOUNT, _BIND, _REC, _PRIVATE = 1, 2, 0x20, 0x1000, 0x4000, 0x40000  # linux/mount.h


def open_view(uid: int, gid: int, needed: Iterable[str], opt: Sequence[str] = ()) -> None:
    """Have the user `uid` reach the directories `needed`, and see those of `opt` in /opt, the first on top.

    Does nothing where all is so already. /opt stays as it is where it holds something that is needed.
    Raises OSError where this process may not mount.
    """
    covers: dict[str, list[str]] = {}
    found = _outermost([*needed, *opt])
    for path in found:
        stop = _stopping(path, uid, gid)
        if stop:
            covers.setdefault(stop, []).append(path)
    held = any(path == OPT or path.startswith(OPT + os.sep) for path in found)
    lays = bool(opt) and not held and os.path.isdir(OPT)
    if not covers and not lays:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    _check(libc.unshare(_CLONE_NEWNS), "unshare")
    _mount(libc, "none", "/", None, _REC | _PRIVATE)  # what is mounted here is nobody else's
    for cover, paths in covers.items():
        _cover(libc, cover, paths)
    if lays:
        _lay(libc, opt)


def _lay(libc: ctypes.CDLL, directories: Sequence[str]) -> None:
    if len(directories) == 1:
        _mount(libc, directories[0], OPT, None, _BIND)
        _mount(libc, "none", OPT, None, _REMOUNT | _BIND | _RDONLY | _NOSUID)
    else:
        _mount(libc, "overlay", OPT, "overlay", _RDONLY | _NOSUID, f"lowerdir={':'.join(directories)}")


def _cover(libc: ctypes.CDLL, cover: str, paths: list[str]) -> None:
    held = {path: os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for path in paths}
    try:
        _mount(libc, "tmpfs", cover, "tmpfs", _NOSUID, "mode=0755,size=1m")
        for path, fd in held.items():
            os.makedirs(path, 0o755, exist_ok=True)
            _mount(libc, f"/proc/self/fd/{fd}", path, None, _BIND | _REC)
            _mount(libc, "none", path, None, _REMOUNT | _BIND | _RDONLY | _NOSUID)
        _mount(libc, "none", cover, None, _REMOUNT | _BIND | _RDONLY | _NOSUID)
    finally:
        for fd in held.values():
            os.close(fd)


def _outermost(paths: Iterable[str]) -> list[str]:
    """The real directories among `paths`, without those that lie in others of them."""
    real = sorted({os.path.realpath(path) for path in paths if os.path.isdir(path)})
    kept: list[str] = []
    for path in real:
        if not any(path.startswith(one + os.sep) for one in kept):
            kept.append(path)
    return kept


def _stopping(path: str, uid: int, gid: int) -> str:
    """The first directory on the way to `path` that the user may not pass through, "" if there is none."""
    above = ""
    for part in path.split(os.sep)[1:-1]:
        above += os.sep + part
        about = os.stat(above)
        shift = 6 if about.st_uid == uid else 3 if about.st_gid == gid else 0
        if not about.st_mode >> shift & 1:
            return above
    return ""


def _mount(libc: ctypes.CDLL, source: str, target: str, kind: str | None, flags: int, data: str = "") -> None:
    done = libc.mount(
        os.fsencode(source),
        os.fsencode(target),
        None if kind is None else kind.encode(),
        ctypes.c_ulong(flags),
        data.encode() or None,
    )
    _check(done, f"mount {target}")


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{os.strerror(number)} ({what})")
