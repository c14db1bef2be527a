"""Reloading serves what is in the files now."""

from __future__ import annotations

import os
from pathlib import Path

from server import Serve

SOURCE = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"version %d"]
"""


def test_an_edit_of_the_same_length_in_the_same_second_is_seen(tmp_path: Path) -> None:
    """Python's bytecode cache tells sources apart by size and whole seconds only."""
    shop = tmp_path / "shop.py"
    shop.write_text(SOURCE % 1)
    second = int(shop.stat().st_mtime)
    os.utime(shop, (second, second))
    with Serve("shop:app", "--reload", app_dir=tmp_path) as server:
        assert server.get("/").text == "version 1"
        draft = tmp_path / "draft"
        draft.write_text(SOURCE % 2)
        os.utime(draft, (second, second + 0.5))
        draft.rename(shop)
        server.wait_until(lambda one: one["generation"] == 2)
        assert server.get("/").text == "version 2"
