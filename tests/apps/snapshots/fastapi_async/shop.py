import asyncio
import collections
import copy
import functools
import inspect
import itertools
import operator
import os
import string
import types
import weakref
from collections.abc import Callable
from typing import Annotated, Any, ParamSpec, TypeVar, get_type_hints

import psycopg_pool
import redis.asyncio as aredis
from fastapi import Depends, FastAPI
from opentelemetry.sdk.trace import TracerProvider
from pydantic import BaseModel, ConfigDict, HttpUrl, SecretStr, create_model, field_serializer
from pydantic.dataclasses import dataclass as pdc
from pydantic.functional_validators import AfterValidator
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

P = ParamSpec("P")
R = TypeVar("R")
engine = create_async_engine("sqlite+aiosqlite:///" + os.environ["SHOP_DATA"] + "/shop.sqlite3")
Session = async_sessionmaker(engine, expire_on_commit=False)
red = aredis.Redis(host="localhost")
pool = psycopg_pool.AsyncConnectionPool("host=x", open=False)
spool = psycopg_pool.ConnectionPool("host=x", open=False)
provider = TracerProvider()
tracer = provider.get_tracer("x")


def traced(f: Callable[P, R]) -> Callable[P, R]:

    @functools.wraps(f)
    async def w(*a: P.args, **k: P.kwargs):
        w.count += 1
        return await f(*a, **k)

    w.count = 0
    return w


@traced
async def work(x: int) -> int:
    return x * 2


Even = Annotated[int, AfterValidator(lambda v: v if v % 2 == 0 else 1 / 0)]


@pdc
class PD:
    x: int
    y: list[Even] = ()


Dyn = create_model("Dyn", a=(int, 3), b=(str, ...))


class Cfg(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    s: SecretStr = SecretStr("x")
    u: HttpUrl = "http://a"
    f: Callable[[int], int] = lambda v: v
    lock: Any = None

    @field_serializer("u")
    def su(self, v):
        return str(v)


CFG = Cfg(lock=asyncio.Lock())


class Registry(collections.UserDict):
    def register(self, name=None):

        def deco(f):
            self[name or f.__name__] = f
            return f

        return deco


REG = Registry()


@REG.register()
def hello():
    return "hi"


class Bus:
    def __init__(self):
        self.subs = weakref.WeakSet()
        self.ref = weakref.WeakMethod(self.fire)
        self.h = collections.defaultdict(functools.partial(collections.deque, maxlen=3))

    def fire(self):
        return len(self.subs)


BUS = Bus()


class Sub:
    pass


SUB = Sub()
BUS.subs.add(SUB)
BUS.h["a"].extend(range(5))
fin = weakref.finalize(SUB, print, "gone")


class Lazy:
    @functools.cached_property
    def v(self):
        return 5


LAZY = Lazy()


class Prop:
    x = property(operator.attrgetter("_x"), lambda s, v: setattr(s, "_x", v))


PR = Prop()
PR.x = 4
M = types.MethodType(lambda self: self.x, PR)
CODE = compile("1+1", "x", "eval")
SIG = inspect.signature(hello)
TS = string.Formatter()


class Ctx:
    def __class_getitem__(cls, k):
        return k

    def __init_subclass__(cls):
        cls.tag = 1

    __match_args__ = ("a",)


class Sub2(Ctx):
    pass


class Err(ExceptionGroup):
    pass


EG = ExceptionGroup("x", [ValueError(1)])
MAPIT = map(str, [1, 2])
ZIP = zip([1], [2], strict=True)
ENUM = enumerate("ab")
REV = reversed([1, 2])
FILT = filter(None, [0, 1])
LI = iter([1, 2, 3])
next(LI)
CH = itertools.chain([1], [2])
ISL = itertools.islice(range(9), 3)
DV = {"a": 1}.keys()
DI = {"a": 1}.items()


async def dep():
    async with Session() as s:
        yield s


app = FastAPI()


@app.get("/")
async def i(s: Annotated[AsyncSession, Depends(dep)]):
    r = (await s.execute(text("select 1"))).scalar()
    with tracer.start_as_current_span("a") as sp:
        tid = sp.is_recording()
    match Sub2():
        case Ctx():
            mt = True
    return [
        r,
        red.connection_pool.connection_kwargs["host"],
        tid,
        await work(3),
        work.count,
        PD(x="3", y=[2]).y,
        Dyn(b="q").model_dump(),
        CFG.model_dump(exclude={"lock", "f", "s"}),
        CFG.f(3),
        CFG.lock.locked(),
        REG["hello"](),
        BUS.fire(),
        BUS.ref()() if BUS.ref() else None,
        list(BUS.h["a"]),
        LAZY.v,
        PR.x,
        M(),
        eval(CODE),
        str(SIG),
        Ctx[3],
        Sub2.tag,
        mt,
        str(EG.exceptions[0]),
        list(copy.copy(LI)),
        list(DV),
        fin.alive,
        str(get_type_hints(work))[:30],
        pool.conninfo,
        spool.closed,
    ]
