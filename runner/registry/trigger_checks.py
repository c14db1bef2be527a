"""What the config of a trigger may be; its members are FC's, which the native API shares.

    http    {"authType": "anonymous" | "function", "methods": [...], "disableURLInternet": bool, ...}
    timer   {"cronExpression", "enable": bool, "payload"}
    oss     {"directory", "events": ["oss:ObjectCreated:*", ...], "filter": {"key": {"prefix", "suffix"}}}
    s3      {"directory", "events": ["s3:ObjectCreated:*", ...], "filter": {"key": {"prefix", "suffix"}}}

`directory` is the absolute path of the directory that is watched; `bucket` is what events call it, by default
its last part. Members that are not named here are kept and given back.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from snapfork.runner.registry import schedules
from snapfork.runner.registry.errors import Invalid

KINDS = ("http", "timer", "oss", "s3")
DIRECTORY_KINDS = ("oss", "s3")
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")
AUTHS = ("anonymous", "function")
MOST_PAYLOAD = 128 << 10
BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
# Of what object stores tell, a directory has these: a file has come (or was replaced), a file has gone.
EVENTS = {
    "oss": re.compile(
        r"oss:(ObjectCreated:(\*|PutObject|PostObject|CopyObject|AppendObject|CompleteMultipartUpload)"
        r"|ObjectRemoved:(\*|DeleteObject|DeleteObjects))"
    ),
    "s3": re.compile(
        r"s3:(ObjectCreated:(\*|Put|Post|Copy|CompleteMultipartUpload)|ObjectRemoved:(\*|Delete))"
    ),
}


def check(kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """`config` with defaults filled in. Raises Invalid; kind "unsupported" for a kind that is not offered."""
    if kind == "http":
        return _http(config)
    if kind == "timer":
        return _timer(config)
    if kind in EVENTS:
        return _directory(kind, config)
    raise Invalid(
        f"Triggers of kind {kind!r} are not offered; there are {', '.join(KINDS)}.", "kind", "unsupported"
    )


def is_enabled(kind: str, config: Mapping[str, Any]) -> bool:
    """Whether a trigger runs, by its own config."""
    return bool(config.get("enable", True)) if kind == "timer" else True


def _http(config: Mapping[str, Any]) -> dict[str, Any]:
    auth = config.get("authType", "function")
    if auth not in AUTHS:
        raise Invalid(f"authType is one of {', '.join(AUTHS)}, not {auth!r}.", "authType")
    methods = config.get("methods") or list(METHODS)
    if not isinstance(methods, (list, tuple)) or not set(methods) <= set(METHODS):
        raise Invalid(f"methods are some of {', '.join(METHODS)}.", "methods")
    closed = config.get("disableURLInternet", False)
    if not isinstance(closed, bool):
        raise Invalid("disableURLInternet is true or false.", "disableURLInternet")
    return {**config, "authType": auth, "methods": list(dict.fromkeys(methods)), "disableURLInternet": closed}


def _timer(config: Mapping[str, Any]) -> dict[str, Any]:
    text = config.get("cronExpression")
    if not isinstance(text, str):
        raise Invalid("A timer needs its cronExpression.", "cronExpression")
    schedules.parse(text)
    payload = config.get("payload", "")
    if not isinstance(payload, str) or len(payload.encode(errors="surrogatepass")) > MOST_PAYLOAD:
        raise Invalid(f"payload is a text of at most {MOST_PAYLOAD} bytes.", "payload")
    enable = config.get("enable", True)
    if not isinstance(enable, bool):
        raise Invalid("enable is true or false.", "enable")
    return {**config, "cronExpression": text, "payload": payload, "enable": enable}


def _directory(kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    directory = config.get("directory")
    if not isinstance(directory, str) or not os.path.isabs(directory) or "\0" in directory:
        raise Invalid("directory is the absolute path of the directory to watch.", "directory")
    directory = os.path.normpath(directory)
    events = config.get("events") or [f"{kind}:ObjectCreated:*"]
    if not isinstance(events, (list, tuple)):
        raise Invalid("events are a list.", "events")
    for event in events:
        if not isinstance(event, str) or not EVENTS[kind].fullmatch(event):
            raise Invalid(f"A watched directory has no event {event!r}.", "events")
    key = (config.get("filter") or {}).get("key") or {}
    for part in ("prefix", "suffix"):
        if not isinstance(key.get(part, ""), str):
            raise Invalid(f"The {part} of the filter is a text.", "filter")
    bucket = config.get("bucket") or re.sub(r"[^a-z0-9.-]+", "-", os.path.basename(directory).lower()).strip(
        "-."
    )
    if not isinstance(bucket, str) or not BUCKET.fullmatch(bucket):
        raise Invalid(f"{bucket!r} cannot be the name of a bucket: name one as `bucket`.", "bucket")
    named = {"prefix": key.get("prefix", ""), "suffix": key.get("suffix", "")}
    return {
        **config,
        "directory": directory,
        "events": list(events),
        "filter": {"key": named},
        "bucket": bucket,
    }
