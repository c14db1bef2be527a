import asyncio
import contextlib
import os

from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser, requires
from starlette.convertors import Convertor, register_url_convertor
from starlette.endpoints import HTTPEndpoint, WebSocketEndpoint
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.templating import Jinja2Templates


class DateC(Convertor):
    regex = "[0-9]{4}"

    def convert(self, v):
        return int(v)

    def to_string(self, v):
        return str(v)


register_url_convertor("yr", DateC())
HERE = os.path.dirname(os.path.abspath(__file__))
T = Jinja2Templates(directory=HERE + "/t")
T.env.globals["g"] = lambda: "global"


class B(AuthenticationBackend):
    async def authenticate(self, conn):
        if "x-user" in conn.headers:
            return (AuthCredentials(["authenticated"]), SimpleUser("u"))


class Mid(BaseHTTPMiddleware):
    def __init__(self, app, n):
        super().__init__(app)
        self.n = n

    async def dispatch(self, req, nxt):
        r = await nxt(req)
        r.headers["x-n"] = str(self.n)
        return r


class Ep(HTTPEndpoint):
    async def get(self, req):
        return JSONResponse(
            {
                "p": req.path_params,
                "s": req.state.db if hasattr(req.state, "db") else None,
                "a": req.app.state.q,
            }
        )


@requires("authenticated")
async def priv(request):
    return PlainTextResponse("p")


async def page(req):
    return T.TemplateResponse(req, "a.html", {"x": 1})


async def stream(req):

    async def gen():
        for i in range(3):
            yield str(i)

    return StreamingResponse(gen())


class W(WebSocketEndpoint):
    encoding = "text"

    async def on_receive(self, ws, d):
        await ws.send_text(d)


@contextlib.asynccontextmanager
async def life(app):
    app.state.q = {"started": 1}
    yield {"db": [1, 2]}


LOCK = asyncio.Lock()
SEM = asyncio.Semaphore(2)
Q = asyncio.Queue()
app = Starlette(
    lifespan=life,
    routes=[
        Route("/y/{v:yr}", Ep),
        Route("/priv", priv),
        Route("/page", page),
        Route("/stream", stream),
        WebSocketRoute("/ws", W),
        Mount("/static", StaticFiles(directory=HERE + "/t")),
    ],
    middleware=[
        Middleware(GZipMiddleware),
        Middleware(Mid, n=4),
        Middleware(AuthenticationMiddleware, backend=B()),
    ],
)
