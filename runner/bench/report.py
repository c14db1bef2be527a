"""Results as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from snapfork.runner.bench import stats
from snapfork.runner.bench.results import Check, Part, Results, Row


def number(value: float | None) -> str:
    """Three digits that matter: 0.123, 1.23, 12.3, 123, 12345; "-" for None."""
    if value is None:
        return "-"
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 or size == 0 else 3
    return f"{value:.{digits}f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; "|" in cells is escaped."""
    lines = [_line(head), "|" + "---|" * len(head)]
    return "\n".join([*lines, *(_line(row) for row in rows)])


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def rows_table(runs: Sequence[Part], group: str = "", base: str = "") -> str:
    """One group's rows: the median of the runs' medians and p99s, and the runs' medians themselves.

    With `base`, the name of a row: each row as a multiple of it.
    """
    names = list(dict.fromkeys(row.name for part in runs for row in part.rows if row.group == group))
    times = [f"x {base}"] if base else []
    lines = []
    for name in names:
        rows = [row for part in runs if (row := part.find(name, group)) is not None]
        middle = stats.median_of(row.median for row in rows)
        cells = [name, rows[0].unit, number(middle), number(stats.median_of(row.p99 for row in rows))]
        if base:
            cells.append(number(stats.median_of(_multiple(part, name, base, group) for part in runs)))
        lines.append([*cells, " ".join(number(row.median) for row in rows), _counts(rows)])
    return table(["", "unit", "median", "p99", *times, "each run", "samples"], lines)


def _multiple(part: Part, name: str, base: str, group: str) -> float | None:
    return stats.ratio(part.median(name, group), part.median(base, group))


def _counts(rows: Sequence[Row]) -> str:
    counts = [len(row.samples) for row in rows]
    return f"{len(counts)} x {counts[0]}" if len(set(counts)) == 1 else " + ".join(map(str, counts))


def part_text(runs: Sequence[Part], base: str = "") -> str:
    """Every group of a part under its own heading, with configurations and notes below."""
    blocks = []
    for group in dict.fromkeys(row.group for part in runs for row in part.rows):
        blocks.append((f"### {group}\n\n" if group else "") + rows_table(runs, group, base))
    return "\n\n".join([*blocks, remarks(runs)]).rstrip()


def remarks(runs: Sequence[Part]) -> str:
    """The configurations and notes of all rows as a list; "" when there are none."""
    named: dict[str, dict[str, None]] = {}
    for row in (row for part in runs for row in part.rows if row.config):
        named.setdefault(row.config, {})[row.name] = None
    lines = [f"- {'; '.join(names)}: {config}" for config, names in named.items()]
    notes = dict.fromkeys(note for part in runs for note in part.notes)
    notes |= {f"{row.name}: {note}": None for part in runs for row in part.rows for note in row.notes}
    lines += [f"- {note}" for note in notes]
    return "\n".join(lines)


def conditions_text(runs: Sequence[Part]) -> str:
    """One line with load, steal and busy time of each run."""
    each = []
    for part in runs:
        told = part.conditions
        if told:
            each.append(
                f"load {told['load_before']:.2f} -> {told['load_after']:.2f}, "
                f"steal {told['steal']:.1%}, busy {told['busy']:.0%}"
            )
    return "Runs: " + "; ".join(each) + "." if each else ""


def checks_table(checks: Sequence[Check]) -> str:
    """The table of what must be shown."""
    said = {True: "yes", False: "**no**", None: "?"}
    return table(["must show", "figure", "met?"], [[one.must, one.figure, said[one.met]] for one in checks])


def machine_text(results: Results) -> str:
    """The machine as one paragraph."""
    told = results.machine
    versions = ", ".join(f"{name} {version}" for name, version in told.get("versions", {}).items())
    virtual = f" ({told['virtualisation']})" if told.get("virtualisation") else ""
    return (
        f"{told['cores']} cores of {told['cpu']}{virtual}, {told['memory_mb']} MB, Linux {told['kernel']}, "
        f"Python {told['python']}. {versions}."
    )
