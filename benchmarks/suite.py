"""The benchmark suite: runs parts, keeps every sample, writes tables and plots. See benchmarks/README.md.

`sh benchmarks/run` makes the environment and calls this. Files of --out: results.json (machine, versions and
raw samples of every run), results.md (tables) and PNG plots.
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import options
from snapfork.runner.bench import machine, plot, report
from snapfork.runner.bench.context import Context, Progress
from snapfork.runner.bench.results import Check, Part, Results
from snapfork.runner.bench.servers import end_tidily
from snapfork.runner.errors import UserError

HERE = Path(__file__).resolve().parent


def modules(names: Sequence[str] = options.PARTS) -> dict[str, Any]:
    """The parts' modules by name; see snapfork.runner.bench.context for what they offer."""
    return {name: importlib.import_module(f"parts.{name}") for name in names}


def measure(chosen: argparse.Namespace, results: Results) -> Iterator[Part]:
    """All parts, run after run; each is in `results` when it is given."""
    parts = modules(chosen.parts or options.PARTS)
    progress = Progress()
    apps = [name for name in chosen.apps.split(",") if name]
    for number in range(1, chosen.runs + 1):
        results.runs.append([])
        for name, module in parts.items():
            progress.prefix = f"run {number} of {chosen.runs} · {name} · "
            progress("begins")
            with tempfile.TemporaryDirectory(prefix="bench-") as work:
                context = Context(
                    HERE / "apps", quick=chosen.quick, run=number, runs=chosen.runs, say=progress,
                    work=Path(work), only=apps,
                )  # fmt: skip
                try:
                    with machine.Watch() as watch:
                        part = module.measure(context)
                except (UserError, OSError, subprocess.SubprocessError) as error:
                    progress(f"failed: {error}")
                    results.failures.append(f"run {number}, {name}: {error}")
                    continue
            part.conditions = asdict(watch.conditions)
            results.runs[-1].append(part)
            yield part


def text(results: Results) -> str:
    """The whole report as Markdown."""
    parts = modules(results.names())
    blocks = ["# Results", report.machine_text(results)]
    checks: list[Check] = []
    for name in results.names():
        runs, module = results.parts(name), parts[name]
        body = module.tables(runs) if hasattr(module, "tables") else report.part_text(runs)
        blocks += [f"## {name}: {module.SUMMARY}", report.conditions_text(runs), body]
        if hasattr(module, "checks"):
            checks += module.checks(runs)
    if results.failures:
        blocks += ["## Failed", "\n".join(f"- {' '.join(one.split())}" for one in results.failures)]
    if checks:
        blocks += ["## Must show", "The median of the runs decides.", report.checks_table(checks)]
    return "\n\n".join(block for block in blocks if block) + "\n"


def plots(results: Results, directory: Path) -> list[Path]:
    """Every part's plots."""
    parts = modules(results.names())
    found: list[Path] = []
    for name in results.names():
        if hasattr(parts[name], "plots"):
            found += parts[name].plots(results.parts(name), directory)
    return found


def write(results: Results, chosen: argparse.Namespace) -> None:
    out: Path = chosen.out
    written = text(results)
    (out / "results.md").write_text(written)
    print(written)
    if not chosen.no_plots:
        plots(results, out)
    print(f"samples, tables and plots are in {out}", file=sys.stderr)


def main(words: Sequence[str] | None = None) -> int:
    chosen = options.parse(words)
    if not chosen.no_plots and not plot.available():
        print("Plots need matplotlib; --no-plots goes without.", file=sys.stderr)
        return 2
    end_tidily()
    chosen.out.mkdir(parents=True, exist_ok=True)
    kept = chosen.out / "results.json"
    try:
        if chosen.report:
            results = Results.load(kept)
        else:
            results = Results(machine.describe().as_dict())
            for _ in measure(chosen, results):
                results.save(kept)  # what was measured is kept, whatever becomes of the rest
            results.save(kept)
        write(results, chosen)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 1 if results.failures else 0


if __name__ == "__main__":
    sys.exit(main())
