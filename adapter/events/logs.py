"""The root logger of event handlers, as their platforms have it set up: what handlers log is in their log."""

from __future__ import annotations

import logging
import sys
import time

from snapfork.adapter.events.context import current

FORMATS = {
    "lambda": (
        "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s",
        "%Y-%m-%dT%H:%M:%S",
    ),
    "fc": ("%(asctime)s.%(msecs)03dZ %(aws_request_id)s [%(levelname)s] %(message)s", "%Y-%m-%dT%H:%M:%S"),
}
"""Line and time, those of awslambdaric and of FC's Python runtimes."""


class Handler(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to whatever sys.stdout is, with the id of the invocation that is running."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self):  # type: ignore[no-untyped-def]
        """Looked up at each line."""
        return sys.stdout

    def format(self, record: logging.LogRecord) -> str:
        context = current.get()
        record.aws_request_id = "" if context is None else context.aws_request_id
        return super().format(record)


def install(dialect: str) -> None:
    """Give the root logger its handler, unless the function's own code has set up logging."""
    root = logging.getLogger()
    if root.handlers:
        return
    handler = Handler()
    line, stamp = FORMATS.get(dialect, FORMATS["lambda"])
    formatter = logging.Formatter(line, stamp)
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    root.addHandler(handler)
    if dialect == "fc" and root.level == logging.WARNING:
        root.setLevel(logging.INFO)
