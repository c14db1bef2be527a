"""FC's function members become a Configuration, and come back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from snapfork.runner.faces import fc_configuration
from snapfork.runner.faces.fc_errors import FcError
from snapfork.runner.registry.model import Configuration, Hook

LEAST = {"functionName": "f", "runtime": "python3.12", "handler": "index.handler"}


def refused(call: Any, *arguments: Any) -> str:
    with pytest.raises(FcError) as caught:
        call(*arguments)
    assert (caught.value.status, caught.value.code) == (400, "InvalidArgument")
    return caught.value.message


def test_every_default_is_filled_in() -> None:
    made = fc_configuration.created(LEAST)
    assert made == Configuration(
        handler="index.handler",
        runtime="python3.12",
        timeout=3.0,
        memory=512,
        dialect="fc",
        concurrency=1,
        extra={
            "cpu": pytest.approx(0.35),
            "diskSize": 512,
            "instanceIsolationMode": "SHARE",
            "internetAccess": True,
            "role": "",
        },
    )


def test_what_was_said_comes_back() -> None:
    members = {
        **LEAST,
        "cpu": 1.0,
        "memorySize": 2048,
        "timeout": 60,
        "instanceConcurrency": 20,
        "description": "a function",
        "environmentVariables": {"A": "1"},
        "logConfig": {"project": "p", "logstore": "s"},
        "role": "acs:ram::1:role/x",
        "instanceLifecycleConfig": {
            "initializer": {"handler": "index.init", "timeout": 30},
            "preStop": {"handler": "index.stop"},
        },
    }
    made = fc_configuration.created(members)
    assert made.initializer == Hook("index.init", 30.0)
    assert made.pre_stop == Hook("index.stop", 3.0)
    shown = fc_configuration.members_of(made)
    del members["functionName"]
    members["instanceLifecycleConfig"]["preStop"]["timeout"] = 3  # type: ignore[index]
    assert shown | members == shown


def test_the_usual_cpu_is_one_that_fc_takes() -> None:
    for memory in range(128, 32768 + 1, 64):
        cpu = fc_configuration.usual_cpu(memory)
        assert 0.05 <= cpu <= 16, memory
        assert round(cpu / 0.05) == pytest.approx(cpu / 0.05), memory
        assert 1 <= memory / 1024 / cpu <= 4, memory


def test_an_update_changes_what_it_says() -> None:
    before = fc_configuration.created({**LEAST, "role": "r"})
    fields = fc_configuration.changes({"timeout": 9, "diskSize": 10240}, before)
    assert fields == {"timeout": 9.0, "extra": {**before.extra, "diskSize": 10240}}


def test_memory_alone_brings_its_cpu() -> None:
    before = fc_configuration.created(LEAST)
    assert fc_configuration.changes({"memorySize": 4096}, before)["extra"]["cpu"] == pytest.approx(2.8)
    assert fc_configuration.changes({"memorySize": 1024}, before)["extra"]["cpu"] == pytest.approx(0.35)


def test_cpu_and_memory_that_do_not_fit() -> None:
    said = refused(fc_configuration.created, {**LEAST, "cpu": 4.0, "memorySize": 512})
    assert said == "The ratio of cpu (4) to memorySize (512 MB) must be between 1:1 and 1:4 in GB."


@pytest.mark.parametrize("member", sorted(fc_configuration.ABSENT))
def test_what_is_not_there_is_refused(member: str) -> None:
    value = {"disableOndemand": True, "enableLongLiving": True, "sessionAffinity": "MCP_SSE"}.get(
        member, {"some": [{"thing": "set"}]}
    )
    assert refused(fc_configuration.created, {**LEAST, member: value}).startswith(
        f"{member} is not supported"
    )


@pytest.mark.parametrize("member", sorted(fc_configuration.ABSENT))
def test_an_empty_wish_for_it_is_none(member: str) -> None:
    empty = {"disableOndemand": False, "enableLongLiving": False, "sessionAffinity": "NONE"}
    fc_configuration.created({**LEAST, member: empty.get(member, {"points": [], "id": ""})})


@pytest.mark.parametrize(
    "runtime", ["nodejs20", "java11", "custom-container", "python2.7", "", "custom.debian9"]
)
def test_other_runtimes_are_refused(runtime: str) -> None:
    assert runtime in refused(fc_configuration.created, {**LEAST, "runtime": runtime})


@pytest.mark.parametrize(
    ("config", "app"),
    [
        ({"command": ["gunicorn", "-b", "0.0.0.0:9000", "app:app"]}, "app:app"),
        ({"command": ["uvicorn"], "args": ["shop.main:make()", "--port", "9000"]}, "shop.main:make()"),
        ({"port": 9000}, "index.handler"),
    ],
)
def test_a_custom_runtime_serves_the_app_of_its_command(config: dict[str, Any], app: str) -> None:
    made = fc_configuration.created({**LEAST, "runtime": "custom.debian10", "customRuntimeConfig": config})
    assert made.handler == app
    shown = fc_configuration.members_of(made)
    assert shown["handler"] == "index.handler"
    assert shown["customRuntimeConfig"] == config


def test_a_command_that_names_no_app() -> None:
    members = {**LEAST, "runtime": "custom", "customRuntimeConfig": {"command": ["python3", "app.py"]}}
    assert "module:attribute" in refused(fc_configuration.created, members)


def test_a_custom_runtimes_hooks_are_the_apps_own() -> None:
    config = {"initializer": {"handler": "ignored"}}
    made = fc_configuration.created({**LEAST, "runtime": "custom", "instanceLifecycleConfig": config})
    assert made.initializer == Hook("", 3.0)


@pytest.mark.parametrize(
    ("hook", "says"),
    [
        ({"initializer": {"command": ["x"], "handler": "a.b"}}, "both handler and command"),
        ({"initializer": {"command": ["x"]}}, "command is not supported"),
        ({"preStop": {"handler": "a.b", "timeout": 91}}, "between 1 and 90, not 91"),
    ],
)
def test_hooks_that_cannot_be(hook: dict[str, Any], says: str) -> None:
    assert says in refused(fc_configuration.created, {**LEAST, "instanceLifecycleConfig": hook})


def test_a_lambda_function_is_shown_in_fcs_members() -> None:
    made = Configuration(
        "app.handler", "python3.12", 2.5, None, "lambda", extra={"Role": "arn:aws:iam::1:role/x"}
    )
    shown = fc_configuration.members_of(made)
    assert shown["handler"] == "app.handler"
    assert shown["timeout"] == 3
    assert "memorySize" not in shown and "Role" not in shown


@given(
    st.dictionaries(st.sampled_from([*fc_configuration.KEPT, "description", "handler"]), st.text(min_size=1))
)
def test_what_is_kept_comes_back_as_it_was(members: dict[str, Any]) -> None:
    members.pop("cpu", None)
    members.pop("customRuntimeConfig", None)
    shown = fc_configuration.members_of(fc_configuration.created({**LEAST, **members}))
    assert shown | members == shown
