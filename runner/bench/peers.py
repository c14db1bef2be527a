"""The servers that the runner is compared with, each in its best reasonable configuration.

Access logs are off with all. The command lines name the app as snapfork_bench_app:application (see
target.py), so that factories work with every server; `words` says the same for readers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from snapfork.runner.bench.machine import ask_versions

APP = "snapfork_bench_app:application"
Command = Callable[[str, int, int, str], list[str]]


@dataclass(frozen=True)
class Peer:
    """kinds: what it serves. keeps: kept connections. forks: workers are forks of a process with the app.

    starts: this configuration has a row of its own for fresh starts (others only differ under load).
    scales: it takes a number of workers.
    """

    name: str
    package: str
    kinds: tuple[str, ...]
    words: str
    make: Command
    keeps: bool = True
    forks: bool = False
    starts: bool = True
    scales: bool = True

    def command(self, python: str, port: int, workers: int = 1, wrappers: str = ".") -> list[str]:
        """What to type; `wrappers` is the directory of the modules of target.py, also to be in PYTHONPATH."""
        return self.make(python, port, workers, wrappers)


def _gunicorn(*words: str) -> Command:
    def make(python: str, port: int, workers: int, _wrappers: str) -> list[str]:
        address = f"127.0.0.1:{port}"
        return [python, "-m", "gunicorn", "-w", str(workers), "-b", address, *words, APP]

    return make


def _uvicorn(interface: str) -> Command:
    def make(python: str, port: int, workers: int, _wrappers: str) -> list[str]:
        loop = ["--loop", "uvloop", "--http", "httptools", "--interface", interface]
        quiet = ["--no-access-log", "--log-level", "warning"]
        many = ["--workers", str(workers)] if workers > 1 else []
        return [python, "-m", "uvicorn", "--port", str(port), *loop, *quiet, *many, APP]

    return make


def _granian(interface: str, *words: str) -> Command:
    def make(python: str, port: int, workers: int, _wrappers: str) -> list[str]:
        where = ["--host", "127.0.0.1", "--port", str(port)]
        quiet = ["--no-access-log", "--log-level", "warning"]
        given = [f"--interface={interface}", "--workers", str(workers), *words]
        return [python, "-m", "granian", *where, *quiet, *given, APP]

    return make


def _backlog() -> int:
    """uWSGI's default of 100 is short for a burst; it refuses more than the kernel's limit."""
    return min(1024, int(Path("/proc/sys/net/core/somaxconn").read_text()))


def _uwsgi(*words: str) -> Command:
    def make(python: str, port: int, workers: int, _wrappers: str) -> list[str]:
        start = [python, "-c", "import sys, pyuwsgi; pyuwsgi.run(sys.argv[1:])"]
        listen = ["--http11-socket", f"127.0.0.1:{port}", "--listen", str(_backlog())]
        run = ["--master", "--need-app", "--die-on-term", "--disable-logging", "--processes", str(workers)]
        return [*start, *listen, *run, *words, "--module", APP]

    return make


def _functions(python: str, port: int, _workers: int, wrappers: str) -> list[str]:
    # Its production server is gunicorn with a number of workers of its own: one.
    where = ["--host", "127.0.0.1", "--port", str(port)]
    source = ["--source", f"{wrappers}/snapfork_bench_function.py", "--target", "function"]
    return [python, "-m", "functions_framework", *where, *source]


GUNICORN_THREADS = ("-k", "gthread", "--threads", "4")
UWSGI = "http11-socket (a kept connection holds its worker: others wait), master, "
PEERS = (
    Peer("gunicorn", "gunicorn", ("wsgi",), "sync workers (the default), no preload",
         _gunicorn(), keeps=False),
    Peer("gunicorn --preload", "gunicorn", ("wsgi",), "sync workers forked from a master with the app",
         _gunicorn("--preload"), keeps=False, forks=True),
    Peer("gunicorn gthread", "gunicorn", ("wsgi",), "gthread workers, 4 threads each: keeps connections",
         _gunicorn(*GUNICORN_THREADS)),
    Peer("gunicorn gthread --preload", "gunicorn", ("wsgi",), "the same, forked from a master with the app",
         _gunicorn(*GUNICORN_THREADS, "--preload"), forks=True, starts=False),
    Peer("uvicorn", "uvicorn", ("asgi",), "uvloop and httptools, access log off", _uvicorn("asgi3")),
    Peer("granian", "granian", ("wsgi",), "WSGI, one blocking thread per worker",
         _granian("wsgi", "--blocking-threads", "1")),
    Peer("granian", "granian", ("asgi",), "ASGI, uvloop", _granian("asgi", "--loop", "uvloop")),
    Peer("uWSGI", "pyuwsgi", ("wsgi",), UWSGI + "app loaded before the workers fork",
         _uwsgi(), forks=True),
    Peer("uWSGI --lazy-apps", "pyuwsgi", ("wsgi",), UWSGI + "app loaded in each worker",
         _uwsgi("--lazy-apps"), starts=False),
    Peer("functions-framework", "functions-framework", ("wsgi",),
         "its production server (gunicorn gthread, one worker) around the app", _functions, scales=False),
)  # fmt: skip


def for_kind(kind: str) -> list[Peer]:
    """The peers that serve "wsgi" or "asgi" apps."""
    return [peer for peer in PEERS if kind in peer.kinds]


def installed(kind: str, python: str) -> list[Peer]:
    """Those of them that are installed for an interpreter."""
    _, versions = ask_versions(python, tuple(sorted({peer.package for peer in PEERS})))
    return [peer for peer in for_kind(kind) if peer.package in versions]
