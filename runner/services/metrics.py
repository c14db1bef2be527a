"""Prometheus metrics, made from the same status that people read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

CONTENT_TYPE = CONTENT_TYPE_LATEST
STATES = ("starting", "spare", "idle", "busy", "leaving")
Functions = list[dict[str, Any]]


def render(status: dict[str, Any]) -> bytes:
    """The metrics page for one status."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(StatusCollector(status))
    return generate_latest(registry)


class StatusCollector:
    """Turns a status into metric families; keeps nothing."""

    def __init__(self, status: dict[str, Any]) -> None:
        self.status = status

    def collect(self) -> Iterator[Metric]:
        """All families, also those without samples: dashboards then know their names."""
        functions: Functions = self.status.get("functions", [])
        yield from self._runner()
        yield from _counters(functions)
        yield from _gauges(functions)
        yield from _histograms(functions)

    def _runner(self) -> Iterator[Metric]:
        info = InfoMetricFamily("snapfork", "The runner.")
        info.add_metric([], {"version": str(self.status.get("version", ""))})
        yield info
        started = float(self.status.get("started_at", 0))
        yield GaugeMetricFamily("snapfork_start_time_seconds", "When the runner started.", value=started)
        connections = GaugeMetricFamily(
            "snapfork_connections", "Client connections by what they do.", labels=["state"]
        )
        for state in ("idle", "waiting", "lent"):
            connections.add_metric([state], self.status.get("connections", {}).get(state, 0))
        yield connections


def _counters(functions: Functions) -> Iterator[Metric]:
    requests = CounterMetricFamily("snapfork_requests", "Requests begun.", labels=["function"])
    cut = CounterMetricFamily(
        "snapfork_streams_cut", "Streams and WebSockets ended by a drain.", labels=["function"]
    )
    lines = CounterMetricFamily("snapfork_log_lines_dropped", "Output lines dropped.", labels=["function"])
    for entry in functions:
        requests.add_metric([entry["name"]], entry.get("requests", 0))
        cut.add_metric([entry["name"]], entry.get("streams_cut", 0))
        lines.add_metric([entry["name"]], entry.get("log_lines_dropped", 0))
    yield requests
    yield cut
    yield lines
    yield _by_key(functions, "responses", "snapfork_responses", "Responses by status class.", "class")
    yield _by_key(functions, "starts", "snapfork_starts", "Requests by the start they needed.", "kind")
    yield _by_key(functions, "deaths", "snapfork_deaths", "Ends of instances by cause.", "cause")
    yield _by_key(
        functions, "gateway_errors", "snapfork_gateway_errors", "Errors answered by the gateway.", "status"
    )


def _by_key(functions: Functions, field: str, name: str, help_text: str, label: str) -> Metric:
    family = CounterMetricFamily(name, help_text, labels=["function", label])
    for entry in functions:
        for key, count in (entry.get(field) or {}).items():
            family.add_metric([entry["name"], str(key)], count)
    return family


def _gauges(functions: Functions) -> Iterator[Metric]:
    instances = GaugeMetricFamily("snapfork_instances", "Instances by state.", labels=["function", "state"])
    queue = GaugeMetricFamily("snapfork_queue_length", "Requests that wait.", labels=["function"])
    memory = GaugeMetricFamily(
        "snapfork_template_resident_bytes", "Resident memory of the template.", labels=["function"]
    )
    ready = GaugeMetricFamily("snapfork_template_ready", "1 when the template can fork.", labels=["function"])
    stages = GaugeMetricFamily(
        "snapfork_template_stage_seconds", "What the template's stages took.", labels=["function", "stage"]
    )
    generation = GaugeMetricFamily(
        "snapfork_generation", "Which build of the function is serving.", labels=["function"]
    )
    for entry in functions:
        name = entry["name"]
        template = entry.get("template") or {}
        for state, count in states(entry).items():
            instances.add_metric([name, state], count)
        queue.add_metric([name], (entry.get("queue") or {}).get("length", 0))
        memory.add_metric([name], template.get("rss_bytes") or 0)
        ready.add_metric([name], 1 if template.get("state") == "ready" else 0)
        generation.add_metric([name], entry.get("generation", 0))
        for stage in template.get("stages", []):
            stages.add_metric([name, stage["name"]], stage["ms"] / 1000)
    yield from (instances, queue, memory, ready, generation, stages)


def states(entry: dict[str, Any]) -> dict[str, int]:
    """How many instances of a function are in which state."""
    counts = dict.fromkeys(STATES, 0)
    for instance in entry.get("instances", []):
        counts[instance["state"]] = counts.get(instance["state"], 0) + 1
    return counts


def _histograms(functions: Functions) -> Iterator[Metric]:
    duration = HistogramMetricFamily(
        "snapfork_request_duration_seconds", "From the app's call to the end.", labels=["function"]
    )
    start = HistogramMetricFamily(
        "snapfork_start_duration_seconds", "From the head to the app's call.", labels=["function", "kind"]
    )
    wait = HistogramMetricFamily("snapfork_queue_wait_seconds", "Time in the queue.", labels=["function"])
    for entry in functions:
        name = entry["name"]
        _add(duration, [name], entry.get("duration_seconds"))
        _add(wait, [name], (entry.get("queue") or {}).get("wait_seconds"))
        for kind, histogram in (entry.get("start_seconds") or {}).items():
            _add(start, [name, kind], histogram)
    yield from (duration, start, wait)


def _add(family: HistogramMetricFamily, labels: list[str], histogram: dict[str, Any] | None) -> None:
    if histogram:
        family.add_metric(labels, _buckets(histogram["buckets"], histogram["count"]), histogram["sum"])


def _buckets(pairs: Iterable[list[Any]], count: int) -> list[tuple[str, float]]:
    """Cumulative (bound, count) pairs as Prometheus wants them, the last one "+Inf"."""
    finite = [(str(float(bound)), float(value)) for bound, value in pairs if bound not in (None, "+Inf")]
    return [*finite, ("+Inf", float(count))]
