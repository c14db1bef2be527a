"""PNG plots. matplotlib is an extra: it is imported when a plot is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from snapfork.runner.errors import UserError

Series = Mapping[str, tuple[Sequence[float], Sequence[float]]]
OURS = "#1f6f8b"
PEER = "#b0b0b0"
FLOOR = "#404040"
COLOURS = 10
"""In matplotlib's cycle: the next ones have another STYLE."""
STYLES = ("-", "--", ":")


def available() -> bool:
    """Whether plots can be drawn here."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


def _figure(width: float, height: float) -> tuple[Any, Any]:
    try:
        import matplotlib
    except ImportError:
        raise UserError(
            "Plots need matplotlib, which is not installed.", "Type: pip install 'snapfork[bench]'"
        ) from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(width, height), layout="constrained")
    return figure, axes


def _save(figure: Any, path: Path) -> Path:
    from matplotlib import pyplot

    figure.savefig(path, dpi=120)
    pyplot.close(figure)
    return path


def ladder(path: Path, title: str, rows: Sequence[tuple[str, float, str]], unit: str = "ms") -> Path:
    """Bars on a logarithmic scale, first row on top; each is (name, value, "ours", "peer" or "floor")."""
    figure, axes = _figure(9, 0.9 + 0.34 * len(rows))
    colours = {"ours": OURS, "peer": PEER, "floor": FLOOR}
    places = range(len(rows))
    axes.barh(places, [value for _, value, _ in rows], color=[colours[kind] for *_, kind in rows])
    axes.set_yticks(list(places), [name for name, *_ in rows])
    axes.invert_yaxis()
    axes.set_xscale("log")
    for place, (_, value, _kind) in zip(places, rows, strict=True):
        axes.text(value * 1.05, place, f"{value:.3g}", va="center", fontsize=8)
    axes.margins(x=0.12, y=0.01)
    axes.set_xlabel(f"{unit}, logarithmic")
    axes.set_title(title)
    return _save(figure, path)


def cdf(path: Path, title: str, samples: Mapping[str, Sequence[float]], unit: str = "ms") -> Path:
    """The share of samples at or below each value, on a logarithmic scale."""
    figure, axes = _figure(11, 5)
    for number, (name, values) in enumerate(samples.items()):
        ordered = sorted(values)
        shares = [(at + 1) / len(ordered) for at in range(len(ordered))]
        style = STYLES[number // COLOURS % len(STYLES)]
        axes.step(ordered, shares, where="post", label=name, linestyle=style)
    axes.set_xscale("log")
    axes.set_xlabel(f"{unit}, logarithmic")
    axes.set_ylabel("share of samples")
    axes.grid(True, which="both", alpha=0.2)
    if samples:
        axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    axes.set_title(title)
    return _save(figure, path)


def lines(
    path: Path,
    title: str,
    series: Series,
    *,
    x: str,
    y: str,
    log_x: bool = False,
    log_y: bool = False,
    points: bool = False,
) -> Path:
    """Lines (or points) of (xs, ys) by name: memory against instances, start time over a soak."""
    figure, axes = _figure(9, 5)
    for name, (xs, ys) in series.items():
        style = {"linestyle": "none", "markersize": 3} if points else {}
        axes.plot(xs, ys, marker="o", label=name, **style)
    if log_x:
        axes.set_xscale("log")
    if log_y:
        axes.set_yscale("log")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(True, which="both", alpha=0.2)
    if series:
        axes.legend(fontsize=8)
    axes.set_title(title)
    return _save(figure, path)


def timeline(path: Path, title: str, answers: Mapping[str, Sequence[float]]) -> Path:
    """Of a burst: how many requests were answered after so many milliseconds, by server."""
    series = {name: (sorted(moments), list(range(1, len(moments) + 1))) for name, moments in answers.items()}
    return lines(path, title, series, x="ms since the burst began", y="requests answered")
