"""What tests of objects share."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
from holder import NAME, SOURCE


@pytest.fixture(autouse=True)
def plain_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever runs the tests is not a part of the app."""
    monkeypatch.setitem(sys.modules, "__main__", types.ModuleType("__main__"))


@pytest.fixture
def module(tmp_path: Path) -> Iterator[types.ModuleType]:
    """A user's module with an app and some state."""
    made = types.ModuleType(NAME)
    made.__file__ = str(tmp_path / f"{NAME}.py")
    sys.modules[NAME] = made
    exec(SOURCE, vars(made))
    yield made
    sys.modules.pop(NAME, None)
