"""Tables and short texts for terminals."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

WIDE = 240

if TYPE_CHECKING:
    from rich.table import Table


def plain_table(*columns: str) -> Table:
    """A table without a frame, made to be read and cut."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table


def print_table(table: Table) -> None:
    """To stdout; nothing is cut where no terminal sets the width."""
    from rich.console import Console

    out = Console()
    if not out.is_terminal:
        out = Console(width=WIDE)
    out.print(table)


def duration_text(seconds: float) -> str:
    """Seconds as people read them: 75 -> "1m15s"."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02d}h"


def instances_text(entry: dict[str, Any]) -> str:
    """ "2 busy, 1 spare", or "none"."""
    counts = Counter(instance["state"] for instance in entry.get("instances", []))
    order = ("busy", "idle", "spare", "starting", "leaving")
    return ", ".join(f"{counts[state]} {state}" for state in order if counts[state]) or "none"


def starts_text(entry: dict[str, Any]) -> str:
    """ "fork 3, spare 12": starts that happened, by kind."""
    starts = entry.get("starts") or {}
    return ", ".join(f"{kind} {count}" for kind, count in starts.items() if count) or "-"
