"""Snapshots as packages: an uploaded .snap is tried in a throw-away process, and signed anew with our key.

Who may deploy is settled by the request's signature, so the file's own need not be of a key that is trusted
here; it must hold. What restoring it runs, it runs in a process of the functions' user that has an empty
directory for HOME, nothing of the runner's environment, and a time limit.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from snapfork.adapter.snapshots import file, keys
from snapfork.adapter.snapshots.errors import SnapshotError
from snapfork.runner.processes import as_user
from snapfork.runner.registry.errors import BadPackage
from snapfork.runner.registry.places import Places

TIMEOUT = 120.0
_TRIAL = "snapfork.runner.registry.trial"


def is_one(data: bytes) -> bool:
    """Whether an upload is a snapshot (by its first bytes) rather than a zip."""
    return data.startswith(file.MAGIC)


def signer(place: Path) -> str:
    """The public key that what `adopt` has written there is signed with, as hex. Raises OSError."""
    try:
        return file.parse(place).signer.hex()
    except SnapshotError as error:
        raise OSError(str(error)) from None


def adopt(source: Path, place: Path, places: Places) -> int:
    """Check the snapshot `source` and write it, signed by us, to `place`; its size. Raises BadPackage."""
    try:
        opened = file.parse(source)
        if not keys.is_signed(opened.signer, opened.signature, opened.message):
            raise SnapshotError("The snapshot is damaged: its signature does not hold.")
        opened.verify_buffers()
        _try(source, places)
        file.write(place, opened.header, bytes(opened.stream), list(opened.buffers()))
        place.chmod(0o444)
    except SnapshotError as error:
        # The paths in these sentences are of drafts that the caller does not know.
        raise BadPackage(str(error).replace(str(source), "The snapshot"), "code") from None
    return place.stat().st_size


def _try(source: Path, places: Places) -> None:
    """Restore it elsewhere. Raises SnapshotError with what that process said."""
    work = Path(tempfile.mkdtemp(prefix=".trial-", dir=places.code))
    read, write = os.pipe2(os.O_CLOEXEC)
    try:
        copy = work / "app.snap"
        shutil.copyfile(source, copy)
        if places.user is not None:
            os.chown(work, places.user.uid, places.user.gid)
            os.chown(copy, places.user.uid, places.user.gid)
        command = [sys.executable, "-P", "-m", _TRIAL, str(copy), str(write)]
        if places.user is not None:
            command = as_user.command((places.user.uid, places.user.gid, str(places.user.uid)), [], command)
        process = subprocess.Popen(
            command,
            cwd=work,
            env={"PATH": os.defpath, "LANG": "C.UTF-8", "HOME": str(work)} | _same_modules(),
            pass_fds=(write,),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(write)
        write = -1
        _listen(process, read)
    finally:
        os.close(read)
        if write >= 0:
            os.close(write)
        shutil.rmtree(work, ignore_errors=True)


def _same_modules() -> dict[str, str]:
    """PYTHONPATH, if that is how this process finds its modules."""
    return {"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}


def _listen(process: subprocess.Popen[bytes], read: int) -> None:
    try:
        process.wait(TIMEOUT)
    except subprocess.TimeoutExpired:
        raise SnapshotError(f"The snapshot did not come back within {TIMEOUT:.0f} s.") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # and what it may have started
        process.wait()
    os.set_blocking(read, False)  # a grandchild in a session of its own may still hold the other end
    try:
        said = os.read(read, 1 << 16)
    except BlockingIOError:
        said = b""
    if not said:
        raise SnapshotError(
            "The snapshot does not come back: the process that tried it ended without a word."
        )
    problem = json.loads(said)["error"]
    if problem:
        raise SnapshotError(problem)
