"""Runs a program as the user of deployed functions, whom reach.py lets get to where it lies.

Arguments: uid, gid, name of the user, directories that are needed (joined by ":"), the program and its own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence

from snapfork.runner.processes import privileges

CANNOT = 126
"""Exit status of a program that could not be run, as in shells."""


def command(user: tuple[int, int, str], needed: Iterable[str], program: Sequence[str]) -> list[str]:
    """What to execute to have `program` run as `user`."""
    uid, gid, name = user
    own = [sys.executable, "-P", "-m", __name__]
    return [*own, str(uid), str(gid), name, ":".join(needed), *program]


def main() -> None:
    """Become the user, then the program."""
    uid, gid, name, needed, *program = sys.argv[1:]
    try:
        privileges.become(int(uid), int(gid), name, filter(None, needed.split(":")))
        os.execv(program[0], program)
    except privileges.NotPossible as error:
        print(error, file=sys.stderr)
    except OSError as error:
        print(f"{program[0]} cannot be run as user {name}: {error.strerror}", file=sys.stderr)
    sys.exit(CANNOT)


if __name__ == "__main__":
    main()
