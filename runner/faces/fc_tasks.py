"""FC's asynchronous tasks over the queue's tasks."""

from __future__ import annotations

from typing import Any

from snapfork.runner.faces.fc_names import Place, milliseconds, not_latest
from snapfork.runner.invocations.model import Task
from snapfork.runner.registry.model import LATEST

RETURN_BYTES = 1 << 20
"""Most of a task's result that is given back."""


def view(task: Task, place: Place, payload: bool) -> dict[str, Any]:
    """A task as FC's AsyncTask. payload: whether what it was called with, and its result, are shown."""
    members: dict[str, Any] = {
        "taskId": task.task_id,
        "requestId": task.request_id,
        "functionArn": place.function(task.function),
        "qualifier": not_latest(task.qualifier) or LATEST,
        "status": task.state,
        "startedTime": milliseconds(task.started or task.enqueued),
        "endTime": milliseconds(task.ended),
        "durationMs": milliseconds(task.ended - task.started) if task.ended and task.started else 0,
        "instanceId": task.instance,
        "alreadyRetriedTimes": max(0, task.attempts - 1),
        "destinationStatus": task.destination_status,
        "taskErrorMessage": task.error,
        "events": [dict(event) for event in task.events],
    }
    if payload:
        members["taskPayload"] = task.payload.decode("utf-8", "replace")
        members["returnPayload"] = task.result[:RETURN_BYTES].decode("utf-8", "replace")
    return members
