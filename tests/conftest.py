"""Two tiers of the same tests, and a table of what they measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings

T = TypeVar("T")
FIGURES = pytest.StashKey[list[tuple[str, str]]]()
SOAK_TIMEOUT_FACTOR = 15

# How long an example takes is the machine's affair.
settings.register_profile("any speed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any speed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="full numbers instead of scaled-down loops")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FIGURES] = []
    config.pluginmanager.register(Figures(config))


class Figures:
    """Gathers what `record` noted; reports come here from the workers of pytest-xdist, too."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "teardown":
            noted = [value for name, value in report.user_properties if name == "figure"]
            self.config.stash[FIGURES] += [(figure, value) for figure, value in noted]  # type: ignore[misc]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Full numbers take longer: so does the patience of each test's hang-stopper."""
    if not config.getoption("--soak"):
        return
    usual = float(config.getini("timeout"))
    for item in items:
        marker = item.get_closest_marker("timeout")
        seconds = float(marker.args[0]) if marker else usual
        item.add_marker(pytest.mark.timeout(seconds * SOAK_TIMEOUT_FACTOR), append=False)


@pytest.fixture(scope="session")
def soak(request: pytest.FixtureRequest) -> Callable[[T, T], T]:
    """`soak(ci=..., full=...)`: the number for this run."""
    full_run = bool(request.config.getoption("--soak"))

    def choose(ci: T, full: T) -> T:
        return full if full_run else ci

    return choose


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Callable[[str, object], None]:
    """`record(figure, value)`: a row of the table that closes the run."""
    properties = request.node.user_properties
    return lambda figure, value: properties.append(("figure", (figure, str(value))))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    figures = config.stash[FIGURES]
    if not figures:
        return
    terminalreporter.section("figures" if config.getoption("--soak") else "figures (scaled down)")
    width = max(len(figure) for figure, _ in figures)
    for figure, value in figures:
        terminalreporter.write_line(f"{figure:<{width}}  {value}")
