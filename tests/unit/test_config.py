"""[tool.snapfork]: found, read, put between decorator and flags, and explained when wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from snapfork.adapter.settings import SettingError
from snapfork.runner import config

FULL = """
[project]
name = "shop"

[tool.snapfork]
timeout = 5
memory = "256MB"
warmup = ["/", {path = "/login", method = "POST", body = "a=b"}]
env = {MODE = "live", DEPTH = 3}

[tool.snapfork.functions.shop]
timeout = 9
env = {DEPTH = "4"}
"""


def write(directory: Path, text: str) -> str:
    (directory / "pyproject.toml").write_text(text)
    return str(directory)


def test_without_a_file_only_the_flags_count(tmp_path: Path) -> None:
    assert config.overrides(str(tmp_path), "shop", {"timeout": 3}) == {"timeout": 3.0}


def test_a_file_without_our_table_says_nothing(tmp_path: Path) -> None:
    assert config.overrides(write(tmp_path, "[tool.black]\nline-length = 99\n"), "shop", {}) == {}


def test_one_functions_table_is_on_top_and_flags_on_top_of_that(tmp_path: Path) -> None:
    app_dir = write(tmp_path, FULL)
    assert config.overrides(app_dir, "blog", {}) == {
        "timeout": 5.0,
        "memory": 256 * 1024**2,
        "warmup": [{"method": "GET", "path": "/"}, {"method": "POST", "path": "/login", "body": "a=b"}],
        "env": {"MODE": "live", "DEPTH": "3"},
    }
    shop = config.overrides(app_dir, "shop", {"memory": None, "env": {"MODE": "test"}})
    assert (shop["timeout"], shop["memory"]) == (9.0, None)
    assert shop["env"] == {"MODE": "test", "DEPTH": "4"}


def test_the_nearest_file_up_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "project" / "src"
    source.mkdir(parents=True)
    write(tmp_path, "[tool.snapfork]\ntimeout = 1\n")
    monkeypatch.chdir(tmp_path / "project")
    assert config.overrides(str(source), "shop", {}) == {}
    write(tmp_path / "project", "[tool.snapfork]\ntimeout = 2\n")
    assert config.overrides(str(source), "shop", {}) == {"timeout": 2.0}
    write(source, "[tool.snapfork]\ntimeout = 3\n")
    assert config.overrides(str(source), "shop", {}) == {"timeout": 3.0}
    monkeypatch.chdir(source)
    (source / "pyproject.toml").unlink()
    assert config.overrides(str(source), "shop", {}) == {}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "[tool.snapfork]\ntimeot = 5\n",
            "[tool.snapfork]: There is no setting 'timeot': did you mean 'timeout'?",
        ),
        ("[tool.snapfork]\ntimeout = 'x'\n", "[tool.snapfork]: timeout must be"),
        ("[tool.snapfork.functions.shop]\nspares = -1\n", "[tool.snapfork.functions.shop]: spares must be"),
        ("[tool.snapfork.functions]\nshop = 3\n", "[tool.snapfork.functions.shop] must be a table"),
        ("tool = 3\n", "tool must be a table"),
        ("[tool]\nsnapfork = []\n", "[tool.snapfork] must be a table"),
        ("[tool.snapfork\n", "is not valid TOML"),
        ("[tool.snapfork]\ntimeout = 1\ntimeout = 2\n", "line 3"),
    ],
)
def test_mistakes_are_one_sentence_with_the_place(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SettingError) as caught:
        config.overrides(write(tmp_path, text), "shop", {})
    sentence = str(caught.value)
    assert says in sentence
    assert sentence.startswith(str(tmp_path / "pyproject.toml")) and "\n" not in sentence


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_bytes(b"\xff\xfe[tool]")
    with pytest.raises(SettingError, match="is not valid TOML"):
        config.overrides(str(tmp_path), "shop", {})
