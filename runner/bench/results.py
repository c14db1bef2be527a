"""What measuring gives: rows of raw samples in parts, parts in runs, and the machine they were taken on.

JSON (`Results.save`) is {"machine": ..., "runs": [[part, ...], ...]}; every part of every run is kept. A
figure that decides something is computed in each run alone; the median of the runs counts (`decide`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from snapfork.runner.bench import stats


@dataclass
class Row:
    """Samples of one thing.

    `group` is what it was measured with (an app's name; "" for none), `config` the command or settings in
    words, `extra` whatever else belongs to it and is plain JSON (a time line of a burst, counts of errors).
    """

    name: str
    unit: str
    samples: list[float] = field(default_factory=list)
    group: str = ""
    config: str = ""
    notes: list[str] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def median(self) -> float | None:
        return stats.median(self.samples)

    @property
    def p99(self) -> float | None:
        return stats.p99(self.samples)


@dataclass
class Part:
    """One part of the suite, measured once. `conditions` is machine.Conditions of that time, as a dict."""

    name: str
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    conditions: dict[str, Any] = field(default_factory=dict)

    def row(self, name: str, unit: str = "ms", *, group: str = "", config: str = "") -> Row:
        """The row with this name and group, made when it is not there."""
        found = self.find(name, group)
        if found is None:
            found = Row(name, unit, group=group, config=config)
            self.rows.append(found)
        return found

    def find(self, name: str, group: str = "") -> Row | None:
        return next((row for row in self.rows if row.name == name and row.group == group), None)

    def groups(self) -> list[str]:
        """The groups in the order in which they came."""
        return list(dict.fromkeys(row.group for row in self.rows))

    def median(self, name: str, group: str = "") -> float | None:
        """The median of a row; None when it was not measured."""
        row = self.find(name, group)
        return row.median if row is not None else None

    def p99(self, name: str, group: str = "") -> float | None:
        row = self.find(name, group)
        return row.p99 if row is not None else None


@dataclass
class Check:
    """One line of the table of what must be shown. `met` is None where it could not be measured."""

    must: str
    figure: str
    met: bool | None


@dataclass
class Results:
    """All runs of one call of the suite; `failures` says which parts gave none, and why."""

    machine: dict[str, Any]
    runs: list[list[Part]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def parts(self, name: str) -> list[Part]:
        """This part in every run that has it."""
        return [part for run in self.runs for part in run if part.name == name]

    def names(self) -> list[str]:
        return list(dict.fromkeys(part.name for run in self.runs for part in run))

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        raw = json.loads(path.read_text())
        runs = [[_part(part) for part in run] for run in raw["runs"]]
        return cls(raw["machine"], runs, raw.get("failures", []))


def decide(runs: Sequence[Part], figure: Callable[[Part], float | None]) -> float | None:
    """`figure` of each run, and the median of them."""
    return stats.median_of(figure(part) for part in runs)


def at_most(must: str, value: float | None, limit: float, text: str = "{:.2f}") -> Check:
    """A check of a figure that must not exceed `limit`."""
    if value is None:
        return Check(must, "not measured", None)
    return Check(must, text.format(value), value <= limit)


def at_least(must: str, value: float | None, limit: float, text: str = "{:.2f}") -> Check:
    """A check of a figure that must reach `limit`."""
    if value is None:
        return Check(must, "not measured", None)
    return Check(must, text.format(value), value >= limit)


def _part(raw: dict[str, Any]) -> Part:
    rows = [Row(**row) for row in raw["rows"]]
    return Part(raw["name"], rows, raw["notes"], raw["conditions"])
