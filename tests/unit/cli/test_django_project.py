"""A manage.py without a target leads to its project's application."""

from __future__ import annotations

from pathlib import Path

import pytest
from snapfork.runner.cli import checks, django_project
from snapfork.runner.console import Console
from snapfork.runner.errors import UserError

MANAGE = 'import os\nos.environ.setdefault("DJANGO_SETTINGS_MODULE", "%s")\n'


def project(root: Path, settings: str, files: dict[str, str]) -> None:
    (root / "manage.py").write_text(MANAGE % settings)
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def test_the_settings_name_the_application(tmp_path: Path) -> None:
    project(
        tmp_path, "mysite.settings", {"mysite/settings.py": "WSGI_APPLICATION = 'mysite.wsgi.application'\n"}
    )
    assert django_project.find(str(tmp_path)) == "mysite.wsgi:application"


def test_settings_in_a_package_with_a_shared_base(tmp_path: Path) -> None:
    project(
        tmp_path,
        "config.settings.dev",
        {
            "config/settings/dev.py": "from .base import *\n",
            "config/settings/base.py": 'WSGI_APPLICATION = "config.wsgi.app"\n',
        },
    )
    assert django_project.find(str(tmp_path)) == "config.wsgi:app"


def test_without_a_word_in_the_settings_the_files_decide(tmp_path: Path) -> None:
    project(tmp_path, "mysite.settings", {"mysite/settings.py": "DEBUG = True\n", "mysite/asgi.py": ""})
    assert django_project.find(str(tmp_path)) == "mysite.asgi:application"


def test_without_a_project_there_what_is_deployed_is_served(tmp_path: Path) -> None:
    assert checks.default_target(str(tmp_path), [], Console()) == []
    (tmp_path / "manage.py").write_text("print('no django here')\n")
    with pytest.raises(UserError, match="names no settings"):
        checks.default_target(str(tmp_path), [], Console())
