"""Requests per second of hello apps and realistic pages, by wrk with 16 connections, the servers by turns.

Equal process counts: two instances against two workers. Access logs are off but in the groups that say so.
"""

from __future__ import annotations

import shutil
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleet import OURS, Fleet, all_of, described
from snapfork.runner.bench import stats
from snapfork.runner.bench.client import request
from snapfork.runner.bench.context import Context
from snapfork.runner.bench.results import Check, Part, at_least, decide
from snapfork.runner.bench.servers import Server, free_port
from snapfork.runner.bench.throughput import rate, tool_note

NAME = "throughput"
SUMMARY = "requests per second, kept and new connections: hello apps, realistic pages, logs on, behind nginx"
CLOSES_S = 1.0
"""How long the end of a connection is waited for that a client asked to close."""
KEPT, NEW = "kept connections", "a new connection per request"
DEFAULTS, LOGGED, NGINX = "kept, everybody's defaults", "kept, access logs on", "behind nginx, kept upstream"
NGINX_CONF = """
daemon off; worker_processes 1; pid {work}/pid; error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {work}; proxy_temp_path {work}; fastcgi_temp_path {work};
    uwsgi_temp_path {work}; scgi_temp_path {work};
    upstream app {{ server 127.0.0.1:{upstream}; keepalive 64; }}
    server {{
        listen 127.0.0.1:{port};
        keepalive_requests 1000000;
        location / {{ proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; }}
    }}
}}
"""


@dataclass(frozen=True)
class App:
    """page: a realistic page. quick: measured with --quick, too. variants: also defaults, logs and nginx."""

    name: str
    target: str
    kind: str
    page: bool = False
    quick: bool = False
    variants: bool = False


APPS = (
    App("wsgi", "raw_wsgi:app", "wsgi"),
    App("asgi", "raw_asgi:app", "asgi"),
    App("flask", "flask_hello:app", "wsgi", quick=True, variants=True),
    App("django", "django_hello:application", "wsgi"),
    App("fastapi", "fastapi_hello:app", "asgi", quick=True, variants=True),
    App("django page", "django_page:application", "wsgi", page=True, quick=True),
    App("fastapi page", "fastapi_page:app", "asgi", page=True),
    App("flask page", "flask_page:app", "wsgi", page=True),
)
PEERS = {"wsgi": ("gunicorn", "gunicorn gthread", "granian", "uWSGI"), "asgi": ("uvicorn", "granian")}
RIVALS = {"wsgi": ("gunicorn", "gunicorn gthread", "granian"), "asgi": ("uvicorn",)}


def measure(context: Context) -> Part:
    """One run: app after app, and the variants where nothing is set, logs are written, nginx is in front."""
    part = Part(NAME)
    if note := tool_note(context.count(2, 1)):
        part.notes.append(note)
    if context.quick:
        part.notes.append("--quick leaves apps and variants out.")
    for app in APPS:
        if not context.wanted(app.name) or (context.quick and not app.quick):
            continue
        fleet = Fleet.of(context, app.target, app.kind)
        two = {"min_instances": 2, "max_instances": 2}
        _compare(part, context, app, fleet, {KEPT: True, NEW: False}, two)
        if app.variants and not context.quick:
            _compare(part, context, app, fleet, {DEFAULTS: True}, {})
            _compare(part, context, app, fleet, {LOGGED: True}, two, access_log=True)
            _compare(part, context, app, fleet, {NGINX: True}, two, nginx=True)
    if not shutil.which("nginx"):
        part.notes.append("nginx is not installed: nothing was measured behind it.")
    return part


def _compare(
    part: Part, context: Context, app: App, fleet: Fleet, modes: dict[str, bool], settings: dict[str, Any],
    *, access_log: bool = False, nginx: bool = False,
) -> None:  # fmt: skip
    if nginx and not shutil.which("nginx"):
        return
    servers: dict[str, Server] = {OURS: fleet.own(access_log, **settings)}
    words = {OURS: described(settings)}
    for peer in fleet.peers(*PEERS[app.kind]):
        servers[peer.name] = fleet.peer(peer, 2, access_log)
        words[peer.name] = f"{peer.words}; two workers"
    with all_of(servers) as running:
        proxies = {name: _proxy(context, name, server) for name, server in running.items()} if nginx else {}
        with all_of(proxies) as fronts:
            measured = fronts or running
            for server in measured.values():
                rate(server.address, 0.3)  # warm-up, not counted
            for number in range(context.count(2, 1)):
                for mode, keep in modes.items():
                    context.say(f"{app.name}, {mode}, round {number + 1}")
                    for name, server in measured.items():
                        if not keep and not closes(server):
                            _note(part, f"{app.name}: {name} does not close when asked: no row.")
                            continue
                        done = rate(server.address, context.count(2, 1), keep=keep)
                        row = part.row(name, "1/s", group=f"{app.name}, {mode}", config=words[name])
                        row.samples.append(done.requests)
                        row.extra.setdefault("failed", []).append(done.failed)
                        if done.failed:
                            row.notes.append(f"{app.name}, {mode}: {done.failed} requests failed")


def closes(server: Server) -> bool:
    """Whether `Connection: close` is heeded: wrk opens a new one only when the server ends the last."""
    with socket.create_connection(server.address, timeout=CLOSES_S) as sock:
        sock.sendall(request())
        try:
            while sock.recv(65536):
                pass
        except TimeoutError:
            return False
    return True


def _note(part: Part, text: str) -> None:
    if text not in part.notes:
        part.notes.append(text)


def _proxy(context: Context, name: str, upstream: Server) -> Server:
    """An nginx of its own in front of one server."""
    work = context.work / f"nginx-{name.replace(' ', '-')}"
    work.mkdir(exist_ok=True)
    port = free_port()
    conf = Path(work, "nginx.conf")
    conf.write_text(NGINX_CONF.format(work=work, upstream=upstream.address[1], port=port))
    return Server(f"nginx before {name}", ["nginx", "-e", "stderr", "-p", str(work), "-c", str(conf)], port)


def checks(runs: list[Part]) -> list[Check]:
    """Point 5 of what must be shown."""
    found = []
    limits = {KEPT: 1.0, NEW: 0.9, DEFAULTS: 1.0, NGINX: 1.0}
    for app in APPS:
        for mode, limit in limits.items():
            group = f"{app.name}, {mode}"
            if app.name in ("wsgi", "asgi") or not any(part.find(OURS, group) for part in runs):
                continue
            least = 0.95 if app.page else limit
            value = decide(runs, lambda part, group=group, app=app: _share(part, group, app.kind))
            rivals = "uvicorn" if app.kind == "asgi" else "the better of gunicorn and granian"
            found.append(at_least(f"5. {group}: at least {least:g} x {rivals}", value, least))
    return found


def _share(part: Part, group: str, kind: str) -> float | None:
    best = max((part.median(name, group) or 0 for name in RIVALS[kind]), default=0)
    return stats.ratio(part.median(OURS, group), best)
