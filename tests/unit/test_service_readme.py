"""What runner/README.md says of the service of functions is so."""

from __future__ import annotations

import re
from pathlib import Path

from snapfork.runner.faces import fc_invoke, fc_offer, lambda_invoke, lambda_offer, native_calls
from snapfork.runner.invocations import store as queue_store
from snapfork.runner.registry import store as registry_store
from snapfork.runner.registry.defaults import DEFAULTS, MB, Defaults
from snapfork.runner.telemetry import store as telemetry_store
from snapfork.runner.triggers import memory as trigger_memory

README = (Path(__file__).resolve().parents[2] / "runner" / "README.md").read_text()


def section(title: str) -> str:
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


def table(rows: list[tuple[str, bool, str]]) -> str:
    """A list of operations as the README has it."""
    lines = [f"| `{name}` | {'yes' if offered else 'no'} | {remark} |" for name, offered, remark in rows]
    return "\n".join(["| operation | offered | |", "|---|---|---|", *lines])


def test_the_operations_of_both_apis() -> None:
    for title, rows in (
        ("Operations of Lambda's API", lambda_offer.rows()),
        ("Operations of FC's API", fc_offer.rows()),
    ):
        assert table(rows) in section(title), f"it should be\n{table(rows)}"


def column(default: Defaults) -> list[str]:
    hours = default.max_age and default.max_age / 3600
    delays = default.retry_delays
    waits = ", ".join(f"{one:g}" for one in delays) + " s" if delays[0] < 60 else "1 and 2 min"
    return [
        f"{default.timeout:g} s",
        f"{default.memory} MB" if default.memory else "no limit",
        f"{default.retries}, after {waits}",
        f"from {default.system_first:g} s, doubling to {default.system_most / 60:g} min",
        f"{hours:g} h" if hours else "none",
        f"{default.zip_bytes // MB} MB, {default.unpacked_bytes // MB} MB",
    ]


def test_the_defaults_of_each_dialect() -> None:
    rows = [line.split(" | ")[1:] for line in section("Functions").splitlines() if line.startswith("| ")][1:]
    cells = [[cell.strip(" |") for cell in row] for row in rows]
    for index, dialect in enumerate(("runner", "lambda", "fc")):
        assert [row[index] for row in cells][:6] == column(DEFAULTS[dialect])  # type: ignore[index]
    sizes = [
        (native_calls.PAYLOAD_LIMIT, native_calls.PAYLOAD_LIMIT),
        (lambda_invoke.SYNC_LIMIT, lambda_invoke.ASYNC_LIMIT),
        (fc_invoke.SYNC_BYTES, fc_invoke.ASYNC_BYTES),
    ]
    assert cells[6] == [f"{size_text(sync)}, {size_text(queued)}" for sync, queued in sizes]


def size_text(size: int) -> str:
    return f"{size // MB} MB" if size >= MB else f"{size // 1024} KB"


def test_the_files_of_the_data_directory() -> None:
    named = set(re.findall(r"`([\w.]+)`", section("What is stored where")))
    stores = (registry_store, queue_store, telemetry_store, trigger_memory)
    assert {store.FILE for store in stores} <= named
    assert telemetry_store.MAX_AGE_S == 14 * 86400 and telemetry_store.MAX_BYTES == 1 << 30
