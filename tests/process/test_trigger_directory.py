"""Watched directories, with real files: nothing missed, nothing half-written, nothing told of twice."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from snapfork.runner.registry import directories
from snapfork.runner.registry.errors import LimitExceeded
from snapfork.runner.registry.model import Trigger
from snapfork.runner.triggers import directory, files
from snapfork.runner.triggers.service import Triggers
from triggering import Enqueued, Registry


class Rig:
    """Triggers over a directory `inbox`; `restart` ends and starts them."""

    def __init__(self, root: Path, *triggers: Trigger) -> None:
        self.root = root
        self.inbox = root / "inbox"
        self.data = root / "data"
        self.data.mkdir(exist_ok=True)
        self.registry = Registry(*triggers)
        self.queue = Enqueued()
        self.seen: set[str] = set()

    async def start(self) -> None:
        self.triggers = await Triggers.start(self.data, self.registry, self.queue)

    async def restart(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        await self.triggers.stop()
        meanwhile()
        await self.start()

    def events(self) -> list[tuple[str, str]]:
        """(name, key) of what was enqueued, each once."""
        found = []
        for identity, one in self.queue.taken.items():
            if identity in self.seen:
                continue  # told again after a restart that came before it was noted; the queue runs it once
            event = json.loads(one.payload)
            if "events" in event:
                found.append((event["events"][0]["eventName"], event["events"][0]["oss"]["object"]["key"]))
            else:
                found.append((event["Records"][0]["eventName"], event["Records"][0]["s3"]["object"]["key"]))
        return found

    async def reaches(self, *keys: str) -> None:
        """Wait until these, and only these, have been told of since the last time."""
        while sorted(key for _, key in self.events()) != sorted(keys):
            assert len(self.events()) <= len(keys), self.events()
            await asyncio.sleep(0.01)
        self.seen.update(self.queue.taken)
        self.queue.taken.clear()

    async def quiet(self) -> None:
        """Wait until a new file has been told of: what came before it has been, too."""
        (self.inbox / "marker.bin").write_bytes(os.urandom(8))
        while "marker.bin" not in [key for _, key in self.events()]:
            await asyncio.sleep(0.01)


def watched(root: Path, kind: str = "oss", **config: Any) -> Trigger:
    (root / "inbox").mkdir(exist_ok=True)
    key = {"prefix": config.pop("prefix", ""), "suffix": config.pop("suffix", "")}
    events = config.pop("events", [f"{kind}:ObjectCreated:*"])
    full = {
        "directory": str(root / "inbox"),
        "bucket": "inbox",
        "events": events,
        "filter": {"key": key},
        **config,
    }
    return Trigger("f" if kind == "oss" else "g", "drop", kind, "", full, id=f"id-{kind}", modified=0.0)


def rig(root: Path, test: Callable[[Rig], Awaitable[None]], *triggers: Trigger) -> None:
    async def run() -> None:
        one = Rig(root, *(triggers or (watched(root),)))
        await one.start()
        try:
            await test(one)
        finally:
            await one.triggers.stop()

    asyncio.run(run())


def test_a_new_file_becomes_an_event_of_each_dialect(tmp_path: Path) -> None:
    async def test(one: Rig) -> None:
        (one.inbox / "a b").mkdir()
        (one.inbox / "a b" / "é.txt").write_text("hello")
        while len(one.queue.taken) < 2:
            await asyncio.sleep(0.01)
        by_kind = {seen.trigger: seen for seen in one.queue.taken.values()}
        (oss,) = json.loads(by_kind["oss"].payload)["events"]
        assert oss["eventName"] == "ObjectCreated:PutObject"
        assert oss["eventSource"] == "acs:oss"
        assert oss["oss"]["bucket"]["name"] == "inbox"
        assert oss["oss"]["object"]["key"] == "a b/é.txt"
        assert oss["oss"]["object"]["size"] == 5
        assert oss["oss"]["object"]["localPath"] == str(one.inbox / "a b" / "é.txt")
        (s3,) = json.loads(by_kind["s3"].payload)["Records"]
        assert s3["eventName"] == "ObjectCreated:Put"
        assert s3["s3"]["object"]["key"] == "a+b/%C3%A9.txt"
        assert s3["s3"]["bucket"] == {
            "name": "inbox", "ownerIdentity": {"principalId": "000000000000"}, "arn": "arn:aws:s3:::inbox",
        }  # fmt: skip

    rig(tmp_path, test, watched(tmp_path), watched(tmp_path, "s3"))


def test_changes_removals_and_renames(tmp_path: Path) -> None:
    async def test(one: Rig) -> None:
        (one.inbox / "a").write_text("1")
        await one.reaches("a")
        (one.inbox / "a").write_text("22")
        await one.reaches("a")
        (one.inbox / "a").rename(one.inbox / "b")
        while len(one.events()) < 2:
            await asyncio.sleep(0.01)
        assert sorted(one.events()) == [("ObjectCreated:PutObject", "b"), ("ObjectRemoved:DeleteObject", "a")]
        one.queue.taken.clear()
        (one.inbox / "b").unlink()
        await one.reaches("b")

    rig(tmp_path, test, watched(tmp_path, events=["oss:ObjectCreated:PutObject", "oss:ObjectRemoved:*"]))


def test_filters_and_event_types(tmp_path: Path) -> None:
    async def test(one: Rig) -> None:
        (one.inbox / "in").mkdir()
        for name in ("in/a.jpg", "in/a.txt", "b.jpg", "in/c.jpg"):
            (one.inbox / name).write_text(name)
        await one.reaches("in/a.jpg", "in/c.jpg")
        (one.inbox / "in" / "a.jpg").unlink()
        (one.inbox / "in" / "d.jpg").write_text("d")
        await one.reaches("in/d.jpg")

    rig(tmp_path, test, watched(tmp_path, prefix="in/", suffix=".jpg"))


def test_a_file_is_told_of_when_its_writer_is_done(tmp_path: Path) -> None:
    async def test(one: Rig) -> None:
        file = (one.inbox / "slow").open("wb", buffering=0)
        for _ in range(4):
            file.write(b"x" * 1000)
            await one.quiet()  # more than enough for it to seem at rest
            assert "slow" not in [key for _, key in one.events()]
            one.queue.taken.clear()
        file.close()
        while "slow" not in [key for _, key in one.events()]:
            await asyncio.sleep(0.01)
        sizes = [
            json.loads(seen.payload)["events"][0]["oss"]["object"]["size"]
            for seen in one.queue.taken.values()
        ]
        assert 4000 in sizes

    probe = tmp_path / "probe"
    with probe.open("wb"):
        if files.is_being_written(str(tmp_path), "probe") is None:
            pytest.skip("the file system here does not tell who writes (no leases)")
    rig(tmp_path, test)


def test_what_happens_while_nobody_watches_is_found(tmp_path: Path) -> None:
    async def test(one: Rig) -> None:
        for name in "abc":
            (one.inbox / name).write_text(name)
        await one.reaches("a", "b", "c")

        def meanwhile() -> None:
            (one.inbox / "a").unlink()
            (one.inbox / "b").write_text("changed")
            (one.inbox / "sub").mkdir()
            (one.inbox / "sub" / "new").write_text("new")

        await one.restart(meanwhile)
        await one.reaches("a", "b", "sub/new")
        await one.restart()
        await one.quiet()
        await one.reaches("marker.bin")

    rig(tmp_path, test, watched(tmp_path, events=["oss:ObjectCreated:*", "oss:ObjectRemoved:*"]))


def test_files_from_before_the_trigger_are_none_of_its_business(tmp_path: Path) -> None:
    trigger = watched(tmp_path)
    old = tmp_path / "inbox" / "old"
    old.write_text("old")
    made = Trigger(
        *(trigger.function, trigger.name, "oss", "", trigger.config),
        id="x",
        modified=old.stat().st_ctime + 1e-3,
    )

    async def test(one: Rig) -> None:
        await one.quiet()
        await one.reaches("marker.bin")
        old.write_text("new")
        await one.reaches("old")

    rig(tmp_path, test, made)


def test_a_killed_runner_tells_of_a_file_again_as_the_same_invocation(tmp_path: Path) -> None:
    async def test(one: Rig) -> None:
        (one.inbox / "a").write_text("a")
        while not one.queue.taken:
            await asyncio.sleep(0.01)
        while not (await one.triggers._means.memory.files("id-oss", str(one.inbox))):
            await asyncio.sleep(0.01)
        await one.triggers._means.memory.change_files(
            "id-oss", {"a": None}
        )  # as if killed before it was remembered
        await one.restart()
        while len(one.queue.seen) < 2:
            await asyncio.sleep(0.01)
        assert len(one.queue.taken) == 1

    rig(tmp_path, test)


def test_many_files_at_once(tmp_path: Path) -> None:
    async def test(one: Rig) -> None:
        names = [f"{number % 7}-{number}" for number in range(1500)]
        for name in names:
            (one.inbox / name).write_text(name)
        await one.reaches(*names)

    rig(tmp_path, test)


def test_a_directory_that_comes_later_and_goes(tmp_path: Path) -> None:
    trigger = watched(tmp_path, events=["oss:ObjectCreated:*", "oss:ObjectRemoved:*"])
    shutil.rmtree(tmp_path / "inbox")

    async def test(one: Rig) -> None:
        one.inbox.mkdir()
        (one.inbox / "a").write_text("a")
        await one.reaches("a")
        shutil.rmtree(one.inbox)
        await one.reaches("a")
        one.inbox.mkdir()
        (one.inbox / "b").write_text("b")
        await one.reaches("b")

    rig(tmp_path, test, trigger)


def test_a_directory_that_takes_the_name_of_the_watched_one_is_watched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "RESCAN_S", 1e6)

    async def test(one: Rig) -> None:
        (one.inbox / "a").write_text("1")
        await one.reaches("a")
        other = tmp_path / "other"
        other.mkdir()
        (other / "a").write_text("another")
        one.inbox.rename(tmp_path / "old")
        other.rename(one.inbox)
        await one.reaches("a")
        (one.inbox / "b").write_text("2")
        await one.reaches("b")

    rig(tmp_path, test, watched(tmp_path))


def test_a_directory_with_files_moves_in_and_out(tmp_path: Path) -> None:
    async def test(one: Rig) -> None:
        outside = one.root / "outside"
        (outside / "deep").mkdir(parents=True)
        for name in ("x", "deep/y"):
            (outside / name).write_text(name)
        outside.rename(one.inbox / "in")
        await one.reaches("in/x", "in/deep/y")
        (one.inbox / "in").rename(outside)
        await one.reaches("in/x", "in/deep/y")

    rig(tmp_path, test, watched(tmp_path, events=["oss:ObjectCreated:*", "oss:ObjectRemoved:*"]))


def test_links_and_what_is_no_file_are_not_told_of(tmp_path: Path) -> None:
    async def test(one: Rig) -> None:
        (one.root / "secret").write_text("secret")
        (one.inbox / "link").symlink_to(one.root / "secret")
        (one.inbox / "loop").symlink_to(one.inbox)
        os.mkfifo(one.inbox / "fifo")
        await one.quiet()
        await one.reaches("marker.bin")

    rig(tmp_path, test)


def test_a_full_queue_is_asked_again(tmp_path: Path) -> None:
    async def test(one: Rig) -> None:
        one.queue.refuse = LimitExceeded("full", "queue")
        (one.inbox / "a").write_text("a")
        while len(one.queue.seen) < 2:
            await asyncio.sleep(0.01)
        one.queue.refuse = None
        await one.reaches("a")

    rig(tmp_path, test)


def test_triggers_follow_the_registry(tmp_path: Path) -> None:
    async def test(one: Rig) -> None:
        trigger = one.registry.all[0]
        (one.inbox / "a").write_text("a")
        await one.reaches("a")
        one.registry.change()
        while one.triggers._watches:
            await asyncio.sleep(0.01)
        (one.inbox / "b").write_text("b")
        later = Trigger(
            *(trigger.function, trigger.name, "oss", "", trigger.config), id="new",
            modified=(one.inbox / "b").stat().st_ctime + 1e-3,
        )  # fmt: skip
        one.registry.change(later)
        while not one.triggers._watches:
            await asyncio.sleep(0.01)
        await one.quiet()
        await one.reaches("marker.bin")

    rig(tmp_path, test)


def test_a_directory_that_has_grown_too_large_is_named_and_rests_until_it_is_small_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(directories, "MOST_ENTRIES", 4)
    monkeypatch.setattr(directory, "RESCAN_S", 0.05)
    said: list[str] = []

    def complained() -> bool:
        said.append(capfd.readouterr().err)
        return "holds more than 4 files and directories" in "".join(said)

    async def test(one: Rig) -> None:
        (one.inbox / "a").write_text("a")
        await one.reaches("a")
        (tmp_path / "many").mkdir()
        for name in "bcdef":
            (tmp_path / "many" / name).write_text(name)
        (tmp_path / "many").rename(one.inbox / "many")
        while not complained():
            await asyncio.sleep(0.01)
        for name in "cdef":
            (one.inbox / "many" / name).unlink()
        await one.reaches("many/b")
        complained()
        assert "".join(said).count(str(one.inbox)) == 1
        await one.restart(lambda: [(one.inbox / name).write_text(name) for name in "ghi"])
        said.clear()
        while not complained():
            await asyncio.sleep(0.01)
        for name in "ah":
            (one.inbox / name).unlink()
        await one.reaches("g", "i")

    rig(tmp_path, test)


def test_a_trigger_of_a_large_directory_rests_from_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(directories, "MOST_ENTRIES", 2)
    monkeypatch.setattr(directory, "RESCAN_S", 0.05)
    trigger = watched(tmp_path)
    for name in "abc":
        (tmp_path / "inbox" / name).write_text(name)

    async def test(one: Rig) -> None:
        while "holds more than 2 files" not in capfd.readouterr().err:
            await asyncio.sleep(0.01)
        (one.inbox / "a").unlink()
        await one.reaches("b", "c")

    rig(tmp_path, test, trigger)
