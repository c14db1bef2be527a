"""What a ladder shows: its rows in order, its ratios, its plots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from snapfork.runner.bench import ladder, plot, report, stats
from snapfork.runner.bench.results import Part, Row, decide

OWN = (
    ladder.OWN_FRESH, ladder.SPAWN, ladder.UNWARMED, ladder.FORK, ladder.SPARE, ladder.WARM, ladder.KEPT,
)  # fmt: skip


def fastest_fresh(part: Part, group: str) -> float | None:
    """The median of the peer whose process is the first to answer, in milliseconds."""
    return stats.smallest(row.median for row in _ending(part, group, ladder.FRESH_SUFFIX))


def ordered(part: Part, group: str) -> list[tuple[Row, str]]:
    """The rows from fresh processes down to warm requests, with "ours", "peer" or "floor".

    Idle workers of peers stand right below the spare: both are started processes.
    """
    rows = {row.name: row for row in part.rows if row.group == group}
    peers_fresh = _ending(part, group, ladder.FRESH_SUFFIX)
    fresh = sorted(
        (row for row in peers_fresh if row.name != ladder.OWN_FRESH), key=lambda row: -(row.median or 0)
    )
    idle = _ending(part, group, ladder.IDLE_SUFFIX)
    kept = _ending(part, group, ladder.IDLE_KEPT_SUFFIX)
    names = [ladder.OWN_FRESH, *(row.name for row in fresh), ladder.SPAWN, ladder.UNWARMED, ladder.FORK]
    names += [ladder.FLOOR, ladder.SPARE, *(row.name for row in idle), ladder.WARM, ladder.KEPT]
    names += [row.name for row in kept]
    return [(rows[name], _kind(name)) for name in names if name in rows]


def text(runs: Sequence[Part], group: str) -> str:
    """The ladder as a Markdown table; times are medians of the runs' medians, in milliseconds."""
    lines = []
    for row, _ in ordered(runs[0], group):
        name = row.name
        found = [one for part in runs if (one := part.find(name, group)) is not None]
        times = decide(runs, lambda part, name=name: _times(part, group, name))  # type: ignore[misc]
        lines.append([
            name,
            report.number(stats.median_of(one.median for one in found)),
            report.number(stats.median_of(one.p99 for one in found)),
            report.number(times),
            " ".join(report.number(one.median) for one in found),
            "+".join(str(len(one.samples)) for one in found),
        ])  # fmt: skip
    return report.table(["", "median ms", "p99 ms", "x floor", "each run", "samples"], lines)


def plots(runs: Sequence[Part], group: str, title: str, stem: Path) -> list[Path]:
    """STEM-ladder.png and STEM-cdf.png; samples of all runs together."""
    bars, curves = [], {}
    for row, kind in ordered(runs[0], group):
        found = [one for part in runs if (one := part.find(row.name, group)) is not None]
        middle = stats.median_of(one.median for one in found)
        if middle is not None:
            bars.append((row.name, middle, kind))
        if kind != "peer" or row.name.endswith(ladder.IDLE_SUFFIX):
            samples = [sample for one in found for sample in one.samples]
            if len(samples) >= 10:
                curves[row.name] = samples
    return [
        plot.ladder(stem.with_name(f"{stem.name}-ladder.png"), title, bars),
        plot.cdf(stem.with_name(f"{stem.name}-cdf.png"), title, curves),
    ]


def _ending(part: Part, group: str, suffix: str) -> list[Row]:
    return [
        row
        for row in part.rows
        if row.group == group and row.name.endswith(suffix) and row.name != ladder.OWN_FRESH
    ]


def _kind(name: str) -> str:
    if name == ladder.FLOOR:
        return "floor"
    return "ours" if name in OWN else "peer"


def _times(part: Part, group: str, name: str) -> float | None:
    return stats.ratio(part.median(name, group), part.median(ladder.FLOOR, group))
