"""`runner ls`, `versions`, `alias`, `url`, `rm`: what is deployed, and where it is."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer
from snapfork.runner.cli.remote import Json, Name, Url, connect, qualified, show_json, tell, when
from snapfork.runner.cli.tables import plain_table, print_table
from snapfork.runner.console import size_text
from snapfork.runner.errors import UserError
from snapfork.runner.registry.model import LATEST


def ls(
    prefix: Annotated[
        str, typer.Argument(metavar="[PREFIX]", show_default=False, help="Only names that begin so.")
    ] = "",
    url: Url = None,
    as_json: Json = False,
) -> None:
    """List the deployed functions.

    [bold]Examples[/bold]

      runner ls

      runner ls --json | jq -r '.[].function.name'
    """
    remote = connect(url)
    entries: list[dict[str, Any]] = []
    start = ""
    while True:
        answer = remote.call("GET", "functions", query={"prefix": prefix, "start": start}).json()
        entries += answer["functions"]
        start = answer["next"]
        if not start:
            break
    if as_json:
        show_json(entries)
        return
    if not entries:
        typer.echo("Nothing is deployed. Begin with: runner deploy")
        return
    table = plain_table("function", "state", "handler", "runtime", "timeout", "memory", "code", "changed")
    for entry in entries:
        latest = entry["latest"]
        configuration = latest["configuration"]
        memory = configuration["memory"]
        table.add_row(
            entry["function"]["name"],
            _state(entry["function"], latest),
            configuration["handler"] or "-",
            configuration["runtime"],
            f"{configuration['timeout']:g}s",
            f"{memory}MB" if memory else "-",
            size_text(latest["size"]),
            when(latest["modified"]),
        )
    print_table(table)


def _state(function: dict[str, Any], version: dict[str, Any]) -> str:
    if function["disabled"] is not None:
        return "disabled"
    if function["reserved"] == 0:
        return "stopped"
    if version["state"] == "active" and version["update_state"] != "active":
        return f"active, update {version['update_state']}"
    return str(version["state"])


def versions(
    name: Name,
    publish: Annotated[
        bool, typer.Option("--publish", help="Freeze LATEST as the next version first.")
    ] = False,
    description: Annotated[
        str | None, typer.Option(metavar="TEXT", show_default=False, help="Of the version that is published.")
    ] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """List a function's versions and the aliases that point to them.

    [bold]Examples[/bold]

      runner versions shop

      runner versions shop --publish --description 'before the sale'
    """
    remote = connect(url)
    if publish:
        remote.call("POST", "functions", name, "versions", body=_json({"description": description}))
    answer = remote.call("GET", "functions", name, "versions").json()
    if as_json:
        show_json(answer)
        return
    table = plain_table("version", "state", "aliases", "code", "made", "description")
    for version in answer["versions"]:
        table.add_row(
            version["version"],
            _update_state(version),
            ", ".join(_pointing(answer["aliases"], version["version"])) or "-",
            size_text(version["size"]),
            when(version["modified"] if version["version"] == LATEST else version["created"]),
            version["description"],
        )
    print_table(table)


def _update_state(version: dict[str, Any]) -> str:
    if version["state"] == "active" and version["update_state"] != "active":
        return f"active, update {version['update_state']}"
    return str(version["state"])


def _pointing(aliases: list[dict[str, Any]], version: str) -> list[str]:
    found = []
    for alias in aliases:
        rest = 1 - sum(alias["weights"].values())
        share = rest if alias["version"] == version else alias["weights"].get(version)
        if share is not None:
            found.append(alias["name"] if share == 1 else f"{alias['name']} {share:.0%}")
    return found


def alias(
    name: Name,
    alias: Annotated[
        str | None, typer.Argument(metavar="[ALIAS]", show_default=False, help="Make or move this one.")
    ] = None,
    version: Annotated[
        str | None, typer.Argument(metavar="[VERSION]", show_default=False, help="To this version.")
    ] = None,
    weight: Annotated[
        list[str] | None,
        typer.Option(
            metavar="VERSION=SHARE",
            show_default=False,
            help="A share (0 to 1) of requests that goes to another version.",
        ),
    ] = None,
    remove: Annotated[bool, typer.Option("--rm", help="Remove the alias.")] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """List a function's aliases, or make, move, split or remove one.

    The next request after it goes by the new rule, on kept connections too.

    [bold]Examples[/bold]

      runner alias shop

      runner alias shop live 3

      runner alias shop live 3 --weight 4=0.1

      runner alias shop live --rm
    """
    remote = connect(url)
    if alias is None:
        answer = remote.call("GET", "functions", name, "aliases").json()
        if as_json:
            show_json(answer["aliases"])
            return
        table = plain_table("alias", "version", "others", "moved")
        for one in answer["aliases"]:
            others = ", ".join(f"{other} {share:.0%}" for other, share in one["weights"].items())
            table.add_row(one["name"], one["version"], others or "-", when(one["modified"]))
        print_table(table)
        return
    if remove:
        remote.call("DELETE", "functions", name, "aliases", alias)
        tell(as_json, {"removed": alias}, f"{name}: alias {alias} is gone")
        return
    if version is None and not weight:
        answer = remote.call("GET", "functions", name, "aliases").json()
        known = [one for one in answer["aliases"] if one["name"] == alias]
        if not known:
            raise UserError(f"{name} has no alias {alias}.", f"Make it: runner alias {name} {alias} VERSION")
        tell(as_json, known[0], _alias_text(known[0]))
        return
    given = {"version": version, "weights": dict(_weight(one) for one in weight or ())}
    made = remote.call("PUT", "functions", name, "aliases", alias, body=_json(given)).json()
    tell(as_json, made, _alias_text(made))


def _alias_text(alias: dict[str, Any]) -> str:
    others = "".join(f", {share:.0%} to {other}" for other, share in alias["weights"].items())
    return f"{alias['function']}: alias {alias['name']} is version {alias['version']}{others}"


def _weight(text: str) -> tuple[str, float]:
    version, equals, share = text.partition("=")
    try:
        return version, float(share)
    except ValueError:
        raise UserError(
            f"--weight {text}: a version, '=' and a share are needed.", "For example: --weight 4=0.1"
        ) from None


def url(
    function: Annotated[
        str, typer.Argument(metavar="NAME[:ALIAS]", show_default=False, help="shop, or shop:live.")
    ],
    auth: Annotated[
        str | None,
        typer.Option(
            metavar="none|signed",
            show_default=False,
            help="Make its function URL: open, or for signed requests.",
        ),
    ] = None,
    remove: Annotated[bool, typer.Option("--rm", help="Remove its function URL.")] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Show where a function answers HTTP, or make or remove its function URL.

    What `runner deploy` has made answers everybody at NAME.localhost and /NAME/ until it has a function URL
    for signed requests, which closes these, too.

    [bold]Examples[/bold]

      runner url shop

      runner url shop:live --auth signed

      runner url shop --rm
    """
    name, qualifier = qualified(function)
    remote = connect(url)
    if remove:
        remote.call("DELETE", "functions", name, "urls", query={"qualifier": qualifier})
    elif auth is not None:
        if auth not in ("none", "signed"):
            raise UserError(f"--auth {auth}: none or signed.")
        given = {"auth": "NONE" if auth == "none" else "AWS_IAM"}
        remote.call("PUT", "functions", name, "urls", query={"qualifier": qualifier}, body=_json(given))
    answer = remote.call("GET", "functions", name, "addresses").json()
    if as_json:
        show_json(answer)
        return
    show_addresses(name, answer)


def show_addresses(name: str, answer: dict[str, Any], indent: str = "") -> None:
    """Where a function answers HTTP, and who may ask there."""
    for address in answer["addresses"]:
        typer.echo(f"{indent}{address}")
    if answer["open"]:
        typer.echo(
            f"{indent}open to everybody who reaches the port; `runner url {name} --auth signed` closes it"
        )


def rm(
    function: Annotated[
        str,
        typer.Argument(metavar="NAME[:VERSION]", show_default=False, help="shop, or one version: shop:3."),
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Remove a function with all its versions, aliases and triggers, or one version.

    [bold]Examples[/bold]

      runner rm shop

      runner rm shop:3 --yes
    """
    name, qualifier = qualified(function)
    remote = connect(url)
    remote.call("GET", "functions", name, query={"qualifier": qualifier})
    if not yes and not sys.stdin.isatty():
        raise UserError(f"{function} is not removed: nobody is here to be asked.", "To do it anyway: --yes")
    if not yes and not typer.confirm(f"Remove {function}?"):
        raise typer.Exit(1)
    remote.call("DELETE", "functions", name, query={"qualifier": qualifier})
    tell(as_json, {"removed": function}, f"{function}: removed")


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode()
