"""A package that happens to be called as a package of snapfork is."""

from __future__ import annotations

NAME = "the app's own adapter"
