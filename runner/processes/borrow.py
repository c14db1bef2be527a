"""Packages lent to an interpreter that does not have them.

Loaded by path, before anything of snapfork can be imported: standard library only.

A loan is a directory, or `NAME=DIRECTORY`. A plain directory lends the packages of LENT from *behind* the
app's own path: whatever the app's environment has itself wins. `NAME=DIRECTORY` lends that one package
ahead of the app's own copy; this is for snapfork, which must speak the gateway's protocol, and for
servers' packages that are too old to be used.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

LENT = frozenset(
    {"snapfork", "httptools", "uvloop", "uvicorn", "websockets", "h11", "click"}
    | {"cloudpickle", "cryptography", "cffi", "_cffi_backend", "pycparser"}
)


class Lender:
    """Finds top-level packages in `places` (name -> directories); their submodules are found as usual."""

    def __init__(self, places: dict[str, list[str]]) -> None:
        self.places = places

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of a lent package, else None."""
        directories = self.places.get(fullname)
        if directories is None:
            return None
        if fullname == "snapfork":
            return _namespace(fullname, directories)
        return PathFinder.find_spec(fullname, directories)

    def invalidate_caches(self) -> None:
        """Nothing is cached here; importlib calls this on every finder."""


def _namespace(name: str, directories: list[str]) -> ModuleSpec:
    # An editable install keeps snapfork.runner outside any directory called "snapfork": the loan of
    # snapfork is the directory that holds `runner` and `adapter`, whatever its own name.
    spec = ModuleSpec(name, None, is_package=True)
    spec.submodule_search_locations = list(directories)
    return spec


def split(loans: list[str]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """`loans` as (lent ahead of the app's own, lent behind it), each name -> directories."""
    ahead: dict[str, list[str]] = {}
    behind: dict[str, list[str]] = {}
    for loan in loans:
        name, equals, directory = loan.partition("=")
        if equals and os.sep not in name:
            ahead.setdefault(name, []).append(directory)
        else:
            for lent in LENT - {"snapfork"}:
                behind.setdefault(lent, []).append(loan)
    return ahead, behind


def install(loans: list[str]) -> None:
    """Make `loans` importable in this process."""
    ahead, behind = split(loans)
    if ahead:
        sys.meta_path.insert(0, Lender(ahead))
    if behind:
        sys.meta_path.append(Lender(behind))
