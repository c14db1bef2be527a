"""The throw-away process that restores an uploaded snapshot. Arguments: its path, and where to tell."""

from __future__ import annotations

import json
import os
import sys

from snapfork.adapter.snapshots import file
from snapfork.adapter.snapshots.errors import SnapshotError
from snapfork.adapter.snapshots.snapshot import load


def main() -> None:
    """Restore it, and write {"error": "" or one sentence} as JSON."""
    path, told = sys.argv[1], int(sys.argv[2])
    os.set_inheritable(told, False)
    problem = ""
    try:
        app, _ = load(file.parse(path))
        if not callable(app):
            problem = "The snapshot holds nothing that could be served."
    except SnapshotError as error:
        problem = str(error).replace(path, "The snapshot")
    except BaseException as error:  # whatever it is that user code raises
        problem = f"The snapshot does not come back: {type(error).__name__}: {error}"
    os.write(told, json.dumps({"error": problem[:4000]}).encode())
    os._exit(0)


if __name__ == "__main__":
    main()
