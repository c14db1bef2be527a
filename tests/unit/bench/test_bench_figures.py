"""Figures from samples, and results that survive a file."""

from __future__ import annotations

from pathlib import Path

import pytest
from snapfork.runner.bench import ladder, ladder_report, plot, report, stats
from snapfork.runner.bench.results import Check, Part, Results, Row, at_least, at_most, decide


@pytest.mark.parametrize(
    "samples, share, expected",
    [([3, 1, 2], 0.5, 2), ([1, 2, 3, 4], 0.5, 2), (range(1, 101), 0.99, 99), ([7], 0.99, 7), ([], 0.5, None)],
)
def test_percentile_is_a_sample(samples: list[float], share: float, expected: float | None) -> None:
    assert stats.percentile(list(samples), share) == expected


def test_a_p99_needs_a_hundred_samples() -> None:
    assert stats.p99([1.0] * 99) is None
    assert stats.p99([1.0] * 98 + [5.0, 9.0]) == 5.0


def test_ratios_of_nothing_are_nothing() -> None:
    assert stats.ratio(None, 1) is None
    assert stats.ratio(1, None) is None
    assert stats.ratio(1, 0) is None
    assert stats.ratio(3, 2) == 1.5


def test_a_run_without_a_figure_does_not_count() -> None:
    assert stats.median_of([None, 4.0, 2.0, None, 3.0]) == 3.0
    assert stats.median_of([None]) is None
    assert stats.smallest([None, 4.0, 2.0]) == 2.0


def some_part(fork: float) -> Part:
    part = Part("ladder", conditions={"load_before": 0.1, "load_after": 0.5, "steal": 0.02, "busy": 0.5})
    part.row(ladder.FLOOR, group="flask", config="bare").samples.extend([1.0, 1.0, 1.0])
    part.row(ladder.FORK, group="flask").samples.extend([fork, fork * 2, fork / 2])
    part.row("gunicorn" + ladder.FRESH_SUFFIX, group="flask").samples.append(120.0)
    part.row("uWSGI" + ladder.FRESH_SUFFIX, group="flask").samples.append(100.0)
    part.row("gunicorn" + ladder.IDLE_SUFFIX, group="flask").samples.append(0.2)
    part.row(ladder.SPARE, group="flask").samples.append(0.4)
    return part


def test_the_median_run_decides() -> None:
    runs = [some_part(2.0), some_part(9.0), some_part(3.0)]
    assert decide(runs, lambda part: part.median(ladder.FORK, "flask")) == 3.0


def test_results_survive_a_file(tmp_path: Path) -> None:
    results = Results({"cores": 2}, [[some_part(2.0)], [some_part(3.0)]])
    results.runs[0][0].row("burst", "1/s").extra["timeline"] = [[0.1, 200], [0.2, 503]]
    results.save(tmp_path / "results.json")
    assert Results.load(tmp_path / "results.json") == results


def test_a_row_is_found_by_name_and_group() -> None:
    part = Part("x")
    part.row("a", group="one").samples.append(1)
    part.row("a", group="two").samples.append(2)
    part.row("a", group="one").samples.append(3)
    assert [row.samples for row in part.rows] == [[1, 3], [2]]
    assert part.groups() == ["one", "two"]
    assert part.median("a", "three") is None


def test_checks_say_yes_no_or_not_measured() -> None:
    checks = [at_most("a", 3.0, 3), at_most("b", 3.1, 3), at_least("c", 40, 40), at_least("d", None, 1)]
    assert [check.met for check in checks] == [True, False, True, None]
    assert report.checks_table([Check("x | y", "1.00", False)]).endswith("| x \\| y | 1.00 | **no** |")


@pytest.mark.parametrize(
    "value, text",
    [(None, "-"), (0.1234, "0.123"), (1.234, "1.23"), (12.34, "12.3"), (1234.5, "1234"), (0, "0.00")],
)
def test_numbers_have_three_digits_that_matter(value: float | None, text: str) -> None:
    assert report.number(value) == text


def test_the_ladder_puts_idle_workers_below_the_spare() -> None:
    names = [row.name for row, _ in ladder_report.ordered(some_part(2.0), "flask")]
    assert names == [
        "gunicorn, fresh process",
        "uWSGI, fresh process",
        "fork",
        "bare fork (floor)",
        "spare",
        "gunicorn, idle worker",
    ]
    assert ladder_report.fastest_fresh(some_part(2.0), "flask") == 100.0


def test_tables_show_each_run_and_its_conditions() -> None:
    runs = [some_part(2.0), some_part(4.0), some_part(3.0)]
    text = ladder_report.text(runs, "flask")
    assert "| fork | 3.00 | - | 3.00 | 2.00 4.00 3.00 | 3+3+3 |" in text
    assert "load 0.10 -> 0.50, steal 2.0%, busy 50%" in report.conditions_text(runs)
    part = report.part_text(runs, base=ladder.FLOOR)
    assert "### flask" in part
    assert "- bare fork (floor): bare" in part


def test_plots_are_drawn_or_said_to_need_matplotlib(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    made = ladder_report.plots([some_part(2.0)], "flask", "Flask", tmp_path / "x")
    made.append(plot.timeline(tmp_path / "burst.png", "Burst", {"runner": [3.0, 1.0]}))
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in made)


def test_a_rows_own_figures() -> None:
    assert Row("x", "ms", [2.0, 1.0, 9.0]).median == 2.0
    assert Row("x", "ms").median is None
