from __future__ import annotations

import datetime
import enum
import uuid
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Annotated, Generic, Literal, TypeVar

from fastapi import (
    APIRouter,
    BackgroundTasks,
    Depends,
    FastAPI,
    Header,
    Query,
    Security,
    WebSocket,
)
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import HTMLResponse
from fastapi.security import APIKeyHeader, OAuth2PasswordBearer
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    RootModel,
    TypeAdapter,
    computed_field,
    model_validator,
)

T = TypeVar("T")


class Page(BaseModel, Generic[T]):
    items: list[T]
    total: int = 0


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"]
    tricks: list[str] = []


Pet = Annotated[Cat | Dog, Field(discriminator="kind")]


class Node(BaseModel):
    model_config = ConfigDict(frozen=True, populate_by_name=True, from_attributes=True)
    name: str = Field(alias="n", min_length=1)
    child: Node | None = None
    _secret: int = PrivateAttr(default=5)

    @computed_field
    @property
    def upper(self) -> str:
        return self.name.upper()


class Owner(BaseModel):
    pet: Pet
    when: datetime.datetime | None = None
    id: uuid.UUID = Field(default_factory=lambda: uuid.UUID(int=5))

    @model_validator(mode="after")
    def chk(self):
        if isinstance(self.pet, Dog) and (not self.pet.tricks):
            raise ValueError("lazy")
        return self


class Names(RootModel[list[str]]):
    pass


class SettingsLike(BaseModel):
    a: int = 1


@lru_cache
def settings():
    return SettingsLike(a=3)


settings()
TA = TypeAdapter(list[Node])


class Lvl(str, enum.Enum):  # noqa: UP042  much code has it so
    lo = "lo"
    hi = "hi"


oauth = OAuth2PasswordBearer(tokenUrl="token")
key = APIKeyHeader(name="x-key", auto_error=False)


class Repo:
    def __init__(self):
        self.d = {"a": 1}

    def __call__(self):
        yield self


repo = Repo()


async def dep(q: int = Query(1, ge=0), h: Annotated[str | None, Header()] = None):
    yield {"q": q, "h": h}


class Dep:
    def __init__(self, lim: int = 5):
        self.lim = lim


@asynccontextmanager
async def lifespan(app):
    app.state.x = 1
    yield


app = FastAPI(lifespan=lifespan, title="T")
app.add_middleware(CORSMiddleware, allow_origins=["*"])
r = APIRouter(prefix="/r", tags=["r"], dependencies=[Depends(dep)])


@r.get("/page", response_model=Page[Node])
def page(d: Annotated[dict, Depends(dep)], p: Annotated[Dep, Depends()]):
    return Page[Node](items=[Node(n="a", child=Node(n="b"))], total=p.lim)


@r.post("/owner")
async def owner(o: Owner, lvl: Lvl = Lvl.lo) -> Owner:
    return o


@r.get("/names")
def names(repo: Annotated[Repo, Depends(repo)]) -> Names:
    return Names(list(repo.d))


@r.get("/sec")
def sec(t: Annotated[str, Security(oauth)]):
    return t


@r.get("/set")
def sett(s: Annotated[SettingsLike, Depends(settings)]):
    return [s, settings() is settings(), TA.dump_python(TA.validate_python([{"n": "z"}]))]


class MyErr(Exception):
    pass


@app.exception_handler(MyErr)
async def eh(req, e):
    return HTMLResponse("my", 418)


@r.get("/err")
def err():
    raise MyErr


@app.websocket("/ws")
async def ws(w: WebSocket):
    await w.accept()
    await w.send_text("hi")
    await w.close()


sub = FastAPI()


@sub.get("/s")
def s(bt: BackgroundTasks):
    return "sub"


app.mount("/sub", sub)
app.include_router(r)
