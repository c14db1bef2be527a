"""What the runner says while it runs: readable lines for people, or one JSON object per line."""

from __future__ import annotations

import json as jsonlib
import os
import sys
import time
from typing import Any

from snapfork.runner.outlet import Outlet

STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


def use_colour(fd: int) -> bool:
    """True when `fd` is a terminal and NO_COLOR (any value) does not forbid colours."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and os.isatty(fd)


def size_text(size: float) -> str:
    """Bytes as people read them: 2411724 -> "2.3 MB"."""
    for unit in ("B", "KB", "MB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GB"


def ms_text(ms: float) -> str:
    """Milliseconds with the digits that matter: 0.42 -> "0.42 ms", 182.3 -> "182 ms"."""
    digits = 2 if ms < 1 else 1 if ms < 10 else 0
    return f"{ms:.{digits}f} ms"


def seconds_text(ms: float) -> str:
    """Milliseconds as seconds with two digits that matter: 92 -> "0.09 s", 3210 -> "3.2 s"."""
    return f"{ms / 1000:.{2 if ms < 1000 else 1}f} s"


class Console:
    """Prints at once and never blocks: what a stuck terminal or pipe does not take is kept, then dropped."""

    def __init__(self, json: bool = False, colour: bool | None = None, fd: int = 1) -> None:
        self.json = json
        self.colour = not json and (use_colour(fd) if colour is None else colour)
        self._outlet = Outlet(fd)
        self._width = 0

    def info(self, text: str) -> None:
        """One sentence of good news."""
        self._say("info", text, {"text": text})

    def warn(self, text: str) -> None:
        """One sentence that somebody should read."""
        self._say("warning", self._paint("yellow", f"warning: {text}"), {"text": text})

    def error(self, text: str) -> None:
        """One sentence about what went wrong."""
        self._say("error", self._paint("red", f"error: {text}"), {"text": text})

    def building(self, function: str, generation: int, interpreter: Any, how: str = "") -> None:
        """A template of `function` is being made with `interpreter` (serve_config.Interpreter)."""
        again = f" (generation {generation})" if generation > 1 else ""
        text = (
            f"starting a template{again} with {interpreter.path} "
            f"({interpreter.version}, {interpreter.reason}){how}"
        )
        self._function(
            function,
            text,
            "building",
            {
                "generation": generation,
                "python": interpreter.path,
                "version": interpreter.version,
                "reason": interpreter.reason,
            },
        )

    def stage(self, function: str, name: str, ms: float, detail: str = "") -> None:
        """One step of a template and the milliseconds that it took."""
        tail = "  " + self._paint("dim", detail) if detail else ""
        self._function(
            function,
            f"{name:<12}{ms_text(ms):>9}{tail}",
            "stage",
            {
                "stage": name,
                "ms": round(ms, 3),
                "detail": detail,
            },
        )

    def findings(self, function: str, mode: str, findings: list[dict[str, Any]]) -> None:
        """What the audit found; `mode` "spawn" says that fork starts are lost because of it."""
        if mode == "spawn":
            loud = "cannot be forked safely; every instance will be a fresh process (start kind spawn):"
            self._function(function, self._paint("yellow", loud), "mode", {"mode": mode})
        for finding in findings:
            colour = "yellow" if finding.get("severity") == "spawn" else "dim"
            text = self._paint(colour, f"  {finding_text(finding)}")
            self._function(function, text, "finding", dict(finding))

    def failed(self, function: str, sentence: str, traceback: str | None = None) -> None:
        """A template did not come up."""
        body = f"\n{traceback.rstrip()}" if traceback else ""
        self._function(
            function,
            self._paint("red", f"failed: {sentence}") + body,
            "failed",
            {
                "sentence": sentence,
                "traceback": traceback,
            },
        )

    def restored(self, function: str, created: float, ms: float, init_ms: float) -> None:
        """A template came from a snapshot of `created` (seconds since the epoch)."""
        made = time.localtime(created)
        today = time.strftime("%F", made) == time.strftime("%F")
        when = time.strftime("%H:%M" if today else "%F %H:%M", made)
        saved = f"; initialising took {seconds_text(init_ms)}" if init_ms else ""
        self._function(
            function,
            f"restored from the snapshot of {when} in {seconds_text(ms)}{saved}",
            "restored",
            {"created": created, "ms": round(ms, 3), "init_ms": init_ms},
        )

    def kept(self, function: str, about: dict[str, Any], refused: str) -> None:
        """A snapshot was kept for the next start, or, where `refused` says why, was not."""
        if refused:
            text = f"no snapshot is kept, and the next start initialises again: {refused}"
        else:
            text = f"a snapshot is kept ({size_text(about['bytes'])}); the next start restores it"
        self._function(function, text, "snapshot", {"kept": not refused, "refused": refused})
        for one in about.get("warnings", ()) if not refused else ():
            self._function(function, self._paint("yellow", f"  captured: {one}"), "captured", {"text": one})

    def serving(self, urls: list[str], functions: list[dict[str, Any]]) -> None:
        """The listener is open: where, and which start kind each function's requests will get."""
        for url in urls:
            self._say("serving", f"serving on {self._paint('bold', url)}", {"url": url})
        for entry in functions:
            self._function(entry["name"], _start_text(entry), "ready", dict(entry))
        curl = curl_command(urls, functions) if functions else None  # nothing is there yet to ask for
        if curl and not self.json:
            self._emit(f"try it: {self._paint('cyan', curl)}")

    def stopping(self, text: str) -> None:
        """The runner is about to leave."""
        self._say("stopping", text, {"text": text})

    def flush(self, timeout_ms: int = 200) -> None:
        """Give the last lines a short time to get out."""
        self._outlet.flush(timeout_ms)

    def _function(self, function: str, text: str, event: str, data: dict[str, Any]) -> None:
        self._width = max(self._width, len(function))
        label = self._paint("bold", function.ljust(self._width))
        first, *rest = text.split("\n")
        self._say(event, "\n".join([f"{label}  {first}", *rest]), {"function": function, **data})

    def _say(self, event: str, text: str, data: dict[str, Any]) -> None:
        if self.json:
            self._emit(jsonlib.dumps({"time": round(time.time(), 3), "event": event, **data}, default=str))
        else:
            self._emit(text)

    def _emit(self, line: str) -> None:
        self._outlet.write(line.encode("utf-8", "backslashreplace") + b"\n")

    def _paint(self, style: str, text: str) -> str:
        return f"\x1b[{STYLES[style]}m{text}\x1b[0m" if self.colour else text


def finding_text(finding: dict[str, Any]) -> str:
    """One line for an audit finding: what, where it came from, what cures it."""
    what = f"{finding.get('kind', 'finding')}: {finding.get('object', '')}"
    origin = f" (from {finding['origin']})" if finding.get("origin") else ""
    cure = f"; {finding['cure']}" if finding.get("cure") else ""
    return what + origin + cure


def curl_command(urls: list[str], functions: list[dict[str, Any]]) -> str | None:
    """A command that shows the start kind of the first function, or None without a listener."""
    if not urls:
        return None
    url = next((str(entry["url"]) for entry in functions if entry.get("url")), urls[0])
    if url.startswith("unix:"):
        return f"curl -i --unix-socket {url.removeprefix('unix:')} http://localhost/"
    return f"curl -i {url if url.endswith('/') else url + '/'}"


def _start_text(entry: dict[str, Any]) -> str:
    start = str(entry.get("start", "fork"))
    measured = entry.get("start_ms")
    suffix = f" ({ms_text(measured)} measured)" if measured is not None else ""
    parts = [f"requests start by {start}{suffix}"]
    if entry.get("memory_bytes"):
        parts.append(f"{size_text(entry['memory_bytes'])} per instance")
    if entry.get("max_instances"):
        parts.append(f"at most {entry['max_instances']} instances")
    if entry.get("reason"):
        parts.append(str(entry["reason"]))
    return " · ".join(parts)


def print_user_error(sentence: str, hint: str | None = None) -> None:
    """A user's mistake on stderr: one sentence, then what to type next."""
    colour = use_colour(2)
    head = "\x1b[31merror:\x1b[0m" if colour else "error:"
    sys.stderr.write(f"{head} {sentence}\n" + (f"       {hint}\n" if hint else ""))
    sys.stderr.flush()
