"""First code of a base template: run as a script by the app's own interpreter.

Nothing of snapfork may be importable yet, so this file imports only the standard library and its sibling
`borrow.py` by path. Argument: one JSON object, see `snapfork.runner.processes.base`
(with an `order` in it: `examine`; with `capture`, too: `capture_app`).
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys


def _lend(directories: list[str]) -> None:
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "borrow.py")
    spec = importlib.util.spec_from_file_location("_snapfork_borrow", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"snapfork is not installed completely: {path} is missing; install it again.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.install(directories)


def main() -> None:
    setup = json.loads(sys.argv[1])
    if setup["borrow"]:
        _lend(setup["borrow"])
    sys.argv[1:] = []
    if "capture" in setup:
        from snapfork.runner.processes import capture_app

        capture_app.main(setup)
    elif "order" in setup:
        from snapfork.runner.processes import examine

        examine.main(setup)
    else:
        from snapfork.runner.processes import warden

        warden.stand_above(setup)  # before anything large is imported
        from snapfork.runner.processes import base

        base.main(setup)


if __name__ == "__main__":
    main()
