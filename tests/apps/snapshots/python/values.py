import abc
import array
import collections
import contextlib
import contextvars
import copy
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import inspect
import ipaddress
import itertools
import logging
import operator
import pathlib
import re
import string
import threading
import types
import typing
import weakref
import zoneinfo
from typing import ClassVar, Generic, NamedTuple, NewType, Protocol, TypedDict, TypeVar

from flask import Flask, jsonify

app = Flask(__name__)
logging.basicConfig(level=logging.INFO, format="%(message)s")
log = logging.getLogger(__name__)
T = TypeVar("T")
UserId = NewType("UserId", int)


class P(NamedTuple):
    x: int
    y: int = 3

    def total(self):
        return self.x + self.y


class TD(TypedDict, total=False):
    a: int


class Proto(Protocol):
    def go(self) -> int: ...


class Box(Generic[T]):
    def __init__(self, v: T):
        self.v = v


class IntBox(Box[int]):
    pass


@dataclasses.dataclass(slots=True, frozen=True, order=True)
class D:
    a: int
    b: list = dataclasses.field(default_factory=list, compare=False)
    c: ClassVar[int] = 5

    def sup(self):
        return super().__repr__()


@dataclasses.dataclass
class D2(contextlib.AbstractContextManager):
    n: int = 1

    def __exit__(self, *a):
        return None


class Color(enum.Flag):
    R = enum.auto()
    G = enum.auto()
    B = R | G


class S(enum.StrEnum):
    A = "a"

    @property
    def up(self):
        return self.value.upper()


class Shape(abc.ABC):
    registry = {}

    def __init_subclass__(cls, **kw):
        super().__init_subclass__()
        Shape.registry[cls.__name__] = cls

    @property
    @abc.abstractmethod
    def area(self): ...


class Sq(Shape):
    def __init__(self, s):
        self.s = s

    @property
    def area(self):
        return self.s**2


@Shape.register
class Virtual:
    pass


class Meta(type):
    classes = []

    def __new__(m, n, b, ns, **kw):
        c = super().__new__(m, n, b, ns)
        m.classes.append(c)
        return c

    def __call__(cls, *a):
        inst = super().__call__(*a)
        inst.made_by = cls.__name__
        return inst


class M1(metaclass=Meta):
    pass


class M2(M1):
    pass


class Desc:
    def __set_name__(self, owner, name):
        self.name = "_" + name

    def __get__(self, o, t=None):
        return self if o is None else getattr(o, self.name, None)

    def __set__(self, o, v):
        setattr(o, self.name, v * 2)


class HasDesc:
    val = Desc()
    __slots__ = ("_val", "__weakref__")


def memo(f):
    f_cache = {}

    @functools.wraps(f)
    def w(*a):
        if a not in f_cache:
            f_cache[a] = f(*a)
        return f_cache[a]

    w.cache = f_cache
    w.calls = 0
    return w


@memo
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


fib(20)


@functools.singledispatch
def show(x):
    return "obj"


@show.register
def _(x: int):
    return "int"


@show.register
def _(x: P):
    return "P"


class SM:
    @functools.singledispatchmethod
    def go(self, a):
        return "any"

    @go.register
    def _(self, a: str):
        return "str"


class Cnt:
    @functools.cached_property
    def c(self):
        return 42

    @functools.cache  # noqa: B019  much code has it so
    def m(self, x):
        return x + 1

    @staticmethod
    def st():
        return 1

    @classmethod
    def cm(cls):
        return cls.__name__

    def __secret(self):
        return "mangled"

    def pub(self):
        return self.__secret()


cnt = Cnt()
FIRST = cnt.c
CV = contextvars.ContextVar("req", default=None)
WR = weakref.WeakValueDictionary()
sq = Sq(3)
WR["a"] = sq
ops = {
    "+": operator.add,
    "k": operator.itemgetter(1),
    "m": operator.methodcaller("upper"),
    "a": operator.attrgetter("real"),
}
part = functools.partial(fib, 10)
pm = functools.partialmethod
rx = {n: re.compile(n, re.I) for n in ("a+", "\\d+(?P<x>.)")}
lam = [lambda i=i: i * 2 for i in range(3)]
DEF = collections.defaultdict(lambda: collections.Counter("aab"))
DEF["x"]["z"] += 1
CM = collections.ChainMap({"a": 1}, {"b": 2})
NS = types.SimpleNamespace(a=1, f=fib)
DT = datetime.datetime(2020, 1, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"))
DEC = decimal.Decimal("1.10")
FR = fractions.Fraction(1, 3)
IP = ipaddress.ip_network("10.0.0.0/8")
ARR = array.array("d", [1, 2, 3])
IT = itertools.count(5)
next(IT)
CYC = itertools.cycle("ab")
next(CYC)
TPL = string.Template("$a b")
PATH = pathlib.Path(__file__).parent.name


@contextlib.contextmanager
def cmgr():
    yield 5


class Err(Exception):
    def __init__(self, code, msg):
        self.code = code
        super().__init__(msg)


ERR = Err(3, "m")


class Single:
    _i = None

    def __new__(cls):
        if cls._i is None:
            cls._i = super().__new__(cls)
        return cls._i


SINGLE = Single()
SENT = object()


def has(x=SENT):
    return x is SENT


def gen():
    yield from range(3)


class Outer:
    class Inner:
        class Deep(enum.IntEnum):
            X = 1

    v = Inner.Deep.X


def local_class():

    class L:
        def m(self):
            return __class__.__name__

    return L


L = local_class()
linst = L()


class Dyn:
    pass


Dyn2 = type("Dyn2", (Dyn,), {"q": lambda self: 7})
bound = sq.__class__.area.fget
bm = cnt.pub
BUILTIN_BM = [].append
LST = []
app_ = LST.append


class IntSub(int):
    pass


class DictSub(dict):
    def __missing__(self, k):
        return "miss " + k

    def __init__(self, *a, tag=None, **k):
        super().__init__(*a, **k)
        self.tag = tag


DS = DictSub({"a": 1}, tag="t")


class StrSub(str):
    def __new__(cls, v, extra):
        o = super().__new__(cls, v)
        o.extra = extra
        return o


SSUB = StrSub("v", 5)


class ListSub(list):
    pass


LS = ListSub([1])
LS.more = LS
FS = frozenset([P(1), Color.R])
RNG = range(0, 10, 3)
SL = slice(1, 2)
ELL = ...
tok_lock = threading.Condition()
Alias = list[int] | None
Ann = typing.Annotated[int, "x"]


async def co():
    return 1


@app.get("/")
def index():
    import asyncio

    h = HasDesc()
    h.val = 2
    LST.clear()
    app_(1)
    out = [
        P(1).total(), P(1)._replace(y=5).y, Box(1).v, IntBox(2).v,
        IntBox.__orig_bases__[0].__args__[0].__name__, repr(D(1)), D(1) < D(2), hash(D(1)) == hash(D(1)),
        D2().n, str(Color.B), Color.R in Color.B, S.A.up, S("a") is S.A, Sq(2).area, sorted(Shape.registry),
        isinstance(Virtual(), Shape), M2().made_by, len(Meta.classes), Meta.classes[1] is M2, h.val,
        len(fib.cache), fib(20), fib is fib.__wrapped__.__globals__["fib"], show(1), show(P(1)), show("x"),
        SM().go("s"), SM().go(1), cnt.__dict__, cnt.m(3), cnt.st(), cnt.cm(), cnt.pub(), bm(), CV.get(),
        list(WR), WR["a"] is sq, ops["+"](1, 2), ops["k"]([1, 2]), ops["m"]("a"), part(),
        bool(rx["a+"].match("AAA")), [f() for f in lam], DEF["new"]["a"], DEF["x"]["z"], CM["b"], NS.f is
        fib, DT.isoformat(), str(DEC), str(FR), str(IP), list(ARR), next(copy.copy(IT)),
        TPL.substitute(a=1), PATH, ERR.code, str(ERR), Single() is SINGLE, has(), list(gen()), int(Outer.v),
        Outer.Inner.Deep.__qualname__, linst.m(), isinstance(linst, L), Dyn2().q(), bound(sq), DS["zz"],
        DS.tag, SSUB.extra, SSUB, LS.more is LS, sorted(map(str, FS)), list(RNG), str(Alias),
        Ann.__metadata__, asyncio.run(co()), LST, typing.get_type_hints(P)["x"].__name__,
        inspect.signature(fib).parameters.keys().__len__(), fib.__name__, index.__module__, UserId(3),
        TD(a=1), T.__name__, isinstance(IntSub(3), int), str(DT.tzinfo), log.name, log.getEffectiveLevel(),
        logging.getLogger().level,
    ]  # fmt: skip
    with cmgr() as five:
        out.append(five)
    try:
        Shape()
    except TypeError as e:
        out.append(str(e))
    try:
        raise Err(1, "x")
    except Err as e:
        out.append(e.code)
    return jsonify(out)
