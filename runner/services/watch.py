"""The file watcher of `--reload`: tells the gateway which files changed, once they have come to rest."""

from __future__ import annotations

import json
import os
import sys

from snapfork.runner.processes import life

SUFFIXES = (
    ".py",
    ".html",
    ".jinja",
    ".jinja2",
    ".j2",
    ".txt",
    ".toml",
    ".json",
    ".yaml",
    ".yml",
    ".ini",
    ".env",
)
SKIPPED = frozenset(
    {
        ".venv",
        "venv",
        ".git",
        ".hg",
        ".svn",
        "__pycache__",
        "node_modules",
        ".mypy_cache",
        ".pytest_cache",
        ".ruff_cache",
        ".tox",
        ".nox",
        ".idea",
        ".vscode",
        ".hypothesis",
        "site-packages",
    }
)
QUIET_MS = 50  # an editor writes a file in several steps
DEBOUNCE_MS = 400


def matters(path: str, roots: list[str]) -> bool:
    """True when a change of `path` may change what an app below one of `roots` answers."""
    if not path.endswith(SUFFIXES):
        return False
    below = next((os.path.relpath(path, root) for root in roots if _inside(path, root)), path)
    return not SKIPPED.intersection(below.split(os.sep))


def _inside(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip(os.sep) + os.sep)


def main() -> None:
    """Argument: JSON {"directories", "out_fd", "life_fd"}."""
    from watchfiles import watch

    setup = json.loads(sys.argv[1])
    life.arm(setup["life_fd"])
    life.shield()
    roots = [os.path.realpath(directory) for directory in setup["directories"]]
    changes = watch(
        *roots,
        watch_filter=lambda _change, path: matters(path, roots),
        step=QUIET_MS,
        debounce=DEBOUNCE_MS,
        raise_interrupt=False,
        ignore_permission_denied=True,
    )
    try:
        for batch in changes:
            line = json.dumps({"changed": sorted({path for _change, path in batch})})
            os.write(setup["out_fd"], line.encode() + b"\n")
    except BrokenPipeError:  # the gateway stopped listening
        return


if __name__ == "__main__":
    main()
