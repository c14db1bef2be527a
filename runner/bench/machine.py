"""What the figures were measured on, and what else that machine did meanwhile."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    "snapfork", "flask", "django", "fastapi", "starlette", "pydantic", "jinja2", "numpy", "pandas",
    "scikit-learn", "gunicorn", "uvicorn", "granian", "pyuwsgi", "functions-framework", "uvloop", "httptools",
)  # fmt: skip
ASK = """
import json, platform, sys
from importlib import metadata
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
print(json.dumps([platform.python_version(), found]))
"""


@dataclass
class Machine:
    """memory_mb: of the whole machine. virtualisation: as systemd or the CPU tell it, "" when unknown."""

    python: str
    kernel: str
    cpu: str
    cores: int
    memory_mb: int
    virtualisation: str
    versions: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def describe(python: str = sys.executable) -> Machine:
    """This machine; Python and packages are those of the interpreter `python`."""
    version, versions = ask_versions(python, PACKAGES)
    return Machine(
        python=version,
        kernel=platform.release(),
        cpu=_field(Path("/proc/cpuinfo"), "model name") or platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        memory_mb=int((_field(Path("/proc/meminfo"), "MemTotal") or "0").split()[0]) // 1024,
        virtualisation=_virtualisation(),
        versions=versions,
    )


def ask_versions(python: str, names: tuple[str, ...]) -> tuple[str, dict[str, str]]:
    """(Python's version, versions of those packages that are installed) of an interpreter."""
    if python == sys.executable:
        found = {}
        for name in names:
            try:
                found[name] = metadata.version(name)
            except metadata.PackageNotFoundError:
                continue
        return platform.python_version(), found
    done = subprocess.run([python, "-c", ASK, *names], capture_output=True, text=True, check=True, cwd="/")
    version, found = json.loads(done.stdout)
    return str(version), dict(found)


@dataclass
class Ticks:
    """A reading of /proc/stat: clock ticks of all processors since boot."""

    total: int
    idle: int
    steal: int

    @classmethod
    def now(cls) -> Ticks:
        fields = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        return cls(sum(fields), fields[3] + fields[4], fields[7])


@dataclass
class Conditions:
    """Load averages (1 minute) before and after; shares of processor time from 0 to 1 in between."""

    load_before: float = 0.0
    load_after: float = 0.0
    steal: float = 0.0
    busy: float = 0.0


class Watch:
    """`with Watch() as watch: ...` fills `watch.conditions`."""

    def __enter__(self) -> Watch:
        self.conditions = Conditions(load_before=os.getloadavg()[0])
        self._before = Ticks.now()
        return self

    def __exit__(self, *_: object) -> None:
        after = Ticks.now()
        total = max(after.total - self._before.total, 1)
        self.conditions.load_after = os.getloadavg()[0]
        self.conditions.steal = round((after.steal - self._before.steal) / total, 4)
        self.conditions.busy = round(1 - (after.idle - self._before.idle) / total, 4)


def _field(path: Path, name: str) -> str:
    try:
        for line in path.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == name:
                return value.strip()
    except OSError:
        pass
    return ""


def _virtualisation() -> str:
    try:
        done = subprocess.run(["systemd-detect-virt", "--vm"], capture_output=True, text=True, check=False)
        if done.stdout.strip() not in ("", "none"):
            return done.stdout.strip()
    except OSError:
        pass
    return "virtual machine" if " hypervisor" in _field(Path("/proc/cpuinfo"), "flags") else ""
