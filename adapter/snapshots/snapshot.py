"""`snapshot(app)` and `restore(path)`: what users and the runner call."""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import os
import platform
import sys
import sysconfig
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from snapfork.adapter import calls, hooks, interface, marks
from snapfork.adapter.snapshots import capture, file, interpreter, ownership, problems, suspects, trial
from snapfork.adapter.snapshots.errors import SnapshotError

_MOST_NAMED = 20
_MOST_SIZES = 100


class NotCapturable(SnapshotError):
    """Parts of the app cannot be captured; `problems` are all of them."""

    def __init__(self, found: list[problems.Problem]) -> None:
        lines = [str(problem) for problem in found[:_MOST_NAMED]]
        more = f"\n  and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
        count = f"{len(found)} things" if len(found) > 1 else "one thing"
        super().__init__(f"The app holds {count} that cannot be captured:\n  " + "\n  ".join(lines) + more)
        self.problems = found


@dataclass
class Snapshot:
    """A captured app, in memory. `app`: what it was captured from."""

    header: file.Header
    captured: capture.Captured
    app: Any

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to `path`, signed with the user's own key, if it comes back as what it was captured from.

        Before the file has its name, it is restored in a fresh process, and both answer the app's warm-up
        requests (`GET /` unless `serverless(app, warmup=...)` says others), the live one in a fork. Raises
        SnapshotError.
        """
        target = os.path.abspath(path)
        draft = os.path.join(os.path.dirname(target), f".{os.path.basename(target)}.{os.getpid()}")
        try:
            self.write(draft)
            trial.compare(self.app, draft, self.header)
            os.replace(draft, target)
        except SnapshotError as error:
            raise SnapshotError(str(error).replace(draft, str(path))) from None
        except OSError as error:
            raise SnapshotError(f"{path} cannot be written: {error.strerror}.") from None
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(draft)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write and sign it, not compared. Raises SnapshotError."""
        file.write(path, self.header, self.captured.stream, self.captured.buffers)


def snapshot(
    app: Any,
    *,
    by_value: Collection[str] = (),
    by_reference: Collection[str] = (),
    app_dir: str | None = None,
    target: str = "",
) -> Snapshot:
    """Capture an initialised WSGI or ASGI app with the state of its modules.

    The user's modules are those below `app_dir` (by default where the app's own module is) and `__main__`;
    `by_value` and `by_reference` name modules or packages that are to be treated otherwise. before_snapshot
    hooks are called first and, because the app here may go on, after_fork hooks at the end.

    Raises NotCapturable with everything that cannot travel, SnapshotError, or SettingError if `app` is none.
    """
    _run_hooks(app, "before_snapshot")
    try:
        home = _home(app) or _script()
        return take(
            app, by_value=by_value, by_reference=by_reference, app_dir=app_dir, target=target, home=home
        )
    finally:
        _run_hooks(app, "after_fork")


def take(
    app: Any,
    *,
    by_value: Collection[str] = (),
    by_reference: Collection[str] = (),
    app_dir: str | None = None,
    target: str = "",
    settings: dict[str, Any] | None = None,
    state: Any = None,
    notes: Mapping[Hashable, str] | None = None,
    since: float | None = None,
    home: Any = None,
    start: interpreter.Start | None = None,
) -> Snapshot:
    """As `snapshot`, for the runner, which calls the hooks itself.

    `settings` are kept in the file, and `state` travels with the app: what its lifespan has filled. `notes`
    and `since`: see `suspects.find`. home: the module that the app is from, where it is known. start: how the
    process was before the app.
    """
    kind = interface.detect(app)
    home = home or _home(app)
    directory = app_dir or (ownership.directory_of(home) if home else os.getcwd())
    wanted = [*by_value, "__main__"] if home is sys.modules.get("__main__") else by_value
    rule = ownership.Ownership(os.path.abspath(directory), wanted, by_reference)
    captured = capture.capture(app, rule, state, start)
    roots = {"app": app, "state": state} | captured.held
    if captured.problems:
        raise NotCapturable(problems.describe(captured.problems, roots))
    here = environment()
    header = file.Header(
        implementation=here["implementation"],
        python=here["python"],
        abi=here["abi"],
        platform=here["platform"],
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        interface=kind,
        target=target,
        app_dir=rule.app_dir,
        modules=[list(entry) for entry in captured.modules],
        by_reference=sorted(captured.references),
        needs=sorted(rule.referred()),
        packages=packages(captured.references),
        settings=settings or {},
        warnings=suspects.find(roots, captured.is_elsewhere, notes, since) + captured.lost,
        sizes=dict(sorted(captured.sizes.items(), key=lambda one: -one[1])[:_MOST_SIZES]),
    )
    return Snapshot(header, captured, app)


def restore(path: str | os.PathLike[str]) -> Any:
    """The app of a snapshot file, with its modules in `sys.modules`; registered after_fork hooks are run.

    Raises SnapshotError in one sentence if the file is damaged, not trusted, or of another environment.
    """
    app, _ = load(file.read(path))
    if marks.of(app) is not None:
        calls.handler(app)  # a class of a library is that of this process, which knows of no events yet
    _run_hooks(app, "after_fork")
    return app


def load(opened: file.Opened) -> tuple[Any, Any]:
    """The app of a file that has been checked, and its state. Raises SnapshotError."""
    check_environment(opened)
    modules = [(str(name), bool(has_path)) for name, has_path in opened.header.modules]
    try:
        captured = capture.Captured(modules, bytes(opened.stream), list(opened.buffers()))
        return capture.release(captured), captured.state
    except Exception as error:  # user code runs in here
        text = (str(error) or "no reason given").splitlines()[0]
        raise SnapshotError(f"{opened.path} does not come back: {type(error).__name__}: {text}") from error


def environment() -> dict[str, str]:
    """What of this interpreter a snapshot depends on."""
    return {
        "implementation": sys.implementation.name,
        "python": ".".join(map(str, sys.version_info[:2])),
        "abi": str(sysconfig.get_config_var("SOABI")),
        "platform": f"{sys.platform}-{platform.machine()}",
    }


def packages(modules: Collection[str]) -> dict[str, str]:
    """Name and version of the distributions that `modules` are from."""
    known = importlib.metadata.packages_distributions()
    tops = {module.partition(".")[0] for module in modules}
    names = {name for top in tops for name in known.get(top, ())}
    return {name: importlib.metadata.version(name) for name in sorted(names)}


def check_environment(opened: file.Opened) -> None:
    """Raises SnapshotError if the file is of another Python or machine, or needs another package version."""
    header = opened.header
    for name, here in environment().items():
        there = getattr(header, name)
        if there != here:
            sentence = f"{opened.path} is of another {name}: {there}, and this is {here}; make it anew."
            raise SnapshotError(sentence)
    for name, there in header.packages.items():
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            raise SnapshotError(f"{opened.path} needs {name} {there}, which is not installed.") from None
        if version != there:
            raise SnapshotError(
                f"{opened.path} was made with {name} {there}, and {version} is installed; make it anew."
            )


def _home(app: Any) -> Any:
    """The module that the app is from."""
    for name in (getattr(app, "import_name", None), getattr(app, "__module__", None)):
        module = sys.modules.get(name or "")
        if module is not None and vars(module).get("app") is app:
            return module
    # Whoever calls may hold it, too.
    modules = sorted(list(sys.modules.values()), key=lambda one: getattr(one, "__name__", "") == "__main__")
    for module in modules:
        if any(value is app for value in list(getattr(module, "__dict__", {}).values())):
            return module
    return sys.modules.get(getattr(app, "import_name", None) or "")


def _script() -> Any:
    """`__main__`, if it is what asks for the snapshot: a script may hold its app nowhere but in the call."""
    frame = sys._getframe(1)
    ours = __name__.partition(".snapshots")[0]
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).startswith(ours):
        frame = frame.f_back
    main = sys.modules.get("__main__")
    return main if main is not None and frame.f_globals is vars(main) else None


def _run_hooks(app: Any, name: str) -> None:
    noted = marks.find(app)
    for hook in [*hooks.registered(name), *(noted.hooks.get(name, ()) if noted is not None else ())]:
        hook()
