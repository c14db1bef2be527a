"""What an instance writes down of its requests: one record each, and the lines that bracket an invocation.

Records go into the log pipe as units of their own (letter "I" of stdio's framing): JSON of the fields of
invocations.model.Record that an instance knows. Lines are those of the dialect, printed as the app's are.
"""

from __future__ import annotations

import json
import math
import resource
import sys
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from snapfork.runner.processes import cold, stdio
from snapfork.runner.processes.bracket import last_lines, timed_out
from snapfork.runner.processes.cold import Cold
from snapfork.runner.processes.link import START_NAMES, WARM
from snapfork.runner.units import INVOCATION_HEADER

if TYPE_CHECKING:
    from snapfork.runner.http.head import Head
    from snapfork.runner.processes.link import Loan

GONE = 499
"""The status of a request whose client left before it was answered."""
TIMEOUT = "timeout"
"""The error of a request that passed its timeout."""
MAX_NAME = 100
_compact = json.JSONEncoder(separators=(",", ":")).encode
MS = 1_000_000
MB = 1024.0  # of ru_maxrss, which is in kilobytes


class Account:
    """One request while it runs. billed_ns grows while it is the oldest one running."""

    __slots__ = (
        "billed_ns",
        "bracketed",
        "begun",
        "ended",
        "id",
        "invocation",
        "start",
        "stages",
        "started_ns",
    )

    def __init__(
        self, name: str, invocation: Mapping[str, Any] | None, loan: Loan, now_ns: int, came_up: Cold
    ) -> None:
        first = not loan.requests
        self.id = name
        self.invocation = invocation
        self.begun = time.time()
        self.started_ns = now_ns
        self.start = START_NAMES[loan.start] if first else START_NAMES[WARM]
        lent_ns = loan.t0_ns if first else now_ns
        accepted_ns = _accepted_ns(invocation, lent_ns)
        self.stages = cold.stages(came_up, accepted_ns, lent_ns, now_ns)
        if self.start == START_NAMES[WARM]:  # nothing was started for it: it has waited for its turn
            self.stages = {"schedule": sum(self.stages.values())} if self.stages else {}
        self.billed_ns = 0
        self.bracketed = False
        self.ended = False


class Ledger:
    """The accounts of one instance of a unit.

    about: what is known of the function (the unit's `context`). instance: its number. records: whether
    records are written. is_event: the app is a handler, all of whose requests are invocations. came_up: how
    the app of this process did.
    """

    def __init__(
        self,
        about: Mapping[str, Any],
        unit: str,
        instance: str,
        *,
        records: bool,
        is_event: bool,
        came_up: Cold | None = None,
    ) -> None:
        function, _, version = unit.rpartition(":")
        self.function = str(about.get("name") or function or unit)
        self.version = str(about.get("version") or version)
        self.instance = instance
        self.dialect = str(about.get("dialect") or "runner")
        self.memory_mb = about.get("memory")
        self.timeout = float(about.get("timeout") or 0)
        self.is_event = is_event
        self.came_up = came_up or Cold()
        self._records = records
        self._running: dict[Account, None] = {}
        self._looked_ns = 0
        self._lock = threading.Lock()

    def begin(self, name: str, invocation: dict[str, Any] | None, loan: Loan, now_ns: int) -> Account:
        """A request begins; `loan.requests` have been served on its connection before."""
        account = Account(name, invocation, loan, now_ns, self.came_up)
        if invocation is not None:
            self._put_off(invocation, account, now_ns)
        with self._lock:
            self._bill(now_ns)
            self._running[account] = None
        if self._is_bracketed(account):
            account.bracketed = True
            stdio.say(account.id, self._first_line(account).encode() + b"\n")
        return account

    def bracket(self, account: Account) -> None:
        """The last bytes of the answer are about to go out: whoever has them may ask for the lines."""
        if not account.bracketed:
            return
        now_ns = time.monotonic_ns()
        with self._lock:
            self._bill(now_ns)
        stdio.say(account.id, self._closing(account, now_ns))

    def end(self, account: Account, status: int, error: str = "") -> None:
        """The request is over; only the first call counts. status: 0 where the client never got an answer."""
        now_ns = time.monotonic_ns()
        with self._lock:
            if account.ended:
                return
            account.ended = True
            self._bill(now_ns)
            self._running.pop(account, None)
        late = self._late_line(account) if account.bracketed and error == TIMEOUT else b""
        lines = late + self._closing(account, now_ns) if account.bracketed else b""
        data = json.dumps(self._record(account, status, error, now_ns)).encode() if self._records else b""
        if lines and data:
            stdio.conclude(account.id, lines, data)
        elif lines:
            stdio.say(account.id, lines)
        elif data:
            stdio.record(account.id, data)

    def run_header(self, account: Account) -> str:
        """What units.RUN_HEADER tells of a run so far."""
        told = {
            "instance": self.instance,
            "start": account.start,
            "init_ms": self._init_ms(account),
            "memory_mb": memory_mb(),
        }
        if self.is_event:  # its answer begins when it has run
            told["run_ms"] = round((time.monotonic_ns() - account.started_ns) / MS, 3)
        return _compact(told)

    def _put_off(self, invocation: dict[str, Any], account: Account, now_ns: int) -> None:
        """Until now it has waited, which costs it nothing of its time."""
        deadline, accepted_ns = invocation.get("deadline_ms"), invocation.get("accepted_ns")
        if self.timeout and isinstance(deadline, int) and isinstance(accepted_ns, int) and accepted_ns > 0:
            latest = int((account.begun + self.timeout) * 1000)
            invocation["deadline_ms"] = min(latest, deadline + max(0, now_ns - accepted_ns) // MS)

    # -- what is counted ---------------------------------------------------------------------------------

    def _bill(self, now_ns: int) -> None:
        """The time since the last look goes to the oldest request: the sum of all is the time not idle."""
        for oldest in self._running:
            oldest.billed_ns += now_ns - self._looked_ns
            break
        self._looked_ns = now_ns

    def _init_ms(self, account: Account) -> float:
        """What Lambda calls init: all before the run but the wait for its turn."""
        return round(sum(ms for stage, ms in account.stages.items() if stage != "schedule"), 3)

    def _record(self, account: Account, status: int, error: str, now_ns: int) -> dict[str, Any]:
        invocation = account.invocation or {}
        stages = account.stages | {"run": round((now_ns - account.started_ns) / MS, 3)}
        return {
            "id": account.id,
            "function": self.function,
            "version": self.version,
            "instance": self.instance,
            "trigger": str(invocation.get("trigger") or "http"),
            "start": account.start,
            "begun": round(account.begun, 6),
            "stages": stages,
            "billed": math.ceil(account.billed_ns / MS),
            "memory": memory_mb(),
            "status": status or GONE,
            "error": error,
            "attempt": int(invocation.get("attempt") or 1),
            "qualifier": str(invocation.get("qualifier") or ""),
        }

    # -- lines -------------------------------------------------------------------------------------------

    def _is_bracketed(self, account: Account) -> bool:
        return account.invocation is not None or (self.is_event and self._records)

    def _speaks_fc(self, account: Account) -> bool:
        caller = (account.invocation or {}).get("dialect")
        return (caller if caller in ("lambda", "fc") else self.dialect) == "fc"

    def _first_line(self, account: Account) -> str:
        if self._speaks_fc(account):
            return f"FC Invoke Start RequestId: {account.id}"
        version = "$LATEST" if self.version == "LATEST" else self.version
        return f"START RequestId: {account.id} Version: {version}"

    def _last_lines(self, account: Account, now_ns: int) -> str:
        return last_lines(
            account.id, of_fc=self._speaks_fc(account), run_ms=(now_ns - account.started_ns) / MS,
            billed_ms=math.ceil(account.billed_ns / MS), size_mb=self.memory_mb, used_mb=memory_mb(),
            init_ms=self._init_ms(account),
        )  # fmt: skip

    def _late_line(self, account: Account) -> bytes:
        """What is said of a run that others outlive, as of one whose process is ended for it."""
        of_fc = self._speaks_fc(account)
        said = timed_out(account.id, of_fc=of_fc, timeout_s=self.timeout, at=time.time(), used_mb=memory_mb())
        return f"{said}\n".encode() if of_fc else f"{said}\n\n".encode()

    def _closing(self, account: Account, now_ns: int) -> bytes:
        """What stands below the app's own output."""
        account.bracketed = False
        sys.stdout.flush()  # a line that the app has not ended
        sys.stderr.flush()
        return self._last_lines(account, now_ns).encode() + b"\n"


def invocation_of(head: Head) -> dict[str, Any]:
    """The invocation that the head of a direct request tells of."""
    try:
        told = json.loads(head.find(INVOCATION_HEADER) or b"{}")
    except ValueError:
        told = {}
    return told if isinstance(told, dict) else {}


def _accepted_ns(invocation: Mapping[str, Any] | None, lent_ns: int) -> int:
    """When somebody began to wait for this run: the services process says it of invocations."""
    told = (invocation or {}).get("accepted_ns")
    return min(told, lent_ns) if isinstance(told, int) and told > 0 else lent_ns


def is_name(name: str) -> bool:
    """Whether `name` can be a request id: it stands in headers and in log frames."""
    return 0 < len(name) <= MAX_NAME and name.isascii() and name.isprintable()


def error_of(invocation: Mapping[str, Any], status: int) -> str:
    """What a web app's status says of an event that it got as POST /invoke."""
    return "unhandled" if status >= 400 and invocation.get("kind") == "event" else ""


def memory_mb() -> float:
    """The most memory that this process has had resident, in MB; a fork begins with what it was born with."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MB, 2)
