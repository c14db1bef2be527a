"""The arithmetic of the suite's load parts."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from snapfork.runner.bench.peers import PEERS
from snapfork.runner.bench.results import Part

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def test_density_takes_the_fixed_part_off() -> None:
    density = importlib.import_module("parts.density")
    assert density.extrapolate((10, 50.0), (30, 90.0), 130.0) == (2.0, 50.0)


def test_drift_is_a_slope_per_minute() -> None:
    soak = importlib.import_module("parts.soak")
    assert soak.slope_per_minute([0.0, 1.0, 2.0], [5.0, 6.0, 7.0]) == pytest.approx(60)
    assert soak.slope_per_minute([1.0], [5.0]) == 0


def test_a_burst_with_a_failed_request_is_told() -> None:
    burst = importlib.import_module("parts.burst")
    part = Part("burst")
    part.row(burst.OURS + burst.FAILED, "requests", group="wsgi 100").samples.extend([0, 1])
    found = {check.must: check.met for check in burst.checks([part])}
    assert found["4. burst of 100: no failure"] is False
    assert found["4. burst of 200: no failure"] is None


def test_throughput_is_compared_with_the_best_of_the_named_peers() -> None:
    throughput = importlib.import_module("parts.throughput")
    part = Part("throughput")
    rates = {"runner serve": 90, "gunicorn": 50, "granian": 100, "uWSGI": 500}
    for name, value in rates.items():
        part.row(name, "1/s", group=f"flask, {throughput.KEPT}").samples.append(value)
    check = throughput.checks([part])[0]
    assert (check.figure, check.met) == ("0.90", False)


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: f"{peer.name}-{peer.kinds[0]}")
def test_access_logs_can_be_on(peer: object) -> None:
    fleet = importlib.import_module("fleet")
    command = peer.command("python", 1, 2)  # type: ignore[attr-defined]
    words = fleet.logged(peer, command)
    assert words[-1] == command[-1]
    assert not {"--no-access-log", "--disable-logging"} & set(words)
