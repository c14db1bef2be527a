"""What the README says of settings and files is so."""

from __future__ import annotations

import re
from pathlib import Path

from snapfork.adapter import hooks, settings

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def section(title: str) -> str:
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_the_table_of_settings_is_the_table_of_settings() -> None:
    rows = [line.split("|")[1] for line in section("Settings").splitlines() if line.startswith("| `")]
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert named == [setting.name for setting in settings.SETTINGS] + list(hooks.NAMES)


def test_its_defaults_are_the_defaults() -> None:
    for name, default in (("timeout", 60), ("idle_timeout", 60), ("drain_timeout", 30), ("spares", 1)):
        assert settings.BY_NAME[name].default == default
        assert re.search(rf"\| `{name}` \| {default}\b", README)
    assert settings.BY_NAME["head_size"].default == 64 * 1024
    assert (settings.BY_NAME["queue_size"].default, settings.BY_NAME["queue_timeout"].default) == (1000, 30)


def test_its_two_commands_are_there() -> None:
    first = README.split("```sh\n")[1].split("```")[0].splitlines()
    assert first == ["sh examples/run flask_shop", "sh tests/run"]
    for command in first:
        assert (ROOT / command.split()[1]).is_file()
