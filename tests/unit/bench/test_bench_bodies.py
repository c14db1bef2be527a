"""The bodies and pages that the benchmarks serve give the right answers."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

APPS = Path(__file__).resolve().parents[3] / "benchmarks" / "apps"
ANSWERS = {
    "thumbnail": "128 x 96\n",
    "graph_mst": "4999\n",
    "linpack": "True\n",
    "float_operations": f"{20_000 + 19_999 * 10_000:.3f}\n",
}


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(APPS / "bodies"))
    monkeypatch.syspath_prepend(str(APPS))


def answer(name: str) -> str:
    """What a body's app answers to one request, with its head checked; skipped without its packages."""
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        pytest.skip(f"{error.name} is not installed")
    heads: list[tuple[str, list[tuple[str, str]]]] = []
    data = b"".join(module.app({}, lambda status, headers: heads.append((status, headers))))
    assert heads[0][0] == "200 OK"
    assert dict(heads[0][1])["Content-Length"] == str(len(data))
    return data.decode()


def bodies() -> list[str]:
    helpers = {"body_web", "graphs"}
    return sorted(file.stem for file in (APPS / "bodies").glob("*.py") if file.stem not in helpers)


@pytest.mark.parametrize("name", bodies())
def test_a_body_always_gives_the_same_answer(name: str) -> None:
    assert answer(name) == answer(name) != ""


@pytest.mark.parametrize("name", ANSWERS)
def test_a_body_gives_the_right_answer(name: str) -> None:
    assert answer(name) == ANSWERS[name]


def test_page_ranks_are_shares_of_one() -> None:
    total, largest = map(float, answer("graph_pagerank").split())
    assert total == 1.0 and 0 < largest < 1


def test_a_search_reaches_every_vertex() -> None:
    assert answer("graph_bfs").split()[0] == "5000"


def test_squiggle_draws_each_base() -> None:
    module = importlib.import_module("dna_visualisation")
    xs, ys = module.squiggle("ACTG")
    assert xs == [n / 2 for n in range(9)]
    assert ys == [0, 1, 0, -1, 0, -1, -2, -1, 0]
    assert len(json.loads(answer("dna_visualisation"))[0]) == 40_001


def test_tables_have_every_cell() -> None:
    assert answer("chameleon_table").count("<td>") == 2000
    assert answer("dynamic_html").count("<li>") == 1000


def test_aes_comes_back() -> None:
    assert answer("aes_encryption").startswith("True ")


def test_matmul_mirrors() -> None:
    assert answer("matmul").startswith("True ")


def test_an_archive_is_read_back() -> None:
    import io
    import zipfile

    zipping = importlib.import_module("zipping")
    with zipfile.ZipFile(io.BytesIO(zipping.archive())) as made:
        assert {name: made.read(name) for name in made.namelist()} == zipping.FILES


def test_flask_page_extends_and_escapes() -> None:
    page = importlib.import_module("flask_page").app.test_client().get("/").get_data(as_text=True)
    assert page.count("<tr") == 50 and "Item &lt;3&gt;" in page and "<nav>" in page


def test_fastapi_page_refuses_what_is_wrong() -> None:
    pytest.importorskip("httpx")
    from fastapi.testclient import TestClient

    client = TestClient(importlib.import_module("fastapi_page").app)
    order = {"customer": "ada", "lines": [{"name": "a", "cents": 250, "quantity": 2}]}
    assert client.post("/", json=order).json()["total"] == 500
    assert client.post("/", json={**order, "customer": "A1"}).status_code == 422
    assert len(client.get("/").json()["order"]["lines"]) == 20
    assert client.get("/?count=0").status_code == 422


def test_django_page_is_read_from_its_database() -> None:
    import subprocess

    code = "import django_page; from django.test import Client; print(Client().get('/').content.decode())"
    done = subprocess.run([sys.executable, "-c", code], cwd=APPS, capture_output=True, text=True, check=True)
    assert "160 entries" in done.stdout and done.stdout.count("<li>") == 20
