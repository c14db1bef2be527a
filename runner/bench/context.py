"""The interface between the suite and its parts.

A part is a module (benchmarks/parts/NAME.py) with

    NAME: str                                        what one types: `sh benchmarks/run NAME`
    SUMMARY: str                                     one line for --help
    def measure(context: Context) -> Part            one run of it, raw samples in the Part's rows

and, where it has something to say beyond the table of medians,

    def checks(runs: list[Part]) -> list[Check]      lines of the table "must show | figure | met?"
    def tables(runs: list[Part]) -> str              Markdown instead of the usual table
    def plots(runs: list[Part], directory: Path) -> list[Path]     PNG files, named NAME-*.png

`measure` is called once per run (--runs). The suite itself measures load and steal time around each call
and sets `Part.conditions`; a part interleaves its rows (A B A B), drops warm-ups and keeps every sample. It
leaves no process behind, also when it raises. Nothing is printed but through `context.say`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


def quiet(_text: str) -> None:
    """Says nothing."""


@dataclass
class Context:
    """What a part is given.

    python: the interpreter that apps, peers and the runner are run with. apps: the directory of the apps'
    modules. run: number of this run, from 1. say: one progress line, without its newline. work: a directory
    for files that are gone afterwards. only: names of apps, none for all.
    """

    apps: Path
    python: str = sys.executable
    quick: bool = False
    run: int = 1
    runs: int = 1
    say: Callable[[str], None] = quiet
    work: Path = field(default_factory=Path)
    only: list[str] = field(default_factory=list)

    def wanted(self, app: str) -> bool:
        """Whether a part that measures several apps shall measure this one (--apps)."""
        return not self.only or app in self.only

    def count(self, full: int, quick: int) -> int:
        """How many samples, rounds or seconds: `full`, or `quick` under --quick."""
        return quick if self.quick else full


class Progress:
    """Lines like "[  12.3 s] run 1 of 3 · ladder · flask" on stderr."""

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix
        self._begun = time.monotonic()

    def __call__(self, text: str) -> None:
        elapsed = time.monotonic() - self._begun
        print(f"[{elapsed:7.1f} s] {self.prefix}{text}", file=sys.stderr, flush=True)
