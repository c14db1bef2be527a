"""What users of gunicorn and uvicorn type first, and what it is called here."""

from __future__ import annotations

from collections.abc import Sequence

from snapfork.runner.errors import UserError

TLS = (
    "TLS ends in a proxy in front of the runner: nginx, Caddy or a load balancer holds the certificate.",
    "Let it forward to http://127.0.0.1:8000 and send X-Forwarded-Proto; see the nginx block in the README.",
)
_WORKERS = "Instances come and go with the requests; --max-instances is their limit, --min-instances stay."
_BIND = "Type --host ADDRESS and --port PORT, or --uds PATH."
_KIND = "Leave it away: WSGI and ASGI apps are told apart by themselves."
_LOG = "The app's own logging decides what it says; --no-access-log and --json-log are the runner's."
_HINTS = {
    "-w": _WORKERS,
    "--workers": _WORKERS,
    "-b": _BIND,
    "--bind": _BIND,
    "--fd": "Sockets are inherited the way systemd does it: LISTEN_FDS.",
    "-k": _KIND,
    "--worker-class": _KIND,
    "--interface": _KIND,
    "--loop": "Leave it away: ASGI apps run on uvloop where it is installed.",
    "--http": "Leave it away: there is one parser.",
    "--threads": "Type --concurrency NUMBER: a WSGI app gets so many threads in each instance.",
    "--factory": "Leave it away: factories are recognised; 'shop:create_app()' says it.",
    "--preload": "Leave it away: an app is always started once and forked.",
    "--chdir": "Type --app-dir DIRECTORY.",
    "--log-level": _LOG,
    "--log-config": _LOG,
    "--access-logfile": _LOG,
    "--error-logfile": _LOG,
    "--root-path": "Type --mount /PREFIX=TARGET: the prefix becomes root_path or SCRIPT_NAME.",
    "--forwarded-allow-ips": "Type --trusted-proxies LIST.",
    "--graceful-timeout": "Type --drain-timeout SECONDS.",
    "--timeout-graceful-shutdown": "Type --drain-timeout SECONDS.",
    "--limit-concurrency": "Type --concurrency, --max-instances and --queue-size.",
    "--limit-max-requests": "Type --max-requests NUMBER.",
    "--backlog": "Type --queue-size NUMBER: waiting requests are the runner's, not the kernel's.",
}
_CERTIFICATES = {"--certfile", "--keyfile", "--ssl-certfile", "--ssl-keyfile", "--ssl-ca-certs", "--ca-certs"}


def refuse_habits(words: Sequence[str]) -> None:
    """Raises UserError for an option of another server, naming ours."""
    for word in words:
        option = word.partition("=")[0]
        if option in _CERTIFICATES:
            raise UserError(*TLS)
        if option in _HINTS:
            raise UserError(f"runner serve has no {option}.", _HINTS[option])
