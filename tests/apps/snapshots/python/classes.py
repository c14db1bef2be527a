import dataclasses
import datetime
import enum

from flask import Flask, jsonify

app = Flask(__name__)


def norm(x):
    return x.lower()


class Key:
    def __init__(self, x):
        self.x = x

    def __hash__(self):
        return hash(norm(self.x))

    def __eq__(self, o):
        return norm(self.x) == norm(o.x)


TABLE = {Key("A"): 1, Key("b"): 2}


class Self:
    insts = set()

    def __init__(self, n):
        self.n = n
        Self.insts.add(self)

    def __hash__(self):
        return hash(self.n)

    def __eq__(self, o):
        return self.n == o.n


Self("q")


def HELPER(x):
    return x


class Plain(enum.Enum):
    A = 1
    ALIAS = 1
    T = (1, 2)
    L = [1]


class Planet(enum.Enum):
    EARTH = (5, 6)
    MARS = (3, 4)

    def __init__(self, m, r):
        self.m = m
        self.r = HELPER(r)

    @property
    def s(self):
        return self.m / self.r


class Lab(str, enum.Enum):  # noqa: UP042  much code has it so
    def __new__(cls, value, label):
        o = str.__new__(cls, value)
        o._value_ = value
        o.label = label
        return o

    X = ("x", "Label X")
    Y = ("y", "Label Y")


class Base(enum.Enum):
    def __new__(cls, a, b):
        o = object.__new__(cls)
        o._value_ = a
        o.b = b
        return o

    @classmethod
    def _missing_(cls, v):
        return next(iter(cls))


class Der(Base):
    P = (1, 2)
    Q = (3, 4)


class Perm(enum.IntFlag):
    R = 4
    W = 2
    X = 1
    RW = R | W


class F(enum.Flag, boundary=enum.KEEP):
    A = 1
    B = 2


class Dt(datetime.date, enum.Enum):
    D1 = (2020, 1, 2)


class Auto(enum.StrEnum):
    ONE = enum.auto()


class Fun(enum.Enum):
    A = enum.member(lambda s: 1)

    def f(self):
        return self.name


Api = enum.Enum("Api", "U V")
PLUG = []


class Plugin:
    def __init_subclass__(cls, *, key, **k):
        super().__init_subclass__(**k)
        PLUG.append((key, cls))
        cls.key = mk(key)


def mk(k):
    return k + "!"


class P1(Plugin, key="one"):
    pass


class P2(P1, key="two"):
    pass


REG = {}


class Meta(type):
    def __new__(m, n, b, ns, tag=None):
        c = super().__new__(m, n, b, ns)
        REG[n] = c
        c.tag = mk(tag or "none")
        return c

    def __init__(c, n, b, ns, tag=None):
        super().__init__(n, b, ns)
        REG["i" + n] = c

    def __setattr__(c, k, v):
        super().__setattr__(k, v)
        REG["set"] = REG.get("set", 0) + 1

    def __len__(c):
        return 7


class M1(metaclass=Meta, tag="x"):
    pass


class M2(M1):
    pass


class Sl:
    __slots__ = ("a", "__b")

    def __init__(self):
        self.a = 1
        self.__b = 2

    def b(self):
        return self.__b


SL = Sl()


class Sl2(Sl):
    __slots__ = {"c": "doc"}


SL2 = Sl2()
SL2.c = 5


@dataclasses.dataclass(slots=True)
class DC:
    x: int = 0


class Tup(tuple):
    __slots__ = ()

    def __new__(cls, *a):
        return super().__new__(cls, a)


TUP = Tup(1, 2)


class Gone(Exception):
    def __init__(self, *, code):
        super().__init__(f"gone {code}")
        self.code = code


GONE = Gone(code=5)


class OsE(OSError):
    def __init__(self, p):
        super().__init__(2, "No", p)
        self.p = p


OSE = OsE("/x")


class Sent:
    def __repr__(self):
        return "SENT"

    def __reduce__(self):
        return "SENT"


SENT = Sent()


@app.get("/")
def index():
    q = Self("q")
    sl = Sl()
    try:
        sl.zz = 1
        zz = "dict"
    except AttributeError:
        zz = "slots"
    return jsonify(
        [
            TABLE[Key("a")],
            TABLE[Key("B")],
            len(Self.insts),
            q in Self.insts,
            Plain.ALIAS is Plain.A,
            Plain["ALIAS"].name,
            Plain((1, 2)).name,
            Plain([1]).name,
            [p.s for p in Planet],
            Planet.EARTH.m,
            [p.label for p in Lab],
            Lab("x") is Lab.X,
            Lab.X == "x",
            [(d.value, d.b) for d in Der],
            Der(99).name,
            str(Perm.RW),
            repr(Perm(3)),
            Perm.R in Perm.RW,
            str(F(9)),
            Dt.D1.year,
            Dt.D1.isoformat(),
            Dt(datetime.date(2020, 1, 2)).name,
            Auto.ONE,
            Fun.A.f(),
            Api.U.name,
            [(k, c.__name__, c.key) for k, c in PLUG],
            PLUG[1][1] is P2,
            sorted(REG),
            M2.tag,
            REG["M1"] is M1,
            len(M1),
            REG["set"],
            SL.b(),
            SL.a,
            SL2.c,
            zz,
            hasattr(SL, "__dict__"),
            DC(3).x,
            hasattr(DC(), "__dict__"),
            list(TUP),
            GONE.code,
            str(GONE),
            OSE.p,
            OSE.errno,
            OSE.filename,
            repr(SENT),
            type(Sl.a).__name__,
            list(Plain.__members__),
        ]
    )


@app.get("/new")
def new():

    class P3(P2, key="three"):
        pass

    class M3(M1, tag="t"):
        pass

    return jsonify([len(PLUG), P3.key, M3.tag, "M3" in REG])
