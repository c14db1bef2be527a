"""A runner that is nobody's root: what its functions can reach is said at the start."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from server import Serve

CLONE_NEWUSER = 0x10000000  # linux/sched.h


def be_nobody() -> None:
    """In a user namespace that maps nobody root has no rights, and its files can still be read."""
    if os.geteuid() == 0 and ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER):
        raise OSError(ctypes.get_errno(), "no user namespace")


def says_so(server: Serve) -> bool:
    return any("functions run as this user and can read what it can" in line for line in server.output)


def test_a_start_as_a_normal_user_says_what_functions_can_read(tmp_path: Path) -> None:
    with Serve("--control", "127.0.0.1:0", data_dir=tmp_path / "data", preexec=be_nobody) as server:
        assert says_so(server)


def test_a_start_as_root_has_nothing_to_say(tmp_path: Path) -> None:
    with Serve("--control", "127.0.0.1:0", data_dir=tmp_path / "data") as server:
        assert says_so(server) == (os.geteuid() != 0)
