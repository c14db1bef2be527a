"""The events that triggers send, in the dialect of the function that gets them. Pure.

A timer: FC's {"triggerTime", "triggerName", "payload"}; EventBridge's scheduled event for other functions.
A file: FC's OSS event, or Lambda's S3 notification, both with one member more: `localPath`, where it is.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus

from snapfork.runner.registry.model import Dialect, Trigger

NAMESPACE = uuid.UUID("7d1f6a5e-6d0c-4f0e-9d43-6f0b9e6a0c11")
CREATED, REMOVED = "created", "removed"


@dataclass(frozen=True)
class Site:
    """Region and account, as they stand in events."""

    region: str = "local"
    account: str = "000000000000"


@dataclass(frozen=True)
class FileChange:
    """What has happened to a file. what: CREATED (new, or its content is another) or REMOVED; key: its path
    in the directory; mtime_ns, size: as it is, of a removed one as it was."""

    what: str
    key: str
    mtime_ns: int
    size: int


def event_id(trigger: Trigger, *about: object) -> str:
    """The id of the invocation that a tick or a file becomes: the same whenever it is made again."""
    return str(uuid.uuid5(NAMESPACE, " ".join([trigger.id or trigger.name, *map(repr, about)])))


def timer(trigger: Trigger, dialect: Dialect, tick: float, site: Site) -> bytes:
    """A tick of a timer."""
    clock = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(tick))
    payload = str(trigger.config.get("payload") or "")
    if dialect == "fc":
        return _json({"triggerTime": clock, "triggerName": trigger.name, "payload": payload})
    return _json(
        {
            "version": "0",
            "id": event_id(trigger, tick),
            "detail-type": "Scheduled Event",
            "source": "aws.events",
            "account": site.account,
            "time": clock,
            "region": site.region,
            "resources": [f"arn:aws:events:{site.region}:{site.account}:rule/{trigger.name}"],
            "detail": _detail(payload),
        }
    )


def wanted(trigger: Trigger, change: FileChange) -> bool:
    """Whether a trigger's events and filter name this change."""
    key = trigger.config.get("filter", {}).get("key", {})
    if not (change.key.startswith(key.get("prefix", "")) and change.key.endswith(key.get("suffix", ""))):
        return False
    group = "ObjectCreated" if change.what == CREATED else "ObjectRemoved"
    names = {f"{trigger.kind}:{group}:*", f"{trigger.kind}:{_name(trigger.kind, change)}"}
    return not names.isdisjoint(trigger.config.get("events") or [f"{trigger.kind}:ObjectCreated:*"])


def file(trigger: Trigger, change: FileChange, site: Site, at: float) -> bytes:
    """A change of a file."""
    make = _oss if trigger.kind == "oss" else _s3
    return _json(make(trigger, change, site, at))


def _oss(trigger: Trigger, change: FileChange, site: Site, at: float) -> dict[str, Any]:
    bucket = trigger.config["bucket"]
    return {
        "events": [
            {
                "eventName": _name("oss", change),
                "eventSource": "acs:oss",
                "eventTime": _milliseconds(at),
                "eventVersion": "1.0",
                "oss": {
                    "bucket": {
                        "arn": f"acs:oss:{site.region}:{site.account}:{bucket}",
                        "name": bucket,
                        "ownerIdentity": site.account,
                    },
                    "object": {
                        "deltaSize": change.size,
                        "eTag": _etag(change),
                        "key": _text(change.key),
                        "localPath": _path(trigger, change),
                        "size": change.size,
                    },
                    "ossSchemaVersion": "1.0",
                    "ruleId": trigger.name,
                },
                "region": site.region,
                "requestParameters": {"sourceIPAddress": "127.0.0.1"},
                "responseElements": {"requestId": _request_id(trigger, change)},
                "userIdentity": {"principalId": site.account},
            }
        ]
    }


def _s3(trigger: Trigger, change: FileChange, site: Site, at: float) -> dict[str, Any]:
    bucket = trigger.config["bucket"]
    told: dict[str, Any] = {
        "key": quote_plus(os.fsencode(change.key), safe="/"),
        "localPath": _path(trigger, change),
        "sequencer": f"{change.mtime_ns:016X}",
    }
    if change.what == CREATED:
        told |= {"size": change.size, "eTag": _etag(change)}
    return {
        "Records": [
            {
                "eventVersion": "2.1",
                "eventSource": "aws:s3",
                "awsRegion": site.region,
                "eventTime": _milliseconds(at),
                "eventName": _name("s3", change),
                "userIdentity": {"principalId": site.account},
                "requestParameters": {"sourceIPAddress": "127.0.0.1"},
                "responseElements": {"x-amz-request-id": _request_id(trigger, change)},
                "s3": {
                    "s3SchemaVersion": "1.0",
                    "configurationId": trigger.name,
                    "bucket": {
                        "name": bucket,
                        "ownerIdentity": {"principalId": site.account},
                        "arn": f"arn:aws:s3:::{bucket}",
                    },
                    "object": told,
                },
            }
        ]
    }


def _name(kind: str, change: FileChange) -> str:
    if change.what == CREATED:
        return "ObjectCreated:" + ("PutObject" if kind == "oss" else "Put")
    return "ObjectRemoved:" + ("DeleteObject" if kind == "oss" else "Delete")


def change_id(trigger: Trigger, change: FileChange) -> str:
    """The id of the invocation of a change of a file."""
    return event_id(trigger, change.what, change.key, change.mtime_ns, change.size)


def _request_id(trigger: Trigger, change: FileChange) -> str:
    return change_id(trigger, change).replace("-", "").upper()[:24]


def _etag(change: FileChange) -> str:
    """No digest of the content, which may be large: of what tells one content from the next."""
    return uuid.uuid5(NAMESPACE, f"{change.key!r} {change.mtime_ns} {change.size}").hex.upper()


def _path(trigger: Trigger, change: FileChange) -> str:
    return _text(os.path.join(trigger.config["directory"], change.key))


def _text(name: str) -> str:
    """A file name in JSON; bytes that are no UTF-8 are shown as escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _detail(payload: str) -> Any:
    try:
        detail = json.loads(payload) if payload else {}
    except (ValueError, RecursionError):
        return {"payload": payload}
    return detail if isinstance(detail, dict) else {"payload": payload}


def _milliseconds(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at * 1000) % 1000:03d}Z"


def _json(event: dict[str, Any]) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode()
