"""Being somebody with fewer rights, for ever: before any code of a deployed function runs."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterable, Sequence

import snapfork.adapter
import snapfork.runner
from snapfork.runner.processes import memory, reach

_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 4, 38  # linux/prctl.h
OOM_SCORE = 300  # as a template's


class NotPossible(Exception):
    """This process cannot be who it should be; one sentence."""


def become(uid: int, gid: int, name: str, needed: Iterable[str] = (), opt: Sequence[str] = ()) -> None:
    """Drop root for `uid` and `gid` alone, without a way back. Raises NotPossible.

    A process that has done so is not dumpable any more: others of the same user can neither trace it nor read
    its memory. Where the interpreter, or a directory of `needed`, lies out of the user's reach, it is brought
    into it, and the directories of `opt` lie in /opt, over one another (see reach.py).
    """
    memory.prefer_for_oom_kill("self", OOM_SCORE)  # afterwards it may not; forks have it, too
    try:
        if os.geteuid() != uid:
            with contextlib.suppress(
                OSError
            ):  # a container may forbid to mount; the look below says the rest
                reach.open_view(uid, gid, [*_needed(), *needed], opt)
            os.setgroups([])
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
    except OSError as error:
        raise NotPossible(f"the runner may not become user {name}: {error.strerror}") from None
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    for path in (os.path.dirname(os.__file__), os.path.dirname(__file__)):
        if not os.access(path, os.R_OK | os.X_OK):
            raise NotPossible(
                f"user {name} may not read {path}: deployed functions need an interpreter and a snapfork "
                "that this user can read, or another user (--user)"
            )


def _needed() -> list[str]:
    """The directories that this interpreter, its packages, snapfork and what it lends lie in."""
    program = os.path.dirname(os.path.realpath(sys.executable))
    lent = [
        place
        for finder in sys.meta_path
        for places in getattr(finder, "places", {}).values()  # borrow.Lender, which is loaded by its path
        for place in places
    ]
    own = [os.path.realpath(place) for place in (*snapfork.runner.__path__, *snapfork.adapter.__path__)]
    # An editable install is a directory of links: what they lead to is needed, too.
    own.append(os.path.dirname(os.path.realpath(snapfork.adapter.__file__)))
    own.append(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
    return [sys.prefix, sys.base_prefix, program, *own, *lent, *sys.path]


def hide() -> None:
    """Let nobody but root trace this process, read its memory or take its descriptors."""
    _prctl(_PR_SET_DUMPABLE, 0)


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)
