"""A directory or file as a zip that is the same, byte for byte, whenever its content is."""

from __future__ import annotations

import os
import shutil
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path

from snapfork.runner.errors import UserError

LEFT_OUT = frozenset(
    {".git", ".hg", ".svn", ".venv", "venv", "node_modules", "__pycache__", ".DS_Store", ".idea", ".vscode"}
    | {".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis", ".tox", ".nox"}
)
"""What is beside a project's code and no part of it."""
_EPOCH = (1980, 1, 1, 0, 0, 0)
_LINK, _FILE, _PROGRAM = stat.S_IFLNK | 0o777, stat.S_IFREG | 0o644, stat.S_IFREG | 0o755


def bundle(source: str | os.PathLike[str], output: str | os.PathLike[str]) -> int:
    """Write the zip of a directory (its content) or of one file to `output`; the number of entries.

    Left out are LEFT_OUT, compiled modules, and environments (directories with a pyvenv.cfg). Symlinks stay
    links, and must lead to somewhere inside. Raises UserError.
    """
    root = Path(source)
    try:
        if not root.exists():
            raise UserError(f"There is no {root}.")
        own = Path(output).resolve()
        files = [(root.name, root)] if root.is_file() else list(_walk(root, own))
        if not files:
            raise UserError(f"{root} holds nothing to deploy.")
        with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
            for name, path in sorted(files):
                _add(archive, name, path, root)
    except OSError as error:
        raise UserError(f"{error.filename or root} cannot be packed: {error.strerror}.") from None
    return len(files)


def _walk(root: Path, own: Path) -> Iterator[tuple[str, Path]]:
    for folder, folders, files in os.walk(root):
        here = Path(folder)
        links = [name for name in folders if (here / name).is_symlink()]
        folders[:] = sorted(
            name
            for name in folders
            if name not in LEFT_OUT and name not in links and not (here / name / "pyvenv.cfg").exists()
        )
        for name in sorted([*files, *links]):
            path = here / name
            if name in LEFT_OUT or name.endswith((".pyc", ".pyo")) or path.resolve() == own:
                continue
            yield path.relative_to(root).as_posix(), path


def _add(archive: zipfile.ZipFile, name: str, path: Path, root: Path) -> None:
    about = path.lstat()
    info = zipfile.ZipInfo(name, _EPOCH)
    info.create_system = 3  # Unix, also where the mode is read
    info.compress_type = zipfile.ZIP_DEFLATED
    if stat.S_ISLNK(about.st_mode):
        target = os.readlink(path)
        inside = path.resolve().is_relative_to(root.resolve())
        if os.path.isabs(target) or not inside:
            raise UserError(f"{path} is a link that leads out of what is deployed: {target}.")
        info.external_attr = _LINK << 16
        archive.writestr(info, target)
        return
    if not stat.S_ISREG(about.st_mode):
        raise UserError(f"{path} is neither a file nor a directory nor a link.")
    info.external_attr = (_PROGRAM if about.st_mode & 0o100 else _FILE) << 16
    with path.open("rb") as source, archive.open(info, "w") as sink:
        shutil.copyfileobj(source, sink, 1 << 16)
