"""What the suite can be asked for. Standard library only: --help works before any environment is made."""

from __future__ import annotations

import argparse
import ast
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
PARTS = (
    *("ladder", "restore", "breakdown", "levers", "burst"),
    *("throughput", "memory", "density", "bodies", "deploy", "invoke", "queue", "hammered", "soak"),
)
EXAMPLES = """examples:
  sh benchmarks/run --quick
  sh benchmarks/run ladder burst --runs 1
  sh benchmarks/run ladder --apps flask,django"""


def summaries() -> dict[str, str]:
    """The parts, in order, with the SUMMARY of their modules, which are not imported."""
    return {name: _constant(HERE / "parts" / f"{name}.py", "SUMMARY") for name in PARTS}


def _constant(file: Path, name: str) -> str:
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == name:
            return str(ast.literal_eval(node.value))
    raise AssertionError(f"{file} has no {name}")


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The options; leaves with a sentence where they are wrong."""
    parts = "\n".join(f"  {name:<12} {summary}" for name, summary in summaries().items())
    parser = argparse.ArgumentParser(
        prog="sh benchmarks/run",
        description="Measures the runner and its peers.",
        epilog=f"parts (default: all):\n{parts}\n\n{EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help="what to measure")
    parser.add_argument("--quick", action="store_true", help="few samples, one run: under 3 minutes for all")
    parser.add_argument("--runs", type=int, help="how often everything is measured (default 3; --quick: 1)")
    parser.add_argument("--apps", default="", help="only these apps of a part, such as flask,django")
    parser.add_argument(
        "--out", type=Path, default=HERE / "results", help="directory of the results (benchmarks/results)"
    )
    parser.add_argument("--no-plots", action="store_true", help="tables and samples only")
    parser.add_argument("--report", action="store_true", help="no measuring: write --out's report again")
    chosen = parser.parse_args(words)
    if unknown := [name for name in chosen.parts if name not in PARTS]:
        parser.error(f"no such part: {', '.join(unknown)} (there are {', '.join(PARTS)})")
    if chosen.runs is None:
        chosen.runs = 1 if chosen.quick else 3
    if chosen.runs < 1:
        parser.error("--runs: at least 1")
    return chosen


if __name__ == "__main__":
    parse()
