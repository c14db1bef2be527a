"""What an app imports from snapfork: `serverless`, `hooks`, and the error that both raise.

Standard library only, and little of it: production processes pay for this import at every start.
"""

from __future__ import annotations

from snapfork.adapter import hooks
from snapfork.adapter.settings import SettingError
from snapfork.adapter.wrap import serverless

__version__ = "0.1.0"
__all__ = ["SettingError", "hooks", "serverless"]
