"""`python -m snapfork.runner` is the `runner` command."""

from __future__ import annotations

import sys

from snapfork.runner.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
