"""What was typed becomes functions, names and mounts, or one sentence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from snapfork.runner.cli import targets
from snapfork.runner.errors import UserError


@pytest.mark.parametrize(
    ("text", "name", "target"),
    [
        ("shop:app", "shop", "shop:app"),
        ("shop", "shop", "shop"),
        ("shop:create_app()", "shop", "shop:create_app()"),
        ("shop:create_app('live', debug=True)", "shop", "shop:create_app('live', debug=True)"),
        ("till=shop:app", "till", "shop:app"),
        ("mysite.wsgi:application", "mysite", "mysite.wsgi:application"),
        ("pkg.api.main:app.inner", "api", "pkg.api.main:app.inner"),
        ("main:app", "main", "main:app"),
    ],
)
def test_targets_and_the_names_made_from_them(text: str, name: str, target: str) -> None:
    parsed = targets.parse_target(text)
    assert (parsed.name, parsed.target) == (name, target)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("shop.py:app", "is a file"),
        ("src/shop.py", "--app-dir src shop"),
        ("shop:make(os.environ)", "plain values"),
        ("src/shop:app", "is a path"),
        ("1x=shop:app", "cannot name a function"),
        ("shop:", "is not a target"),
        ("", "is not a target"),
    ],
)
def test_a_wrong_target_is_one_sentence_with_a_hint(text: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        targets.parse_target(text)
    assert says in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/blog=blog:app", (None, "/blog", "blog:app")),
        ("/blog/=blog", (None, "/blog", "blog")),
        ("/=shop", (None, "", "shop")),
        ("API.Example.com=api:app", ("api.example.com", "", "api:app")),
        ("api.example.com:8000/v1=api", ("api.example.com", "/v1", "api")),
        ("[::1]/v1=api", ("[::1]", "/v1", "api")),
    ],
)
def test_mounts(text: str, expected: tuple[str | None, str, str]) -> None:
    assert targets.parse_mount(text) == expected


@pytest.mark.parametrize("text", ["/blog", "=x", "/a?b=c", "/a//b=c", "under_score!=x"])
def test_wrong_mounts(text: str) -> None:
    with pytest.raises(UserError):
        targets.parse_mount(text)


def test_one_function_without_a_mount_takes_what_is_left() -> None:
    shop, blog = targets.resolve(["shop:app"], ["/blog=blog:application"])
    assert (shop.name, shop.prefixes) == ("shop", [(None, "")])
    assert (blog.name, blog.prefixes) == ("blog", [(None, "/blog")])


def test_a_mount_may_name_a_function_by_name_or_by_target() -> None:
    (shop,) = targets.resolve(["till=shop:app"], ["/a=till", "b.example=till"])
    assert shop.prefixes == [(None, "/a"), ("b.example", "")]
    (plain,) = targets.resolve(["shop:app"], ["/a=shop:app"])
    assert plain.prefixes == [(None, "/a")]


def test_two_apps_of_one_module_get_two_names() -> None:
    names = [entry.name for entry in targets.resolve(["shop:app"], ["/admin=shop:admin"])]
    assert names == ["shop", "shop-admin"]


@pytest.mark.parametrize(
    ("typed", "mounts", "says"),
    [
        (["shop:app", "blog:app"], [], "whole listener"),
        (["shop:app"], ["/=blog:app"], "whole listener"),
        ([], ["/a=shop:app", "/a=blog:app"], "mounted twice"),
        (["x=shop:app", "x=blog:app"], ["/x=x"], "would be called 'x'"),
    ],
)
def test_functions_that_cannot_live_together(typed: list[str], mounts: list[str], says: str) -> None:
    with pytest.raises(UserError, match=says):
        targets.resolve(typed, mounts)


@given(st.text(max_size=40))
def test_any_text_is_a_target_or_a_sentence(text: str) -> None:
    try:
        parsed = targets.parse_target(text)
    except UserError as error:
        assert error.sentence
    else:
        assert targets.NAME.fullmatch(parsed.name)


@given(st.text(alphabet="/=ab.:[] \n", max_size=20))
def test_any_text_is_a_mount_or_a_sentence(text: str) -> None:
    try:
        _host, prefix, what = targets.parse_mount(text)
    except UserError as error:
        assert error.sentence
    else:
        assert what
        assert not prefix or (prefix.startswith("/") and not prefix.endswith("/"))
