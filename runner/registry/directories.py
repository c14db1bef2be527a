"""How much a watched directory may hold: each look at it, and what is remembered of it, grows with that."""

from __future__ import annotations

import os

MOST_ENTRIES = 50_000


class Crowded(Exception):
    """A directory holds more than may be watched; its text is one sentence that says so."""

    def __init__(self, directory: str) -> None:
        super().__init__(
            f"{directory} holds more than {MOST_ENTRIES:,} files and directories, which is the most that is "
            "watched: watch a directory inside it, or take out of it what is done with."
        )


def check_size(directory: str) -> None:
    """Raise Crowded for a directory with more than MOST_ENTRIES below it. Not for an event loop; it ends as
    soon as it knows. What cannot be read counts as empty."""
    count = 0
    pending = [directory]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    count += 1
                    if count > MOST_ENTRIES:
                        raise Crowded(directory)
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
        except OSError:
            continue
