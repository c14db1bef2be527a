"""One table of settings: what values mean, which layer wins, and one sentence for what is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from snapfork.adapter import settings
from snapfork.adapter.settings import SettingError

MB = 1024**2


@pytest.mark.parametrize(
    ("name", "value", "parsed"),
    [
        ("concurrency", "4", 4),
        ("concurrency", 4.0, 4),
        ("concurrency", None, None),
        ("max_requests", "off", None),
        ("spares", 0, 0),
        ("timeout", 5, 5.0),
        ("timeout", "2.5", 2.5),
        ("timeout", "500ms", 0.5),
        ("timeout", " 5 M ", 300.0),
        ("idle_timeout", "1h", 3600.0),
        ("idle_timeout", 0, 0.0),
        ("memory", "512MB", 512 * MB),
        ("memory", "1.5GB", 1536 * MB),
        ("memory", "512 mib", 512 * MB),
        ("memory", 64 * MB, 64 * MB),
        ("memory", "none", None),
        ("max_body", "1000", 1000),
        ("max_body", 0, 0),
        ("head_size", "64KB", 65536),
        ("lifespan", "Template", "template"),
        ("env", {"A": "b", "N": 1}, {"A": "b", "N": "1"}),
        ("warmup", [], []),
        ("warmup", "/x", [{"method": "GET", "path": "/x"}]),
        (
            "warmup",
            ["/", {"method": "post", "path": "/a?b=c", "headers": {"X-A": "1"}, "body": b"hi"}],
            [
                {"method": "GET", "path": "/"},
                {"method": "POST", "path": "/a?b=c", "headers": {"X-A": "1"}, "body": "hi"},
            ],
        ),
    ],
)
def test_what_values_mean(name: str, value: Any, parsed: Any) -> None:
    assert settings.parse(name, value) == parsed


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("concurency", 4, "did you mean 'concurrency'"),
        ("min-instance", 4, "did you mean 'min_instances'"),
        ("zzz", 4, "there are concurrency"),
        ("concurrency", 0, "at least 1"),
        ("concurrency", True, "whole number"),
        ("concurrency", "many", "not 'many'"),
        ("concurrency", 1.5, "whole number"),
        ("spares", None, "whole number"),
        ("spares", -1, "at least 0"),
        ("timeout", 0, "more than 0"),
        ("timeout", "off", "seconds"),
        ("timeout", "5 parsecs", "'500ms'"),
        ("timeout", float("nan"), "seconds"),
        ("timeout", float("inf"), "seconds"),
        ("timeout", "", "seconds"),
        ("memory", 512, "'512MB'"),
        ("memory", "512", "'512MB'"),
        ("memory", "512XB", "'512MB'"),
        ("memory", [], "'512MB'"),
        ("head_size", "1MB", "at most 128KB"),
        ("head_size", "10B", "at least 1KB"),
        ("lifespan", "sometimes", "'instance'"),
        ("lifespan", None, "'instance'"),
        ("env", ["A=1"], "table"),
        ("env", {"A=": "1"}, "name of an environment variable"),
        ("env", {"A": None}, "value of A"),
        ("env", {"A": True}, "value of A"),
        ("env", {"A": "\0"}, "value of A"),
        ("warmup", 5, "[] for none"),
        ("warmup", ["x"], "starts with '/'"),
        ("warmup", ["/a b"], "percent-encoded"),
        ("warmup", ["/é"], "percent-encoded"),
        ("warmup", [7], "a path, or a table"),
        ("warmup", [{"url": "/"}], "part of a request"),
        ("warmup", [{"method": "GET /"}], "HTTP method"),
        ("warmup", [{"headers": ["a"]}], "table of names"),
        ("warmup", [{"headers": {"a b": "c"}}], "name of a header"),
        ("warmup", [{"headers": {"a": "b\r\nc: d"}}], "one line"),
        ("warmup", [{"body": b"\xff"}], "UTF-8"),
        ("warmup", [{"body": {"a": 1}}], "a text"),
    ],
)
def test_what_is_wrong_is_one_sentence(name: str, value: Any, says: str) -> None:
    with pytest.raises(SettingError) as caught:
        settings.parse(name, value)
    sentence = str(caught.value)
    assert says in sentence
    assert sentence.endswith((".", "?")) and "\n" not in sentence and len(sentence) < 400


def test_later_layers_win_and_env_is_merged_by_variable() -> None:
    resolved = settings.resolve(
        {"timeout": 5, "concurrency": 2, "env": {"A": "1", "B": "1"}},
        {"timeout": "10s", "env": {"B": "2"}},
        {"concurrency": "off"},
    )
    assert resolved["timeout"] == 10.0
    assert resolved["concurrency"] is None
    assert resolved["env"] == {"A": "1", "B": "2"}
    assert resolved["queue_size"] == 1000


def test_every_setting_is_there_and_is_plain_data() -> None:
    resolved = settings.resolve()
    assert list(resolved) == [setting.name for setting in settings.SETTINGS]
    assert json.loads(json.dumps(resolved)) == resolved
    assert resolved["warmup"] == [{"method": "GET", "path": "/"}]


def test_what_a_caller_does_to_a_result_does_not_reach_the_defaults() -> None:
    settings.resolve()["warmup"].append("x")
    settings.resolve()["env"]["A"] = "1"
    assert settings.resolve()["warmup"] == [{"method": "GET", "path": "/"}]
    assert settings.resolve()["env"] == {}


def test_the_least_cannot_be_more_than_the_most() -> None:
    with pytest.raises(SettingError, match="min_instances is 5 and max_instances 2"):
        settings.resolve({"min_instances": 5}, {"max_instances": 2})


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NUMBERS = st.builds(
    "{}{}".format, st.floats(0, 1e6) | st.integers(0, 10**25), st.sampled_from(["", "s", "MB", "kb", "x"])
)
NAMES = st.sampled_from([setting.name for setting in settings.SETTINGS])


@given(name=NAMES, value=VALUES | NUMBERS)
def test_any_value_is_parsed_to_plain_data_or_refused(name: str, value: Any) -> None:
    try:
        parsed = settings.parse(name, value)
    except SettingError:
        return
    assert settings.parse(name, parsed) == parsed
    assert json.loads(json.dumps(parsed)) == parsed


@given(size=st.integers(1024**2, 2**50))
def test_sizes_in_messages_can_be_typed(size: int) -> None:
    assert settings.parse("memory", settings.size_text(size)) == size
