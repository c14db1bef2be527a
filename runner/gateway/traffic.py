"""Where a request goes when deployed functions share the listeners: routes, weights, limits, signatures."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

from snapfork.runner.gateway.connection import Connection
from snapfork.runner.http.head import Head
from snapfork.runner.http.routes import Place, Route
from snapfork.runner.policy import cors
from snapfork.runner.policy.routing import Quota, Table, concerned, draw, is_sticky
from snapfork.runner.units import UNIT_HEADER, UnitRoute

if TYPE_CHECKING:
    from snapfork.runner.gateway.core import Core
    from snapfork.runner.gateway.pool import Pool

SIGNED = "signed"


class Refusal(NamedTuple):
    """Why a request goes nowhere; `extra` are header fields of the answer. status 200: there is no more to be
    answered than they are."""

    status: int
    message: str
    code: str = ""
    extra: tuple[tuple[bytes, bytes], ...] = ()


class Traffic:
    """The table of all routes, those of `runner serve TARGET` among them; `pools` by function or unit.

    `chance` gives numbers from [0, 1), for the weights.
    """

    def __init__(
        self,
        core: Core,
        pools: dict[str, Pool],
        static: Iterable[Route],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._core = core
        self._pools = pools
        self._static = [UnitRoute(one.host, one.prefix, ((one.function, 1.0),), "") for one in static]
        self._static_names = {unit for one in self._static for unit, _ in one.choices}
        self._chance = chance
        self._table = Table(self._static)
        self._quotas: dict[str, Quota] = {}
        self.active = False

    # -- the table -------------------------------------------------------------------------------------

    def replace(self, routes: Iterable[UnitRoute], reserved: dict[str, int] | None = None) -> None:
        """Put `routes` in the place of all deployed ones before, and `reserved` of functions without any.

        Connections that must not stay where they are have been called back when this returns: whatever
        arrives on them from now on is routed by the new table.
        """
        table = Table([*self._static, *routes])
        moved = concerned(self._table.routes, table.routes)
        limits = dict(reserved or {})
        limits.update({one.function: one.reserved for one in table.routes if one.reserved is not None})
        limited = self._limit(limits)
        self._table = table
        self.active = True
        self._core.epoch += 1
        for name, pool in list(self._pools.items()):
            if moved is None or name in moved or function_of(name) in limited:
                pool.recall()

    def _limit(self, limits: dict[str, int]) -> set[str]:
        """Set the reserved concurrency of functions; those whose limit is another now."""
        changed = set()
        for name in self._quotas.keys() | limits.keys():
            quota = self._quotas.setdefault(name, Quota())
            limit = limits.get(name)
            if quota.limit != limit:
                quota.limit = limit
                changed.add(name)
            if limit is None and not quota.used:
                del self._quotas[name]
        return changed

    # -- one request -----------------------------------------------------------------------------------

    def choose(self, conn: Connection, head: Head) -> Refusal | None:
        """Say in `conn` where its request goes, and what it needs; or why it goes nowhere."""
        conn.pool, conn.place, conn.quota, conn.judge = None, b"", None, None
        conn.epoch = self._core.epoch
        if conn.direct:
            unit = (head.find(UNIT_HEADER) or b"").decode("latin-1")
            return self._send(conn, unit, function_of(unit), sticky=True)
        origin = (head.find(b"origin") or b"").decode("latin-1")
        if origin and head.method == "OPTIONS" and (answer := self._preflight(head, origin)) is not None:
            return answer
        route, allowed = self._table.find(head.host, head.path, head.method)
        if route is None:
            if allowed:
                fields = ((b"allow", ", ".join(sorted(allowed)).encode()),)
                return Refusal(405, f"{head.method} is not served here", extra=fields)
            return Refusal(404, f"no function is mounted at {head.path!r} on this host")
        choices = route.choices
        unit = choices[0][0] if len(choices) == 1 else draw(choices, self._chance())
        conn.function = unit or route.function
        sticky = is_sticky(route) and self._table.is_sole(head.host, route)
        refusal = self._send(conn, unit, route.function, sticky)
        if refusal is None:
            told = cors.of_answer(cors.unpacked(route.cors), origin) if origin and route.cors else ()
            lines = "".join(f"{name.decode()}: {value.decode('latin-1')}\r\n" for name, value in told)
            own_table = unit in self._static_names  # its instances know the mounts of `runner serve TARGET`
            if conn.sticky or lines or (route.strip and route.prefix and not own_table):
                host = head.host if conn.sticky else None
                conn.place = Place(host, route.prefix, route.strip, lines).pack()
            if route.auth == SIGNED:
                conn.judge = route
        return refusal

    def _preflight(self, head: Head, origin: str) -> Refusal | None:
        """The answer to a browser's question, where the address has rules for it; no function is asked."""
        method = (head.find(b"access-control-request-method") or b"").decode("latin-1")
        if not method:
            return None
        route = self._table.find(head.host, head.path, method).route
        if route is None or not route.cors:
            return None
        wanted = (head.find(b"access-control-request-headers") or b"").decode("latin-1")
        return Refusal(200, "", extra=cors.of_preflight(cors.unpacked(route.cors), origin, method, wanted))

    def _send(self, conn: Connection, unit: str, function: str, sticky: bool) -> Refusal | None:
        quota = self._quotas.get(function)
        if quota is not None and quota.limit is None:
            quota = None
        if quota is not None and quota.full:
            return _too_many(quota)
        pool = self._pools.get(unit)
        if pool is None:
            if unit or conn.direct:
                return Refusal(404 if conn.direct else 503, f"there is no {unit!r} here")
            why = "its packages are being installed, or could not be"
            return Refusal(503, f"function {function!r} has nothing that can be called: {why}")
        conn.function = unit
        conn.pool = pool
        conn.quota = quota
        conn.sticky = sticky and quota is None
        return None


def enter(conn: Connection) -> Refusal | None:
    """Count the request that is about to be served, if its function is limited."""
    if conn.quota is not None:
        if not conn.quota.take():
            return _too_many(conn.quota)
        conn.counted = True
    return None


def leave(conn: Connection) -> None:
    """The request of this connection is over, whatever became of it."""
    if conn.counted and conn.quota is not None:
        conn.counted = False
        conn.quota.give_back()


def _too_many(quota: Quota) -> Refusal:
    return Refusal(429, f"this function may serve {quota.limit} requests at a time; try again later")


def function_of(unit: str) -> str:
    """The function that a unit is a version of."""
    return unit.rpartition(":")[0]
