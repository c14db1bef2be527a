"""What is deployed from a directory or file, what of it asks for packages, and where those come from."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import pytest
from snapfork.runner.errors import UserError
from snapfork.runner.registry import archives, indexes, installer, requirements
from snapfork.runner.registry.bundles import bundle


def project(root: Path) -> Path:
    for name in (
        "app.py",
        "pkg/__init__.py",
        "pkg/data.bin",
        ".git/config",
        ".venv/x",
        "env/pyvenv.cfg",
        "env/lib/a.py",
    ):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (root / "pkg" / "__pycache__").mkdir()
    (root / "pkg" / "__pycache__" / "x.pyc").write_text("")
    (root / "old.pyc").write_text("")
    (root / "run").write_text("#!/bin/sh\n")
    (root / "run").chmod(0o755)
    (root / "current").symlink_to("pkg")
    return root


def test_a_directory_is_the_same_zip_whenever_its_content_is(tmp_path: Path) -> None:
    for name in ("one", "two"):
        root = project(tmp_path / name)
        os.utime(root / "app.py", (1, len(name) * 1000))
        assert bundle(root, tmp_path / f"{name}.zip") == 5
    data = (tmp_path / "one.zip").read_bytes()
    assert data == (tmp_path / "two.zip").read_bytes()
    contents = archives.inspect(io.BytesIO(data), 1 << 20)
    assert [(one.name, one.kind) for one in contents.entries] == [
        ("app.py", "file"),
        ("current", "link"),
        ("pkg/__init__.py", "file"),
        ("pkg/data.bin", "file"),
        ("run", "file"),
    ]
    out = tmp_path / "out"
    out.mkdir()
    archives.unpack(io.BytesIO(data), contents, out, 1 << 20)
    assert os.access(out / "run", os.X_OK) and (out / "current" / "data.bin").exists()


def test_a_file_and_an_output_inside(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("x")
    assert bundle(tmp_path / "app.py", tmp_path / "out.zip") == 1
    assert bundle(tmp_path, tmp_path / "out.zip") == 1
    assert zipfile.ZipFile(tmp_path / "out.zip").namelist() == ["app.py"]


def test_what_cannot_be_deployed(tmp_path: Path) -> None:
    out = tmp_path / "out.zip"
    with pytest.raises(UserError, match="There is no"):
        bundle(tmp_path / "none", out)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds nothing"):
        bundle(tmp_path / "empty", out)
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "a").symlink_to("../empty")
    with pytest.raises(UserError, match="leads out"):
        bundle(tmp_path / "links", out)
    (tmp_path / "pipes").mkdir()
    os.mkfifo(tmp_path / "pipes" / "a")
    with pytest.raises(UserError, match="neither a file"):
        bundle(tmp_path / "pipes", out)


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("requirements.txt", "flask>=3\n", "requirements.txt"),
        ("requirements.txt", "# nothing\n\n--index-url https://x\n", ""),
        ("requirements.txt", "-r more.txt\n", "requirements.txt"),
        ("pyproject.toml", "[tool.ruff]\n", ""),
        ("pyproject.toml", '[project]\nname = "a"\ndependencies = []\n', ""),
        ("pyproject.toml", '[project]\nname = "a"\ndependencies = ["flask"]\n', "pyproject.toml"),
        ("pyproject.toml", '[project]\nname = "a"\ndynamic = ["dependencies"]\n', "pyproject.toml"),
        ("pyproject.toml", "no toml", "pyproject.toml"),
        ("other.txt", "flask", ""),
    ],
)
def test_which_file_asks_for_packages(name: str, text: str, found: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    assert requirements.find(tmp_path) == found


def test_requirements_win_over_a_project(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("flask")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "a"\ndependencies = ["django"]\n')
    assert requirements.find(tmp_path) == "requirements.txt"


def test_the_indexes_that_pip_has_are_uvs() -> None:
    options, variables = indexes.of_pip(
        [
            "global.index-url='https://user:secret@one/simple'",
            "install.index-url='https://two/simple'",
            ":env:.find-links='/wheels /more'",
            "global.find-links='/not'",
            "global.extra-index-url='https://a/simple\\nhttps://b/simple'",
            "global.trusted-host='a'",
            "global.cert='/ca.pem'",
            "global.timeout='60'",
            "freeze.index-url='https://not'",
            "nonsense",
            "global.no-index='true'",
            "global.constraint=unquoted",
        ]
    )
    assert options == [
        *("--index-url", "https://two/simple"),
        *("--extra-index-url", "https://a/simple", "--extra-index-url", "https://b/simple"),
        *("--find-links", "/wheels", "--find-links", "/more"),
        *("--allow-insecure-host", "a", "--no-index"),
    ]
    assert variables == {"SSL_CERT_FILE": "/ca.pem"}
    assert indexes.of_pip([]) == ([], {})


def test_secrets_in_addresses_are_not_shown() -> None:
    text = "error: failed to fetch `https://user:p4ss@host/simple/x/` and git+ssh://tok@git/x; see https://host/a@b"
    assert indexes.without_secrets(text) == (
        "error: failed to fetch `https://***@host/simple/x/` and git+ssh://***@git/x; see https://host/a@b"
    )


@pytest.mark.parametrize(
    ("lock", "local"),
    [
        ("flask==3.0.0\n", False),
        ("./vendor/thing\n", True),
        ("-e .\n", True),
        ("thing @ file:///x/y.whl\n", True),
        ("thing @ https://host/y.whl\n", False),
    ],
)
def test_a_lock_that_names_files_is_known(lock: str, local: bool) -> None:
    assert installer.is_local(lock) is local
