"""Usual apps with usual libraries: pools are dropped in the template and made anew by each child."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from stages import kinds, results, take_through


def assert_own_connections(said: dict[str, Any], template: object) -> None:
    """Each child returned another connection's identity than its sibling and than the template."""
    assert not kinds(said), said["findings"]
    seen = results(said)
    assert len({*seen, template}) == len(seen) + 1, (seen, template)


def test_flask_sqlalchemy_and_redis_made_at_import(
    tmp_path: Path,
    postgres_port: int,
    redis_port: int,
) -> None:
    said = take_through(
        tmp_path,
        """
        import os
        import flask, flask_sqlalchemy, redis
        from sqlalchemy import text

        site = flask.Flask(__name__)
        site.config["SQLALCHEMY_DATABASE_URI"] = (
            f"postgresql+psycopg://postgres@127.0.0.1:{os.environ['PG']}/postgres")
        db = flask_sqlalchemy.SQLAlchemy(site)
        client = redis.Redis(port=int(os.environ["REDIS"]))
        client.ping()

        @site.get("/")
        def index():
            backend = db.session.execute(text("select pg_backend_pid()")).scalar()
            return f"{backend} {client.client_id()}"

        def use():
            return site.test_client().get("/").text
        request = use
        """,
        PG=str(postgres_port),
        REDIS=str(redis_port),
    )
    assert_own_connections(said, said["request"])
    assert not {part for one in results(said) for part in one.split()} & set(said["request"].split())
    assert any(line.startswith("SQLAlchemy: the pool of postgresql+psycopg://") for line in said["dropped"])
    assert any(line.startswith("redis:") for line in said["dropped"])


def test_django_on_postgresql_with_kept_connections(tmp_path: Path, postgres_port: int) -> None:
    said = take_through(
        tmp_path,
        """
        import os
        import django
        from django.conf import settings
        from django.db import connection
        from django.http import HttpResponse
        from django.urls import path

        def index(request):
            with connection.cursor() as cursor:
                cursor.execute("select pg_backend_pid()")
                return HttpResponse(str(cursor.fetchone()[0]))

        urlpatterns = [path("", index)]
        settings.configure(
            ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="x",
            DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "postgres",
                "USER": "postgres", "HOST": "127.0.0.1", "PORT": os.environ["PG"], "CONN_MAX_AGE": None}})
        django.setup()

        def use():
            from django.test import Client
            return Client().get("/").content.decode()
        request = use
        """,
        PG=str(postgres_port),
    )
    assert_own_connections(said, said["request"])
    assert said["dropped"] == ["Django: 1 database connection closed."]


FASTAPI = """
import asyncio, contextlib, os
import fastapi, httpx
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

kept = {}
unwound = []

@contextlib.asynccontextmanager
async def lifespan(app):
    kept["client"] = httpx.AsyncClient()
    kept["engine"] = create_async_engine(os.environ["DATABASE"])
    kept["lock"] = asyncio.Lock()
    try:
        yield
    finally:
        unwound.append("lifespan")
        print("UNWOUND", flush=True)

app = fastapi.FastAPI(lifespan=lifespan)

async def locked():
    async with kept["lock"]:
        await asyncio.sleep(0)

async def use():
    await asyncio.gather(locked(), locked(), locked())
    port = (await kept["client"].get(os.environ["URL"])).text
    async with kept["engine"].connect() as connection:
        backend = (await connection.execute(text(os.environ["QUERY"]))).scalar()
    return [port, backend, unwound]

async def request():
    await asyncio.to_thread(len, "")
    return await use()
"""


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_fastapi_with_httpx_and_an_async_engine_in_its_lifespan(
    tmp_path: Path,
    postgres_port: int,
    http_url: str,
    driver: str,
) -> None:
    said = take_through(
        tmp_path,
        FASTAPI,
        DATABASE=f"postgresql+{driver}://postgres@127.0.0.1:{postgres_port}/postgres",
        URL=http_url,
        QUERY="select pg_backend_pid()",
    )
    assert said["supported"] and not kinds(said), said["findings"]
    seen = [said["request"], *results(said)]
    assert len({port for port, _, _ in seen}) == 3
    assert len({backend for _, backend, _ in seen}) == 3
    assert not any(unwound for _, _, unwound in seen)
    assert "UNWOUND" not in said["stdout"] + said["stderr"]
    assert "never" not in said["stderr"] and "destroyed" not in said["stderr"], said["stderr"]


def test_the_threads_of_aiosqlite_end_with_their_connections(
    tmp_path: Path,
    http_url: str,
) -> None:
    database = f"sqlite+aiosqlite:///{tmp_path}/shop.db"
    said = take_through(tmp_path, FASTAPI, DATABASE=database, URL=http_url, QUERY="select 42")
    assert not kinds(said), said["findings"]
    assert [backend for _, backend, _ in results(said)] == [42, 42]
    assert any(finding["kind"] == "thread" for finding in said["warm-up"])


def test_redis_asyncio_made_at_import(tmp_path: Path, redis_port: int) -> None:
    said = take_through(
        tmp_path,
        """
        import os
        import redis.asyncio
        client = redis.asyncio.Redis(port=int(os.environ["REDIS"]))

        async def use():
            return await client.client_id()
        request = use
        """,
        REDIS=str(redis_port),
    )
    assert_own_connections(said, said["request"])


def test_http_clients_of_every_kind(tmp_path: Path, http_url: str) -> None:
    pytest.importorskip("requests")
    said = take_through(
        tmp_path,
        """
        import os
        import httpx, requests, urllib3
        session, client, manager = requests.Session(), httpx.Client(), urllib3.PoolManager()
        URL = os.environ["URL"]

        def use():
            pooled = manager.request("GET", URL).data.decode()
            return f"{session.get(URL).text} {client.get(URL).text} {pooled}"
        request = use
        assert use() == use()
        """,
        URL=http_url,
    )
    assert_own_connections(said, said["request"])
    assert not set(said["request"].split()) & {port for one in results(said) for port in one.split()}
    assert "httpx: 1 connection closed." in said["dropped"]
    assert "urllib3: connections to localhost closed." in said["dropped"]


def test_an_in_memory_sqlite_database_keeps_its_rows(tmp_path: Path) -> None:
    said = take_through(
        tmp_path,
        """
        from sqlalchemy import create_engine, text
        from sqlalchemy.pool import StaticPool
        engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
        with engine.begin() as connection:
            connection.execute(text("create table t as select 7 as x"))

        def use():
            with engine.connect() as connection:
                return connection.execute(text("select x from t")).scalar()
        """,
    )
    assert not kinds(said) and results(said) == [7, 7]


def test_psycopg2_pool(tmp_path: Path, postgres_port: int) -> None:
    pytest.importorskip("psycopg2")
    said = take_through(
        tmp_path,
        """
        import os
        import psycopg2.pool
        pool = psycopg2.pool.ThreadedConnectionPool(
            1, 4, host="127.0.0.1", port=os.environ["PG"], user="postgres", dbname="postgres")

        def use():
            connection = pool.getconn()
            try:
                cursor = connection.cursor()
                cursor.execute("select pg_backend_pid()")
                return cursor.fetchone()[0]
            finally:
                pool.putconn(connection)
        request = use
        """,
        PG=str(postgres_port),
    )
    assert_own_connections(said, said["request"])


def test_a_psycopg_pool_with_threads_is_named_with_its_cure(
    tmp_path: Path,
    postgres_port: int,
) -> None:
    pytest.importorskip("psycopg_pool")
    said = take_through(
        tmp_path,
        """
        import os
        import psycopg_pool
        pool = psycopg_pool.ConnectionPool(f"host=127.0.0.1 port={os.environ['PG']} user=postgres", open=True)
        pool.wait()
        """,
        children=0,
        PG=str(postgres_port),
    )
    threads = [finding for finding in said["findings"] if finding["kind"] == "thread"]
    assert said["spawn"] and threads
    assert {finding["origin"] for finding in threads} == {"shop.py:4"}
    assert "open=False" in threads[0]["cure"]


def test_synchronous_django_views_under_asgi_leave_no_thread(tmp_path: Path) -> None:
    said = take_through(
        tmp_path,
        """
        import threading
        from asgiref.sync import sync_to_async

        @sync_to_async
        def view():
            return threading.active_count()

        async def use():
            return await view()
        request = use
        """,
    )
    assert not kinds(said), said["findings"]
    assert results(said) == [said["request"]] * 2
    assert "asgiref: thread for synchronous code ended." in said["dropped"]


def test_opentelemetry_exports_from_each_child(tmp_path: Path) -> None:
    pytest.importorskip("opentelemetry.sdk.trace")
    said = take_through(
        tmp_path,
        """
        import os
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, PeriodicExportingMetricReader
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

        spans = InMemorySpanExporter()
        processor = BatchSpanProcessor(spans, schedule_delay_millis=50)
        provider = TracerProvider()
        provider.add_span_processor(processor)
        quiet = open(os.devnull, "w")
        reader = PeriodicExportingMetricReader(ConsoleMetricExporter(out=quiet), export_interval_millis=50)
        meters = MeterProvider(metric_readers=[reader])
        tracer = provider.get_tracer("shop")

        def use():
            spans.clear()
            with tracer.start_as_current_span("request"):
                pass
            while not spans.get_finished_spans():
                pass
            return [processor._batch_processor._worker_thread.is_alive(), reader._daemon_thread.is_alive()]
        request = use
        """,
    )
    assert said["dropped"] == ["OpenTelemetry: exporter thread ended."]
    assert not kinds(said), said["findings"]
    assert results(said) == [[True, True]] * 2


def test_django_with_a_connection_pool(tmp_path: Path, postgres_port: int) -> None:
    pytest.importorskip("psycopg_pool")
    said = take_through(
        tmp_path,
        """
        import os
        import django
        from django.conf import settings
        from django.db import connection

        settings.configure(
            DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "postgres",
                "USER": "postgres", "HOST": "127.0.0.1", "PORT": os.environ["PG"],
                "OPTIONS": {"pool": True}}})
        django.setup()

        def use():
            with connection.cursor() as cursor:
                cursor.execute("select pg_backend_pid()")
                return cursor.fetchone()[0]
        request = use
        """,
        PG=str(postgres_port),
    )
    assert_own_connections(said, said["request"])
