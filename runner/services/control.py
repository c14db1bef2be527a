"""The control API: GET /status, /metrics and /healthz for everybody on this machine, orders for the owner,
who also sees where deployed code lies and why it fails."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from typing import Any

from snapfork.runner.services import guard
from snapfork.runner.services.link import GatewayError, GatewayLink, GatewayTimeout
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

Handler = Callable[[Request], Awaitable[Response]]
PLACES = ("app_dir", "python", "target")
"""Members of a function's status that say where its code is."""


def build(link: GatewayLink, token: str | None) -> ASGIApp:
    """The app for one listener: orders need `token` (None: whoever connects is the owner)."""
    api = ControlApi(link, token)
    app = Starlette(
        routes=[
            Route("/status", api.status, methods=["GET"]),
            Route("/metrics", api.metrics, methods=["GET"]),
            Route("/healthz", api.health, methods=["GET"]),
            Route("/reload", api.reload, methods=["POST"]),
            Route("/stop", api.stop, methods=["POST"]),
        ],
        exception_handlers={
            HTTPException: _http_error,
            GatewayTimeout: _gateway_timeout,
            GatewayError: _gateway_error,
        },
    )
    return Guarded(app)


def problem(status: int, code: str, message: str) -> JSONResponse:
    """An error as JSON."""
    return JSONResponse({"error": {"code": code, "message": message}}, status)


class Guarded:
    """Refuses requests whose Host or Origin shows that a web page of somebody else sent them."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = _refusal(Request(scope)) if scope["type"] == "http" else None
        await (refusal or self.app)(scope, receive, send)


def _refusal(request: Request) -> Response | None:
    host = request.headers.get("host", "")
    if not guard.host_allowed(host):
        return problem(403, "host_refused", "Host must be an address or localhost.")
    if not guard.origin_allowed(request.headers.get("origin"), host):
        return problem(403, "origin_refused", "Requests from other origins are refused.")
    return None


class ControlApi:
    """The handlers; all they know comes from the gateway."""

    def __init__(self, link: GatewayLink, token: str | None) -> None:
        self.link = link
        self.token = token

    async def status(self, request: Request) -> Response:
        """Everything for the owner; for others nothing by which deployed code could be found or read."""
        status = await self.link.ask("status")
        if not self._is_owner(request):
            status["functions"] = [_shown(one) if one.get("deployed") else one for one in status["functions"]]
        return JSONResponse(status)

    async def metrics(self, _request: Request) -> Response:
        from snapfork.runner.services import metrics  # late: most runners are never scraped

        page = metrics.render(await self.link.ask("status"))
        return Response(page, headers={"content-type": metrics.CONTENT_TYPE})

    async def health(self, _request: Request) -> Response:
        """200 when every function can answer, else 503 and which cannot."""
        status = await self.link.ask("status", within=2.0)
        served = [one for one in status["functions"] if not one.get("deployed")]  # those start when called
        failing = {f["name"]: reason for f in served if (reason := _failure(f))}
        if failing:
            return JSONResponse({"status": "failing", "functions": failing}, 503)
        return JSONResponse({"status": "ok"})

    async def reload(self, request: Request) -> Response:
        """Begin to build new templates, to swap to those that come up; `?function=NAME` for one function."""
        self._owner_only(request)
        arguments: dict[str, Any] = {}
        if "function" in request.query_params:
            arguments["function"] = request.query_params["function"]
        return JSONResponse(await self.link.ask("reload", **arguments), 202)

    async def stop(self, request: Request) -> Response:
        """A graceful stop, as by SIGTERM."""
        self._owner_only(request)
        await self.link.ask("stop")
        return JSONResponse({"stopping": True}, 202)

    def _is_owner(self, request: Request) -> bool:
        if self.token is None:
            return True
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self.token.encode())

    def _owner_only(self, request: Request) -> None:
        if not self._is_owner(request):
            raise HTTPException(
                401,
                "Orders need the runner's token (file `token` in its directory) or its Unix socket.",
                headers={"WWW-Authenticate": "Bearer"},
            )


def _shown(function: dict[str, Any]) -> dict[str, Any]:
    """A deployed function without places and the app's own sentences.

    Whoever knows where code lies could read it: all functions run as one user. Errors may quote a secret.
    """
    shown = {name: value for name, value in function.items() if name not in PLACES}
    template = function["template"]
    error = None if template["error"] is None else "it does not start; `runner status` says why"
    shown["template"] = {**template, "error": error, "findings": []}
    shown["snapshot"] = {**function["snapshot"], "refused": ""}
    return shown


def _failure(function: dict[str, Any]) -> str | None:
    """Why a function cannot answer now, or None: instances go on while a template is rebuilt."""
    template = function.get("template") or {}
    alive = any(instance["state"] in ("spare", "idle", "busy") for instance in function.get("instances", []))
    spawned = function.get("mode") == "spawn" and not template.get("error")  # it needs no living template
    if template.get("state") == "ready" or alive or spawned:
        return None
    return str(template.get("error") or f"its template is {template.get('state', 'missing')}")


def _http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    codes = {401: "token_needed", 404: "not_found", 405: "method_not_allowed"}
    response = problem(error.status_code, codes.get(error.status_code, "refused"), error.detail)
    response.headers.update(error.headers or {})
    return response


def _gateway_timeout(_request: Request, error: Exception) -> Response:
    return problem(504, "gateway_timeout", str(error))


def _gateway_error(_request: Request, error: Exception) -> Response:
    return problem(409, "gateway_refused", str(error))
